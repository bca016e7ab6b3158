"""Whole devices in a real kernel: made as wanted, and nothing left of them afterwards."""

import asyncio
import json
import os
import select
import socket
from dataclasses import replace
from errno import EINVAL
from ipaddress import ip_address, ip_interface, ip_network
from itertools import permutations
from typing import Any

import pytest

from ovpn3.constants import TunOffload
from ovpn3.errors import NetworkError
from ovpn3.net.bypass import Bypasses
from ovpn3.net.device import Device
from ovpn3.net.netlink import Netlink, nlmsg
from ovpn3.net.plan import AddRoute, Bypass, LimitSegments, TunnelAddress, Wanted, WantedRoute
from ovpn3.net.route import local_networks
from ovpn3.net.tun import Tun, open_tun
from tests.support.netns import Namespace, run

pytestmark = pytest.mark.netns

ADDRESSES = (
    TunnelAddress(ip_interface("10.8.0.2/24"), ip_address("10.8.0.1")),
    TunnelAddress(ip_interface("fd08::2/64"), ip_address("fd08::1")),
)
KOBJECT_UEVENT = 15  # linux/netlink.h
FULL = Wanted(
    addresses=ADDRESSES,
    routes=(
        WantedRoute(ip_network("172.16.0.0/12"), 50),
        WantedRoute(ip_network("fd16::/32")),
        WantedRoute(ip_network("100.64.0.0/10"), exclude=True),
        WantedRoute(ip_network("2001:db8:77::/48"), exclude=True),
    ),
    remote=ip_address("203.0.113.1"),
    mtu=1420,
    txqueuelen=77,
    reroute_ipv4=True,
    reroute_ipv6=True,
)


def ip(net: Namespace, *what: str) -> Any:
    return json.loads(net.run(["ip", "-j", *what]).stdout)


def way(net: Namespace, to: str) -> tuple[str, str]:
    (route,) = ip(net, "route", "get", to)
    return route["dev"], route.get("gateway", "")


