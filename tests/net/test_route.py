"""The way around a tunnel: which one, and what becomes of it when the world changes."""

import asyncio
import json
import os
import socket
from contextlib import suppress
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from ovpn3.errors import NetworkError
from ovpn3.net.bypass import Bypasses
from ovpn3.net.link import add_address, remove_link, rename_link, set_link
from ovpn3.net.netlink import Netlink, nlmsg
from ovpn3.net.plan import Network
from ovpn3.net.route import ROUTE_PROTOCOL, Hop, add_route, best_hop, remove_ours, remove_route
from ovpn3.net.tun import open_tun
from tests.support.netns import Namespace

pytestmark = pytest.mark.netns

SERVERS = pytest.mark.parametrize(
    ("server", "by_wan", "by_alt"),
    [
        ("203.0.113.1", "192.0.2.1", "198.51.100.1"),
        ("2001:db8:113::1", "2001:db8:2::1", "2001:db8:51::1"),
    ],
)


def index(net: Namespace, device: str) -> int:
    (link,) = json.loads(net.run(["ip", "-j", "link", "show", device]).stdout)
    return int(link["ifindex"])


def host(address: str) -> Network:
    return ip_network(address)


def routes(net: Namespace, server: str) -> list[tuple[str, str]]:
    family = "-6" if ":" in server else "-4"
    shown = json.loads(net.run(["ip", "-j", family, "route", "show", server]).stdout)
    return [(route["dev"], route.get("gateway", "")) for route in shown]


@SERVERS
async def test_best_hop(net: Namespace, netlink: Netlink, server: str, by_wan: str, by_alt: str) -> None:
    wan, alt = index(net, "wan"), index(net, "alt")
    to = host(server)
    assert await best_hop(netlink, to) == Hop(wan, ip_address(by_wan))
    with pytest.raises(NetworkError, match=f"no route to {server}"):
        await best_hop(netlink, to, avoid=[wan])
    net.ip("route", "add", "default", "via", by_alt, "metric", "3000")
    assert await best_hop(netlink, to, avoid=[wan]) == Hop(alt, ip_address(by_alt))
    assert await best_hop(netlink, host(by_wan)) == Hop(wan, None)


async def test_longest_prefix_then_metric(net: Namespace, netlink: Netlink) -> None:
    alt = index(net, "alt")
    net.ip("link", "add", "tunnel", "type", "veth", "peer", "name", "other")
    net.ip("link", "set", "tunnel", "up")
    net.ip("link", "set", "other", "up")
    net.ip("route", "add", "203.0.113.0/24", "dev", "tunnel")
    net.ip("route", "add", "203.0.0.0/16", "via", "192.0.2.9", "metric", "20")
    net.ip("route", "add", "203.0.0.0/16", "via", "198.51.100.9", "metric", "10")
    net.ip("route", "add", "blackhole", "203.0.113.0/25", "metric", "10")
    net.ip("route", "add", "203.0.113.1", "dev", "tunnel")
    hop = await best_hop(netlink, host("203.0.113.1"), avoid=[index(net, "tunnel")])
    assert hop == Hop(alt, ip_address("198.51.100.9"))


async def test_a_network_is_not_led_to_a_part_of_it(net: Namespace, netlink: Netlink) -> None:
    wan = index(net, "wan")
    for whole, part, by_wan in (
        ("198.0.0.0/8", "198.0.0.0/24", "192.0.2.1"),
        ("2001:db8::/32", "2001:db8::/64", "2001:db8:2::1"),
    ):
        net.ip("route", "add", part, "dev", "alt")
        assert await best_hop(netlink, ip_network(whole)) == Hop(wan, ip_address(by_wan))
        with pytest.raises(NetworkError, match="no route to"):
            await best_hop(netlink, ip_network(whole), avoid=[wan])
        assert await best_hop(netlink, ip_network(part)) == Hop(index(net, "alt"))


async def test_a_network_which_begins_with_our_address(net: Namespace, netlink: Netlink) -> None:
    net.ip("address", "add", "10.0.0.0/31", "dev", "alt")
    assert await best_hop(netlink, ip_network("10.0.0.0/8")) == Hop(index(net, "wan"), ip_address("192.0.2.1"))


