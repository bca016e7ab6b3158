"""Every flag of redirect-gateway: what leaves beside the tunnel, seen on the outer link, whichever service is killed.

Programs send to a far host, to another one on the link and to the router there, and to the VPN server's address, in
both families. Of that may leave what the flags say, and nothing else.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.capture import Capture, Leaving, capturing
from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

FAR4, FAR6 = "192.0.2.77", "2001:db8:99::77"
GROUP = "224.0.0.251"  # a multicast one: it is routed as far hosts are
LAN4, LAN6 = "198.51.100.9", "2001:db8:51::9"
ROUTERS = {NamespacePair.SERVER_V4, NamespacePair.SERVER_V6}
SERVER = NamespacePair.FAR_V4
ALL = {FAR4, FAR6, GROUP, LAN4, LAN6, SERVER, *ROUTERS}
TUNNEL = Leaving(SERVER, 1194)

LAN = {LAN4, LAN6}
ALWAYS = {SERVER, *ROUTERS}
# What leaves, and what no longer does with the kill switch.
FLAGS = {
    "redirect-gateway": (LAN | {FAR6}, {FAR6}),
    "redirect-gateway def1 local": (LAN | {FAR6}, {FAR6}),
    "redirect-gateway autolocal bypass-dhcp bypass-dns": (LAN | {FAR6}, {FAR6}),
    "redirect-gateway def1 ipv6": (LAN, set()),
    "redirect-gateway ipv6 !ipv4": (LAN | {FAR4, GROUP}, set()),
    "redirect-gateway def1 block-local": ({FAR6}, {FAR6}),
    "redirect-gateway def1 ipv6 block-local": (set(), set()),
    "redirect-private def1": (LAN | {FAR4, FAR6, GROUP}, set()),
    "redirect-private block-local": ({FAR4, FAR6, GROUP}, set()),
}
MOST = "redirect-gateway def1 ipv6 block-local"
SERVICES = ("log", "configmgr", "backendstart", "sessionmgr", "netcfg")


@pytest.fixture
def capture(machine: Machine) -> Iterator[Capture]:
    machine.pair.server.ip("address", "add", f"{LAN4}/32", "dev", "eth0")
    machine.pair.server.ip("address", "add", f"{LAN6}/128", "dev", "eth0", "nodad")
    with capturing(machine.pair.client) as capture:
        yield capture


def knock(machine: Machine) -> None:
    """As programs do: a datagram and a connection to everybody, a few ports each."""
    for address in sorted(ALL):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with machine.pair.client.entered():
            datagrams, stream = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
        with datagrams, stream:
            stream.setblocking(False)
            stream.connect_ex((address, 443))
            for port in (9, 53):
                try:
                    datagrams.sendto(b"secret", (address, port))
                except OSError:
                    continue


def escaped(machine: Machine, capture: Capture, expected: set[str]) -> set[str]:
    """Where packets go now, beside the tunnel's own; what is expected has a second to leave."""
    capture.leaving()
    knock(machine)
    seen: set[Leaving] = set()
    for _ in range(20):
        seen |= capture.leaving()
        if {address for address, _ in seen - {TUNNEL}} >= expected:
            break
        capture.wait()
    return {address for address, _ in (seen | capture.leaving()) - {TUNNEL}} & ALL


def until_down(machine: Machine, capture: Capture, allowed: set[str], ways: set[str]) -> None:
    """Return once the tunnel has gone, and these ways around it; what leaves meanwhile is among the allowed."""
    deadline = time.monotonic() + 5
    client = machine.pair.client

    def there() -> bool:
        routes = [row for family in ("-4", "-6") for row in client.run(["ip", family, "route"]).stdout.splitlines()]
        return any(row.startswith(tuple(ways)) or "dev tun" in row for row in routes)

    while there():
        assert time.monotonic() < deadline
        knock(machine)
        assert capture.destinations() & ALL <= allowed


