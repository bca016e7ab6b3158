"""One tunnel device in the kernel: a plan applied to it, and all of it undone."""

import os
import socket
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from errno import EACCES, EAFNOSUPPORT, ECANCELED, EEXIST, EHOSTUNREACH, EINVAL, ENETUNREACH, ENOENT, EOPNOTSUPP
from typing import Protocol, assert_never

from ovpn3.constants import TunOffload
from ovpn3.errors import NetworkError
from ovpn3.net.bypass import Bypasses
from ovpn3.net.link import (
    add_address,
    limit_segments,
    loosen_return,
    remove_address,
    remove_link,
    rename_link,
    set_link,
)
from ovpn3.net.namespace import OURS, Home, Namespaces
from ovpn3.net.netlink import Netlink
from ovpn3.net.plan import AddAddress, AddRoute, Bypass, LimitSegments, LooseReturn, SetLink, Step, Wanted, plan
from ovpn3.net.route import Hop, add_route, remove_route
from ovpn3.net.tun import Tun, open_tun

# No route at all, and how unreachable, prohibit and blackhole routes answer.
NO_WAY = (ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL)

# Devices are made by this name, and called otherwise before anything else is done. By it udev knows that they are ours,
# from the first event on: what decides, there and in NetworkManager, whose devices they are.
AT_BIRTH = "openvpn3-%d"
NUMBERED = "tun%d"  # by the kernel
MAX_NUMBER = 1024
# The kernel's, for routes that are given none.
DEFAULT_METRICS = {4: 0, 6: 1024}
MAX_BEHIND = 32  # as many routes of others to one network

# Refusals where IPv6 is off, by disable_ipv6 or from the start.
NO_IPV6 = (EACCES, EOPNOTSUPP, EAFNOSUPPORT)


class Opener(Protocol):
    def __call__(self, name: str, *, offloads: int) -> Tun: ...


