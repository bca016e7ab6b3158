"""The examples of docs/dbus.md do what they say."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.account import ALICE
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer, password_script

pytestmark = [pytest.mark.system, pytest.mark.interop]

PAGE = Path(__file__).parents[2] / "docs/dbus.md"


@pytest.mark.parametrize(
    ("language", "interpreter", "arguments", "typed"),
    [("python", sys.executable, [], "alice\nright\n"), ("sh", "sh", ["alice", "right"], "")],
)
def test_the_life_of_a_session(
    machine: Machine,
    start_server: Callable[..., OpenVpnServer],
    language: str,
    interpreter: str,
    arguments: list[str],
    typed: str,
) -> None:
    if language == "sh" and not shutil.which("busctl"):
        pytest.skip("no busctl")
    server = start_server(auth=password_script("alice", "right"))
    before = machine.pair.client.state()
    (example,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script, profile = machine.write("example", example), machine.write("office.ovpn", server.profile())
    done = machine.sandbox.run([interpreter, script, profile, *arguments], account=ALICE, input=typed)
    assert machine.pair.SERVER_V4 in done.stdout
    assert "BYTES_IN" in done.stdout
    assert machine.sessions().strip() == "No sessions available"
    assert machine.openvpn3("configs-list", "--count").stdout.strip().endswith(" 0")
    assert machine.pair.client.state() == before