@pytest.mark.option("redirect-gateway", "redirect-private")
def test_what_each_flag_lets_out(machine: Machine, start_server: StartServer, capture: Capture) -> None:
    before = machine.pair.client.state()
    server = start_server(extra=["multihome"])
    assert escaped(machine, capture, ALL) == ALL
    wrong = {}
    for flags, (leaves, _) in FLAGS.items():
        machine.connect(server.profile(flags, remote=SERVER), flags)
        expected = ALWAYS | leaves
        if (seen := escaped(machine, capture, expected)) != expected:
            wrong[flags] = seen ^ expected
        machine.disconnect(flags)
        assert machine.pair.client.state() == before, flags
    assert wrong == {}
    assert escaped(machine, capture, ALL) == ALL


def test_a_bound_socket_lets_nothing_out_but_its_own(
    machine: Machine, start_server: StartServer, capture: Capture
) -> None:
    """Not even to the server's address."""
    machine.sandbox.run(["openvpn3-admin", "netcfg-service", "--config-set", "redirect-method", "bind-device"])
    os.kill(machine.service("netcfg"), signal.SIGKILL)  # the next one reads it
    server = start_server(extra=["multihome"])
    machine.connect(server.profile(MOST, remote=SERVER))
    assert escaped(machine, capture, ROUTERS) == ROUTERS


def test_networks_on_the_link_follow_the_machine(machine: Machine, start_server: StartServer, capture: Capture) -> None:
    """block-local after a move to another network, with the session that was."""
    server = start_server(extra=["multihome"])
    client, there = machine.pair.client, machine.pair.server
    machine.connect(server.profile("redirect-gateway block-local", remote=SERVER))
    there.ip("address", "add", "192.168.77.1/24", "dev", "eth0")
    client.ip("address", "add", "192.168.77.2/24", "dev", "eth0")
    assert client.run(["ip", "route", "get", "192.168.77.9"]).stdout.count("dev eth0")
    client.ip("route", "replace", "default", "via", "192.168.77.1")
    deadline = time.monotonic() + 5
    while "dev eth0" in client.run(["ip", "route", "get", "192.168.77.9"]).stdout:
        assert time.monotonic() < deadline
    client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
    machine.disconnect()
    assert client.run(["ip", "route", "show", "proto", "170"]).stdout == ""


@pytest.mark.parametrize(
    "flags", [flags if flags == MOST else pytest.param(flags, marks=pytest.mark.full) for flags in FLAGS]
)
def test_reconnects_and_killed_services(
    machine: Machine, start_server: StartServer, capture: Capture, flags: str
) -> None:
    """With the kill switch."""
    before = machine.pair.client.state()
    server = start_server(extra=["multihome"])
    machine.bring_in(server.profile(flags, "connect-retry 1 1", remote=SERVER), "vpn")
    machine.openvpn3("config-manage", "--config", "vpn", "--kill-switch", "true")
    machine.openvpn3("session-start", "--config", "vpn")
    leaves, guarded = FLAGS[flags]
    up = ALWAYS | leaves - guarded
    # Without a device nothing leads around it either.
    down = up - ROUTERS if "block-local" in flags else up
    for service in SERVICES:
        os.kill(machine.service(service), signal.SIGKILL)
        assert escaped(machine, capture, up) == up, service
        machine.sessions()
    os.kill(server.pid, signal.SIGSTOP)
    machine.openvpn3("session-manage", "--config", "vpn", "--restart")
    until_down(machine, capture, up, ROUTERS)
    assert escaped(machine, capture, down) == down
    os.kill(server.pid, signal.SIGCONT)
    machine.openvpn3("session-manage", "--config", "vpn", "--restart", "--timeout", "20")
    assert escaped(machine, capture, up) == up
    os.kill(machine.clients()[0], signal.SIGKILL)
    until_down(machine, capture, up, {SERVER, *ROUTERS})
    gone = down if FAR4 in leaves else down - {SERVER}
    assert escaped(machine, capture, gone) == gone
    machine.sandbox.run(["openvpn3-admin", "netcfg-service", "--release"])
    assert machine.pair.client.state() == before
    assert escaped(machine, capture, ALL) == ALL