async def test_a_full_tunnel_comes_and_goes(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(FULL)

    (link,) = ip(net, "link", "show", tun.name)
    assert (link["mtu"], link["txqlen"], link["ifindex"]) == (1420, 77, tun.index)
    assert "UP" in link["flags"]
    (address,) = ip(net, "address", "show", tun.name)
    assert {(a["local"], a["prefixlen"]) for a in address["addr_info"]} >= {("10.8.0.2", 24), ("fd08::2", 64)}
    assert way(net, "8.8.8.8") == (tun.name, "10.8.0.1")
    assert way(net, "2001:db8:99::1") == (tun.name, "fd08::1")
    assert way(net, "203.0.113.1") == ("wan", "192.0.2.1")
    assert way(net, "100.64.1.1") == ("wan", "192.0.2.1")
    assert way(net, "2001:db8:77::1") == ("wan", "2001:db8:2::1")
    (metric,) = ip(net, "route", "show", "172.16.0.0/12")
    assert metric["metric"] == 50
    assert device.problems == []
    assert Bypass(ip_network("100.64.0.0/10"), gateway=ip_address("192.0.2.1")) in device.applied

    await device.remove()
    assert net.state() == before
    os.close(tun.fd)
    await device.remove()


OTHER = Wanted(
    addresses=(TunnelAddress(ip_interface("10.8.0.9/24"), ip_address("10.8.0.1")), ADDRESSES[1]),
    routes=(WantedRoute(ip_network("172.16.0.0/12"), 50), WantedRoute(ip_network("100.64.0.0/10"))),
    remote=ip_address("203.0.113.2"),
    mtu=1300,
    reroute_ipv4=True,
)
BARE = Wanted(addresses=(TunnelAddress(ip_interface("10.9.0.2/32"), ip_address("10.9.0.1")),))
STATES = {"full": FULL, "other": OTHER, "bare": BARE, "nothing": Wanted()}


def settings(net: Namespace) -> set[tuple[Any, ...]]:
    """Routes, addresses and MTUs, but for what the kernel makes up by itself."""
    found: set[tuple[Any, ...]] = set()
    for family in ("-4", "-6"):
        for route in ip(net, family, "route"):
            found.add(tuple(str(route.get(key)) for key in ("dst", "gateway", "dev", "metric", "protocol", "flags")))
        for link in ip(net, family, "address"):
            found |= {(link["ifname"], link["mtu"], a["local"], a["prefixlen"]) for a in link["addr_info"]}
    return {item for item in found if not any(str(part).startswith("fe80") for part in item)}


@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
async def test_a_changed_device_is_as_a_new_one(net: Namespace, netlink: Netlink, first: str, second: str) -> None:
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(STATES[second])
    new = settings(net), set(device.applied)
    await device.remove()
    os.close(tun.fd)

    tun = await device.establish(replace(STATES[first], offloads=TunOffload.CSUM | TunOffload.TSO4))
    await device.alter(STATES[second])
    assert device.index == tun.index
    assert (settings(net), {step for step in device.applied if not isinstance(step, LimitSegments)}) == new
    await device.remove()
    assert net.state() == before
    os.close(tun.fd)


async def test_a_change_that_fails_leaves_nothing(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(FULL)
    with pytest.raises(NetworkError, match="MTU 20"):
        await device.alter(replace(OTHER, mtu=20))
    assert (net.state(), device.index, device.applied) == (before, 0, [])
    os.close(tun.fd)


async def test_removal_reaches_a_device_others_hold_open(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(FULL)
    await device.remove()
    assert net.state() == before
    with pytest.raises(OSError, match="bad state"):
        os.read(tun.fd, 100)
    os.close(tun.fd)


async def test_a_device_which_vanished_by_itself(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    os.close((await device.establish(FULL)).fd)
    assert net.state() != before  # the routes around the tunnel
    await device.remove()
    assert net.state() == before


async def test_packets_come_out_of_the_descriptor(net: Namespace, netlink: Netlink) -> None:
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(Wanted(addresses=ADDRESSES[:1]))
    assert (os.get_blocking(tun.fd), os.get_inheritable(tun.fd)) == (False, False)
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", ("10.8.0.1", 9))
    packet = b""
    while packet[:1] != b"\x45":  # the kernel sends IPv6 of its own
        assert select.select([tun.fd], [], [], 5)[0]
        packet = os.read(tun.fd, 2000)
    assert packet[16:20] == ip_address("10.8.0.1").packed
    assert packet.endswith(b"hello")
    await device.remove()
    os.close(tun.fd)


UDP_OFFLOADS = TunOffload.CSUM | TunOffload.USO4 | TunOffload.USO6
UDP_SEGMENT = 103


async def test_super_packets_hold_what_one_send_takes(net: Namespace, netlink: Netlink) -> None:
    net.run(["sysctl", "-w", "net.ipv6.conf.default.disable_ipv6=1"])  # nothing of the kernel's own
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(Wanted(addresses=ADDRESSES[:1], mtu=9000, offloads=UDP_OFFLOADS))
    assert (tun.offloads, device.problems) == (UDP_OFFLOADS, [])
    (link,) = ip(net, "-d", "link", "show", tun.name)
    assert (link["gso_max_segs"], link["mtu"]) == (7, 9000)
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
        for count in (7, 8):
            sender.sendto(b"x" * 100 * count, ("10.8.0.1", 9))
    sizes = [len(os.read(tun.fd, 70_000)) - 10 for _ in range(9)]
    assert sizes == [728, *[128] * 8]
    await device.remove()
    os.close(tun.fd)


async def test_without_offloads_the_link_stays_as_it_is(net: Namespace, netlink: Netlink) -> None:
    def plain(name: str, *, offloads: int) -> Tun:
        return open_tun()

    device = Device(netlink, Bypasses(netlink), plain)
    tun = await device.establish(replace(FULL, offloads=UDP_OFFLOADS))
    (link,) = ip(net, "-d", "link", "show", tun.name)
    assert (tun.offloads, link["gso_max_segs"]) == (0, 65535)
    await device.remove()
    os.close(tun.fd)


async def test_a_kernel_that_limits_no_segments(
    net: Namespace, netlink: Netlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Netlink.new

    async def old(self: Netlink, message: nlmsg, flags: int = 0) -> None:
        if message.get("IFLA_GSO_MAX_SEGS"):
            raise OSError(EINVAL, "Invalid argument")
        await new(self, message, flags)

    monkeypatch.setattr(Netlink, "new", old)
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(replace(FULL, offloads=UDP_OFFLOADS))
    assert tun.offloads
    (problem,) = device.problems
    assert str(problem) == f"can't limit super packets of device {tun.index} to 45 packets: Invalid argument"
    await device.remove()
    os.close(tun.fd)


@pytest.mark.parametrize(
    "broken",
    [
        Wanted(addresses=ADDRESSES, mtu=66_000, reroute_ipv4=True, remote=ip_address("203.0.113.1")),
        Wanted(
            addresses=(*ADDRESSES, TunnelAddress(ip_interface("224.0.0.1/32"), ip_address("224.0.0.1"))),
            routes=(WantedRoute(ip_network("fe80::/10"), exclude=True),),
            mtu=1000,
        ),
    ],
)
async def test_a_failed_step_undoes_those_done(net: Namespace, netlink: Netlink, broken: Wanted) -> None:
    before = net.state()
    opened: list[Tun] = []

    def opener(name: str, *, offloads: int) -> Tun:
        opened.append(open_tun())
        return opened[0]

    device = Device(netlink, Bypasses(netlink), opener)
    with pytest.raises(NetworkError) as caught:
        await device.establish(broken)
    assert caught.value.errno
    assert net.state() == before
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0].fd)
    assert device.index == 0


async def test_a_cancelled_establish_leaves_nothing(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    routes = tuple(WantedRoute(ip_network((0xAC10 << 16 | n << 4, 28))) for n in range(20_000))
    wanted = Wanted(addresses=ADDRESSES, routes=routes, remote=FULL.remote, reroute_ipv4=True)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(device.establish(wanted), 0.1)
    assert net.state() == before


async def test_foreign_routes_win_and_stay(net: Namespace, netlink: Netlink) -> None:
    net.ip("route", "add", "172.16.0.0/12", "via", "198.51.100.1", "metric", "50")
    net.ip("route", "add", "203.0.113.1", "via", "198.51.100.1")
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(FULL)
    (problem,) = device.problems
    assert str(problem) == "there is a route to 172.16.0.0/12 already, ours waits behind it"
    assert AddRoute(ip_network("172.16.0.0/12"), ip_address("10.8.0.1"), 50) in device.applied
    assert way(net, "172.16.0.1") == ("alt", "198.51.100.1")
    assert way(net, "203.0.113.1") == ("alt", "198.51.100.1")
    net.ip("route", "del", "172.16.0.0/12", "metric", "50")
    assert way(net, "172.16.0.1") == (tun.name, "10.8.0.1")
    net.ip("route", "add", "172.16.0.0/12", "via", "198.51.100.1", "metric", "50")
    await device.remove()
    assert net.state() == before
    os.close(tun.fd)


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_tunnels_that_want_the_same_wait_for_each_other(
    net: Namespace, netlink: Netlink, order: tuple[int, ...]
) -> None:
    """The first to come has the routes; when it goes, the next of those that are left."""
    before = net.state()
    bypasses = Bypasses(netlink)
    devices = [Device(netlink, bypasses) for _ in range(3)]
    tuns = [await device.establish(FULL) for device in devices]
    left = list(tuns)
    for number in order:
        for address in ("8.8.8.8", "172.16.0.1", "fd16::1", "2001:db8:99::1"):
            assert way(net, address)[0] == left[0].name
        assert way(net, "203.0.113.1") == ("wan", "192.0.2.1")
        await devices[number].remove()
        left.remove(tuns[number])
        os.close(tuns[number].fd)
    assert net.state() == before


async def test_a_changed_device_gives_up_only_its_own(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    bypasses = Bypasses(netlink)
    first, second = Device(netlink, bypasses), Device(netlink, bypasses)
    one, two = await first.establish(FULL), await second.establish(FULL)
    await second.alter(BARE)
    assert way(net, "172.16.0.1")[0] == one.name
    await second.alter(FULL)
    await first.alter(BARE)
    assert way(net, "172.16.0.1")[0] == way(net, "fd16::1")[0] == two.name
    for device, tun in ((first, one), (second, two)):
        await device.remove()
        os.close(tun.fd)
    assert net.state() == before


async def test_networks_on_the_link_can_go_inside_too(net: Namespace, netlink: Netlink) -> None:
    """Those of the link that the default route leads to, but for the router there."""
    before = net.state()
    networks, routers = await local_networks(netlink)
    assert set(networks) == {ip_network("192.0.2.0/24"), ip_network("2001:db8:2::/64")}
    assert set(routers) == {ip_address("192.0.2.1"), ip_address("2001:db8:2::1")}
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(replace(FULL, local=networks, local_routers=routers))
    assert await local_networks(netlink) == (networks, routers)
    for inside in ("192.0.2.77", "192.0.2.200", "2001:db8:2::77"):
        assert way(net, inside)[0] == tun.name
    assert (way(net, "192.0.2.1"), way(net, "2001:db8:2::1")) == (("wan", ""), ("wan", ""))
    assert way(net, "198.51.100.77") == ("alt", "")
    await device.remove()
    os.close(tun.fd)
    assert net.state() == before


async def test_a_network_out_of_reach_needs_no_exclusion(net: Namespace, netlink: Netlink) -> None:
    net.ip("route", "del", "default")
    net.ip("route", "add", "blackhole", "100.64.0.0/10")
    device = Device(netlink, Bypasses(netlink))
    routes = tuple(WantedRoute(ip_network(n), exclude=True) for n in ("100.64.0.0/10", "203.0.113.0/24"))
    tun = await device.establish(Wanted(addresses=ADDRESSES, routes=routes))
    assert len(device.problems) == 2
    await device.remove()
    os.close(tun.fd)


async def test_ipv6_switched_off(net: Namespace, netlink: Netlink) -> None:
    net.run(["sysctl", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"])
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    tun = await device.establish(FULL)
    assert way(net, "8.8.8.8") == (tun.name, "10.8.0.1")
    assert [str(p) for p in device.problems] == [
        "can't find a route to 2001:db8:77::/48: Network is unreachable",
        "can't add address fd08::2/64: Permission denied",
    ]
    await device.remove()
    assert net.state() == before
    os.close(tun.fd)
    tun = await device.establish(Wanted(addresses=ADDRESSES[:1], reroute_ipv6=True))
    assert len(device.problems) == 1
    await device.remove()
    os.close(tun.fd)


async def test_establish_again_replaces_the_device(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    first = await device.establish(FULL)
    second = await device.establish(Wanted(addresses=ADDRESSES))
    assert way(net, "8.8.8.8")[0] == "wan"
    await device.remove()
    assert net.state() == before
    os.close(first.fd)
    os.close(second.fd)


async def test_two_tunnels_share_the_route_to_their_server(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    bypasses = Bypasses(netlink)
    one, two = Device(netlink, bypasses), Device(netlink, bypasses)
    wanted = Wanted(addresses=ADDRESSES, remote=FULL.remote, reroute_ipv4=True)
    tuns: list[Tun] = [await one.establish(wanted), await two.establish(wanted)]
    assert len(two.problems) == 2  # the halves are taken
    assert way(net, "203.0.113.1") == ("wan", "192.0.2.1")
    await one.remove()
    assert way(net, "203.0.113.1") == ("wan", "192.0.2.1")
    assert len(ip(net, "route", "show", "203.0.113.1")) == 1
    await two.remove()
    assert net.state() == before
    for tun in tuns:
        os.close(tun.fd)


async def test_two_thousand_routes(net: Namespace, netlink: Netlink) -> None:
    before = net.state()
    device = Device(netlink, Bypasses(netlink))
    routes = tuple(WantedRoute(ip_network((0xAC10 << 16 | n << 4, 28))) for n in range(2000))
    loop = asyncio.get_running_loop()
    start = loop.time()
    tun = await device.establish(Wanted(addresses=ADDRESSES, routes=routes))
    assert len(ip(net, "route", "show", "dev", tun.name)) == 2001
    await device.remove()
    assert loop.time() - start < 15  # 0.5 on a machine that has nothing else to do
    assert net.state() == before
    os.close(tun.fd)


async def test_a_device_is_known_as_ours_from_its_first_event_on(net: Namespace, netlink: Netlink) -> None:
    device = Device(netlink, Bypasses(netlink))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, KOBJECT_UEVENT) as events:
        events.bind((0, 1))  # of the kernel, not yet of udev
        tun = await device.establish(Wanted(addresses=ADDRESSES))
        told = [events.recv(65536).partition(b"\0")[0].decode() for _ in range(4)]
    os.close(tun.fd)
    devices = [event for event in told if "/queues/" not in event]
    assert devices == ["add@/devices/virtual/net/openvpn3-0", f"move@/devices/virtual/net/{tun.name}"]


async def test_the_opener_s_failure_is_ours(net: Namespace, netlink: Netlink) -> None:
    before = net.state()

    def refuse(name: str, *, offloads: int) -> Tun:
        return open_tun("lo")

    with pytest.raises(NetworkError, match="can't create device lo"):
        await Device(netlink, Bypasses(netlink), refuse).establish(FULL)
    assert net.state() == before


def test_the_machine_itself_is_untouched() -> None:
    assert "10.8.0.2" not in run(["ip", "address"]).stdout
