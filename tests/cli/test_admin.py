"""openvpn3-admin on a machine with the product installed; the last tests take it away again."""

import json
import subprocess

import pytest

from tests.support.account import ALICE
from tests.support.bus import SystemBusSandbox

pytestmark = pytest.mark.system

STATE = "/var/lib/openvpn3"
ACTIVATION = "/usr/share/dbus-1/system-services/net.openvpn.v3.log.service"


def admin(machine: SystemBusSandbox, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return machine.run(["openvpn3-admin", *arguments], check=False)


def inside(machine: SystemBusSandbox, *command: str) -> str:
    return machine.run(command).stdout


def settings(machine: SystemBusSandbox, file: str) -> object:
    lines = inside(machine, "cat", file).splitlines()
    return json.loads("\n".join(line for line in lines if not line.lstrip().startswith("//")))


@pytest.mark.parametrize("command", ["install", "uninstall", "init-config"])
def test_root_only(machine: SystemBusSandbox, command: str) -> None:
    done = machine.run(["openvpn3-admin", command], account=ALICE, check=False)
    assert (done.returncode, done.stdout) == (8, "")
    assert done.stderr == f"openvpn3-admin/{command}: ** ERROR ** only root can do this\n"


def test_installed(machine: SystemBusSandbox) -> None:
    assert inside(machine, "stat", "-c", "%U:%G %a", STATE, f"{STATE}/configs") == "openvpn:openvpn 750\n" * 2
    assert inside(machine, "getent", "passwd", "openvpn").endswith("nologin\n")
    assert admin(machine, "install").stdout == "Everything is installed already.\n"


def test_a_running_bus_is_told(machine: SystemBusSandbox) -> None:
    inside(machine, "rm", ACTIVATION)
    assert admin(machine, "install").stdout == f"write {ACTIVATION}\nThe system bus has read the new files.\n"


def test_init_config(machine: SystemBusSandbox) -> None:
    log, netcfg = f"{STATE}/log-service.json", f"{STATE}/netcfg.json"
    done = admin(machine, "init-config", "--debug")
    assert done.stdout.splitlines() == [
        "systemd-journald active: False; systemd-resolved answers: False, is the nameserver: False",
        f"would write {log}: syslog = true",
        f'would write {netcfg}: resolv_conf_file = "/etc/resolv.conf"',
    ]
    assert machine.run(["test", "-e", log], check=False).returncode == 1
    assert admin(machine, "init-config", "--write-configs").returncode == 0
    assert settings(machine, log) == {"syslog": True}
    assert inside(machine, "stat", "-c", "%U:%G %a", log, netcfg) == "openvpn:openvpn 644\n" * 2
    machine.write(log, '{\n// Level\n"log_level": "5", "journald": true}')
    assert "exists" in admin(machine, "init-config", "--write-configs").stdout
    assert "Level" in inside(machine, "cat", log)
    assert admin(machine, "init-config", "--write-configs", "--force").returncode == 0
    assert settings(machine, log) == {"log_level": "5", "syslog": True}
    inside(machine, "rm", log, netcfg)


def test_run_an_imported_profile(machine: SystemBusSandbox) -> None:
    ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    profile = f"client\ndev tun\nremote 198.51.100.1 9 udp\nauth-user-pass\n<ca>\n{ca}</ca>\n"
    machine.write("/run/mine.ovpn", profile)
    machine.run(["openvpn3", "config-import", "-c", "/run/mine.ovpn", "-n", "mine"])
    process = machine.popen(["openvpn3", "run", "mine"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 77
    assert "Auth User name: standard input ended" in err
    assert "no account" not in err
    machine.run(["openvpn3", "config-remove", "--force", "-c", "mine"])


def test_uninstall(machine: SystemBusSandbox) -> None:
    assert "would remove" in admin(machine, "uninstall", "--dry-run").stdout
    assert machine.run(["test", "-e", ACTIVATION], check=False).returncode == 0
    machine.run(["openvpn3", "sessions-list"])
    done = admin(machine, "uninstall")
    assert "stop net.openvpn.v3.sessions\n" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    for path in (ACTIVATION, "/usr/share/openvpn3", STATE):
        assert machine.run(["test", "-e", path], check=False).returncode == 1, path
    assert machine.run(["getent", "passwd", "openvpn"], check=False).returncode != 0
    assert inside(machine, "find", "/usr/share/dbus-1", "/usr/share/polkit-1", "-name", "net.openvpn*") == ""
    assert admin(machine, "uninstall").returncode == 8


def test_uninstall_keeps_profiles_and_their_owner(machine: SystemBusSandbox) -> None:
    assert admin(machine, "install").returncode == 0
    machine.run(["install", "-o", "openvpn", "/dev/null", f"{STATE}/configs/x.json"])
    assert "account" not in admin(machine, "uninstall").stdout
    assert inside(machine, "stat", "-c", "%U", f"{STATE}/configs/x.json") == "openvpn\n"
