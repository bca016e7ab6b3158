"""Our client against a real OpenVPN server in every mode, through all services."""

import itertools
import re
from collections.abc import Callable

import pytest

from tests.support.machine import Machine
from tests.support.ownserver import OwnServer
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer
from tests.support.transfer import transfer

pytestmark = [pytest.mark.interop, pytest.mark.system]

PROTOCOLS = ("udp", "tcp")
WRAPPINGS = ("none", "tls-auth", "tls-crypt", "tls-crypt-v2")
CIPHERS = ("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305")
SIZE = 10_000_000
CLIENT_V4 = "10.8.0.2"

# Every protocol with every wrapping, and the ciphers in turn so that each meets both protocols.
COVERING = {(p, w, CIPHERS[(i + j) % 3]) for i, p in enumerate(PROTOCOLS) for j, w in enumerate(WRAPPINGS)}
PRODUCT = [
    pytest.param(*modes, marks=[] if modes in COVERING else [pytest.mark.full])
    for modes in itertools.product(PROTOCOLS, WRAPPINGS, CIPHERS)
]


@pytest.mark.option("tls-auth", "tls-crypt", "tls-crypt-v2", "key-direction", "data-ciphers")
@pytest.mark.parametrize(("proto", "wrap", "cipher"), PRODUCT)
def test_mode(machine: Machine, start_server: Callable[..., OpenVpnServer], proto: str, wrap: str, cipher: str) -> None:
    server = start_server(proto=proto, wrap=wrap, cipher=cipher)
    before = machine.pair.client.state()
    machine.connect(server.profile())
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V4, SIZE)
    transfer(machine.pair.server, machine.pair.client, CLIENT_V4, SIZE)
    machine.pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V6])
    assert f",cipher {cipher}," in server.log()  # of the push reply
    machine.disconnect()
    assert machine.pair.client.state() == before


@pytest.mark.parametrize("proto", ["udp6", "tcp6"])
def test_over_ipv6(machine: Machine, start_server: Callable[..., OpenVpnServer], proto: str) -> None:
    server = start_server(proto=proto)
    machine.connect(server.profile())
    transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V6, SIZE)


def test_renegotiation_loses_nothing(machine: Machine, start_server: Callable[..., OpenVpnServer]) -> None:
    """A server that wants new keys every 3 s: twelve seconds of pings, none lost, none late."""
    server = start_server(reneg_sec=3)
    machine.connect(server.profile())
    pings = machine.pair.client.run(["ping", "-i", "0.05", "-c", "240", "-W", "2", server.TUNNEL_V4], timeout=60)
    times = [float(t) for t in re.findall(r"time=([\d.]+) ms", pings.stdout)]
    assert len(times) == 240
    assert max(times) < 500
    assert server.log().count("TLS: soft reset") + server.log().count("VERIFY OK: depth=0") >= 4


@pytest.mark.parametrize("epochs", [False, True])
def test_our_own_data_path_at_the_other_end(machine: Machine, pki: Pki, epochs: bool) -> None:
    """And new keys every 4 s: twice as long as we wait before we send with ours."""
    with OwnServer(machine.pair, pki, reneg_sec=4, epochs=epochs) as server:
        machine.connect(server.profile())
        transfer(machine.pair.client, machine.pair.server, server.TUNNEL_V4, SIZE)
        transfer(machine.pair.server, machine.pair.client, server.CLIENT_V6, SIZE)
        pings = machine.pair.client.run(["ping", "-i", "0.05", "-c", "120", "-W", "2", server.TUNNEL_V4], timeout=60)
        assert pings.stdout.count(" time=") == 120
        machine.disconnect()
        assert not server.log()


def test_a_redirected_gateway_keeps_the_way_to_the_server(
    machine: Machine, start_server: Callable[..., OpenVpnServer]
) -> None:
    """The server is off the link, so only a route of its own keeps its packets out of the tunnel."""
    server = start_server(push=["redirect-gateway def1 ipv6"], extra=["multihome"])
    before = machine.pair.client.state()
    machine.connect(server.profile(remote=machine.pair.FAR_V4))
    assert "dev tun" in machine.pair.client.run(["ip", "route", "get", "192.0.2.1"]).stdout
    assert "dev tun" in machine.pair.client.run(["ip", "-6", "route", "get", "2001:db8:ffff::1"]).stdout
    assert "dev tun" not in machine.pair.client.run(["ip", "route", "get", machine.pair.FAR_V4]).stdout
    machine.pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
    machine.disconnect()
    assert machine.pair.client.state() == before
