"""Whatever a user or a server gets wrong: one clear error, a non-zero exit, at once, and nothing left over."""

import base64
import time
from collections.abc import Callable

import pytest

from tests.support.account import ALICE
from tests.support.machine import Machine
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]

StartServer = Callable[..., OpenVpnServer]
CA = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"
GOOD = f"client\ndev tun\nremote 192.0.2.1 1194 udp\nsetenv CLIENT_CERT 0\n<ca>\n{CA}\n</ca>\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", ["empty"]),
        (b"\xff\xfe" * 1_000_000, ["bad.ovpn"]),
        (b"client\n" + b"#" + b"x" * 600 + b"\n", ["line 2", "512"]),
        (b"client\ndev\0 tun\n", ["line 2", "NUL"]),
        (b"client\nsetenv UV_X caf\xe9\n", ["line 2", "UTF-8"]),
        (b"client\n<ca>\nAAAA\n", ["line 2", "ca"]),
        (b"client\ndev tun\nremote 192.0.2.1\nca missing.crt\n", ["line 4", "missing.crt"]),
        (GOOD.replace("1194", "99999").encode(), ["line 3", "99999"]),
        (GOOD.encode() + b"no-such-option 1\n", ["line 10", "no-such-option"]),
    ],
    ids=["empty", "junk", "long-line", "nul", "not-utf8", "unclosed", "missing-file", "port", "unknown-option"],
)
def test_profile_is_refused_at_import(machine: Machine, text: bytes, words: list[str]) -> None:
    path = machine.write("bad.ovpn", base64.b64encode(text).decode())
    machine.sandbox.run(["sh", "-c", f"base64 -d {path} > {path}.raw && mv {path}.raw {path}"], account=ALICE)
    done = machine.openvpn3("config-import", "--config", path, check=False)
    assert done.returncode in (7, 8)
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert machine.openvpn3("configs-list", "--count").stdout.strip().endswith(" 0")


@pytest.mark.parametrize("name", ["a\x1b[31mb", "line\nbreak", "x" * 201, ""])
def test_names_are_refused(machine: Machine, name: str) -> None:
    call = ["dbus-send", "--system", "--print-reply", "--dest=net.openvpn.v3.configuration"]
    member = ["/net/openvpn/v3/configuration", "net.openvpn.v3.configuration.Import"]
    arguments = [f"string:{name}", f"string:{GOOD}", "boolean:false", "boolean:false"]
    done = machine.sandbox.run([*call, *member, *arguments], account=ALICE, check=False)
    assert "Invalid configuration profile" in done.stderr
    assert machine.openvpn3("configs-list", "--count").stdout.strip().endswith(" 0")


def fails(machine: Machine, profile: str, *words: str, within_s: float, **how: str) -> None:
    """A start that must fail, say why, and leave nothing."""
    before = machine.pair.client.state()
    machine.bring_in(profile, "bad")
    machine.sessions()  # services are up
    started = time.monotonic()
    done = machine.openvpn3("session-start", "--config", "bad", check=False, **how)
    seconds = time.monotonic() - started
    said = done.stdout + done.stderr
    assert done.returncode == 8, said
    for word in words:
        assert word.lower() in said.lower(), said
    assert seconds < within_s, said
    assert machine.sessions().strip() == "No sessions available"
    assert machine.clients() == []
    assert machine.pair.client.state() == before


def test_missing_ca(machine: Machine) -> None:
    fails(machine, "client\ndev tun\nremote 192.0.2.1\n", "ca", within_s=10)


def test_wrong_ca(machine: Machine, start_server: StartServer, pki: Pki) -> None:
    profile = start_server().profile().replace((pki.directory / "ca.crt").read_text(), pki.other_ca)
    fails(machine, profile, "certificate", within_s=10)


def test_expired_client_certificate(machine: Machine, start_server: StartServer) -> None:
    fails(machine, start_server().profile(client="expired"), "expired", within_s=10)


def test_wrong_control_channel_key(machine: Machine, start_server: StartServer, pki: Pki) -> None:
    server = start_server(wrap="tls-crypt")
    line = (pki.directory / "static.key").read_text().splitlines()[5]
    profile = server.profile("server-poll-timeout 2").replace(line, "0123456789abcdef" * 2)
    fails(machine, profile, "tls-crypt", within_s=15)


def test_unresolvable_host(machine: Machine) -> None:
    fails(machine, GOOD.replace("192.0.2.1", "no-such-host.invalid"), "no-such-host.invalid", within_s=12)


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_dead_port(machine: Machine, pki: Pki, proto: str) -> None:
    profile = GOOD.replace("192.0.2.1 1194 udp", f"{machine.pair.SERVER_V4} 1 {proto}").replace(CA, pki.ca)
    fails(machine, profile, "refused", within_s=10)
