"""What has changed on this machine, as far as it may concern a way that leads through no tunnel.

Where there are many tunnels something changes all the time, and nearly all of it is in the tunnels.
"""

import socket
import sys
from ipaddress import ip_network
from typing import Final, final

from ovpn3.net.plan import MAIN_TABLE, Network, covers
from ovpn3.net.rtnetlink import (
    ADDRESS_INDEX,
    ANYTHING,
    DEL_ADDRESS,
    DEL_LINK,
    DEL_ROUTE,
    HEADER,
    LINK,
    NEW_ADDRESS,
    NEW_LINK,
    NEW_ROUTE,
    ROUTE,
    RTA_DST,
    RTA_OIF,
    attributes,
    news_from,
    rtnetlink_socket,
)

MAX_KEPT: Final = 1000

_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1  # linux/if_link.h
_NLM_F_REPLACE = 0x100  # linux/netlink.h


@final
class News:
    """News since this was made; places in them are numbers."""

    def __init__(self) -> None:
        self._sock = rtnetlink_socket(ANYTHING)
        self._tunnels: set[int] = set()
        self._kept: list[Network | None] = []  # what each concerns; None is anything
        self._dropped = 0

    def close(self) -> None:
        self._sock.close()

    def place(self) -> int:
        """Where we are now."""
        self._hear()
        return self._dropped + len(self._kept)

    def concern(self, network: Network, since: int) -> bool:
        """Whether any do, from that place to the last `place`."""
        if since < self._dropped:
            return True
        return any(what is None or covers(what, network) for what in self._kept[since - self._dropped :])

    def _hear(self) -> None:
        found = news_from(self._sock)
        if found is None:
            self._tunnels.clear()
            self._kept.append(None)
        for message in found or ():
            self._take(message)
        if len(self._kept) > MAX_KEPT:
            self._dropped += len(self._kept)
            self._kept.clear()

    def _take(self, message: bytes) -> None:
        _, kind, flags, *_ = HEADER.unpack_from(message)
        body = message[HEADER.size :]
        if kind in (NEW_ROUTE, DEL_ROUTE):
            self._take_route(body, bool(flags & _NLM_F_REPLACE))
        elif kind in (NEW_ADDRESS, DEL_ADDRESS):
            self._take_device(ADDRESS_INDEX.unpack_from(body)[0])
        else:
            _, _, index, _, _ = LINK.unpack_from(body)
            if kind == NEW_LINK and index not in self._tunnels and read_tun(body)[1]:
                self._tunnels.add(index)
            self._take_device(index)
            if kind == DEL_LINK:
                self._tunnels.discard(index)

    def _take_device(self, index: int) -> None:
        if index not in self._tunnels:
            self._kept.append(None)

    def _take_route(self, route: bytes, replaces: bool) -> None:
        """Of a route that another one `replaces` nothing else is told."""
        family, size, table = ROUTE.unpack_from(route)
        if table != MAIN_TABLE:
            return
        about = attributes(route, ROUTE.size)
        if replaces or int.from_bytes(about.get(RTA_OIF, b""), sys.byteorder) not in self._tunnels:
            address = about.get(RTA_DST) or bytes(4 if family == socket.AF_INET else 16)
            self._kept.append(ip_network((address, size)))


def read_tun(link: bytes) -> tuple[int, str]:
    """Index and name of a device, of a message without header; no name if it isn't a tun."""
    _, _, index, _, _ = LINK.unpack_from(link)
    about = attributes(link, LINK.size)
    kind = attributes(about.get(_IFLA_LINKINFO, b""), 0).get(_IFLA_INFO_KIND, b"")
    return index, _text(about[_IFLA_IFNAME]) if _text(kind) == "tun" else ""


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
