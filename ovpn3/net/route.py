"""Routes over rtnetlink: add and remove ours, and find the way the kernel would take."""

import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from errno import ENETUNREACH, ENODEV, ESRCH
from ipaddress import ip_address, ip_network
from typing import Any

from ovpn3.errors import NetworkError
from ovpn3.net.link import asking, tun_indexes
from ovpn3.net.netlink import AsyncIPRoute, drop_strays
from ovpn3.net.plan import MAIN_TABLE, Address, Network

# Our mark on every route, as routing daemons have theirs (rtm_protocol): OpenVPN's port number, modulo 256.
ROUTE_PROTOCOL = 1194 % 256

# linux/rtnetlink.h
_RTN_UNICAST, _RTN_LOCAL = 1, 2
_REFUSALS = (6, 7, 8)  # RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT
_RTM_F_LOOKUP_TABLE = 0x1000  # tell the table, too
_RTM_F_FIB_MATCH = 0x2000  # answer with the route itself, not with what it means for one address
_RTNH_F_DEAD, _RTNH_F_ONLINK, _RTNH_F_LINKDOWN = 1, 4, 16


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a packet goes next: device, and the router there unless the destination is on the link."""

    index: int
    gateway: Address | None = None


async def add_route(
    ipr: AsyncIPRoute,
    network: Network,
    hop: Hop,
    *,
    metric: int | None = None,
    replace: bool = False,
    onlink: bool = False,
    table: int = MAIN_TABLE,
) -> None:
    """Add a route; NetworkError with EEXIST if there is one of that metric, unless `replace`.

    `onlink`: take the gateway as reachable on the device without a look at the addresses there.
    """
    with asking(f"add route {network}"):
        await ipr.route("replace" if replace else "add", **_spec(network, hop, metric, onlink, table))


async def remove_route(ipr: AsyncIPRoute, network: Network, hop: Hop, table: int = MAIN_TABLE) -> None:
    """Remove a route of ours; no error if it is gone."""
    try:
        with asking(f"remove route {network}"):
            await ipr.route("del", **_spec(network, hop, None, False, table))
    except NetworkError as e:
        if e.errno not in (ESRCH, ENODEV):
            raise


async def best_hop(ipr: AsyncIPRoute, to: Network, *, avoid: Collection[int] = (), moving: bool = False) -> Hop | None:
    """The way to all of a network; None if it is an address of this machine. NetworkError if there is none.

    Not through the devices whose indexes are in `avoid`, and with `moving` not by our own route to that very
    network. Only the kernel knows policy rules, so it is asked first; but it can't leave out routes: where its
    answer doesn't suit, the main table decides.
    """
    refusal: NetworkError | None = None
    if not moving:
        try:
            with asking(f"find a route to {to}"):
                (match,) = await ipr.route("get", dst=str(to.network_address), flags=_RTM_F_FIB_MATCH)
        except NetworkError as e:  # there may be one behind a guard's, see `ovpn3.net.guard`
            refusal = e
        else:
            drop_strays(ipr)
            if to.num_addresses == 1 and match["type"] == _RTN_LOCAL:
                return None
            if match["dst_len"] <= to.prefixlen:
                for hop in _hops(match):
                    if hop.index not in avoid:
                        return hop
    best: tuple[tuple[int, int], Hop | None] | None = None
    with asking("list routes"):
        async for message in ipr.listed("route", family=family(to.version), table=MAIN_TABLE):
            ours = message["proto"] == ROUTE_PROTOCOL
            refuses = message["type"] in _REFUSALS
            # Who refuses on purpose is obeyed, if the kernel would; our own guards are what we look behind.
            if (refuses and (ours or refusal is None)) or (ours and moving and message["dst_len"] == to.prefixlen):
                continue
            if not (refuses or message["type"] == _RTN_UNICAST) or not _covers(_network(message), to):
                continue
            rank = (-message["dst_len"], message.get_attr("RTA_PRIORITY") or 0)
            hops: list[Hop | None] = [None] if refuses else [*_hops(message)]
            for way in hops:
                if (way is None or way.index not in avoid) and (best is None or rank < best[0]):
                    best = rank, way
    if best is None or best[1] is None:
        raise refusal or NetworkError(f"no route to {to}", ENETUNREACH)
    return best[1]


async def table_for(ipr: AsyncIPRoute, to: Network, mark: int) -> int:
    """The routing table by which the kernel sends packets with that mark; the main one if it has no way for them."""
    flags = _RTM_F_FIB_MATCH | _RTM_F_LOOKUP_TABLE
    try:
        with asking(f"find a route to {to}"):
            (match,) = await ipr.route("get", dst=str(to.network_address), mark=mark, flags=flags)
    except NetworkError:
        return MAIN_TABLE
    drop_strays(ipr)
    return int(match.get_attr("RTA_TABLE") or match["table"])


async def local_networks(ipr: AsyncIPRoute) -> tuple[tuple[Network, ...], tuple[Address, ...]]:
    """The networks on the links which default routes lead to, and the routers there that they name.

    A network of one machine, the far end of a line, is none; nor are link-local ones, which no router leads on.
    """
    networks: dict[Network, None] = {}
    routers: dict[Address, None] = {}
    tunnels = await tun_indexes(ipr)
    for version in (4, 6):
        with asking("list routes"):
            ways = [
                (_network(message), hop)
                async for message in ipr.listed("route", family=family(version), table=MAIN_TABLE)
                if message["type"] == _RTN_UNICAST and message["proto"] != ROUTE_PROTOCOL
                for hop in _hops(message)
            ]
        outward = [hop for network, hop in ways if network.prefixlen == 0 and hop.index not in tunnels]
        links = {hop.index for hop in outward}
        routers.update({hop.gateway: None for hop in outward if hop.gateway and not hop.gateway.is_link_local})
        for network, hop in ways:
            alone = network.prefixlen in (0, network.max_prefixlen)
            if hop.index in links and hop.gateway is None and not alone and not network.is_link_local:
                networks[network] = None
    return tuple(networks), tuple(routers)


async def our_routes(ipr: AsyncIPRoute) -> list[tuple[Network, Hop]]:
    """All with our mark, into tunnels and around them."""
    with asking("list routes"):
        return [
            (_network(message), hop)
            async for message in ipr.listed("route", table=MAIN_TABLE, proto=ROUTE_PROTOCOL)
            if message["type"] == _RTN_UNICAST  # a guard stays
            for hop in _hops(message)
        ]


async def remove_ours(ipr: AsyncIPRoute) -> int:
    """Remove what a crashed predecessor left behind; the number of routes removed.

    Where a tunnel still carries routes of ours, a client survived the crash: without the routes around it, the
    tunnel would swallow its own packets, so nothing is touched.
    """
    ours = await our_routes(ipr)
    if ours and not {hop.index for _, hop in ours} & await tun_indexes(ipr):
        for network, hop in ours:
            await remove_route(ipr, network, hop)
        return len(ours)
    return 0


def _spec(network: Network, hop: Hop, metric: int | None, onlink: bool, table: int) -> dict[str, Any]:
    """Arguments for pyroute2."""
    spec: dict[str, Any] = {
        "dst": str(network),
        "family": family(network.version),
        "oif": hop.index,
        "table": table,
        "proto": ROUTE_PROTOCOL,
    }
    if metric is not None:
        spec["priority"] = metric
    if hop.gateway is not None and hop.gateway.version == network.version:
        spec["gateway"] = str(hop.gateway)
    elif hop.gateway is not None:  # an IPv4 network behind an IPv6 router (RFC 8950)
        spec["via"] = {"family": family(hop.gateway.version), "addr": str(hop.gateway)}
    if onlink and hop.gateway is not None:
        spec["flags"] = _RTNH_F_ONLINK
    return spec


def family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _covers(whole: Network, part: Network) -> bool:
    """Of one family."""
    return whole.prefixlen <= part.prefixlen and part.network_address in whole


def _network(message: Any) -> Network:
    default = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    return ip_network(f"{message.get_attr('RTA_DST') or default}/{message['dst_len']}")


def _hops(message: Any) -> Iterator[Hop]:
    """The live next hops of a route message, one or many."""
    for part in message.get_attr("RTA_MULTIPATH") or (message,):
        index = part.get_attr("RTA_OIF") or part.get("oif")
        if not index or part["flags"] & (_RTNH_F_DEAD | _RTNH_F_LINKDOWN):
            continue
        via = part.get_attr("RTA_VIA")
        gateway = via["addr"] if via else part.get_attr("RTA_GATEWAY")
        yield Hop(index, ip_address(gateway) if gateway else None)
