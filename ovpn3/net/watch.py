"""News of this machine's links, addresses and routes; listening takes no privilege."""

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, final

from ovpn3.net.rtnetlink import (
    ADDRESS_INDEX,
    ANYTHING,
    DEL_LINK,
    DEL_ROUTE,
    HEADER,
    LINK,
    NEW_ADDRESS,
    NEW_LINK,
    NEW_ROUTE,
    ROUTE,
    RTA_DST,
    attributes,
    family,
    news_from,
    rtnetlink_socket,
)

SETTLE_S: Final = 0.5  # a change comes as many messages, and a router has changes all day

_OWN_ADDRESSES: Final = 255  # linux/rtnetlink.h: RT_TABLE_LOCAL
_TUNNEL, _UP, _BORN = 0xFFFE, 0x1, 0xFFFF_FFFF  # linux/if_arp.h, linux/if.h; all flags have changed

Address = IPv4Address | IPv6Address  # not that of `ovpn3.net.plan`, which no client loads


class Listener:
    """Calls `heard` with the messages of `settle_s`, each with its header; None if they were too many to be kept."""

    def __init__(self, groups: int, settle_s: float, heard: Callable[[list[bytes] | None], None]) -> None:
        self._loop, self._settle_s, self._heard = asyncio.get_running_loop(), settle_s, heard
        self._timer: asyncio.TimerHandle | None = None
        self._sock = rtnetlink_socket(groups)
        self._loop.add_reader(self._sock, self._on_news)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        if self._timer:
            self._timer.cancel()
        self._sock.close()

    def _on_news(self) -> None:
        self._loop.remove_reader(self._sock)  # what else comes until then is part of it
        self._timer = self._loop.call_later(self._settle_s, self._tell)

    def _tell(self) -> None:
        self._loop.add_reader(self._sock, self._on_news)
        self._heard(news_from(self._sock))


@final
class NetworkWatch(Listener):
    """Calls `changed` when something has changed that may concern the way to `server`, at most every SETTLE_S.

    Without a server everything may. What it tells apart are tunnels that come up, and routes to elsewhere: where there
    are many tunnels, each would have to look whenever one is made.
    """

    def __init__(self, changed: Callable[[], None], server: Callable[[], str] = lambda: "") -> None:
        super().__init__(ANYTHING, SETTLE_S, self._on_messages)
        self._changed, self._server, self._relevance = changed, server, Relevance()

    def _on_messages(self, found: list[bytes] | None) -> None:
        address = self._server()
        server = ip_address(address) if address else None  # once, and there may be many messages
        concerned = [self._relevance.of(message, server) for message in found or ()]
        if found is None or any(concerned):
            self._changed()


class Relevance:
    """Which messages of rtnetlink may tell of another way to a server."""

    def __init__(self) -> None:
        self._tunnels: set[int] = set()

    def of(self, message: bytes, server: Address | None) -> bool:
        _, kind, *_ = HEADER.unpack_from(message)
        body = message[HEADER.size :]
        if kind == NEW_LINK:
            _, hardware, index, flags, changed = LINK.unpack_from(body)
            if hardware == _TUNNEL:
                self._tunnels.add(index)
                if flags & _UP or not changed & _UP or changed == _BORN:  # it doesn't go down
                    return not server
        elif kind == DEL_LINK:
            self._tunnels.discard(LINK.unpack_from(body)[2])
        elif kind == NEW_ADDRESS:
            return not server or ADDRESS_INDEX.unpack_from(body)[0] not in self._tunnels
        elif kind in (NEW_ROUTE, DEL_ROUTE):
            return not server or _covers(body, server)
        return True


def _covers(route: bytes, server: Address) -> bool:
    of_family, size, table = ROUTE.unpack_from(route)
    if of_family != family(server.version) or table == _OWN_ADDRESSES:
        return False
    destination = attributes(route, ROUTE.size).get(RTA_DST, b"")  # a default route has none
    return not (int.from_bytes(destination) ^ int(server)) >> (server.max_prefixlen - size)
