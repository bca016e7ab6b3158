"""The doctor on a machine that is well, and on one where all kinds of things are wrong."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ovpn3.cli.checks import Level, profiles
from ovpn3.profile import parse, to_json
from tests.support import schema
from tests.support.account import ALICE
from tests.support.machine import Machine
from tests.support.pki import Pki
from tests.support.server import Access, OpenVpnServer

NETCFG = "/usr/share/dbus-1/system-services/net.openvpn.v3.netcfg.service"


def doctor(machine: Machine, code: int, *before: str) -> list[dict[str, str]]:
    done = machine.sandbox.run([*before, "openvpn3-admin", "doctor", "--json"], check=False)
    assert (done.returncode, done.stderr) == (code, "")
    found: dict[str, Any] = json.loads(done.stdout)
    schema.check(found, "openvpn3-admin doctor")
    checks: list[dict[str, str]] = found["checks"]
    for level in ("problem", "warning"):
        assert found[f"{level}s"] == sum(check["level"] == level for check in checks)
    assert all(bool(check["advice"]) == (check["level"] != "ok") for check in checks)
    return checks


def of(checks: list[dict[str, str]], subject: str) -> list[tuple[str, str]]:
    return [(check["level"], check["text"]) for check in checks if check["subject"] == subject]


@pytest.mark.system
@pytest.mark.interop
def test_a_machine_that_is_well_and_one_that_is_not(
    machine: Machine, start_server: Callable[..., OpenVpnServer]
) -> None:
    server = start_server()
    machine.sandbox.run(["rm", "-f", "/etc/resolv.conf"])  # may be a link to what isn't here
    machine.sandbox.write("/etc/resolv.conf", "nameserver 198.51.100.1\n")
    assert of(doctor(machine, 0), "sessions") == [("ok", "none")]
    machine.connect(server.profile(), "office")
    checks = doctor(machine, 0)
    # What the host of the tests has, and whether its clock is kept right, is not ours to say.
    assert {c["subject"] for c in checks if c["level"] != "ok"} <= {"tun", "cipher", "clock"}
    assert of(checks, "sessions") == [("ok", "1 connected")]
    assert of(checks, "mtu") == [("ok", "eth0, the way out, carries packets of 1500 octets")]
    text = machine.sandbox.run(["openvpn3-admin", "doctor"]).stdout
    assert "  OK      netcfg        v" in text
    assert max(map(len, text.splitlines())) <= 80
    machine.sandbox.run(["rm", "-r", "/usr/share/openvpn3/manifest.json", "/usr/share/man/man1"])  # as of a package
    assert of(doctor(machine, 0), "installation")[0][0] == "ok"
    assert machine.sandbox.run(["openvpn3-admin", "doctor"], account=ALICE, check=False).returncode == 8

    expired = machine.write("old.ovpn", server.profile(client="expired"))
    machine.openvpn3("config-import", "--config", expired, "--name", "old", "--persistent")
    machine.pair.client.ip("link", "set", "eth0", "mtu", "1300")
    machine.sandbox.write("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    machine.sandbox.run(["rm", "/usr/share/dbus-1/system.d/net.openvpn.v3.log.conf"])
    machine.sandbox.run(["sh", "-c", "echo nonsense > /var/lib/openvpn3/configs/damaged.json"])
    machine.pair.server.kill_all()
    machine.openvpn3("session-manage", "--config", "office", "--restart")
    checks = doctor(machine, 1)
    (certificate,) = of(checks, "certificate")
    assert certificate[0] == "problem"
    assert certificate[1].startswith("alice's old: its certificate ended ")
    assert of(checks, "mtu") == [("warning", "eth0, the way out, carries packets of 1300 octets only")]
    assert of(checks, "resolver") == [("problem", "/etc/resolv.conf names systemd-resolved, which doesn't run")]
    assert of(checks, "profile") == [("warning", "/var/lib/openvpn3/configs/damaged.json can't be read")]
    (session,) = of(checks, "session")
    assert session[1].startswith("alice's office: Connection, Client ")
    (installation,) = of(checks, "installation")
    missing = "/usr/share/dbus-1/system.d/net.openvpn.v3.log.conf"
    assert installation == ("warning", f"not as this version has it: {missing}")

    machine.disconnect("office")
    netcfg = machine.service("netcfg")
    script = f"kill {netcfg}; sed -i 's|^Exec=.*|Exec=/bin/false|' {NETCFG}"
    reload = "dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ReloadConfig"
    machine.sandbox.run(["sh", "-c", f"{script}; {reload}; while kill -0 {netcfg} 2>/dev/null; do :; done"])
    assert of(doctor(machine, 1), "netcfg")[0][0] == "problem"
    nowhere = doctor(machine, 1, "env", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere")
    assert of(nowhere, "bus")[0][0] == "problem"
    assert of(nowhere, "certificate") == [certificate]


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [
        (0, Level.PROBLEM, "ended"),
        (1, Level.WARNING, "in 0 days"),
        (2, Level.WARNING, "in 1 day"),
        (29, Level.WARNING, "in 28 days"),
        (40, Level.OK, "certificates good until"),
        (100000, Level.PROBLEM, "begins"),
    ],
)
def test_expiry(pki: Pki, tmp_path: Path, days: int, level: Level, words: str) -> None:
    profile = Access(pki, "192.0.2.1", 1194, "udp", "none", "AES-256-GCM").profile()
    document = {"owner": 0, "name": "x", "profile": to_json(parse(profile))}
    (tmp_path / "x.json").write_text(json.dumps(document))
    (tmp_path / "y.json.damaged").write_text("")
    files = (pki.directory / "client.crt", pki.directory / "ca.crt")
    end = min(x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc for file in files)
    found = list(profiles.check(tmp_path, end - timedelta(days=days, seconds=-1)))
    assert (Level.WARNING, f"{tmp_path}/y.json.damaged is damaged") in [(f.level, f.text) for f in found]
    assert any(f.level is level and words in f.text for f in found), found
