"""How the client gets to a server: from which socket, from where it may be answered, how often it tries."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.server import OpenVpnServer
from tests.support.transfer import transfer

pytestmark = [pytest.mark.interop, pytest.mark.system]
StartServer = Callable[..., OpenVpnServer]


@pytest.mark.option("float")
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


@pytest.mark.option("bind", "local", "lport")
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


@pytest.mark.option("connect-retry-max")
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


@pytest.fixture
def hosts(machine: Machine, tmp_path: Path) -> None:
    """The server's name has an address of each family."""
    file = tmp_path / "hosts"
    file.write_text(f"{machine.pair.SERVER_V6} vpn.example\n{machine.pair.SERVER_V4} vpn.example\n")
    machine.sandbox.run(["mount", "--bind", str(file), "/etc/hosts"])


def tried(machine: Machine) -> list[str]:
    """Addresses, in order."""
    return re.findall(r"connecting to \S* ?\[?([0-9a-f.:]+?)\]?:\d+ \(", machine.sandbox.log())


@pytest.mark.option("remote", "proto")
@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize("kind", ["udp", "tcp"])
@pytest.mark.parametrize("family", ["4", "6"])
def test_an_address_family(machine: Machine, start_server: StartServer, kind: str, family: str) -> None:
    server = start_server(proto=kind + family)
    machine.connect(server.profile(remote="vpn.example"))
    assert tried(machine) == [machine.pair.SERVER_V4 if family == "4" else machine.pair.SERVER_V6]


@pytest.mark.option("port", "rport", "proto")
@pytest.mark.usefixtures("hosts")
def test_every_address_of_a_name_is_tried(machine: Machine, start_server: StartServer) -> None:
    """IPv6 comes first here, and nobody listens there; port and protocol stand in lines of their own."""
    server = start_server(proto="tcp4")
    profile = server.profile("port 1", "rport 1194", "proto tcp", remote="vpn.example").replace(" 1194 tcp4\n", "\n", 1)
    machine.connect(profile)
    assert tried(machine) == [machine.pair.SERVER_V6, machine.pair.SERVER_V4]


@pytest.mark.option("remote-random-hostname")
def test_a_name_that_is_another_each_time(machine: Machine, start_server: StartServer) -> None:
    machine.bring_in(start_server().profile("remote-random-hostname", remote="vpn.example"), "vpn")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert re.search(r"can't resolve [0-9a-f]{12}\.vpn\.example", done.stderr), done.stderr


@pytest.mark.option("sndbuf", "rcvbuf")
@pytest.mark.parametrize(
    ("line", "socket_has"), [("sndbuf 50000", ",tb100000,"), ("rcvbuf 60000", ",rb120000,")]
)  # the kernel counts twice
def test_buffers(machine: Machine, start_server: StartServer, line: str, socket_has: str) -> None:
    machine.connect(start_server().profile(line))
    assert socket_has in machine.pair.client.run(["ss", "-Hunm"]).stdout


@pytest.fixture
def silent(machine: Machine) -> Iterator[socket.socket]:
    """Somebody who takes datagrams and never answers."""
    with machine.pair.server.entered():
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener:
        listener.bind(("0.0.0.0", 1300))
        listener.setblocking(False)
        yield listener


@pytest.mark.option("server-poll-timeout", "connect-timeout")
@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("option", ["server-poll-timeout", "connect-timeout"])
def test_how_long_an_answer_may_take(machine: Machine, start_server: StartServer, option: str) -> None:
    machine.bring_in(start_server().profile(f"{option} 1").replace(" 1194 ", " 1300 "), "vpn")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert "within 1 s" in done.stderr


@pytest.mark.option("tls-timeout", "tls-timeout-ms")
@pytest.mark.parametrize(
    ("line", "least", "most"), [("tls-timeout-ms 100", 4, 6), ("tls-timeout 1", 2, 2), ("tls-timeout 3", 1, 1)]
)
def test_how_often_it_is_asked_for(
    machine: Machine, start_server: StartServer, silent: socket.socket, line: str, least: int, most: int
) -> None:
    """In two seconds, with pauses that double."""
    lines = (line, "server-poll-timeout 2", "connect-retry-max 1")
    machine.bring_in(start_server().profile(*lines).replace(" 1194 ", " 1300 "), "vpn")
    machine.openvpn3("session-start", "--config", "vpn", check=False)
    count = 0
    with suppress(BlockingIOError):
        while silent.recv(2048):
            count += 1
    assert least <= count <= most


@pytest.mark.option("hand-window")
def test_how_long_a_log_in_may_take(machine: Machine, start_server: StartServer) -> None:
    """This server decides never."""
    machine.bring_in(start_server(auth="exit 2").profile("hand-window 1"), "vpn")
    started = time.monotonic()
    done = machine.openvpn3("session-start", "--config", "vpn", input="alice\nright\n", check=False)
    assert done.returncode == 8
    assert time.monotonic() - started < 5
