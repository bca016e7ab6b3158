"""Which of the kernel's news concern the way to a server."""

import os
import select
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from ovpn3.net.link import add_address, limit_segments, remove_link, rename_link, set_link
from ovpn3.net.netlink import Netlink
from ovpn3.net.route import Hop, add_route
from ovpn3.net.rtnetlink import ANYTHING, news_from, rtnetlink_socket
from ovpn3.net.tun import open_tun
from ovpn3.net.watch import Relevance
from tests.support.netns import Namespace

pytestmark = pytest.mark.netns

SERVERS = ["203.0.113.1", "2001:db8:113::1"]


class News:
    def __init__(self) -> None:
        self._sock, self._relevance = rtnetlink_socket(ANYTHING), Relevance()

    def concern(self, server: str) -> bool:
        """Whether any do that have come since the last time; there must be some, or come."""
        assert select.select([self._sock], [], [], 5)[0]
        heard = news_from(self._sock)
        assert heard
        sought = ip_address(server) if server else None
        concerned = [self._relevance.of(message, sought) for message in heard]
        return any(concerned)

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def news(net: Namespace) -> Iterator[News]:
    news = News()
    yield news
    news.close()


@pytest.mark.parametrize("server", SERVERS)
async def test_other_tunnels_come_without_a_stir(net: Namespace, netlink: Netlink, news: News, server: str) -> None:
    tun = open_tun()
    await rename_link(netlink, tun.index, "vpn")
    await limit_segments(netlink, tun.index, 64)
    await set_link(netlink, tun.index, 1500)
    await add_address(netlink, tun.index, ip_interface("10.8.0.2/24"))
    await add_address(netlink, tun.index, ip_interface("fd00:8::2/64"))
    await add_route(netlink, ip_network("10.77.0.0/16"), Hop(tun.index))
    await add_route(netlink, ip_network("fd77::/16"), Hop(tun.index))
    assert not news.concern(server)
    await add_route(netlink, ip_network("203.0.0.0/8"), Hop(tun.index))
    await add_route(netlink, ip_network("2001:db8::/32"), Hop(tun.index))
    assert news.concern(server)
    await set_link(netlink, tun.index, 1400)
    assert not news.concern(server)
    net.ip("link", "set", "vpn", "down")  # what leads through it is gone, too
    assert news.concern(server)
    await remove_link(netlink, tun.index)
    assert news.concern(server)
    os.close(tun.fd)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    "change",
    [
        "address add 198.51.100.7/24 dev alt",
        "address del 198.51.100.2/24 dev alt",
        "address add 2001:db8:51::7/64 dev alt nodad",
        "link set alt mtu 1400",
        "link set alt-far down",
        "link del alt",
    ],
)
async def test_other_links_always_concern(net: Namespace, news: News, server: str, change: str) -> None:
    net.ip(*change.split())
    while not news.concern(server):  # of an IPv6 address the kernel tells later than of its route
        pass


@pytest.mark.parametrize(
    ("server", "change"),
    [
        ("203.0.113.1", "route add 203.0.113.0/25 via 198.51.100.1"),
        ("203.0.113.1", "route del default"),
        ("203.0.113.1", "route add unreachable default metric 99"),
        ("203.0.113.1", "route add default via 198.51.100.1 table 77"),
        ("2001:db8:113::1", "-6 route del default"),
        ("2001:db8:113::1", "-6 route add 2001:db8:113::/64 via 2001:db8:51::1"),
    ],
)
async def test_routes_to_the_server_concern(net: Namespace, news: News, server: str, change: str) -> None:
    net.ip(*change.split())
    assert news.concern(server)


@pytest.mark.parametrize(
    "change", ["route add 203.0.113.128/25 via 198.51.100.1", "-6 route add 2001:db8:114::/64 via 2001:db8:51::1"]
)
@pytest.mark.parametrize("server", SERVERS)
async def test_routes_to_elsewhere_do_not(net: Namespace, news: News, server: str, change: str) -> None:
    net.ip(*change.split())
    assert not news.concern(server)


async def test_everything_concerns_who_seeks_no_server(net: Namespace, news: News) -> None:
    tun = open_tun()
    assert news.concern("")
    net.ip("route", "add", "10.77.0.0/16", "via", "198.51.100.1")
    assert news.concern("")
    os.close(tun.fd)
