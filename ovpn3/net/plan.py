"""What a tunnel's network should look like, and the steps which make it so. Pure: no I/O.

Only steps of kind Bypass reach beyond the tunnel device. The kernel undoes all others when the device goes,
however many they are; so undoing a plan means: delete the device, release its bypasses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_network,
)
from typing import Final

from ovpn3.constants import TunOffload

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

MAIN_TABLE: Final = 254  # linux/rtnetlink.h


@dataclass(frozen=True, slots=True)
class Place:
    """Where routes are: in a named network namespace instead of ours, or in another table than the main one."""

    netns: str = ""
    table: int = MAIN_TABLE


COMMON: Final = Place()  # of all programs, unless somebody has put them elsewhere

# Halves of the address space: they win over the default route and leave it in place.
EVERYTHING_IPV4: tuple[Network, ...] = (IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1"))
EVERYTHING_IPV6: tuple[Network, ...] = (IPv6Network("::/1"), IPv6Network("8000::/1"))

# The kernel cuts one send into so many UDP datagrams at most, of so many octets together (over IPv4, which has less).
MAX_DATAGRAMS: Final = 64
MAX_DATAGRAM_BYTES: Final = 65507
DATA_OVERHEAD_BYTES: Final = 34  # no packet grows by more in the data channel


@dataclass(frozen=True, slots=True)
class TunnelAddress:
    """Our address in the tunnel; `gateway` is the server's, or the peer's when the prefix holds only us."""

    interface: Interface
    gateway: Address | None = None


@dataclass(frozen=True, slots=True)
class WantedRoute:
    """A network to reach through the tunnel, or with `exclude` beside it. Metric None: the kernel's default."""

    network: Network
    metric: int | None = None
    exclude: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """Wanted state. `remote`: the server's address if it must be kept out of the tunnel's routes.

    `local` are networks on links of this machine which the tunnel takes too, all but `local_routers`. `name` is the
    device's; without one it gets a number. `offloads` are a wish when a device is asked for, and what the kernel
    granted when its steps are planned.
    """

    addresses: tuple[TunnelAddress, ...] = ()
    routes: tuple[WantedRoute, ...] = ()
    remote: Address | None = None
    mtu: int = 1500
    txqueuelen: int = 0  # 0: the kernel's default
    reroute_ipv4: bool = False
    reroute_ipv6: bool = False
    local: tuple[Network, ...] = ()
    local_routers: tuple[Address, ...] = ()
    offloads: TunOffload = TunOffload.NONE
    name: str = ""
    place: Place = COMMON


@dataclass(frozen=True, slots=True)
class Bypass:
    """Route beside the tunnel, by the best way there is without it. `gateway` is known once applied."""

    network: Network
    announced: bool = True
    gateway: Address | None = None


@dataclass(frozen=True, slots=True)
class SetLink:
    """Size the device and bring it up."""

    mtu: int
    txqueuelen: int


@dataclass(frozen=True, slots=True)
class LooseReturn:
    """Take packets from senders to whom the main table knows another way, where the kernel would look for that."""


@dataclass(frozen=True, slots=True)
class LimitSegments:
    """Have the kernel put no more packets than that into a super packet."""

    count: int


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Address of the device, with its peer on a point-to-point link.

    `routed`: with the route to its network that the kernel puts into the main table.
    """

    interface: Interface
    peer: Address | None
    routed: bool = True


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Route into the tunnel."""

    network: Network
    gateway: Address | None
    metric: int | None
    table: int = MAIN_TABLE


Step = Bypass | SetLink | LooseReturn | LimitSegments | AddAddress | AddRoute


