"""Front-ends that aren't ours, on a real system bus with the shipped policy."""

import json
import re
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import pytest

from ovpn3.constants import CONFIG_NAME, CONFIG_PATH, SESSIONS_INTERFACE, SESSIONS_NAME, SESSIONS_PATH, StatusMinor
from tests.bus.members import Facts
from tests.support.account import ALICE, Account
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]

StartServer = Callable[..., OpenVpnServer]
SYSTEM_PYTHON = "/usr/bin/python3"
FOREIGN = Path(__file__).with_name("foreign.py")
NOBODY = Account("nobody", 65534)  # a third user, without a home

has_dbus_python = subprocess.run([SYSTEM_PYTHON, "-c", "import dbus, gi"], capture_output=True).returncode == 0


def gdbus_error(domain: str, text: str) -> tuple[str, str]:
    """Name and message that GDBus makes of an error in a domain."""
    quark = "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in domain)
    return f"org.gtk.GDBus.UnmappedGError.Quark._{quark}.Code36", f"GDBus.Error:{domain}: {text}"


@pytest.mark.skipif(not has_dbus_python, reason="the system's Python has no dbus and gi")
def test_dbus_python(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    before = machine.pair.client.state()
    done = machine.sandbox.run([SYSTEM_PYTHON, FOREIGN, server.profile(), "office"], account=ALICE)
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    path = seen[0][1]
    assert seen[0] == ["event", path, 1, ALICE.uid]
    assert ["event", path, 2, ALICE.uid] in seen
    statuses = [what[3] for what in seen if what[0] == "status"]
    wanted = [
        *(StatusMinor.CONN_CONNECTING, StatusMinor.CONN_CONNECTED),
        *(StatusMinor.CONN_PAUSING, StatusMinor.CONN_PAUSED),
        *(StatusMinor.CONN_RESUMING, StatusMinor.CONN_RECONNECTING, StatusMinor.CONN_CONNECTED),
        *(StatusMinor.CONN_RECONNECTING, StatusMinor.CONN_CONNECTED),
        *(StatusMinor.CONN_DISCONNECTING, StatusMinor.CONN_DISCONNECTED),
        *(StatusMinor.CONN_DONE, StatusMinor.PROC_STOPPED),
    ]
    assert statuses == wanted
    assert ["to", "udp", machine.pair.SERVER_V4, 1194] in seen
    assert "BYTES_IN" in next(what[1] for what in seen if what[0] == "statistics")
    assert next(what[1] for what in seen if what[0] == "properties") == sorted(Facts("sessions.session").properties)
    errors = [tuple(what[1:]) for what in seen if what[0] == "error"]
    assert errors[0][0] == gdbus_error("net.openvpn.gdbuspp", "")[0]
    assert re.match(r"GDBus\.Error:net\.openvpn\.gdbuspp: .*already running", errors[0][1])
    assert errors[1] == gdbus_error("net.openvpn.gdbuspp.request", "the session is not running")
    for name, text in errors[2:]:
        assert name == "org.freedesktop.DBus.Error.UnknownMethod"
        assert "does not exist at path" in text
    assert len(errors) == 4
    assert machine.pair.client.state() == before


class Tool(ABC):
    """A command-line front-end, asked again and again for the status: none of its processes lives long."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    @abstractmethod
    def call(self, service: str, path: str, member: str, *args: str) -> str: ...

    @abstractmethod
    def get(self, path: str, name: str) -> str: ...

    def run(self, *command: str) -> str:
        return self.machine.sandbox.run(command, account=ALICE).stdout

    def until(self, path: str, minor: StatusMinor) -> None:
        deadline = time.monotonic() + 10
        while not re.search(rf"\b2,? (uint32 )?{minor:d}\b", status := self.get(path, "status")):
            assert time.monotonic() < deadline, status


class GDBus(Tool):
    def call(self, service: str, path: str, member: str, *args: str) -> str:
        target = ["--dest", service, "--object-path", path, "--method", f"{service}.{member}"]
        return self.run("gdbus", "call", "--system", *target, *args)

    def get(self, path: str, name: str) -> str:
        method = ["--method", "org.freedesktop.DBus.Properties.Get", SESSIONS_INTERFACE, name]
        return self.run("gdbus", "call", "--system", "--dest", SESSIONS_NAME, "--object-path", path, *method)


class BusCtl(Tool):
    def call(self, service: str, path: str, member: str, *args: str) -> str:
        signature = [{"Import": "ssbb", "NewTunnel": "o", "Pause": "s"}[member]] if args else []
        return self.run("busctl", "--system", "call", service, path, service, member, *signature, *args)

    def get(self, path: str, name: str) -> str:
        return self.run("busctl", "--system", "get-property", SESSIONS_NAME, path, SESSIONS_INTERFACE, name)


@pytest.mark.parametrize("kind", [GDBus, BusCtl])
def test_tools(machine: Machine, start_server: StartServer, kind: type[Tool]) -> None:
    if not shutil.which(kind.__name__.lower()):
        pytest.skip("not installed")
    server = start_server()
    before = machine.pair.client.state()
    tool = kind(machine)

    def path_in(output: str) -> str:
        return str(re.findall(r"/net/[\w/]+", output)[0])

    config = path_in(tool.call(CONFIG_NAME, CONFIG_PATH, "Import", "office", server.profile(), "false", "false"))
    path = path_in(tool.call(SESSIONS_NAME, SESSIONS_PATH, "NewTunnel", config))
    assert "office" in tool.get(path, "config_name")
    tool.call(SESSIONS_NAME, path, "Ready")
    tool.call(SESSIONS_NAME, path, "Connect")
    tool.until(path, StatusMinor.CONN_CONNECTED)
    assert machine.pair.SERVER_V4 in tool.get(path, "connected_to")
    assert "BYTES_OUT" in tool.get(path, "statistics")
    tool.call(SESSIONS_NAME, path, "Pause", "lunch")
    tool.until(path, StatusMinor.CONN_PAUSED)
    for order in ("Resume", "Restart"):
        tool.call(SESSIONS_NAME, path, order)
        tool.until(path, StatusMinor.CONN_CONNECTED)
    tool.call(SESSIONS_NAME, path, "Disconnect")
    assert machine.sessions().strip() == "No sessions available"
    assert machine.pair.client.state() == before
