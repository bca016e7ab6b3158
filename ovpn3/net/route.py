"""Routes over rtnetlink: add and remove ours, and find the way the kernel would take."""

import socket
import struct
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from errno import ENETUNREACH, ENODEV, ESRCH
from ipaddress import ip_address, ip_network
from typing import Any, Final

from ovpn3.errors import NetworkError
from ovpn3.net.link import tun_indexes
from ovpn3.net.netlink import CREATE, REPLACE, Netlink, asking, filled, nlmsg, rtmsg
from ovpn3.net.plan import MAIN_TABLE, Address, Network, covers
from ovpn3.net.rtnetlink import RTA_DST, RTA_OIF, attributes, family

# Our mark on every route, as routing daemons have theirs (rtm_protocol): OpenVPN's port number, modulo 256.
ROUTE_PROTOCOL = 1194 % 256

# linux/rtnetlink.h
RTN_UNICAST, _RTN_LOCAL, RTN_UNREACHABLE, RTN_THROW = 1, 2, 7, 9
_REFUSALS = (6, RTN_UNREACHABLE, 8)  # RTN_BLACKHOLE, RTN_PROHIBIT
_RTM_F_LOOKUP_TABLE = 0x1000  # tell the table, too
_RTM_F_FIB_MATCH = 0x2000  # answer with the route itself, not with what it means for one address
_RTNH_F_DEAD, _RTNH_F_ONLINK, _RTNH_F_LINKDOWN = 1, 4, 16
_RTMSG: Final = struct.Struct("=8BI")
_RTNEXTHOP: Final = struct.Struct("=HBBi")
_RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA = 5, 6, 9, 15, 18
_FAMILY_SIZE: Final = 2  # before the address in RTA_VIA


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a packet goes next: device, and the router there unless the destination is on the link."""

    index: int
    gateway: Address | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One that there is; `hops` are those whose links are up."""

    network: Network
    table: int
    protocol: int
    kind: int  # linux/rtnetlink.h, RTN_*
    metric: int
    hops: tuple[Hop, ...]


