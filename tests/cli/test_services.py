"""What root asks the services with openvpn3-admin, and the editing of their settings files."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from ovpn3.cli.admin import ADMIN
from ovpn3.cli.verbs import netcfg_service
from tests.support.account import ALICE, ROOT, Account
from tests.support.bus import SystemBusSandbox
from tests.support.privatebus import private_bus

pytestmark = pytest.mark.system
STATE = "/var/lib/openvpn3"


def admin(machine: SystemBusSandbox, *arguments: str, account: Account = ROOT) -> "subprocess.CompletedProcess[str]":
    return machine.run(["openvpn3-admin", *arguments], account=account, check=False)


def test_the_log_service(machine: SystemBusSandbox) -> None:
    shown = admin(machine, "log-service")
    assert shown.returncode == 0
    labels = [line.split(":")[0].strip() for line in shown.stdout.splitlines()]
    assert labels == [
        "Log method",
        "Attached log subscriptions",
        "Log timestamps",
        "Log D-Bus details",
        "Current log level",
    ]
    changed = admin(machine, "log-service", "--log-level", "5", "--dbus-details", "true")
    assert "Current log level: 5 (was 3)" in changed.stdout
    assert "Log D-Bus details: enabled (was disabled)" in changed.stdout
    again = admin(machine, "log-service", "--log-level", "3", "--dbus-details", "false").stdout
    assert "Current log level: 3 (was 5)" in again
    assert admin(machine, "log-service", "--log-level", "7").returncode == 9
    assert admin(machine, "log-service", "--timestamp", "perhaps").returncode == 9
    assert admin(machine, "log-service", "--timestamp", "true", account=ALICE).returncode == 8


def test_who_is_attached_to_the_log(machine: SystemBusSandbox) -> None:
    machine.run(["openvpn3", "configs-list"], account=ALICE)
    lines = admin(machine, "log-service", "--list-subscriptions").stdout.splitlines()
    assert lines[0].split() == ["Tag", "PID", "Bus", "name", "Interface", "Object", "path"]
    rows = [line.split() for line in lines[2:-1]]
    assert any(row[3] == "net.openvpn.v3.configuration" and row[1].isdecimal() for row in rows)


def test_a_settings_file(machine: SystemBusSandbox) -> None:
    def read() -> dict[str, object]:
        text = machine.run(["cat", f"{STATE}/netcfg.json"]).stdout
        lines = [line for line in text.splitlines() if not line.strip().startswith("//")]
        found: dict[str, object] = json.loads("\n".join(lines))
        return found

    assert admin(machine, "netcfg-service", "--config-show").returncode == 2
    for key, value in (("log-level", "5"), ("systemd-resolved", "yes"), ("redirect-method", "none")):
        done = admin(machine, "netcfg-service", "--config-set", key, value)
        assert (done.returncode, done.stderr) == (0, "")
    shown = admin(machine, "netcfg-service", "--config-show").stdout.splitlines()
    # Scripts for the original look for these two lines.
    assert shown[0] == f"Loading configuration file: {STATE}/netcfg.json"
    assert "Systemd-resolved in use: Yes" in shown
    assert read() == {"log_level": "5", "systemd_resolved": True, "redirect_method": "none"}
    assert machine.run(["stat", "-c", "%U %a", f"{STATE}/netcfg.json"]).stdout == "openvpn 644\n"
    refused = admin(machine, "netcfg-service", "--config-set", "resolv-conf", "/etc/resolv.conf")
    assert (refused.returncode, "systemd-resolved exclude each other" in refused.stderr) == (8, True)
    assert "resolv_conf_file" not in read()
    assert admin(machine, "netcfg-service", "--config-unset", "systemd-resolved").returncode == 0
    assert "systemd_resolved" not in read()
    assert "Server route redirection mode: none\n" in admin(machine, "netcfg-service", "--config-show").stdout
    for key in ("log-level", "redirect-method"):
        assert admin(machine, "netcfg-service", "--config-unset", key).returncode == 0
    assert admin(machine, "netcfg-service", "--config-show").stdout.splitlines()[1:] == ["Configuration file is empty"]
    assert admin(machine, "netcfg-service", "--config-set", "nonsense", "1").returncode == 9
    assert admin(machine, "netcfg-service", "--config-set", "log-level").returncode == 8
    other = ("--config-file-override", "/run/other.json")
    assert admin(machine, "log-service", "--config-set", "syslog", "true", *other).returncode == 0
    assert "syslog: Yes\n" in admin(machine, "log-service", "--config-show", *other).stdout
    assert admin(machine, "netcfg-service", "--config-show", account=ALICE).returncode == 8
    machine.run(["rm", f"{STATE}/netcfg.json"])


def test_who_listens_to_network_changes(machine: SystemBusSandbox) -> None:
    assert "Nobody listens" in admin(machine, "netcfg-service", "--list-subscribers").stdout
    assert admin(machine, "netcfg-service", "--unsubscribe", ":1.999999").returncode == 8
    assert admin(machine, "netcfg-service", "--unsubscribe", "x", "--list-subscribers").returncode == 8
    assert admin(machine, "netcfg-service").returncode == 0


def test_sessions_of_all_users(machine: SystemBusSandbox) -> None:
    assert admin(machine, "sessionmgr-service", "--list-sessions").stdout == "No sessions available\n"
    profile = "client\ndev tun\nremote 192.0.2.1\nauth-user-pass\n<ca>\n-----BEGIN CERTIFICATE-----\n</ca>\n"
    machine.write(f"{ALICE.home}/away.ovpn", profile, account=ALICE)
    machine.run(["openvpn3", "config-import", "-c", f"{ALICE.home}/away.ovpn", "-n", "away"], account=ALICE)
    config = machine.run(["openvpn3", "configs-list", "--json"], account=ALICE).stdout.split('"')[1]
    where = ["--dest", "net.openvpn.v3.sessions", "--object-path", "/net/openvpn/v3/sessions"]
    command = ["gdbus", "call", "--system", *where, "--method", "net.openvpn.v3.sessions.NewTunnel", config]
    started = machine.run(command, account=ALICE)
    path = started.stdout.split("'")[1]
    lines = admin(machine, "sessionmgr-service", "--list-sessions").stdout.splitlines()
    assert lines[0].split() == ["Device", "Created", "Owner", "PID"]
    assert "alice" in lines[2]
    verbose = admin(machine, "sessionmgr-service", "--list-sessions-verbose").stdout
    assert f"\n -                {path}\n" in verbose
    assert "\n                  away                        Connection, Configuration requires user input" in verbose
    assert admin(machine, "sessionmgr-service", "--list-sessions", account=ALICE).returncode == 8

    def acl(*words: str) -> "subprocess.CompletedProcess[str]":
        return machine.run(["openvpn3", "session-acl", "--path", path, *words], account=ALICE, check=False)

    assert acl().returncode == 8
    done = acl("--grant", "bob", "--allow-log-access", "true", "--show")
    assert done.returncode == 0
    assert "Access granted to bob" in done.stdout
    assert "Users granted log access: yes" in done.stdout
    assert "bob" in done.stdout.splitlines()[-1]
    assert acl("--public-access", "yes").returncode == 3
    assert "Public access: yes" in acl("--public-access", "true").stdout
    assert acl("--revoke", "bob").returncode == 0
    assert "granted access" not in acl("--show").stdout
    machine.run(["openvpn3", "session-manage", "--path", path, "--disconnect"], account=ALICE)


def test_versions_of_the_services(machine: SystemBusSandbox) -> None:
    done = admin(machine, "version", "--services")
    assert (done.returncode, done.stderr) == (0, "")
    blocks = done.stdout.split("\n\n")[1:]
    assert len(blocks) == 5
    assert all(re.search(r"\n    openvpn3-service-\w+: v\d+", block) for block in blocks), done.stdout
    assert machine.run(["openvpn3", "version", "--services"], account=ALICE, check=False).returncode == 8


def test_services_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(netcfg_service, "check_root", lambda: None)
    with private_bus(tmp_path) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        assert ADMIN.main(["version", "--services"]) == 2
        assert capsys.readouterr().out.count("    not available: ") == 5
        assert ADMIN.main(["netcfg-service", "--list-subscribers"]) == 3
        assert "can't be reached" in capsys.readouterr().err


def test_without_a_journal(machine: SystemBusSandbox) -> None:
    done = admin(machine, "journal")
    assert done.returncode in (0, 8)
    assert admin(machine, "journal", "--since", "tomorrow").returncode == 9
    assert admin(machine, "journal", account=ALICE).returncode == 8