async def test_policy_rules_are_followed(net: Namespace, netlink: Netlink) -> None:
    net.ip("route", "add", "default", "via", "198.51.100.1", "table", "100")
    net.ip("rule", "add", "to", "203.0.113.0/24", "lookup", "100")
    assert await best_hop(netlink, host("203.0.113.1")) == Hop(index(net, "alt"), ip_address("198.51.100.1"))


async def test_multipath(net: Namespace, netlink: Netlink) -> None:
    wan, alt = index(net, "wan"), index(net, "alt")
    hops = ("nexthop", "via", "192.0.2.9", "nexthop", "via", "198.51.100.9")
    net.ip("route", "add", "203.0.113.0/24", *hops)
    to = host("203.0.113.1")
    assert await best_hop(netlink, to, avoid=[wan]) == Hop(alt, ip_address("198.51.100.9"))
    assert await best_hop(netlink, to, avoid=[alt]) == Hop(wan, ip_address("192.0.2.9"))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "192.0.2.2", "::1", "2001:db8:2::2"])
async def test_ourselves(net: Namespace, netlink: Netlink, address: str) -> None:
    assert await best_hop(netlink, host(address)) is None
    assert await Bypasses(netlink).hold("me", host(address)) is None
    assert routes(net, address) == []


async def test_an_ipv4_network_behind_an_ipv6_router(net: Namespace, netlink: Netlink) -> None:
    net.ip("route", "add", "203.0.113.0/24", "via", "inet6", "2001:db8:51::1", "dev", "alt")
    before = net.state()
    bypasses = Bypasses(netlink)
    hop = await bypasses.hold("me", host("203.0.113.1"))
    assert hop == Hop(index(net, "alt"), ip_address("2001:db8:51::1"))
    assert len(routes(net, "203.0.113.1")) == 1
    await bypasses.release("me")
    assert net.state() == before


async def test_a_gateway_no_address_of_ours_makes_reachable(net: Namespace, netlink: Netlink) -> None:
    net.ip("route", "replace", "default", "via", "10.99.0.1", "dev", "wan", "onlink")
    before = net.state()
    bypasses = Bypasses(netlink)
    await bypasses.hold("me", host("203.0.113.1"))
    assert routes(net, "203.0.113.1") == [("wan", "10.99.0.1")]
    await bypasses.release("me")
    assert net.state() == before


async def test_a_link_local_router(net: Namespace, netlink: Netlink) -> None:
    net.ip("-6", "route", "replace", "default", "via", "fe80::1", "dev", "wan")
    before = net.state()
    bypasses = Bypasses(netlink)
    await bypasses.hold("me", host("2001:db8:113::1"))
    assert routes(net, "2001:db8:113::1") == [("wan", "fe80::1")]
    await bypasses.release("me")
    assert net.state() == before


@SERVERS
async def test_the_device_of_a_route_vanished(
    net: Namespace, netlink: Netlink, server: str, by_wan: str, by_alt: str
) -> None:
    bypasses = Bypasses(netlink)
    await bypasses.hold("me", host(server))
    await bypasses.hold("me", host(by_alt))
    net.ip("link", "del", "wan")
    await bypasses.release("me")
    assert routes(net, by_alt) == []


@SERVERS
async def test_the_last_holder_removes(net: Namespace, netlink: Netlink, server: str, by_wan: str, by_alt: str) -> None:
    before = net.state()
    bypasses = Bypasses(netlink)
    for holder in ("one", "two", "two"):
        await bypasses.hold(holder, host(server))
    assert routes(net, server) == [("wan", by_wan)]
    await bypasses.release("two")
    assert routes(net, server) == [("wan", by_wan)]
    await bypasses.release("one")
    await bypasses.release("one")
    assert net.state() == before


@SERVERS
async def test_roaming_moves_the_route_for_all(
    net: Namespace, netlink: Netlink, server: str, by_wan: str, by_alt: str
) -> None:
    bypasses = Bypasses(netlink)
    await bypasses.hold("one", host(server))
    await bypasses.hold("two", host(server))
    net.ip("route", "add", "default", "via", by_alt, "metric", "2000")
    net.ip("route", "del", "default", "via", by_wan)
    await bypasses.hold("two", host(server))
    assert routes(net, server) == [("alt", by_alt)]
    await bypasses.release("one")
    await bypasses.release("two")
    assert routes(net, server) == []


