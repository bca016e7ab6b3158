"""News of guards that are gone: who manages the network may remove what it doesn't know, as systemd-networkd does when
it starts."""

from collections.abc import Callable, Iterator
from typing import Final, final

from ovpn3.net.plan import Network
from ovpn3.net.route import ROUTE_PROTOCOL, RTN_THROW, RTN_UNREACHABLE, read_route
from ovpn3.net.rtnetlink import DEL_ROUTE, DEL_RULE, HEADER
from ovpn3.net.watch import Listener

SETTLE_S: Final = 0.1  # they go many at a time

# linux/rtnetlink.h: RTMGRP_IPV4_ROUTE, _IPV4_RULE, _IPV6_ROUTE, and of RTNLGRP_IPV6_RULE
_GROUPS: Final = 0x40 | 0x80 | 0x400 | 1 << 18
_GUARDS: Final = (RTN_UNREACHABLE, RTN_THROW)


@final
class GuardWatch(Listener):
    """Calls `lost` with the networks whose guards were removed, by whomever; None if it may be any guard."""

    def __init__(self, lost: Callable[[frozenset[Network] | None], None]) -> None:
        super().__init__(_GROUPS, SETTLE_S, self._on_messages)
        self._lost = lost

    def _on_messages(self, found: list[bytes] | None) -> None:
        gone = {None} if found is None else {network for message in found for network in _removed(message)}
        if gone:
            networks = frozenset(network for network in gone if network is not None)
            self._lost(None if None in gone else networks)


def _removed(message: bytes) -> Iterator[Network | None]:
    """The network whose guard the message says is gone; None for a rule."""
    _, kind, *_ = HEADER.unpack_from(message)
    if kind == DEL_RULE:
        yield None
    elif kind == DEL_ROUTE:
        route = read_route(message[HEADER.size :])
        if route.protocol == ROUTE_PROTOCOL and route.kind in _GUARDS:
            yield route.network
