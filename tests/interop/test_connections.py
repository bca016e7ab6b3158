"""How the client gets to a server: from which socket, from where it may be answered, how often it tries."""

import socket
from collections.abc import Callable

import pytest

from tests.support.machine import Machine
from tests.support.server import OpenVpnServer
from tests.support.transfer import transfer

pytestmark = [pytest.mark.interop, pytest.mark.system]
StartServer = Callable[..., OpenVpnServer]


def test_an_answer_from_another_address(machine: Machine, start_server: StartServer) -> None:
    """Without multihome the server answers from the address on the link, whichever it was asked at."""
    server = start_server()
    machine.bring_in(server.profile("server-poll-timeout 1", remote=machine.pair.FAR_V4), "strict")
    assert "no answer" in machine.openvpn3("session-start", "--config", "strict", check=False).stderr
    machine.connect(server.profile("float", remote=machine.pair.FAR_V4), "floating")
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V4, 10_000_000)
    transfer(machine.pair.server, machine.pair.client, "10.8.0.2", 10_000_000)
    assert "OFFLOAD_GSO" in machine.openvpn3("session-stats", "--config", "floating").stdout


def test_floating_over_ipv6(machine: Machine, start_server: StartServer) -> None:
    server = start_server(proto="udp6")
    machine.connect(server.profile("float", remote=machine.pair.FAR_V6))
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V6, 1_000_000)


@pytest.mark.parametrize("proto", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        (["local 198.51.100.2", "lport 40001"], "198.51.100.2:40001"),
        (["lport 40001"], ":40001"),
        (["bind"], ":1194"),
    ],
)
def test_our_end_of_the_connection(
    machine: Machine, start_server: StartServer, proto: str, lines: list[str], seen: str
) -> None:
    server = start_server(proto=proto)
    machine.connect(server.profile(*lines).replace("nobind\n", ""))
    assert f"{seen} [client] Peer Connection Initiated" in server.log()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["local 192.0.2.77"], "192.0.2.77, port any on this side: Cannot assign requested address"),
        (["local 2001:db8::77"], "Address family not supported"),
        (["local 127.0.0.1", "lport 22022"], "Address already in use"),
    ],
)
def test_an_end_that_cannot_be_had(machine: Machine, start_server: StartServer, lines: list[str], reason: str) -> None:
    server = start_server()
    with machine.pair.client.entered():
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taken.bind(("127.0.0.1", 22022))
    with taken:
        machine.bring_in(server.profile(*lines), "vpn")
        assert reason in machine.openvpn3("session-start", "--config", "vpn", check=False).stderr


def test_rounds_are_counted(machine: Machine, start_server: StartServer) -> None:
    """Nobody listens at the first two; each is tried twice, with a pause between the rounds, before it is given up."""
    server = start_server(proto="tcp")
    lines = [f"remote {machine.pair.SERVER_V4} {port} tcp" for port in (1, 2)]
    profile = server.profile(*lines, "connect-retry 1", "connect-retry-max 2").replace(" 1194 tcp", " 3 tcp")
    machine.bring_in(profile, "vpn")
    machine.openvpn3("session-start", "--config", "vpn", check=False)
    log = machine.sandbox.log()
    tried = [log.count(f"connecting to {machine.pair.SERVER_V4}:{port} ") for port in (1, 2, 3)]
    assert tried == [2, 2, 2]