@SERVERS
async def test_a_route_somebody_removed_is_put_back(
    net: Namespace, netlink: Netlink, server: str, by_wan: str, by_alt: str
) -> None:
    before = net.state()
    bypasses = Bypasses(netlink)
    await bypasses.hold("one", host(server))
    net.ip("route", "del", server)
    await bypasses.hold("one", host(server))
    assert routes(net, server) == [("wan", by_wan)]
    net.ip("route", "del", server)
    await bypasses.release("one")
    assert net.state() == before


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[nlmsg]:
    """All that the kernel is asked."""
    asked: list[nlmsg] = []
    ask = Netlink._ask

    def count(self: Netlink, what: int, message: nlmsg, flags: int) -> list[bytes]:
        asked.append(message)
        return ask(self, what, message, flags)

    monkeypatch.setattr(Netlink, "_ask", count)
    return asked


async def settled(bypasses: Bypasses, server: str) -> None:
    """A route that is held, and known to be the best: after the news of what we did ourselves."""
    for holder in ("one", "two"):
        await bypasses.hold(holder, host(server))
    await bypasses.hold("one", host(server))


@SERVERS
async def test_who_asks_again_changes_nothing(
    net: Namespace, netlink: Netlink, questions: list[nlmsg], server: str, by_wan: str, by_alt: str
) -> None:
    """As every client does whenever anything changes on the machine, and with many clients something always does."""
    notes: list[Network] = []
    bypasses = Bypasses(netlink, lambda network, hop, holders: notes.append(network))
    await settled(bypasses, server)
    noted = len(notes)
    tun = open_tun()
    await rename_link(netlink, tun.index, "vpn")
    await set_link(netlink, tun.index, 1500)
    for address, route in (("10.8.0.2/24", "203.0.112.0/23"), ("fd00:8::2/64", "2001:db8::/32")):
        await add_address(netlink, tun.index, ip_interface(address))
        await add_route(netlink, ip_network(route), Hop(tun.index))
    net.ip("route", "add", "10.77.0.0/16", "via", "198.51.100.1")
    questions.clear()
    await bypasses.hold("one", host(server))
    await bypasses.hold("two", host(server))
    net.ip("link", "set", "vpn", "down")
    os.close(tun.fd)
    await bypasses.hold("one", host(server))
    assert (len(notes), questions) == (noted, [])
    await bypasses.hold("three", host(server))
    assert (len(notes), questions) == (noted + 1, [])


@SERVERS
@pytest.mark.parametrize(
    "change",
    [
        "link set alt mtu 1400",
        "link set alt down",
        "link add vpn type bridge",
        "link del alt",
        "address add 198.51.100.7/24 dev alt",
        "address del 198.51.100.2/24 dev alt",
        "route add {server} dev alt metric 7",
        "route add {network} via {by_alt}",
        "route add {network} nexthop via {by_alt} nexthop via {by_wan}",
        "route add unreachable {network}",
        "route del {server}",
        "tuntap add dev foreign mode tun",  # and what leads through that
        "link set wan down",
    ],
)
async def test_a_change_that_may_concern_the_way(
    net: Namespace, netlink: Netlink, questions: list[nlmsg], change: str, server: str, by_wan: str, by_alt: str
) -> None:
    bypasses = Bypasses(netlink)
    await settled(bypasses, server)
    network = "203.0.113.0/24" if by_alt.startswith("198") else "2001:db8:113::/48"
    words = change.format(server=server, network=network, by_wan=by_wan, by_alt=by_alt).split()
    net.ip(*(["-6"] if ":" in server and words[0] == "route" else []), *words)
    questions.clear()
    with suppress(NetworkError):
        await bypasses.hold("one", host(server))
    assert bool(questions) is ("tuntap" not in change)


