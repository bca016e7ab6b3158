"""The original's own programs, old and new, on our services: they find nothing that isn't theirs."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.original import Original, fetch
from tests.support.server import OpenVpnServer, password_script

pytestmark = [pytest.mark.system, pytest.mark.interop, pytest.mark.full]
StartServer = Callable[..., OpenVpnServer]
PROFILE = "/tmp/client.ovpn"


@pytest.fixture(scope="module", params=["trixie", "sid"])
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp(request.param)
    fetch(request.param, directory)
    return directory


@pytest.fixture
def original(machine: Machine, tree: Path) -> Original:
    original = Original(machine.sandbox, tree)
    original.share_bus()
    return original


def test_life_of_a_session(machine: Machine, original: Original, start_server: StartServer) -> None:
    before = machine.pair.client.state()
    original.write(PROFILE, start_server().profile())

    def openvpn3(command: str) -> str:
        return original.run("openvpn3", *command.split()).stdout

    path = openvpn3(f"config-import --config {PROFILE} --name office").split()[-1]
    assert re.search(r"^office +-$", openvpn3("configs-list"), re.MULTILINE)
    assert path in openvpn3("config-manage --config office --show")
    started = openvpn3("session-start --config office")
    assert re.search(r"^Connected", started, re.MULTILINE)
    listed = openvpn3("sessions-list")
    assert re.search(r"Owner: alice +Device: tun0", listed)
    assert "Status: Connection, Client connected" in listed
    assert re.search(r"BYTES_IN\.+[1-9]", openvpn3("session-stats --config office"))
    openvpn3("session-manage --config office --pause")
    assert "Status: Connection, Client connection paused" in openvpn3("sessions-list")
    openvpn3("session-manage --config office --resume")
    openvpn3("session-manage --config office --restart")
    openvpn3("session-acl --config office --grant bob")
    assert re.search(r"- \(\d+\) +bob", openvpn3("session-acl --config office --show"))
    assert "Connection statistics" in openvpn3("session-manage --config office --disconnect")
    assert "No sessions available" in openvpn3("sessions-list")
    openvpn3("config-remove --config office --force")
    assert machine.pair.client.state() == before


def test_a_paused_session_is_found_by_its_interface(
    machine: Machine, original: Original, start_server: StartServer
) -> None:
    original.write(PROFILE, start_server().profile())
    original.run("openvpn3", "config-import", "--config", PROFILE, "--name", "office")
    original.run("openvpn3", "session-start", "--config", "office", "--dco", "true")
    for action in ("--pause", "--resume", "--disconnect"):
        original.run("openvpn3", "session-manage", "--interface", "tun0", action)
    assert machine.sessions() == "No sessions available\n"


@pytest.mark.parametrize(
    ("password", "code", "text"), [("right", 0, "Connected"), ("wrong", 8, "authentication failed")]
)
def test_log_in(
    machine: Machine, original: Original, start_server: StartServer, password: str, code: int, text: str
) -> None:
    original.write(PROFILE, start_server(auth=password_script("ann", "right")).profile())
    start = ["openvpn3", "session-start", "--config", PROFILE]
    done = original.run(*start, check=False, input=f"ann\n{password}\n")
    assert done.returncode == code
    assert text.lower() in (done.stdout + done.stderr).lower()


def test_openvpn2(machine: Machine, original: Original, start_server: StartServer) -> None:
    original.write(PROFILE, start_server().profile())
    done = original.run("openvpn2", "--config", PROFILE, "--daemon")
    (path,) = re.findall(r"/net/openvpn/v3/sessions/\w+", done.stdout)[:1]
    assert "Client connected" in machine.sessions()
    original.run("openvpn3", "session-manage", "--path", path, "--disconnect")
