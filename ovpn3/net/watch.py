"""News of this machine's links, addresses and routes; listening takes no privilege."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, final

# linux/rtnetlink.h: RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
SETTLE_S: Final = 0.5  # a change comes as many messages, and a router has changes all day


@final
class NetworkWatch:
    """Calls `changed` when something has changed, at most every SETTLE_S."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._loop, self._changed = asyncio.get_running_loop(), changed
        self._timer: asyncio.TimerHandle | None = None
        self._sock = news_socket()
        self._loop.add_reader(self._sock, self._on_news)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        if self._timer:
            self._timer.cancel()
        self._sock.close()

    def _on_news(self) -> None:
        self._loop.remove_reader(self._sock)  # what else comes until then is part of it
        self._timer = self._loop.call_later(SETTLE_S, self._tell)

    def _tell(self) -> None:
        with contextlib.suppress(OSError):  # nothing left, or more than the socket could hold
            while self._sock.recv(65536):
                pass
        self._loop.add_reader(self._sock, self._on_news)
        self._changed()


def news_socket() -> socket.socket:
    """What tells of every change, as messages of rtnetlink. It doesn't block; ENOBUFS is more than it could hold."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    sock = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    sock.bind((0, _GROUPS))
    return sock
