"""One tunnel device in the kernel: a plan applied to it, and all of it undone."""

import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from errno import EACCES, EAFNOSUPPORT, ECANCELED, EEXIST, EHOSTUNREACH, EINVAL, ENETUNREACH, EOPNOTSUPP
from typing import Protocol, assert_never

from ovpn3.constants import TunOffload
from ovpn3.errors import NetworkError
from ovpn3.net.bypass import Bypasses
from ovpn3.net.link import add_address, limit_segments, remove_address, remove_link, set_link
from ovpn3.net.netlink import AsyncIPRoute
from ovpn3.net.plan import AddAddress, AddRoute, Bypass, LimitSegments, SetLink, Step, Wanted, plan
from ovpn3.net.route import Hop, add_route, remove_route
from ovpn3.net.tun import Tun, open_tun

# No route at all, and how unreachable, prohibit and blackhole routes answer.
NO_WAY = (ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL)

# The kernel's, for routes that are given none.
DEFAULT_METRICS = {4: 0, 6: 1024}
MAX_BEHIND = 32  # as many routes of others to one network

# Refusals where IPv6 is off, by disable_ipv6 or from the start.
NO_IPV6 = (EACCES, EOPNOTSUPP, EAFNOSUPPORT)


class Opener(Protocol):
    def __call__(self, *, offloads: int) -> Tun: ...


class Device:
    """At most one kernel device at a time. `applied` are the steps in force, `problems` why others aren't."""

    def __init__(
        self, ipr: AsyncIPRoute, bypasses: Bypasses, opener: Opener = open_tun, holder: Hashable = None
    ) -> None:
        """`holder` is who the bypasses hear it is; ourselves unless given."""
        self.applied: list[Step] = []
        self.problems: list[NetworkError] = []
        self._ipr = ipr
        self._bypasses = bypasses
        self._holder = self if holder is None else holder
        self._opener = opener
        self._index = 0
        self._without_ipv6 = False

    @property
    def index(self) -> int:
        """Interface index, 0 while there is none."""
        return self._index

    def take_over(self, index: int, applied: Sequence[Step]) -> None:
        """Have a kernel device that a predecessor of this process made; its bypasses are taken over by themselves."""
        self._index = index
        self.applied.extend(applied)

    async def establish(self, wanted: Wanted, go_on: Callable[[], bool] = lambda: True) -> Tun:
        """Make the device as wanted, in place of the present one; the descriptor is the caller's to close.

        NetworkError, and nothing left behind, if it can't be. No obstacles, see `problems`: a route that exists
        already, an excluded network that can't be reached anyway, IPv6 switched off on this machine, super packets
        that may hold too many packets. `go_on` is asked before each step: if it says no, that is a NetworkError too.
        """
        await self.remove()
        tun = self._opener(offloads=wanted.offloads)
        self._index = tun.index
        try:
            await self._take(plan(replace(wanted, offloads=tun.offloads)), go_on)
        except BaseException:
            os.close(tun.fd)
            await self.remove()
            raise
        return tun

    async def alter(self, wanted: Wanted, go_on: Callable[[], bool] = lambda: True) -> None:
        """Bring the present device into another state; what both states have isn't touched, and no packet is lost.

        The offloads stay as they were granted. NetworkError, and nothing left behind, as from `establish`.
        """
        # A plan only asks whether there are any offloads.
        limited = any(isinstance(step, LimitSegments) for step in self.applied)
        planned = plan(replace(wanted, offloads=TunOffload.CSUM if limited else TunOffload.NONE))
        gone = [step for step in self.applied if _as_planned(step) not in planned]
        if any(isinstance(step, AddAddress) for step in gone):
            # With an address the kernel may take routes, also such as stay.
            gone += [step for step in self.applied if isinstance(step, AddRoute) and step not in gone]
        there = [_as_planned(step) for step in self.applied if step not in gone]
        new = [step for step in planned if step not in there]
        self.problems.clear()
        try:
            for step in sorted(gone, key=lambda step: isinstance(step, AddAddress)):
                await self._undo(step)
            await self._bypasses.release(self._holder, keep=[s.network for s in planned if isinstance(s, Bypass)])
            await self._take(new, go_on)
        except BaseException:
            await self.remove()
            raise

    async def remove(self) -> None:
        """Undo everything; NetworkError only after all was tried. Harmless when there is nothing."""
        index, self._index = self._index, 0
        self.applied.clear()
        self.problems.clear()
        self._without_ipv6 = False
        try:
            if index:
                await remove_link(self._ipr, index)
        finally:
            await self._bypasses.release(self._holder)

    async def _take(self, steps: Sequence[Step], go_on: Callable[[], bool]) -> None:
        for step in steps:
            if not go_on():
                raise NetworkError("cut short", ECANCELED)
            if not (self._without_ipv6 and _is_ipv6(step)):
                await self._apply(step)

    async def _undo(self, step: Step) -> None:
        """Bypasses are released together, and the others are only ever replaced."""
        self.applied.remove(step)
        match step:
            case AddAddress(interface, peer):
                await remove_address(self._ipr, self._index, interface, peer)
            case AddRoute(network, gateway):
                await remove_route(self._ipr, network, Hop(self._index, gateway))

    async def _apply(self, step: Step) -> None:
        try:
            match step:
                case Bypass(network):
                    hop = await self._bypasses.hold(self._holder, network, [self._index])
                    step = replace(step, gateway=hop.gateway if hop else None)
                case SetLink(mtu, txqueuelen):
                    await set_link(self._ipr, self._index, mtu, txqueuelen)
                case LimitSegments(count):
                    await limit_segments(self._ipr, self._index, count)
                case AddAddress(interface, peer):
                    await add_address(self._ipr, self._index, interface, peer)
                case AddRoute():
                    await self._add_route(step)
                case _:
                    assert_never(step)
        except NetworkError as e:
            if _is_ipv6(step) and e.errno in NO_IPV6:
                self._without_ipv6 = True
            elif not _tolerable(step, e.errno):
                raise
            self.problems.append(e)
        else:
            self.applied.append(step)

    async def _add_route(self, step: AddRoute) -> None:
        """Behind one that is there already, another tunnel's say: ours takes effect when that one goes."""
        metric, most = step.metric, (step.metric or DEFAULT_METRICS[step.network.version]) + MAX_BEHIND
        while True:
            try:
                await add_route(self._ipr, step.network, Hop(self._index, step.gateway), metric=metric)
            except NetworkError as e:
                if e.errno != EEXIST or metric == most:
                    raise
                metric = (DEFAULT_METRICS[step.network.version] if metric is None else metric) + 1
            else:
                break
        if metric != step.metric:
            self.problems.append(NetworkError(f"there is a route to {step.network} already, ours waits behind it"))


def _as_planned(step: Step) -> Step:
    return replace(step, gateway=None) if isinstance(step, Bypass) else step


def _is_ipv6(step: Step) -> bool:
    """Whether the step puts IPv6 into the tunnel."""
    match step:
        case AddAddress(interface):
            return interface.version == 6
        case AddRoute(network):
            return network.version == 6
        case _:
            return False


def _tolerable(step: Step, errno: int) -> bool:
    match step:
        case AddRoute():
            return errno == EEXIST
        case Bypass():
            return errno in NO_WAY
        case LimitSegments():
            return True
        case _:
            return False
