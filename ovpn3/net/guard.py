"""Routes that lead nowhere, for networks whose packets may leave through a tunnel or not at all; and the same for DNS.

Of the routes to one network the kernel takes the one with the lowest metric: the tunnel's while it is there, then ours,
and never the default route, which is shorter. It needs no firewall, nothing can be sent before it is noticed, and it
stays whatever becomes of the services. A program is told at once that the network is unreachable. Routes can't tell DNS
from the rest: see `ovpn3.net.nftables`.
"""

from collections.abc import Callable, Collection, Mapping
from errno import EACCES, EAFNOSUPPORT, EOPNOTSUPP, ESRCH
from typing import Final, final

from ovpn3.errors import NetworkError
from ovpn3.net import nftables
from ovpn3.net.link import asking
from ovpn3.net.netlink import AsyncIPRoute
from ovpn3.net.plan import Network
from ovpn3.net.route import MAIN_TABLE, ROUTE_PROTOCOL, family

METRIC: Final = 0xFFFF_FF00  # nobody's is as high
NO_IPV6: Final = (EACCES, EOPNOTSUPP, EAFNOSUPPORT)

OUTSIDE_DNS: Final = "outside-dns"  # among networks: names that are asked for beside the tunnels
Guarded = Network | str

Note = Callable[[str, Collection[Guarded]], None]


@final
class Guards:
    """Networks by who guards them, so that the last one takes the route away."""

    def __init__(self, ipr: AsyncIPRoute, note: Note = lambda holder, networks: None) -> None:
        """`note` is told what somebody guards before it is so, and after it isn't any more: then nothing."""
        self._ipr, self._note = ipr, note
        self._held: dict[str, frozenset[Guarded]] = {}

    @property
    def held(self) -> Mapping[str, frozenset[Guarded]]:
        return self._held

    def take_over(self, holder: str, networks: Collection[Guarded]) -> None:
        """What a predecessor of this process has set up."""
        self._held[holder] = frozenset(networks)

    async def hold(self, holder: str, networks: Collection[Guarded]) -> None:
        """Guard these, and no others any more for this holder. NetworkError if the kernel refuses."""
        before, now = self._held.get(holder, frozenset[Guarded]()), frozenset(networks)
        self._note(holder, before | now)
        self._held[holder] = before | now
        for network in now - before:
            await self._add(network)
        await self._drop(holder, before - now)

    async def release(self, holder: str) -> None:
        """NetworkError only after all was tried."""
        if holder in self._held:
            await self._drop(holder, self._held[holder])

    async def _drop(self, holder: str, networks: frozenset[Guarded]) -> None:
        left = self._held[holder] - networks
        if left:
            self._held[holder] = left
        else:
            del self._held[holder]
        failure: NetworkError | None = None
        for network in networks.difference(*self._held.values()):
            try:
                await self._remove(network)
            except NetworkError as e:
                failure = e
        self._note(holder, left)
        if failure:
            raise failure

    async def _add(self, network: Guarded) -> None:
        if isinstance(network, str):
            return nftables.confine_dns()
        try:
            with asking(f"guard {network}"):
                await self._ipr.route("replace", **_spec(network))
        except NetworkError as e:
            if not (network.version == 6 and e.errno in NO_IPV6):  # then nothing can leave anyway
                raise

    async def _remove(self, network: Guarded) -> None:
        if isinstance(network, str):
            return nftables.release_dns()
        try:
            with asking(f"stop guarding {network}"):
                await self._ipr.route("del", **_spec(network))
        except NetworkError as e:
            if e.errno != ESRCH and not (network.version == 6 and e.errno in NO_IPV6):
                raise


def _spec(network: Network) -> dict[str, object]:
    return {
        "dst": str(network),
        "family": family(network.version),
        "type": "unreachable",
        "priority": METRIC,
        "table": MAIN_TABLE,
        "proto": ROUTE_PROTOCOL,
    }
