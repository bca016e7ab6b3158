"""Routes which lead around the tunnels: to VPN servers and to excluded networks.

Tunnels may want the same one (two sessions with one server), so each is kept until its last holder lets go.
"""

import asyncio
from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EEXIST

from ovpn3.errors import NetworkError
from ovpn3.net.link import tun_indexes
from ovpn3.net.netlink import Netlink
from ovpn3.net.plan import Network
from ovpn3.net.route import Hop, add_route, best_hop, our_routes, remove_ours, remove_route

Holders = Mapping[Hashable, frozenset[int]]  # and devices that each is not to go through
Note = Callable[[Network, Hop, Holders], None]


@dataclass(slots=True)
class _Held:
    """One route, and the networks each holder wants it for."""

    hop: Hop
    holders: dict[Hashable, frozenset[int]]
    # To where in the news it is known to be there, and to be the best way that leads through no tunnel.
    sure: int | None = field(default=None, compare=False)


class Bypasses:
    """All routes of this process around its tunnels, by network."""

    def __init__(self, netlink: Netlink, note: Note = lambda network, hop, holders: None) -> None:
        """`note` is told of a route before it is made or changed, and after it is gone: then it has no holders."""
        assert netlink.news  # ways are looked for in our own network namespace
        self._netlink, self._news, self._note = netlink, netlink.news, note
        self._held: dict[Network, _Held] = {}
        self._lock = asyncio.Lock()

    async def hold(self, holder: Hashable, network: Network, avoid: Collection[int] = ()) -> Hop | None:
        """Keep `network` on the best way not through devices `avoid`; that way, or None for ourselves.

        A route of ours which is there already moves to the present best way that suits all its holders, but not into
        a tunnel that has come since, unless that is another program's and there is no other way. A route of somebody
        else stays as it is. NetworkError if there is no way.
        """
        async with self._lock:
            if not self._held:
                await remove_ours(self._netlink)  # a predecessor's, which had to stay as long as there was its tunnel
            held = self._held.get(network)
            around = self._carried(frozenset(avoid).union(*(held.holders.values() if held else ())))
            place = self._news.place()
            if held and self._is_sure(network, around, held):
                hop, unmoved = held.hop, True
                sure: int | None = place
            else:
                found, outside = await self._best_hop(network, around, held)
                if found is None:
                    return None
                hop, sure = found, place if outside else None
                unmoved = held is not None and held.hop == hop and (network, hop) in await our_routes(self._netlink)
            new = _Held(hop, {**(held.holders if held else {}), holder: frozenset(avoid)}, sure)
            if held and unmoved and new == held:  # as most often: each client asks again when the machine changes
                held.sure = sure
                return hop
            self._note(network, new.hop, new.holders)
            try:
                if not unmoved:
                    await add_route(self._netlink, network, hop, replace=held is not None, onlink=True)
            except NetworkError as e:
                self._note(network, *((held.hop, held.holders) if held else (hop, {})))
                if e.errno == EEXIST:
                    return hop
                raise
            self._held[network] = new
            return hop

    def _is_sure(self, network: Network, around: frozenset[int], held: _Held) -> bool:
        """Whether there is no need to look. Tunnels come and go all the time, and none of them would be taken."""
        if held.sure is None or held.hop.index in around:
            return False
        return not self._news.concern(network, held.sure)

    async def _best_hop(self, network: Network, around: frozenset[int], held: _Held | None) -> tuple[Hop | None, bool]:
        """And whether it was looked for outside of all tunnels."""
        if held is not None:
            tunnels = await tun_indexes(self._netlink)
            if held.hop.index not in tunnels:
                with suppress(NetworkError):
                    return await best_hop(self._netlink, network, avoid=around | tunnels, moving=True), True
                # Another program's tunnel may be the way now. One of ours lost its own way with us.
                around = around.union(*(own for each in self._held.values() for own in each.holders.values()))
        return await best_hop(self._netlink, network, avoid=around, moving=held is not None), False

    def _carried(self, devices: frozenset[int]) -> frozenset[int]:
        """With the tunnels whose servers are reached through them: those can't carry them in turn."""
        while True:
            riders = [held for held in self._held.values() if held.hop.index in devices]
            more = devices.union(*(avoid for held in riders for avoid in held.holders.values()))
            if more == devices:
                return devices
            devices = more

    def take_over(self, network: Network, hop: Hop, holders: Holders) -> None:
        """A route that a predecessor of this process made."""
        self._held[network] = _Held(hop, dict(holders))

    async def release(self, holder: Hashable, *, keep: Collection[Network] = ()) -> None:
        """Let go of everything `holder` holds, but `keep`; NetworkError only after all was tried."""
        failure: NetworkError | None = None
        async with self._lock:
            for network, held in list(self._held.items()):
                if network in keep or held.holders.pop(holder, None) is None:
                    continue
                if not held.holders:
                    del self._held[network]
                    try:
                        await remove_route(self._netlink, network, held.hop)
                    except NetworkError as e:
                        failure = e
                self._note(network, held.hop, held.holders)
        if failure:
            raise failure
