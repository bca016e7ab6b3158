"""The lab by itself, with the distribution's client: when these fail, no other system test means anything."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dbus_fast import Message, MessageType

from tests.support.account import ALICE, BOB, ROOT, Account
from tests.support.bus import SystemBusSandbox
from tests.support.netns import CommandFailed, NamespacePair, run
from tests.support.ownserver import OwnServer, OwnServerFailed
from tests.support.pki import Pki
from tests.support.server import (
    OpenVpnFailed,
    OpenVpnProcess,
    OpenVpnServer,
    Proto,
    Wrap,
    password_script,
)
from tests.support.transfer import transfer

pytestmark = pytest.mark.netns

StartServer = Callable[..., OpenVpnServer]


@pytest.fixture
def bare_sandbox(pair: NamespacePair) -> Iterator[SystemBusSandbox]:
    with SystemBusSandbox(pair.client) as sandbox:
        yield sandbox


@pytest.mark.interop
@pytest.mark.parametrize(
    ("proto", "wrap"),
    [("udp", "none"), ("tcp", "tls-auth"), ("udp6", "tls-crypt"), ("tcp6", "tls-crypt-v2")],
)
def test_tunnel_carries_data_and_leaves_nothing(
    pair: NamespacePair, start_server: StartServer, proto: Proto, wrap: Wrap
) -> None:
    before = pair.client.state()
    server = start_server(proto=proto, wrap=wrap)
    with OpenVpnProcess(pair.client, [server.profile(), "disable-dco"]) as client:
        client.wait_connected()
        assert pair.client.state() != before
        transfer(pair.client, pair.server, server.TUNNEL_V4, 100_000)
        transfer(pair.client, pair.server, server.TUNNEL_V6, 100_000)
        transfer(pair.server, pair.client, "10.8.0.2", 100_000)
    assert pair.client.state() == before


@pytest.mark.interop
@pytest.mark.parametrize(
    ("proto", "wrap", "cipher"),
    [
        ("udp", "none", "AES-256-GCM"),
        ("tcp6", "tls-crypt-v2", "CHACHA20-POLY1305"),
        ("udp6", "tls-auth", "AES-128-GCM"),
    ],
)
def test_own_server_takes_one_client_after_the_other(
    pair: NamespacePair, pki: Pki, proto: Proto, wrap: Wrap, cipher: str
) -> None:
    with OwnServer(pair, pki, proto=proto, wrap=wrap, cipher=cipher) as server:
        for _ in range(2):
            with OpenVpnProcess(pair.client, [server.profile(), "disable-dco"]) as client:
                client.wait_connected()
                transfer(pair.client, pair.server, server.TUNNEL_V4, 100_000)
                transfer(pair.server, pair.client, server.CLIENT_V4, 100_000)
        assert not server.log()


def test_own_server_that_cannot_start_says_why(pair: NamespacePair, pki: Pki) -> None:
    with OwnServer(pair, pki, proto="tcp"), pytest.raises(OwnServerFailed, match="Address already in use"):
        OwnServer(pair, pki, proto="tcp")


@pytest.mark.interop
def test_profile_with_files_connects_beyond_the_gateway(pair: NamespacePair, start_server: StartServer) -> None:
    server = start_server(extra=["multihome"])
    with OpenVpnProcess(pair.client, [server.profile("disable-dco", inline=False, remote=pair.FAR_V4)]) as client:
        client.wait_connected()


@pytest.mark.interop
@pytest.mark.parametrize(("password", "welcome"), [("right", True), ("wrong", False)])
def test_auth_script_decides(
    pair: NamespacePair, start_server: StartServer, tmp_path: Path, password: str, welcome: bool
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(f"alice\n{password}\n")
    credentials.chmod(0o600)
    server = start_server(auth=password_script("alice", "right"))
    with OpenVpnProcess(pair.client, [server.profile("disable-dco", f"auth-user-pass {credentials}")]) as client:
        if welcome:
            client.wait_connected()
        else:
            with pytest.raises(OpenVpnFailed, match="AUTH_FAILED"):
                client.wait_connected()


@pytest.mark.interop
@pytest.mark.parametrize("name", ["expired", "stranger"])
def test_server_refuses_bad_certificates(pair: NamespacePair, start_server: StartServer, name: str) -> None:
    server = start_server(proto="tcp")
    with OpenVpnProcess(pair.client, [server.profile("disable-dco", client=name)]) as client:
        client.wait_for(",RECONNECTING,connection-reset")
    assert "VERIFY ERROR" in server.log()


@pytest.mark.interop
def test_server_that_cannot_start_says_why(pair: NamespacePair, pki: Pki) -> None:
    with pytest.raises(OpenVpnFailed, match="Cannot assign requested address"):
        OpenVpnServer(pair, pki, extra=["local 192.0.2.99"])


def test_nothing_outlives_a_pair() -> None:
    with NamespacePair() as pair:
        process = pair.client.popen(["sleep", "1000"])
        name = pair.client.name
        assert name in run(["ip", "netns"]).stdout
    assert process.wait() == -9
    assert name not in run(["ip", "netns"]).stdout


def test_failed_command_shows_its_output(pair: NamespacePair) -> None:
    with pytest.raises(CommandFailed, match="no/such/file"):
        pair.client.run(["cat", "/no/such/file"])


@pytest.mark.system
@pytest.mark.parametrize("account", [ROOT, ALICE, BOB])
async def test_bus_knows_who_calls(bare_sandbox: SystemBusSandbox, account: Account) -> None:
    assert bare_sandbox.run(["id", "-u"], account=account).stdout == f"{account.uid}\n"
    bus = await bare_sandbox.connect(account)
    assert bus.unique_name
    daemon = "org.freedesktop.DBus"
    call = Message(
        destination=daemon,
        path="/org/freedesktop/DBus",
        interface=daemon,
        member="GetConnectionUnixUser",
        signature="s",
        body=[bus.unique_name],
    )
    reply = await bus.call(call)
    bus.disconnect()
    assert reply
    assert (reply.message_type, reply.body) == (MessageType.METHOD_RETURN, [account.uid])


@pytest.mark.system
def test_sandbox_changes_nothing_outside(bare_sandbox: SystemBusSandbox) -> None:
    for path in ("/etc/lab", "/usr/share/lab", "/usr/lib/lab", "/var/lib/lab", "/run/lab"):
        bare_sandbox.write(path, "inside")
        assert bare_sandbox.run(["cat", path]).stdout == "inside"
        assert not Path(path).exists()
    bare_sandbox.write(f"{ALICE.home}/secret", "hers", account=ALICE)
    with pytest.raises(CommandFailed, match="Permission denied"):
        bare_sandbox.run(["cat", f"{ALICE.home}/secret"], account=BOB)


@pytest.mark.system
async def test_bus_restarts(bare_sandbox: SystemBusSandbox) -> None:
    bare_sandbox.stop_bus()
    with pytest.raises(ConnectionRefusedError):
        await bare_sandbox.connect()
    bare_sandbox.start_bus()
    (await bare_sandbox.connect(ALICE)).disconnect()
