"""Links and their addresses over rtnetlink, and how a refusal of the kernel reads."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EADDRNOTAVAIL, ENODEV
from os import strerror
from pathlib import Path
from typing import Any, Final

from ovpn3.errors import NetworkError
from ovpn3.net.attributes import attributes
from ovpn3.net.netlink import RTM_GETLINK, AsyncIPRoute, NetlinkError, ifinfmsg
from ovpn3.net.plan import Address, Interface

_IFA_F_NOPREFIXROUTE: Final = 0x200  # linux/if_addr.h

# linux/rtnetlink.h, linux/if_link.h
_IFINFOMSG_SIZE, _INDEX_AT = 16, 4
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_RTEXT_FILTER_SKIP_STATS: Final = 8


@contextmanager
def asking(for_what: str) -> Iterator[None]:
    """Turn the kernel's refusal into a NetworkError which says what we asked for."""
    try:
        yield
    except NetlinkError as e:
        raise NetworkError(f"can't {for_what}: {strerror(e.code)}", e.code) from e


async def set_link(ipr: AsyncIPRoute, index: int, mtu: int, txqueuelen: int = 0) -> None:
    """Set MTU and, unless 0, the length of the send queue; bring the link up."""
    queue = {"txqlen": txqueuelen} if txqueuelen else {}
    with asking(f"bring up device {index} with MTU {mtu}"):
        await ipr.link("set", index=index, mtu=mtu, state="up", **queue)


async def rename_link(ipr: AsyncIPRoute, index: int, name: str) -> None:
    """Give a link that is down another name; NetworkError with EEXIST if it is taken."""
    with asking(f"call device {index} {name}"):
        await ipr.link("set", index=index, ifname=name)


def loosen_return(name: str) -> None:
    """Take packets from whoever can be reached at all, where the kernel would take them by the best way back only."""
    path = Path("/proc/sys/net/ipv4/conf", name, "rp_filter")
    try:
        path.write_text("2")  # the stricter of 0 and 1 for all devices gives way to it: the highest number counts
    except OSError as e:
        raise NetworkError(f"can't write {path}: {e.strerror}", e.errno or 0) from None


async def limit_segments(ipr: AsyncIPRoute, index: int, count: int) -> None:
    """Have super packets through a link hold `count` packets at most."""
    with asking(f"limit super packets of device {index} to {count} packets"):
        await ipr.link("set", index=index, gso_max_segs=count)


async def add_address(
    ipr: AsyncIPRoute, index: int, interface: Interface, peer: Address | None = None, *, routed: bool = True
) -> None:
    """Add an address; with `peer` a point-to-point one, and with `routed` a route to its network."""
    flags = {} if routed else {"flags": _IFA_F_NOPREFIXROUTE}
    with asking(f"add address {interface}"):
        await ipr.addr("add", index=index, **_ends(interface, peer), **flags)


async def remove_address(ipr: AsyncIPRoute, index: int, interface: Interface, peer: Address | None = None) -> None:
    """Remove an address; no error if it is gone."""
    try:
        with asking(f"remove address {interface}"):
            await ipr.addr("del", index=index, **_ends(interface, peer))
    except NetworkError as e:
        if e.errno not in (EADDRNOTAVAIL, ENODEV):
            raise


def _ends(interface: Interface, peer: Address | None) -> dict[str, Any]:
    local = {"local": str(interface.ip)} if peer else {}
    return {"address": str(peer or interface.ip), "prefixlen": interface.network.prefixlen, **local}


async def remove_link(ipr: AsyncIPRoute, index: int) -> None:
    """Remove a link with its addresses and routes, whoever has it open; no error if it is gone."""
    try:
        with asking(f"remove device {index}"):
            await ipr.link("del", index=index)
    except NetworkError as e:
        if e.errno != ENODEV:
            raise


async def tun_name(ipr: AsyncIPRoute, index: int) -> str:
    """Name of the tun device of that index; empty if there is none."""
    question = ifinfmsg()
    question["index"] = index
    try:
        with asking(f"look at device {index}"):
            link = await ipr.answer(RTM_GETLINK, question)
    except NetworkError as e:
        if e.errno == ENODEV:
            return ""
        raise
    return _read_tun(link)[1]


async def tun_indexes(ipr: AsyncIPRoute) -> frozenset[int]:
    """Indexes of all tun devices."""
    question = ifinfmsg()
    question["attrs"] = [["IFLA_EXT_MASK", _RTEXT_FILTER_SKIP_STATS]]
    with asking("list devices"):
        links = await ipr.listed(RTM_GETLINK, question, _read_tun)
    return frozenset(index for index, name in links if name)


def _read_tun(link: bytes) -> tuple[int, str]:
    """Index and name of a device; no name if it isn't a tun."""
    (index,) = struct.unpack_from("=i", link, _INDEX_AT)
    about = attributes(link, _IFINFOMSG_SIZE)
    kind = attributes(about.get(_IFLA_LINKINFO, b""), 0).get(_IFLA_INFO_KIND, b"")
    return index, _text(about[_IFLA_IFNAME]) if _text(kind) == "tun" else ""


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