@SERVERS
async def test_a_way_that_makes_room_for_a_tunnel(
    net: Namespace, netlink: Netlink, questions: list[nlmsg], server: str, by_wan: str, by_alt: str
) -> None:
    """Of a route that is replaced the kernel tells only what has come in its place."""
    bypasses, tun = Bypasses(netlink), open_tun("vpn")
    await set_link(netlink, tun.index, 1500)
    family = "-6" if ":" in server else "-4"
    (default,) = json.loads(net.run(["ip", "-j", family, "route", "show", "default"]).stdout)
    metric = str(default.get("metric", 0))
    net.ip(family, "route", "add", "default", "via", by_alt, "metric", "2000")
    await settled(bypasses, server)
    net.ip(family, "route", "replace", "default", "dev", "vpn", "metric", metric)
    await bypasses.hold("one", host(server))
    assert routes(net, server) == [("alt", by_alt)]
    os.close(tun.fd)


@SERVERS
async def test_behind_a_tunnel_nobody_is_sure(
    net: Namespace, netlink: Netlink, questions: list[nlmsg], server: str, by_wan: str, by_alt: str
) -> None:
    tun = open_tun()
    await set_link(netlink, tun.index, 1500)
    await add_route(netlink, ip_network("203.0.113.0/24"), Hop(tun.index))
    await add_route(netlink, ip_network("2001:db8:113::/48"), Hop(tun.index))
    bypasses = Bypasses(netlink)
    await settled(bypasses, server)
    questions.clear()
    assert await bypasses.hold("one", host(server)) == Hop(tun.index)
    assert questions
    assert await bypasses.hold("its own", host(server), [tun.index]) == Hop(index(net, "wan"), ip_address(by_wan))
    os.close(tun.fd)


@SERVERS
async def test_more_news_than_were_heard(
    net: Namespace, netlink: Netlink, monkeypatch: pytest.MonkeyPatch, server: str, by_wan: str, by_alt: str
) -> None:
    """Either at once, which the kernel tells, or altogether."""
    monkeypatch.setattr("ovpn3.net.news.MAX_KEPT", 20)
    assert netlink.news
    bypasses = Bypasses(netlink)
    alt = Hop(index(net, "alt"), ip_address(by_alt))
    net.ip("route", "add", server, "via", by_alt, "metric", "9")
    for _ in range(2):
        await settled(bypasses, server)
        for number in range(40):
            net.ip("route", "add", f"10.77.{number}.0/24", "via", "198.51.100.1")
        net.ip("route", "del", server, "via", by_alt, "metric", "9")
        assert await bypasses.hold("one", host(server)) != alt
        net.ip("route", "flush", "root", "10.77.0.0/16")
        netlink.news._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        net.ip("route", "add", server, "via", by_alt, "metric", "9")


async def test_a_new_server_replaces_the_old_one(net: Namespace, netlink: Netlink) -> None:
    bypasses = Bypasses(netlink)
    await bypasses.hold("me", host("203.0.113.1"))
    await bypasses.hold("me", host("203.0.113.2"))
    await bypasses.release("me", keep=[host("203.0.113.2")])
    assert routes(net, "203.0.113.1") == []
    assert routes(net, "203.0.113.2") == [("wan", "192.0.2.1")]


@SERVERS
async def test_leftovers_of_a_crash(net: Namespace, netlink: Netlink, server: str, by_wan: str, by_alt: str) -> None:
    before = net.state()
    assert await remove_ours(netlink) == 0
    await Bypasses(netlink).hold("crashed", host(server))
    assert await remove_ours(netlink) == 1
    assert net.state() == before


async def test_leftovers_of_a_living_client_stay(net: Namespace, netlink: Netlink) -> None:
    tun = open_tun()
    await set_link(netlink, tun.index, 1500)
    await add_route(netlink, ip_network("0.0.0.0/1"), Hop(tun.index))
    await Bypasses(netlink).hold("crashed", host("203.0.113.1"))
    before = net.state()
    assert await remove_ours(netlink) == 0
    assert net.state() == before
    await remove_link(netlink, tun.index)
    await remove_link(netlink, tun.index)
    assert await remove_ours(netlink) == 1
    os.close(tun.fd)


