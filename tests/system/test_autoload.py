"""A directory of profiles, imported and started in one go."""

import json
import subprocess
from collections.abc import Callable

import pytest

from tests.support.account import ALICE, ROOT
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer
from tests.support.totp import ADDRESS, totp_script

pytestmark = [pytest.mark.system, pytest.mark.interop]

FOLDER = "/etc/openvpn3/autoload"


def write(machine: Machine, name: str, profile: str, settings: object) -> None:
    machine.sandbox.write(f"{FOLDER}/{name}", profile)
    text = settings if isinstance(settings, str) else json.dumps(settings)
    machine.sandbox.write(f"{FOLDER}/{name.rpartition('.')[0]}.autoload", text)


def autoload(machine: Machine, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return machine.sandbox.run(["openvpn3-autoload", "--directory", FOLDER, *arguments], check=False)


def test_autoload(machine: Machine, start_server: Callable[..., OpenVpnServer]) -> None:
    server = start_server(auth=totp_script())
    profile = server.profile('static-challenge "Code" 0')
    machine.sandbox.run(["install", "-d", FOLDER])
    login = {"username": "ann", "password": "right", "totp": ADDRESS}
    mine = {"autostart": True, "name": "office", "acl": {"public": True, "set-owner": ALICE.uid}, "user-auth": login}
    write(machine, "a.conf", profile, mine)
    write(machine, "b.ovpn", profile, {"autostart": True, "user-auth": {"username": "ann", "password": "wrong"}})
    write(machine, "c.ovpn", profile, {"tunnel": {"ipv6": "no"}})
    write(machine, "d.ovpn", profile, "{")
    machine.sandbox.write(f"{FOLDER}/e.ovpn", profile)

    done = autoload(machine, "--ignore-autostart")
    assert done.returncode == 0
    assert "No sessions" in machine.sessions()
    for name, account in (("office", ALICE), ("b.ovpn", ROOT), ("c.ovpn", ROOT)):
        machine.openvpn3("config-remove", "--config", name, "--force", account=account)

    done = autoload(machine)
    assert done.returncode == 1
    assert "a.conf: connected" in done.stdout
    assert "d.ovpn is left out: d.autoload is not JSON" in done.stderr
    assert "b.ovpn is not started: the session asks for static_challenge (Code), and none is stored" in done.stderr
    assert "       Owner: alice" in machine.sessions()
    profiles = json.loads(machine.openvpn3("configs-list", "--json", account=ROOT).stdout)
    assert {p["name"]: p["acl"]["owner"] for p in profiles.values()} == {
        "office": "alice",
        "b.ovpn": "root",
        "c.ovpn": "root",
    }
    assert "ipv6: no" in machine.openvpn3("config-manage", "--config", "c.ovpn", "--show", account=ROOT).stdout
    assert not [secret for secret in ("right", "wrong", ADDRESS) if secret in done.stdout + done.stderr]

    again = autoload(machine)
    assert again.stderr.count("there is a profile of the name") == 3
    assert again.returncode == 0


def test_what_can_not_be_imported(machine: Machine) -> None:
    machine.sandbox.run(["install", "-d", FOLDER])
    write(machine, "a.ovpn", "no-such-option\n", {})
    done = autoload(machine)
    assert (done.returncode, "a.ovpn is not imported: " in done.stderr) == (2, True)
    done = machine.sandbox.run(["openvpn3-autoload", "--directory", "/nowhere"], check=False)
    assert (done.returncode, "which directory?" in done.stderr) == (2, True)
    done = machine.sandbox.run(["openvpn3-autoload", "--directory", FOLDER], account=ALICE, check=False)
    assert "Traceback" not in done.stderr
