"""What has changed on this machine, as far as it may concern a way that leads through no tunnel.

Where there are many tunnels something changes all the time, and nearly all of it is in the tunnels.
"""

import socket
import struct
import sys
from ipaddress import ip_network
from typing import Final, final

from ovpn3.net.attributes import attributes
from ovpn3.net.plan import MAIN_TABLE, Network, covers
from ovpn3.net.watch import ANYTHING, HEADER, messages, rtnetlink_socket

MAX_KEPT: Final = 1000

# linux/rtnetlink.h, linux/if_link.h
_NEW_LINK, _DEL_LINK, _NEW_ADDRESS, _DEL_ADDRESS, _NEW_ROUTE, _DEL_ROUTE = 16, 17, 20, 21, 24, 25
_LINK, _ADDRESS, _ROUTE = struct.Struct("=4xi8x"), struct.Struct("=4xi"), struct.Struct("=BB2xB7x")
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_RTA_DST, _RTA_OIF = 1, 4
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
        while True:
            try:
                for message in messages(self._sock.recv(65536)):
                    self._take(message)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: more than the socket could hold
                self._tunnels.clear()
                self._kept.append(None)
        if len(self._kept) > MAX_KEPT:
            self._dropped += len(self._kept)
            self._kept.clear()

    def _take(self, message: bytes) -> None:
        _, kind, flags, *_ = HEADER.unpack_from(message)
        body = message[HEADER.size :]
        if kind in (_NEW_ROUTE, _DEL_ROUTE):
            self._take_route(body, bool(flags & _NLM_F_REPLACE))
        elif kind in (_NEW_ADDRESS, _DEL_ADDRESS):
            self._take_device(_ADDRESS.unpack_from(body)[0])
        else:
            (index,) = _LINK.unpack_from(body)
            if kind == _NEW_LINK and index not in self._tunnels and read_tun(body)[1]:
                self._tunnels.add(index)
            self._take_device(index)
            if kind == _DEL_LINK:
                self._tunnels.discard(index)

    def _take_device(self, index: int) -> None:
        if index not in self._tunnels:
            self._kept.append(None)

    def _take_route(self, route: bytes, replaces: bool) -> None:
        """Of a route that another one `replaces` nothing else is told."""
        family, size, table = _ROUTE.unpack_from(route)
        if table != MAIN_TABLE:
            return
        about = attributes(route, _ROUTE.size)
        if replaces or int.from_bytes(about.get(_RTA_OIF, b""), sys.byteorder) not in self._tunnels:
            address = about.get(_RTA_DST) or bytes(4 if family == socket.AF_INET else 16)
            self._kept.append(ip_network((address, size)))


def read_tun(link: bytes) -> tuple[int, str]:
    """Index and name of a device, of a message without header; no name if it isn't a tun."""
    (index,) = _LINK.unpack_from(link)
    about = attributes(link, _LINK.size)
    kind = attributes(about.get(_IFLA_LINKINFO, b""), 0).get(_IFLA_INFO_KIND, b"")
    return index, _text(about[_IFLA_IFNAME]) if _text(kind) == "tun" else ""


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
