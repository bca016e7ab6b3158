"""News of guards that are gone: who manages the network may remove what it doesn't know, as systemd-networkd does when
it starts."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Final, final

from ovpn3.net.netlink import attributes
from ovpn3.net.plan import Network
from ovpn3.net.route import ROUTE_PROTOCOL

SETTLE_S: Final = 0.1  # they go many at a time

# linux/rtnetlink.h: RTMGRP_IPV4_ROUTE, _IPV4_RULE, _IPV6_ROUTE, and of RTNLGRP_IPV6_RULE
_GROUPS: Final = 0x40 | 0x80 | 0x400 | 1 << 18
_RTM_DELROUTE, _RTM_DELRULE = 25, 33
_GUARDS: Final = (7, 9)  # RTN_UNREACHABLE, RTN_THROW
_RTA_DST: Final = 1
_HEADER: Final = struct.Struct("=IHHII")
_RTMSG: Final = struct.Struct("=8BI")


@final
class GuardWatch:
    """Calls `lost` with the networks whose guards were removed, by whomever; None if it may be any guard."""

    def __init__(self, lost: Callable[[frozenset[Network] | None], None]) -> None:
        self._loop, self._lost = asyncio.get_running_loop(), lost
        self._timer: asyncio.TimerHandle | None = None
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._sock = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._sock.bind((0, _GROUPS))
        self._loop.add_reader(self._sock, self._on_news)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        if self._timer:
            self._timer.cancel()
        self._sock.close()

    def _on_news(self) -> None:
        self._loop.remove_reader(self._sock)
        self._timer = self._loop.call_later(SETTLE_S, self._tell)

    def _tell(self) -> None:
        self._loop.add_reader(self._sock, self._on_news)
        gone: set[Network | None] = set()
        while True:
            try:
                gone.update(_removals(self._sock.recv(65536)))
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: more than the socket could hold
                gone.add(None)
        if gone:
            networks = frozenset(network for network in gone if network is not None)
            self._lost(None if None in gone else networks)


def _removals(data: bytes) -> Iterator[Network | None]:
    """Networks of the guards that the messages say are gone; None for a rule."""
    while data:
        size, kind, *_ = _HEADER.unpack_from(data)
        message, data = data[_HEADER.size : size], data[(size + 3) // 4 * 4 :]
        if kind == _RTM_DELRULE:
            yield None
        elif kind == _RTM_DELROUTE:
            family, prefix, _, _, _, protocol, _, what, _ = _RTMSG.unpack_from(message)
            if protocol == ROUTE_PROTOCOL and what in _GUARDS:
                nowhere = bytes(4 if family == socket.AF_INET else 16)  # a default route has no destination
                yield ip_network((attributes(message, _RTMSG.size).get(_RTA_DST, nowhere), prefix))
