"""Who has something of ours: each caller's things go when its bus connection does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ovpn3.dbus.bus import DAEMON_NAME, Bus, Match
from ovpn3.dbus.dispatch import Call
from ovpn3.dbus.peers import Peer, Peers
from ovpn3.errors import AccessDenied, ConfigurationRefused


class Caller:
    """One bus connection. Whatever changes its things does so inside `working`, one after the other."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.left = False
        self.lock = asyncio.Lock()
        self._clearing = 0  # how many want all of it gone

    @property
    def may_go_on(self) -> bool:
        """No while somebody waits to take down what is being built: asked in work that is long."""
        return not self._clearing

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """AccessDenied once the caller has left: nobody would clean up what comes after."""
        async with self.lock:
            if self.left:
                raise AccessDenied(f"{self.peer.name} has left")
            if not self.may_go_on:
                raise ConfigurationRefused("cut short by Cleanup")
            yield

    @asynccontextmanager
    async def clearing(self) -> AsyncIterator[None]:
        """Instead of `working`, to take down all that there is. Work in hand is cut short, what waits is refused."""
        self._clearing += 1
        try:
            async with self.lock:
                yield
        finally:
            self._clearing -= 1


class Callers:
    """All callers we keep something for."""

    def __init__(self, bus: Bus, peers: Peers, left: Callable[[Caller], Awaitable[None]]) -> None:
        """`left(caller)` is awaited for each whose connection is gone, once the work in hand for it is done."""
        self._bus, self._peers, self._left = bus, peers, left
        self._callers: dict[str, Caller] = {}
        self._goodbyes: set[asyncio.Task[None]] = set()
        self._closed = False

    async def watch(self) -> None:
        """Begin; call this once, before any `of`."""
        gone = Match(DAEMON_NAME, "NameOwnerChanged", DAEMON_NAME, arg2="")
        await self._bus.subscribe(gone, lambda m: self._on_loss(m.body[0]))

    async def of(self, call: Call) -> Caller:
        """The caller, from now on watched. AccessDenied once `forget_all` has begun."""
        return self.behind(await call.peer())

    def behind(self, peer: Peer) -> Caller:
        """As `of`, for a connection that may not have called us yet."""
        if self._closed:
            raise AccessDenied("the service is ending")
        caller = self._callers.get(peer.name)
        if caller is None:
            caller = self._callers[peer.name] = Caller(peer)
            # It may have left before we knew it, and no second notice will come.
            if not self._peers.is_there(peer):
                self._on_loss(peer.name)
        return caller

    def known(self) -> list[Caller]:
        return list(self._callers.values())

    async def forget_all(self) -> None:
        """Treat every caller as gone; return when their things are."""
        self._closed = True
        for caller in self.known():
            self._on_loss(caller.peer.name)
        await asyncio.gather(*self._goodbyes)

    def _on_loss(self, name: str) -> None:
        caller = self._callers.pop(name, None)
        if caller is not None:
            caller.left = True
            task = asyncio.get_running_loop().create_task(self._see_off(caller))
            self._goodbyes.add(task)
            task.add_done_callback(self._goodbyes.discard)

    async def _see_off(self, caller: Caller) -> None:
        async with caller.lock:
            await self._left(caller)
