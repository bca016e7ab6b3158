"""What happens to one session, as it happens: status changes, log lines, its end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    LOG_NAME,
    LOG_PATH,
    SESSIONS_INTERFACE,
    SESSIONS_NAME,
    SESSIONS_PATH,
    SessionEvent,
)
from ovpn3.dbus.bus import NO_REPLY, Bus, Match, Subscription
from ovpn3.dbus.wire import Message
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import Session, Status

PEER = "org.freedesktop.DBus.Peer"
MANAGER_EVENTS = Match(SESSIONS_INTERFACE, "SessionManagerEvent", SESSIONS_NAME, SESSIONS_PATH)


class LogLine(NamedTuple):
    """What the session logs; GROUP_TEXT and CATEGORY_TEXT have words for the numbers."""

    group: int
    category: int
    text: str


class Ended(NamedTuple):
    """Nothing follows this."""

    reason: str


Event = Status | LogLine | Ended


class Watch:
    """The events of a session, from `watching` on: `async for event in watch`, Ended being the last, or `next`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._bus: Bus = session.bus
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._subscriptions: list[Subscription] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def next(self) -> Event:
        """The next event; there is none after Ended."""
        return await self._queue.get()

    async def __aiter__(self) -> AsyncIterator[Event]:
        event: Event | None = None
        while not isinstance(event, Ended):
            event = await self.next()
            yield event

    async def start(self) -> None:
        forwarded = Match(BACKENDS_INTERFACE, sender=LOG_NAME, path=self.session.path)
        self._subscriptions.append(await self._bus.subscribe(forwarded, self._on_forwarded))
        self._subscriptions.append(await self._bus.subscribe(MANAGER_EVENTS, self._on_manager))
        self._subscriptions.append(await self._bus.watch_name(SESSIONS_NAME, self._on_manager_owner))
        self._subscriptions.append(await self._bus.watch_name(LOG_NAME, self._on_log_owner))
        self._spawn(self._bus_lost())
        await self.session.log_forward(True)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for subscription in self._subscriptions:
            subscription.cancel()
        with suppress(RemoteError):  # where the session has gone, so has the forwarding
            await self.session.log_forward(False)

    def _on_forwarded(self, m: Message) -> None:
        match m.member, m.signature:
            case "StatusChange", "uus":
                self._queue.put_nowait(Status(*m.body))
            case "Log", "uus":
                self._queue.put_nowait(LogLine(*m.body))

    def _on_manager(self, m: Message) -> None:
        if m.signature == "oqu" and m.body[:2] == [self.session.path, SessionEvent.SESS_DESTROYED]:
            self._spawn(self._destroyed())

    def _on_manager_owner(self, owner: str) -> None:
        if not owner:
            self._spawn(self._manager_lost())

    async def _manager_lost(self) -> None:
        """A new one takes the session back, and what we were not told meanwhile is in the status."""
        try:
            self._queue.put_nowait(await self.session.status())
        except RemoteError as e:
            if e.name != NO_REPLY:  # else it was lost once more, which we are told too
                self._queue.put_nowait(Ended("the session manager is gone, and the session with it"))

    def _on_log_owner(self, owner: str) -> None:
        if owner:
            self._spawn(self._forward_again())

    async def _forward_again(self) -> None:
        """A new log service knows nothing of us; what the old one didn't tell us is in the status."""
        with suppress(RemoteError):
            self._queue.put_nowait(await self.session.status())
            await self.session.log_forward(True)

    async def _bus_lost(self) -> None:
        await self._bus.lost()
        self._queue.put_nowait(Ended("the message bus is gone"))

    async def _destroyed(self) -> None:
        """The last words come by way of the log service, this news directly: let them arrive before it."""
        with suppress(RemoteError):  # no log service, no last words
            await self._bus.call(LOG_NAME, LOG_PATH, PEER, "Ping", start=False)
        self._queue.put_nowait(Ended("the session has ended"))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))


@asynccontextmanager
async def watching(session: Session) -> AsyncIterator[Watch]:
    """Watch a session for a block. RemoteError if its log may not be seen."""
    watch = Watch(session)
    try:
        await watch.start()
        yield watch
    finally:
        await watch.stop()