def plan(wanted: Wanted) -> tuple[Step, ...]:
    """Steps in the order to take them: bypasses come first, while the way they copy is still the only one.

    A place of its own takes none. The way to the server isn't looked for there: the client's socket is in our
    namespace, and no rule of ours is for its packets.
    """
    excluded = {route.network for route in wanted.routes if route.exclude}
    inside = {route.network: route for route in wanted.routes if route.network not in excluded}
    for network in _redirected(wanted):
        inside.setdefault(network, WantedRoute(network))

    bypasses: list[Bypass] = []
    if wanted.place == COMMON:
        bypasses = [Bypass(network) for network in sorted(excluded, key=_order)]
        routers = {ip_network(router) for router in wanted.local_routers} - excluded
        bypasses += [Bypass(router, announced=False) for router in sorted(routers, key=_order)]
        if wanted.remote is not None and any(_holds(network, wanted.remote) for network in inside):
            host = ip_network(wanted.remote)
            inside.pop(host, None)
            if host not in excluded | routers:
                bypasses.append(Bypass(host, announced=False))

    return (
        *bypasses,
        *([LimitSegments(_segments(wanted.mtu))] if wanted.offloads else []),
        SetLink(wanted.mtu, wanted.txqueuelen),
        *(AddAddress(a.interface, _peer(a), wanted.place.table == MAIN_TABLE) for a in dict.fromkeys(wanted.addresses)),
        *_routes(wanted, inside),
    )


def _routes(wanted: Wanted, inside: Mapping[Network, WantedRoute]) -> Iterator[Step]:
    table = wanted.place.table
    if table == MAIN_TABLE:
        for network, route in inside.items():
            yield AddRoute(network, _gateway(wanted.addresses, network.version), route.metric)
        return
    # The tunnel's own network is for those only who take the table. A gateway would have to be in it already, and none
    # is needed.
    yield LooseReturn()
    own = {a.interface.network: WantedRoute(a.interface.network) for a in wanted.addresses if not _alone(a.interface)}
    for network, route in {**own, **inside}.items():
        yield AddRoute(network, None, route.metric, table)


def excluded(wanted: Wanted) -> frozenset[Network]:
    """Networks which a table of the tunnel's own leaves to the tables behind it."""
    if wanted.place.table == MAIN_TABLE:
        return frozenset()
    return frozenset(route.network for route in wanted.routes if route.exclude)


def guarded(wanted: Wanted) -> frozenset[Network]:
    """Networks that may be reached through the tunnel only, if it is to be so.

    Where all IPv4 goes into the tunnel, IPv6 that doesn't isn't to leave beside it.
    """
    inside = {step.network for step in plan(wanted) if isinstance(step, AddRoute)}
    return frozenset(inside.union(EVERYTHING_IPV6 if wanted.reroute_ipv4 else (), halves(wanted.local)))


def unreachable(wanted: Wanted) -> frozenset[Network]:
    """Networks that the tunnel takes from a link of this machine, and has no address to carry."""
    carried = {address.interface.version for address in wanted.addresses}
    return frozenset(half for half in halves(wanted.local) if half.version not in carried)


def covers(whole: Network, part: Network) -> bool:
    return whole.version == part.version and whole.prefixlen <= part.prefixlen and part.network_address in whole


def halves(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """Routes to them win over the one to a whole network, which is the kernel's and has to stay."""
    return tuple(half for network in networks for half in network.subnets())


def _redirected(wanted: Wanted) -> tuple[Network, ...]:
    blocked = unreachable(wanted)
    return (
        *(EVERYTHING_IPV4 if wanted.reroute_ipv4 else ()),
        *(EVERYTHING_IPV6 if wanted.reroute_ipv6 else ()),
        *(half for half in halves(wanted.local) if half not in blocked),
    )


def _segments(mtu: int) -> int:
    """How many packets of that size, once in the data channel, still go with one send."""
    return max(1, min(MAX_DATAGRAMS, MAX_DATAGRAM_BYTES // (mtu + DATA_OVERHEAD_BYTES)))


def _holds(network: Network, address: Address) -> bool:
    return network.version == address.version and address in network


def _peer(address: TunnelAddress) -> Address | None:
    """The far end of a point-to-point address; a gateway inside the prefix needs no mention."""
    return address.gateway if _alone(address.interface) and address.gateway != address.interface.ip else None


def _alone(interface: Interface) -> bool:
    return interface.network.prefixlen == interface.max_prefixlen


def _gateway(addresses: tuple[TunnelAddress, ...], version: int) -> Address | None:
    """First gateway of that IP version which our addresses make reachable.

    A tun device needs none, so one pushed wrongly is left out rather than refused by the kernel.
    """
    for address in addresses:
        gateway = address.gateway
        if gateway is None or gateway.version != version or gateway == address.interface.ip:
            continue
        if gateway in address.interface.network or _peer(address) is not None:
            return gateway
    return None


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen
