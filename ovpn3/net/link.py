"""Links and their addresses over rtnetlink."""

from errno import EADDRNOTAVAIL, ENODEV
from pathlib import Path
from typing import Final

from ovpn3.errors import NetworkError
from ovpn3.net.netlink import CREATE, Netlink, asking, filled, ifaddrmsg, ifinfmsg, nlmsg
from ovpn3.net.news import read_tun
from ovpn3.net.plan import Address, Interface
from ovpn3.net.rtnetlink import family

_IFF_UP: Final = 1  # linux/if.h
_IFA_F_NOPREFIXROUTE: Final = 0x200  # linux/if_addr.h
_RTEXT_FILTER_SKIP_STATS: Final = 8  # linux/rtnetlink.h


async def set_link(netlink: Netlink, index: int, mtu: int, txqueuelen: int = 0) -> None:
    """Set MTU and, unless 0, the length of the send queue; bring the link up."""
    queue = {"IFLA_TXQLEN": txqueuelen} if txqueuelen else {}
    message = filled(ifinfmsg(), {"IFLA_MTU": mtu, **queue}, index=index, flags=_IFF_UP, change=_IFF_UP)
    with asking(f"bring up device {index} with MTU {mtu}"):
        await netlink.new(message)


async def rename_link(netlink: Netlink, index: int, name: str) -> None:
    """Give a link that is down another name; NetworkError with EEXIST if it is taken."""
    with asking(f"call device {index} {name}"):
        await netlink.new(filled(ifinfmsg(), {"IFLA_IFNAME": name}, index=index))


def loosen_return(name: str) -> None:
    """Take packets from whoever can be reached at all, where the kernel would take them by the best way back only."""
    path = Path("/proc/sys/net/ipv4/conf", name, "rp_filter")
    try:
        path.write_text("2")  # the stricter of 0 and 1 for all devices gives way to it: the highest number counts
    except OSError as e:
        raise NetworkError(f"can't write {path}: {e.strerror}", e.errno or 0) from None


async def limit_segments(netlink: Netlink, index: int, count: int) -> None:
    """Have super packets through a link hold `count` packets at most."""
    with asking(f"limit super packets of device {index} to {count} packets"):
        await netlink.new(filled(ifinfmsg(), {"IFLA_GSO_MAX_SEGS": count}, index=index))


async def add_address(
    netlink: Netlink, index: int, interface: Interface, peer: Address | None = None, *, routed: bool = True
) -> None:
    """Add an address; with `peer` a point-to-point one, and with `routed` a route to its network."""
    message = _address_message(index, interface, peer)
    if not routed:
        message["attrs"].append(("IFA_FLAGS", _IFA_F_NOPREFIXROUTE))
    with asking(f"add address {interface}"):
        await netlink.new(message, CREATE)


async def remove_address(netlink: Netlink, index: int, interface: Interface, peer: Address | None = None) -> None:
    """Remove an address; no error if it is gone."""
    try:
        with asking(f"remove address {interface}"):
            await netlink.delete(_address_message(index, interface, peer))
    except NetworkError as e:
        if e.errno not in (EADDRNOTAVAIL, ENODEV):
            raise


def _address_message(index: int, interface: Interface, peer: Address | None) -> nlmsg:
    return filled(
        ifaddrmsg(),
        {"IFA_ADDRESS": str(peer or interface.ip), "IFA_LOCAL": str(interface.ip)},
        index=index,
        family=family(interface.version),
        prefixlen=interface.network.prefixlen,
    )


async def remove_link(netlink: Netlink, index: int) -> None:
    """Remove a link with its addresses and routes, whoever has it open; no error if it is gone."""
    try:
        with asking(f"remove device {index}"):
            await netlink.delete(filled(ifinfmsg(), {}, index=index))
    except NetworkError as e:
        if e.errno != ENODEV:
            raise


def tun_name(netlink: Netlink, index: int) -> str:
    """Name of the tun device of that index; empty if there is none."""
    try:
        with asking(f"look at device {index}"):
            link = netlink.get(filled(ifinfmsg(), {}, index=index))
    except NetworkError as e:
        if e.errno == ENODEV:
            return ""
        raise
    return read_tun(link)[1]


async def tun_indexes(netlink: Netlink) -> frozenset[int]:
    """Indexes of all tun devices."""
    question = filled(ifinfmsg(), {"IFLA_EXT_MASK": _RTEXT_FILTER_SKIP_STATS})
    with asking("list devices"):
        links = await netlink.listed(question, read_tun)
    return frozenset(index for index, name in links if name)
