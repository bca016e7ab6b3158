"""What outlasts a device, or isn't part of it: routes that lead nowhere or back, rules that lead to a table, names.

Of the routes to one network the kernel takes the one with the lowest metric: the tunnel's while it is there, then a
barrier, and never the default route, which is shorter. It needs no firewall, nothing can be sent before it is noticed,
and it stays whatever becomes of the services. A program is told at once that the network is unreachable. Routes can't
tell DNS from the rest, nor rules cgroups: see `ovpn3.net.nftables`.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from errno import EACCES, EAFNOSUPPORT, EEXIST, ENOENT, EOPNOTSUPP, ESRCH
from typing import Final, final

from ovpn3.errors import NetworkError
from ovpn3.net import nftables
from ovpn3.net.cgroup import Cgroup, Marks
from ovpn3.net.namespace import Home, Namespaces
from ovpn3.net.netlink import CREATE, REPLACE, Netlink, asking
from ovpn3.net.plan import COMMON, Network, Place
from ovpn3.net.route import RTN_THROW, RTN_UNREACHABLE, route_message
from ovpn3.net.rule import Rule, add_rule, remove_rule

METRIC: Final = 0xFFFF_FF00  # nobody's is as high
NO_IPV6: Final = (EACCES, EOPNOTSUPP, EAFNOSUPPORT)
GONE: Final = (ESRCH, ENOENT)

OUTSIDE_DNS: Final = "outside-dns"  # a guard: names can't be asked for beside the tunnels


@dataclass(frozen=True, slots=True)
class Barrier:
    """A network whose packets may leave through a tunnel or not at all."""

    network: Network
    place: Place = COMMON


@dataclass(frozen=True, slots=True)
class Exit:
    """A network that a table leaves to the tables behind it."""

    network: Network
    table: int


Guard = Barrier | Exit | Rule | Cgroup | str
Note = Callable[[str, Collection[Guard]], None]


@final
class Guards:
    """Guards by who holds them, so that the last one takes them away."""

    def __init__(
        self,
        netlink: Netlink,
        namespaces: Namespaces,
        note: Note = lambda holder, guards: None,
        failed: Callable[[str], None] = lambda why: None,
    ) -> None:
        """`note` is told what somebody holds before it is so, and after it isn't any more: then nothing. `failed` is
        told why one that changed by itself is not in force."""
        self._netlink, self._namespaces, self._note = netlink, namespaces, note
        self._marks = Marks(failed)
        self._held: dict[str, frozenset[Guard]] = {}
        self._changing = asyncio.Lock()  # what is restored must not be under way to be removed

    @property
    def held(self) -> Mapping[str, frozenset[Guard]]:
        return self._held

    @property
    def cgroups(self) -> frozenset[Cgroup]:
        """Those that are held. They take this process: it looks for those that are made anew."""
        return frozenset(g for guards in self._held.values() for g in guards if isinstance(g, Cgroup))

    def close(self) -> None:
        """Everything stays as it is."""
        self._marks.close()

    def take_over(self, holder: str, guards: Collection[Guard]) -> None:
        """What a predecessor of this process has set up."""
        self._held[holder] = frozenset(guards)

    def resume(self) -> None:
        """Do what a predecessor did meanwhile: look for cgroups. NetworkError if that can't be."""
        if self.cgroups:
            self._marks.set(self.cgroups)

    async def hold(self, holder: str, guards: Collection[Guard]) -> None:
        """Have these, and no others any more for this holder. NetworkError if the kernel refuses."""
        async with self._changing:
            before, now = self._held.get(holder, frozenset[Guard]()), frozenset(guards)
            if before == now:
                return
            self._note(holder, before | now)
            self._held[holder] = before | now
            for guard in now - before:
                await self._add(guard)
            await self._drop(holder, before - now)

    async def release(self, holder: str) -> None:
        """NetworkError only after all was tried."""
        async with self._changing:
            if holder in self._held:
                await self._drop(holder, self._held[holder])

    async def restore(self, networks: Collection[Network] | None = None) -> int:
        """Have those again that somebody else has removed, of all or of these networks; how many there were.

        Not those in other network namespaces, nor what nf_tables does.
        """
        restored = 0
        async with self._changing:
            for guard in frozenset[Guard]().union(*self._held.values()):
                if isinstance(guard, str | Cgroup) or (isinstance(guard, Barrier) and guard.place.netns):
                    continue
                if networks is None or (not isinstance(guard, Rule) and guard.network in networks):
                    restored += await self._add_missing(guard)
        return restored

    async def _drop(self, holder: str, guards: frozenset[Guard]) -> None:
        left = self._held[holder] - guards
        if left:
            self._held[holder] = left
        else:
            del self._held[holder]
        failure: NetworkError | None = None
        for guard in guards.difference(*self._held.values()):
            try:
                await self._remove(guard)
            except NetworkError as e:
                failure = e
        self._note(holder, left)
        if failure:
            raise failure

    async def _add(self, guard: Guard) -> None:
        if isinstance(guard, str):
            return nftables.confine_dns()
        if isinstance(guard, Cgroup):
            return self._marks.set(self.cgroups)
        try:
            await self._ask("replace", guard)
        except NetworkError as e:
            if not (_tolerable(guard, e) or (isinstance(guard, Rule) and e.errno == EEXIST)):
                raise

    async def _add_missing(self, guard: Barrier | Exit | Rule) -> bool:
        try:
            await self._ask("add", guard)
        except NetworkError as e:
            if e.errno != EEXIST and not _tolerable(guard, e):
                raise
            return False
        return True

    async def _remove(self, guard: Guard) -> None:
        if isinstance(guard, str):
            return nftables.release_dns()
        if isinstance(guard, Cgroup):
            return self._marks.set(self.cgroups)
        try:
            await self._ask("del", guard)
        except NetworkError as e:
            if not (_tolerable(guard, e) or e.errno in GONE):  # a namespace may be gone, with all that was in it
                raise

    async def _ask(self, command: str, guard: Barrier | Exit | Rule) -> None:
        """The kernel. A rule is never replaced."""
        if not isinstance(guard, Rule):
            await self._route(command, guard)
        elif command == "del":
            await remove_rule(self._netlink, guard)
        else:
            await add_rule(self._netlink, guard)

    async def _route(self, command: str, guard: Barrier | Exit) -> None:
        if isinstance(guard, Barrier):
            where = guard.place
            message = route_message(guard.network, where.table, RTN_UNREACHABLE, RTA_PRIORITY=METRIC)
        else:
            where = Place(table=guard.table)
            message = route_message(guard.network, where.table, RTN_THROW)
        what = f"{'stop guarding' if command == 'del' else 'guard'} {guard.network}"
        async with self._namespaces.inside(Home(where.netns)) as netlink:
            with asking(what):
                if command == "del":
                    await netlink.delete(message)
                else:
                    await netlink.new(message, CREATE if command == "add" else REPLACE)


def _tolerable(guard: Barrier | Exit | Rule, error: NetworkError) -> bool:
    """Without IPv6 nothing can leave anyway."""
    ipv6 = guard.ipv6 if isinstance(guard, Rule) else guard.network.version == 6
    return ipv6 and error.errno in NO_IPV6
