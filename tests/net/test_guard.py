"""Guarded networks in a real kernel."""

import asyncio
import json
import os
import socket
from collections.abc import Collection
from ipaddress import ip_address, ip_network

import pytest

from ovpn3.net import nftables
from ovpn3.net.bypass import Bypasses
from ovpn3.net.device import Device
from ovpn3.net.guard import OUTSIDE_DNS, Barrier, Exit, Guard, Guards
from ovpn3.net.guardwatch import GuardWatch
from ovpn3.net.namespace import Namespaces
from ovpn3.net.netlink import Netlink
from ovpn3.net.plan import EVERYTHING_IPV4, EVERYTHING_IPV6, Network, Wanted, WantedRoute, guarded
from ovpn3.net.route import best_hop, remove_ours
from ovpn3.net.rule import Rule
from tests.net.test_device import ADDRESSES
from tests.support.netns import Namespace

pytestmark = pytest.mark.netns
EVERYTHING, OTHER = ip_network("0.0.0.0/0"), ip_network("198.18.0.0/15")
ONE, TWO = ip_network("203.0.113.0/24"), ip_network("2001:db8:77::/48")


def reachable(net: Namespace, to: str) -> str:
    """The device that packets would leave by; empty if they can't."""
    done = net.run(["ip", "-j", "route", "get", to], check=False)
    return str(json.loads(done.stdout)[0].get("dev", "")) if done.returncode == 0 else ""


async def test_nothing_leaves_beside(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    noted: dict[str, Collection[Guard]] = {}
    guards = Guards(netlink, Namespaces(netlink), lambda holder, guards: noted.update({holder: guards}))
    assert (reachable(net, "203.0.113.9"), reachable(net, "2001:db8:77::9")) == ("wan", "wan")
    await guards.hold("a", [Barrier(ONE), Barrier(TWO)])
    assert noted == {"a": {Barrier(ONE), Barrier(TWO)}}
    assert (reachable(net, "203.0.113.9"), reachable(net, "2001:db8:77::9")) == ("", "")
    await guards.hold("b", [Barrier(ONE)])
    await guards.hold("a", [])
    assert (reachable(net, "203.0.113.9"), reachable(net, "2001:db8:77::9")) == ("", "wan")
    assert await remove_ours(netlink) == 0  # they aren't a crashed predecessor's
    await guards.release("b")
    await guards.release("nobody")
    assert net.state() == before
    assert noted == {"a": frozenset(), "b": frozenset()}


async def test_a_tunnel_and_the_way_to_its_server(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    guards, bypasses = Guards(netlink, Namespaces(netlink)), Bypasses(netlink)
    wanted = Wanted(ADDRESSES[:1], remote=ip_address("203.0.113.1"), reroute_ipv4=True)
    assert guarded(wanted) == {*EVERYTHING_IPV4, *EVERYTHING_IPV6}
    await guards.hold("session", [Barrier(network) for network in guarded(wanted)])
    device = Device(netlink, bypasses)
    tun = await device.establish(wanted)
    assert reachable(net, "8.8.8.8") == tun.name
    assert reachable(net, "203.0.113.1") == "wan"
    assert reachable(net, "2001:db8:99::1") == ""
    assert reachable(net, "192.0.2.1") == "wan"  # on the link
    await device.remove()
    os.close(tun.fd)
    assert (reachable(net, "8.8.8.8"), reachable(net, "203.0.113.1"), reachable(net, "192.0.2.1")) == ("", "", "wan")
    hop = await best_hop(netlink, ip_network("203.0.113.1"))
    assert hop is not None
    assert str(hop.gateway) == "192.0.2.1"
    await guards.release("session")
    assert net.state() == before


async def test_names_are_guarded_for_several(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    nftables.check()
    noted: dict[str, Collection[Guard]] = {}
    guards = Guards(netlink, Namespaces(netlink), lambda holder, what: noted.update({holder: what}))
    await guards.hold("a", [Barrier(ONE), OUTSIDE_DNS])
    assert noted == {"a": {Barrier(ONE), OUTSIDE_DNS}}
    table = net.state()["nftables"]
    assert len(table) == 1 + 1 + (4 if os.geteuid() else 2)  # itself, its chain, rules for UDP and TCP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(PermissionError):
            sock.sendto(b"name?", ("192.0.2.1", 53))
        sock.sendto(b"hello", ("192.0.2.1", 54))
        sock.sendto(b"name?", ("127.0.0.1", 53))
    await guards.hold("b", [OUTSIDE_DNS])
    assert len(net.state()["nftables"]) == len(table)
    await guards.release("a")
    assert len(net.state()["nftables"]) == len(table)
    await guards.release("b")
    nftables.release_dns()
    assert net.state() == before


def test_what_is_guarded() -> None:
    routes = (WantedRoute(ONE), WantedRoute(ip_network("198.51.100.0/24"), exclude=True))
    assert guarded(Wanted(ADDRESSES, routes)) == {ONE}


async def test_what_somebody_else_removes_is_restored(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    guards = Guards(netlink, Namespaces(netlink))
    news: asyncio.Queue[frozenset[Network] | None] = asyncio.Queue()
    watch = GuardWatch(news.put_nowait)
    held = [Barrier(ONE), Barrier(TWO), Barrier(EVERYTHING), Exit(ONE, 77), Rule(77, True, (5, 9))]
    await guards.hold("a", held)
    guarded = net.state()
    assert await guards.restore() == 0

    net.ip("route", "del", "unreachable", str(ONE), "proto", "170")
    net.ip("-6", "route", "del", "unreachable", str(TWO), "proto", "170")
    net.ip("route", "del", "unreachable", "default", "proto", "170")
    gone: set[Network] = set()
    while len(gone) < 3:
        gone |= await news.get() or set()
    assert gone == {ONE, TWO, EVERYTHING}
    assert reachable(net, "203.0.113.9") == "wan"
    assert await guards.restore({TWO, EVERYTHING}) == 2
    assert await guards.restore({ONE}) == 1
    assert net.state() == guarded

    net.ip("-6", "rule", "del", "table", "77")
    assert await news.get() is None
    net.ip("route", "flush", "table", "77")
    assert await news.get() == {ONE}
    assert await guards.restore() == 2
    assert net.state() == guarded

    await guards.release("a")
    assert await guards.restore() == 0
    assert net.state() == before
    watch.close()


async def test_what_is_no_guard_is_no_news(net: Namespace, netlink: Netlink) -> None:
    news: asyncio.Queue[frozenset[Network] | None] = asyncio.Queue()
    watch = GuardWatch(news.put_nowait)
    for protocol, kind in (("static", "unreachable"), ("170", "blackhole"), ("170", "unreachable")):
        for command in ("add", "del"):
            net.ip("route", command, kind, str(ONE if kind == "blackhole" else OTHER), "proto", protocol)
    assert await news.get() == {OTHER}
    watch.close()
