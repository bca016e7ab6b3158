"""The examples of docs/dbus.md and docs/api.md do what they say."""

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

DOCS = Path(__file__).parents[2] / "docs"
LOGIN = ["alice", "right"]


def example(page: str, language: str, number: int = 0) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return str(found[number])


@pytest.mark.parametrize(
    ("text", "interpreter", "arguments", "typed"),
    [
        pytest.param(example("dbus.md", "python"), sys.executable, [], "alice\nright\n", id="dbus-python"),
        pytest.param(example("dbus.md", "sh"), "sh", LOGIN, "", id="dbus-sh"),
        pytest.param(example("api.md", "python"), sys.executable, LOGIN, "", id="api"),
        pytest.param(example("api.md", "python", 1), sys.executable, [], "", id="api-blocking"),
    ],
)
def test_the_life_of_a_session(
    machine: Machine,
    start_server: Callable[..., OpenVpnServer],
    text: str,
    interpreter: str,
    arguments: list[str],
    typed: str,
) -> None:
    if "busctl" in text and not shutil.which("busctl"):
        pytest.skip("no busctl")
    server = start_server(auth=password_script(*LOGIN)) if arguments or typed else start_server()
    before = machine.pair.client.state()
    script, profile = machine.write("example", text), machine.write("office.ovpn", server.profile())
    done = machine.sandbox.run([interpreter, script, profile, *arguments], account=ALICE, input=typed)
    assert machine.pair.SERVER_V4 in done.stdout
    assert "BYTES_IN" in done.stdout
    assert machine.sessions().strip() == "No sessions available"
    assert machine.openvpn3("configs-list", "--count").stdout.strip().endswith(" 0")
    assert machine.pair.client.state() == before
