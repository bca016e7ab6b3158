"""The Python module `openvpn3`, used by the system's own Python, which has our services and no environment of ours."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.account import ALICE, ROOT
from tests.support.bus import PROJECT
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer, password_script

SYSTEM_PYTHON = "/usr/bin/python3"
has_dbus_python = subprocess.run([SYSTEM_PYTHON, "-c", "import dbus, gi"], capture_output=True).returncode == 0
pytestmark = [
    pytest.mark.system,
    pytest.mark.interop,
    pytest.mark.skipif(not has_dbus_python, reason="the system's Python has no dbus and gi"),
]
# The installed module is found by a link; a tree that isn't installed has its parts in two places.
COMMAND = ["env", f"PYTHONPATH={PROJECT}:{PROJECT}/services", SYSTEM_PYTHON, Path(__file__).with_name("module.py")]


def test_every_member(machine: Machine, start_server: Callable[..., OpenVpnServer]) -> None:
    server = start_server(auth=password_script("ann", "right"))
    file = machine.write("office.ovpn", server.profile("auth-retry interact"))
    watcher = machine.sandbox.popen(COMMAND, account=ROOT, stdout=subprocess.PIPE)
    with watcher:
        try:
            assert watcher.stdout
            assert json.loads(watcher.stdout.readline()) == ["ready", [], []]
            done = machine.sandbox.run([*COMMAND, file, "ann", "right"], account=ALICE)
            changes = [json.loads(line) for line in watcher.stdout]
            assert watcher.wait(10) == 0
        finally:
            watcher.kill()
    assert [changes[0][:2], changes[-1][:2]] == [["DEVICE_ADDED", "tun0"], ["DEVICE_REMOVED", "tun0"]]
    assert ["IPADDR_ADDED", "tun0"] in [change[:2] for change in changes]

    seen: dict[str, list[Any]] = {}
    for what, *values in map(json.loads, done.stdout.splitlines()):
        seen.setdefault(what, []).append(values)
    assert seen["parsed"] == [[file, False, 5, True, {}]]
    [name, tags, overrides, public] = seen["profile"][0]
    assert (name, tags, public) == ("office", ["work"], True)
    assert overrides == {"log-level": "5", "persist-tun": True}
    [[_, keys, minor]] = seen["session"]
    assert (keys, minor) == (["major", "minor", "message"], "CFG_REQUIRE_USER")
    assert seen["named"] == [["StatusMinor.CFG_REQUIRE_USER", "ClientAttentionType.CREDENTIALS"]]
    assert seen["asked"] == [["username", "Auth User name", False], ["password", "Auth Password", True]] * 2
    assert seen["connected"] == [[True, "tun0", False]]
    assert seen["statistics"] == [[True, "Connection statistics:"]]
    tag, second, ended, vanished, vanished_again, unknown, removed, network, devices, device = seen["error"]
    assert tag == ["RuntimeError", "a tag that begins with system: is not for users"]
    assert second == ["RuntimeError", "StatusChangeCallback() is already enabled"]
    assert ended == ["RuntimeError", "This session object is unavailable"]
    assert [vanished[0], vanished_again] == ["DBusException", ended]
    assert unknown[0] == "DBusException"
    assert "does not exist" in unknown[1]
    assert removed == ["RuntimeError", "This configuration object is unavailable"]
    assert [network[0], devices[0], device[0]] == ["DBusException", "RuntimeError", "DBusException"]
    assert all("AccessDenied" in error[1] for error in (network, devices, device))
