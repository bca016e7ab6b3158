"""block-outside-dns: names are asked for through the tunnel or not at all, whoever asks, over whichever device."""

import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from ovpn3.errors import NetworkError
from ovpn3.net import nftables
from tests.support.capture import Capture, capturing
from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

OUTSIDE = {"192.0.2.77", "2001:db8:99::77", NamespacePair.SERVER_V4, NamespacePair.SERVER_V6}
DNS, OTHER = 53, 5353


@pytest.fixture(autouse=True)
def nf_tables() -> None:
    try:
        nftables.check()
    except NetworkError as e:
        pytest.skip(f"needs a kernel with nf_tables: {e}")


@pytest.fixture
def capture(machine: Machine) -> Iterator[Capture]:
    with capturing(machine.pair.client) as capture:
        yield capture


def asked(machine: Machine, capture: Capture, port: int = DNS) -> set[str]:
    """Who is asked for a name over the link: by UDP, TCP, and as a resolver does that knows its link."""
    capture.leaving()
    with machine.pair.client.entered():
        for address in sorted(OUTSIDE):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with (
                socket.socket(family, socket.SOCK_STREAM) as stream,
                socket.socket(family, socket.SOCK_DGRAM) as free,
                socket.socket(family, socket.SOCK_DGRAM) as bound,
            ):
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
                stream.setblocking(False)
                stream.connect_ex((address, port))
                for sock in (free, bound):
                    try:
                        sock.sendto(b"name?", (address, port))
                    except OSError:
                        continue
    machine.pair.client.run(["ping", "-c", "1", "-W", "2", machine.pair.SERVER_V4])  # so all others had the time
    return {where.address for where in capture.leaving() if where.port == port and where.address in OUTSIDE}


def answers(machine: Machine) -> bool:
    """Whether a name server on this machine, as systemd-resolved's, can be asked."""
    with machine.pair.client.entered():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        server.bind(("127.0.0.53", DNS))
        server.settimeout(5)
        client.sendto(b"name?", ("127.0.0.53", DNS))
        return server.recv(10) == b"name?"


@pytest.mark.option("block-outside-dns")
def test_a_tunnel_beside_others(machine: Machine, start_server: StartServer, capture: Capture) -> None:
    """The server is at the very port, so the tunnel's own packets are told from names that are asked for."""
    before = machine.pair.client.state()
    assert asked(machine, capture) == OUTSIDE
    server = start_server(push=["block-outside-dns"], port=DNS, extra=["multihome"])
    machine.connect(server.profile(remote=machine.pair.FAR_V4))
    assert (asked(machine, capture), asked(machine, capture, OTHER)) == (set(), OUTSIDE)
    machine.pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
    assert answers(machine)
    os.kill(machine.service("netcfg"), signal.SIGKILL)
    assert asked(machine, capture) == set()
    machine.disconnect()
    assert machine.pair.client.state() == before
    assert asked(machine, capture) == OUTSIDE


@pytest.mark.parametrize("end", ["disconnect", "kill"])
def test_with_the_kill_switch(machine: Machine, start_server: StartServer, capture: Capture, end: str) -> None:
    before = machine.pair.client.state()
    server = start_server()
    machine.bring_in(server.profile("block-outside-dns"), "vpn")
    machine.openvpn3("config-manage", "--config", "vpn", "--kill-switch", "true")
    machine.openvpn3("session-start", "--config", "vpn")
    machine.openvpn3("session-manage", "--config", "vpn", "--pause")
    assert asked(machine, capture) == set()
    if end == "disconnect":
        machine.disconnect()
    else:
        for pid in (*machine.clients(), machine.service("netcfg")):
            os.kill(pid, signal.SIGKILL)
        assert asked(machine, capture) == set()
        machine.sandbox.run(["openvpn3-admin", "netcfg-service", "--release"])
    assert machine.pair.client.state() == before
    assert asked(machine, capture) == OUTSIDE