async def test_routes_carry_our_mark(net: Namespace, netlink: Netlink) -> None:
    network, hop = ip_network("10.77.0.0/16"), Hop(index(net, "alt"), ip_address("198.51.100.1"))
    await add_route(netlink, network, hop, metric=5)
    (shown,) = json.loads(net.run(["ip", "-j", "route", "show", "proto", str(ROUTE_PROTOCOL)]).stdout)
    assert (shown["dst"], shown["metric"]) == ("10.77.0.0/16", 5)
    with pytest.raises(NetworkError) as caught:
        await add_route(netlink, network, hop, metric=5)
    assert caught.value.errno == 17
    await remove_route(netlink, network, hop)
    await remove_route(netlink, network, hop)


async def test_a_server_behind_another_tunnel(net: Namespace, netlink: Netlink) -> None:
    outer, inner = open_tun(), open_tun()
    bypasses = Bypasses(netlink)
    for tun in (outer, inner):
        await set_link(netlink, tun.index, 1500)
    await add_route(netlink, ip_network("203.0.113.0/24"), Hop(outer.index))
    for _ in range(2):
        assert await bypasses.hold("inner", host("203.0.113.1"), [inner.index]) == Hop(outer.index)
    assert await bypasses.hold("outer", host("203.0.113.1"), [outer.index]) == Hop(
        index(net, "wan"), ip_address("192.0.2.1")
    )
    os.close(outer.fd)
    os.close(inner.fd)


async def test_many_may_ask_at_once(net: Namespace, netlink: Netlink) -> None:
    """While a long list is read others get their turn."""
    for number in range(200):
        net.ip("route", "add", f"10.77.{number}.0/24", "via", "198.51.100.1")
    hops = await asyncio.gather(*(best_hop(netlink, host("203.0.113.1"), moving=True) for _ in range(20)))
    assert set(hops) == {Hop(index(net, "wan"), ip_address("192.0.2.1"))}


async def test_a_way_that_is_lost_is_not_sought_in_a_tunnel_of_ours(net: Namespace, netlink: Netlink) -> None:
    """That one has lost it too, and would keep us when it is back; another program's may be all that there is."""
    one, two = open_tun(), open_tun()
    bypasses = Bypasses(netlink)
    for tun, server in ((one, "203.0.113.1"), (two, "203.0.113.200")):
        await set_link(netlink, tun.index, 1500)
        assert await bypasses.hold(tun.name, host(server), [tun.index])
    await add_route(netlink, ip_network("203.0.113.0/25"), Hop(two.index))
    net.ip("route", "del", "default")
    with pytest.raises(NetworkError, match="no route"):
        await bypasses.hold(one.name, host("203.0.113.1"), [one.index])
    await bypasses.release(two.name)
    assert await bypasses.hold(one.name, host("203.0.113.1"), [one.index]) == Hop(two.index)
    os.close(one.fd)
    os.close(two.fd)


async def test_tunnels_do_not_carry_each_other(net: Namespace, netlink: Netlink) -> None:
    """Each has routes that the other's server is in; the one that was there first is outside, and stays there."""
    first, second = open_tun(), open_tun()
    outside = Hop(index(net, "wan"), ip_address("192.0.2.1"))
    bypasses = Bypasses(netlink)
    for tun in (first, second):
        await set_link(netlink, tun.index, 1500)
    assert await bypasses.hold("first", host("203.0.113.1"), [first.index]) == outside
    await add_route(netlink, ip_network("203.0.113.0/24"), Hop(first.index))
    assert await bypasses.hold("second", host("203.0.113.2"), [second.index]) == Hop(first.index)
    await add_route(netlink, ip_network("203.0.113.0/25"), Hop(second.index))
    assert await bypasses.hold("first", host("203.0.113.1"), [first.index]) == outside
    assert await bypasses.hold("first", host("203.0.113.9"), [first.index]) == outside
    assert await bypasses.hold("second", host("203.0.113.2"), [second.index]) == Hop(first.index)
    net.ip("route", "del", "default")
    assert await bypasses.hold("third", host("203.0.113.3")) == Hop(second.index)
    os.close(first.fd)
    assert await bypasses.hold("third", host("203.0.113.3")) == Hop(second.index)
    os.close(second.fd)