class Device:
    """At most one kernel device at a time. `applied` are the steps in force, `problems` why others aren't."""

    def __init__(
        self,
        netlink: Netlink,
        bypasses: Bypasses,
        opener: Opener = open_tun,
        holder: Hashable = None,
        namespaces: Namespaces | None = None,
    ) -> None:
        """`holder` is who the bypasses hear it is; ourselves unless given."""
        self.applied: list[Step] = []
        self.problems: list[NetworkError] = []
        self._netlink = netlink
        self._namespaces = namespaces or Namespaces(netlink)
        self._bypasses = bypasses
        self._holder = self if holder is None else holder
        self._opener = opener
        self._index, self._home, self._name = 0, OURS, ""
        self._without_ipv6 = False

    @property
    def index(self) -> int:
        """Interface index, 0 while there is none; it means something in the namespace of the device only."""
        return self._index

    @property
    def home(self) -> Home:
        """Where the device is."""
        return self._home

    def take_over(self, index: int, name: str, home: Home, applied: Sequence[Step]) -> None:
        """Have a kernel device that a predecessor of this process made; its bypasses are taken over by themselves."""
        self._index, self._name, self._home = index, name, home
        self.applied.extend(applied)

    async def establish(self, wanted: Wanted, go_on: Callable[[], bool] = lambda: True) -> Tun:
        """Make the device as wanted, in place of the present one; the descriptor is the caller's to close.

        NetworkError, and nothing left behind, if it can't be. No obstacles, see `problems`: a name that is taken, a
        route that exists already, an excluded network that can't be reached anyway, IPv6 switched off on this machine,
        super packets that may hold too many packets. `go_on` is asked before each step: if it says no, that is a
        NetworkError too.
        """
        await self.remove()
        tun = self._opener(AT_BIRTH, offloads=wanted.offloads)
        self._index = tun.index
        try:
            await self._rename(wanted.name)
            tun = replace(tun, name=self._name)
            if wanted.place.netns:
                tun = await self._settle(tun, Home(wanted.place.netns))
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
        if wanted.place.netns != self._home.name:
            raise NetworkError("a device stays in its network namespace")
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
            async with self._namespaces.inside(self._home) as netlink:
                for step in sorted(gone, key=lambda step: isinstance(step, AddAddress)):
                    await self._undo(netlink, step)
            await self._bypasses.release(self._holder, keep=[s.network for s in planned if isinstance(s, Bypass)])
            await self._take(new, go_on)
        except BaseException:
            await self.remove()
            raise

    async def remove(self) -> None:
        """Undo everything; NetworkError only after all was tried. Harmless when there is nothing."""
        index, home = self._index, self._home
        self._index, self._home, self._name = 0, OURS, ""
        self.applied.clear()
        self.problems.clear()
        self._without_ipv6 = False
        try:
            if index:
                async with self._namespaces.inside(home) as netlink:
                    await remove_link(netlink, index)
        except NetworkError as e:
            if not (home.name and e.errno == ENOENT):  # it went with its namespace
                raise
        finally:
            await self._bypasses.release(self._holder)

    async def _rename(self, name: str) -> None:
        """Call the device by the name that is wanted, or else by a number."""
        try:
            await rename_link(self._netlink, self._index, name or NUMBERED)
        except NetworkError as e:
            if not name or e.errno != EEXIST:
                raise
            self.problems.append(NetworkError(f"there is a device {name} already", EEXIST))
            await rename_link(self._netlink, self._index, NUMBERED)
        try:
            self._name = socket.if_indextoname(self._index)
        except OSError as e:
            raise NetworkError(f"device {self._index} is gone", e.errno or 0) from e

    async def _settle(self, tun: Tun, home: Home) -> Tun:
        """Move the device, by its name or else by the lowest number that is free here and there."""
        for number in range(MAX_NUMBER):
            try:
                self._home, self._index = await self._namespaces.move(self._index, home, self._name)
                return replace(tun, name=self._name, index=self._index)
            except NetworkError as e:
                if e.errno != EEXIST:
                    raise
            with suppress(NetworkError):  # that number is taken here
                await rename_link(self._netlink, self._index, f"tun{number}")
                self._name = f"tun{number}"
        raise NetworkError(f"there are too many devices in the network namespace {home.name}", EEXIST)

    async def _take(self, steps: Sequence[Step], go_on: Callable[[], bool]) -> None:
        async with self._namespaces.inside(self._home) as netlink:
            for step in steps:
                if not go_on():
                    raise NetworkError("cut short", ECANCELED)
                if not (self._without_ipv6 and _is_ipv6(step)):
                    await self._apply(netlink, step)

    async def _undo(self, netlink: Netlink, step: Step) -> None:
        """Bypasses are released together, and the others are only ever replaced."""
        self.applied.remove(step)
        match step:
            case AddAddress(interface, peer):
                await remove_address(netlink, self._index, interface, peer)
            case AddRoute(network, gateway, _, table):
                await remove_route(netlink, network, Hop(self._index, gateway), table)

    async def _apply(self, netlink: Netlink, step: Step) -> None:
        try:
            match step:
                case Bypass(network):
                    hop = await self._bypasses.hold(self._holder, network, [self._index])
                    step = replace(step, gateway=hop.gateway if hop else None)
                case SetLink(mtu, txqueuelen):
                    await set_link(netlink, self._index, mtu, txqueuelen)
                case LimitSegments(count):
                    await limit_segments(netlink, self._index, count)
                case AddAddress(interface, peer, routed):
                    await add_address(netlink, self._index, interface, peer, routed=routed)
                case LooseReturn():
                    loosen_return(self._name)
                case AddRoute():
                    await self._add_route(netlink, step)
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

    async def _add_route(self, netlink: Netlink, step: AddRoute) -> None:
        """Behind one that is there already, another tunnel's say: ours takes effect when that one goes."""
        metric, most = step.metric, (step.metric or DEFAULT_METRICS[step.network.version]) + MAX_BEHIND
        while True:
            try:
                hop = Hop(self._index, step.gateway)
                await add_route(netlink, step.network, hop, metric=metric, table=step.table)
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
        case LimitSegments() | LooseReturn():
            return True
        case _:
            return False