async def add_route(
    netlink: Netlink,
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
    message = route_message(network, table, **_by(hop, network.version))
    if metric is not None:
        message["attrs"].append(("RTA_PRIORITY", metric))
    if onlink and hop.gateway is not None:
        message["flags"] = _RTNH_F_ONLINK
    with asking(f"add route {network}"):
        await netlink.new(message, REPLACE if replace else CREATE)


async def remove_route(netlink: Netlink, network: Network, hop: Hop, table: int = MAIN_TABLE) -> None:
    """Remove a route of ours; no error if it is gone."""
    try:
        with asking(f"remove route {network}"):
            await netlink.delete(route_message(network, table, **_by(hop, network.version)))
    except NetworkError as e:
        if e.errno not in (ESRCH, ENODEV):
            raise


async def best_hop(netlink: Netlink, to: Network, *, avoid: Collection[int] = (), moving: bool = False) -> Hop | None:
    """The way to all of a network; None if it is an address of this machine. NetworkError if there is none.

    Not through the devices whose indexes are in `avoid`, and with `moving` not by our own route to that very
    network. Only the kernel knows policy rules, so it is asked first; but it can't leave out routes: where its
    answer doesn't suit, the main table decides.
    """
    refusal: NetworkError | None = None
    if not moving:
        try:
            match = _matching(netlink, to)
        except NetworkError as e:  # there may be one behind a guard's, see `ovpn3.net.guard`
            refusal = e
        else:
            if to.num_addresses == 1 and match.kind == _RTN_LOCAL:
                return None
            if match.network.prefixlen <= to.prefixlen:
                for hop in match.hops:
                    if hop.index not in avoid:
                        return hop
    best: tuple[tuple[int, int], Hop | None] | None = None
    for route in await main_routes(netlink):
        if not covers(route.network, to):
            continue
        ours = route.protocol == ROUTE_PROTOCOL
        refuses = route.kind in _REFUSALS
        # Who refuses on purpose is obeyed, if the kernel would; our own guards are what we look behind.
        if (refuses and (ours or refusal is None)) or (ours and moving and route.network == to):
            continue
        if not (refuses or route.kind == RTN_UNICAST):
            continue
        rank = (-route.network.prefixlen, route.metric)
        hops: tuple[Hop | None, ...] = (None,) if refuses else route.hops
        for way in hops:
            if (way is None or way.index not in avoid) and (best is None or rank < best[0]):
                best = rank, way
    if best is None or best[1] is None:
        raise refusal or NetworkError(f"no route to {to}", ENETUNREACH)
    return best[1]


def table_for(netlink: Netlink, to: Network, mark: int) -> int:
    """The routing table by which the kernel sends packets with that mark; the main one if it has no way for them."""
    try:
        return _matching(netlink, to, mark).table
    except NetworkError:
        return MAIN_TABLE


async def local_networks(netlink: Netlink) -> tuple[tuple[Network, ...], tuple[Address, ...]]:
    """The networks on the links which default routes lead to, and the routers there that they name.

    A network of one machine, the far end of a line, is none; nor are link-local ones, which no router leads on.
    """
    networks: dict[Network, None] = {}
    routers: dict[Address, None] = {}
    tunnels, routes = await tun_indexes(netlink), await main_routes(netlink)
    for version in (4, 6):
        ways = [
            (route.network, hop)
            for route in routes
            if route.network.version == version
            if route.kind == RTN_UNICAST and route.protocol != ROUTE_PROTOCOL
            for hop in route.hops
        ]
        outward = [hop for network, hop in ways if network.prefixlen == 0 and hop.index not in tunnels]
        links = {hop.index for hop in outward}
        routers.update({hop.gateway: None for hop in outward if hop.gateway and not hop.gateway.is_link_local})
        for network, hop in ways:
            alone = network.prefixlen in (0, network.max_prefixlen)
            if hop.index in links and hop.gateway is None and not alone and not network.is_link_local:
                networks[network] = None
    return tuple(networks), tuple(routers)


async def our_routes(netlink: Netlink) -> list[tuple[Network, Hop]]:
    """All with our mark, into tunnels and around them."""
    return [
        (route.network, hop)
        for route in await main_routes(netlink)
        if route.protocol == ROUTE_PROTOCOL and route.kind == RTN_UNICAST  # a guard stays
        for hop in route.hops
    ]


async def remove_ours(netlink: Netlink) -> int:
    """Remove what a crashed predecessor left behind; the number of routes removed.

    Where a tunnel still carries routes of ours, a client survived the crash: without the routes around it, the
    tunnel would swallow its own packets, so nothing is touched.
    """
    ours = await our_routes(netlink)
    if ours and not {hop.index for _, hop in ours} & await tun_indexes(netlink):
        for network, hop in ours:
            await remove_route(netlink, network, hop)
        return len(ours)
    return 0


def route_message(network: Network, table: int, kind: int = RTN_UNICAST, **attributes: Any) -> nlmsg:
    """A message about a route with our mark."""
    return filled(
        rtmsg(),
        {"RTA_DST": str(network.network_address), "RTA_TABLE": table, **attributes},
        family=family(network.version),
        dst_len=network.prefixlen,
        proto=ROUTE_PROTOCOL,
        type=kind,
    )


def _by(hop: Hop, version: int) -> dict[str, Any]:
    """Attributes of a route by that hop."""
    if hop.gateway is None:
        return {"RTA_OIF": hop.index}
    address = str(hop.gateway)
    if hop.gateway.version == version:
        return {"RTA_OIF": hop.index, "RTA_GATEWAY": address}
    # an IPv4 network behind an IPv6 router (RFC 8950)
    return {"RTA_OIF": hop.index, "RTA_VIA": {"family": family(hop.gateway.version), "addr": address}}


async def main_routes(netlink: Netlink) -> list[Route]:
    """The main table, of both families."""
    with asking("list routes"):
        return await netlink.listed(filled(rtmsg(), {}, family=socket.AF_UNSPEC), _read_main_route)


def _matching(netlink: Netlink, to: Network, mark: int = 0) -> Route:
    """What the kernel would send a packet by, to the first address of `to`."""
    question = filled(
        rtmsg(),
        {"RTA_DST": str(to.network_address), **({"RTA_MARK": mark} if mark else {})},
        family=family(to.version),
        dst_len=to.max_prefixlen,
        flags=_RTM_F_FIB_MATCH | _RTM_F_LOOKUP_TABLE,
    )
    with asking(f"find a route to {to}"):
        return read_route(netlink.get(question))


def _read_main_route(message: bytes) -> Route | None:
    route = read_route(message)
    return route if route.table == MAIN_TABLE else None


def read_route(message: bytes) -> Route:
    """What a message of rtnetlink about a route says, without its header."""
    af, prefix_size, _, _, table, protocol, _, kind, flags = _RTMSG.unpack_from(message)
    about = attributes(message, _RTMSG.size)
    address = about.get(RTA_DST) or bytes(4 if af == socket.AF_INET else 16)
    return Route(
        network=ip_network((address, prefix_size)),
        table=_number(about[_RTA_TABLE]) if _RTA_TABLE in about else table,
        protocol=protocol,
        kind=kind,
        metric=_number(about.get(_RTA_PRIORITY, b"")),
        hops=tuple(_hops(about, flags)),
    )


def _hops(about: dict[int, bytes], flags: int) -> Iterator[Hop]:
    """Those of a route's attributes that are alive: one or many."""
    if many := about.get(_RTA_MULTIPATH):
        offset = 0
        while offset < len(many):
            size, its_flags, _, index = _RTNEXTHOP.unpack_from(many, offset)
            yield from _hop(attributes(many[offset : offset + size], _RTNEXTHOP.size), its_flags, index)
            offset += (size + 3) & ~3
    else:
        yield from _hop(about, flags, _number(about.get(RTA_OIF, b"")))


def _hop(about: dict[int, bytes], flags: int, index: int) -> Iterator[Hop]:
    if index and not flags & (_RTNH_F_DEAD | _RTNH_F_LINKDOWN):
        gateway = about[_RTA_VIA][_FAMILY_SIZE:] if _RTA_VIA in about else about.get(_RTA_GATEWAY)
        yield Hop(index, ip_address(gateway) if gateway else None)


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)
