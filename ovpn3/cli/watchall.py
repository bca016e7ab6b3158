"""What happens to all sessions that we may see: each status with its cause.

A session's log is its owner's. Where it isn't forwarded to us, the status is read every second instead: what lasts less
than that is not seen, nor what ended the session.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from ovpn3.cli.selection import visible_sessions
from ovpn3.constants import SessionEvent, StatusMinor
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.wire import Message
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import Session, Status
from ovpn3.proxies.watch import MANAGER_EVENTS, Ended, Event, LogLine, watching

POLL_S = 1.0

# Statuses that follow an order come without words.
_ORDERS = {
    StatusMinor.CONN_CONNECTING: "asked to connect",
    StatusMinor.CONN_RECONNECTING: "asked to restart",
    StatusMinor.CONN_RESUMING: "asked to resume",
    StatusMinor.CONN_DISCONNECTING: "asked to disconnect",
}
_WORDS_WITHOUT_CAUSE = (StatusMinor.CFG_OK, StatusMinor.PROC_STOPPED)


@dataclass(frozen=True)
class Subject:
    """The session an event is about. `device` is empty while there is none."""

    path: str
    config_name: str
    owner: int
    device: str


@dataclass(frozen=True)
class Happening:
    """`cause` is empty where nothing is known. `first`: so it was when we looked first."""

    subject: Subject
    event: Status | Ended
    cause: str
    first: bool = False


class Causes:
    """The causes of one session's statuses, asked for in their order.

    What is up of a `new` session has been asked to, whether we have seen that or not.
    """

    def __init__(self, *, new: bool = False) -> None:
        self._new, self._last = new, ""
        self._minor: int = StatusMinor.UNSET  # of the status before

    def of(self, event: Status | Ended) -> str:
        """What gives no cause has that of the status before."""
        if isinstance(event, Ended):
            return self._last
        _, minor, words = event
        before, self._minor = self._minor, minor
        if (before, minor) == (StatusMinor.CONN_RESUMING, StatusMinor.CONN_RECONNECTING):
            return self._last  # both come with the order to resume
        if words and minor not in _WORDS_WITHOUT_CAUSE:
            self._last = words
        elif minor in _ORDERS:
            self._last = _ORDERS[StatusMinor(minor)]
        elif minor == StatusMinor.CONN_CONNECTED and self._new and not self._last:
            self._last = _ORDERS[StatusMinor.CONN_CONNECTING]
        return self._last


class WatchAll:
    """The events of all sessions, from `watching_all` on."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queue: asyncio.Queue[Happening | None] = asyncio.Queue()
        self._followed: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def next(self) -> Happening | None:
        """The next event; None once the bus is gone."""
        return await self._queue.get()

    async def start(self) -> None:
        await self._bus.subscribe(MANAGER_EVENTS, self._on_manager)
        self._spawn(self._bus_lost())
        for session in await visible_sessions(self._bus):
            self._follow(session)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _on_manager(self, m: Message) -> None:
        if m.signature == "oqu" and m.body[1] == SessionEvent.SESS_CREATED:
            self._follow(Session(self._bus, m.body[0]), new=True)

    def _follow(self, session: Session, *, new: bool = False) -> None:
        if session.path not in self._followed:
            self._followed.add(session.path)
            self._spawn(self._to_its_end(session, new))

    async def _to_its_end(self, session: Session, new: bool) -> None:
        with suppress(RemoteError):  # not for us, or gone already
            values = await session.get_all()
            if "config_name" in values:  # else in public use only: no more is to be seen
                subject = Subject(session.path, values["config_name"], values["owner"], values["device_name"])
                await self._tell(session, subject, Status(*values["status"]), new)
        self._followed.discard(session.path)

    async def _tell(self, session: Session, subject: Subject, last: Status, new: bool) -> None:
        causes = Causes(new=new)
        self._queue.put_nowait(Happening(subject, last, causes.of(last), first=True))
        async for event in _events(session):
            if event == last:
                continue  # told anew, by a new session manager or log service
            if isinstance(event, Status):
                last = event
                with suppress(RemoteError):
                    subject = replace(subject, device=await session.get("device_name"))
            self._queue.put_nowait(Happening(subject, event, causes.of(event)))

    async def _bus_lost(self) -> None:
        await self._bus.lost()
        self._queue.put_nowait(None)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _events(session: Session) -> AsyncIterator[Status | Ended]:
    """Up to Ended, which is the last."""
    try:
        async with watching(session) as watch:
            event: Event | None = None
            while not isinstance(event, Ended):
                event = await watch.next()
                if not isinstance(event, LogLine):
                    yield event
        return
    except RemoteError:
        pass  # not our log, or gone
    with suppress(RemoteError):
        while True:
            yield await session.status()
            await asyncio.sleep(POLL_S)
    yield Ended("the session has ended")


@asynccontextmanager
async def watching_all(bus: Bus) -> AsyncIterator[WatchAll]:
    """Watch for a block all sessions that there are, and those that come."""
    watch = WatchAll(bus)
    try:
        await watch.start()
        yield watch
    finally:
        await watch.stop()
