"""A writer, and the events that wait while it can't take more: bounded, and what doesn't fit is counted."""

import asyncio
import select
import time
from collections import Counter, deque
from collections.abc import Callable

from ovpn3.constants import LogCategory, LogGroup
from ovpn3_services.log.event import Event
from ovpn3_services.log.writers import Writer

MAX_WAITING_BYTES = 1 << 20
# Of one sender: one that says too much leaves room for the others.
MAX_SHARE_BYTES = MAX_WAITING_BYTES // 4
CLOSE_TIMEOUT_S = 0.5


class Outlet:
    """Sends at once what it can. `failed(event, error)` hears of events that the writer has lost."""

    def __init__(self, writer: Writer, failed: Callable[[Event, OSError], None]) -> None:
        self.writer = writer
        self.written = 0  # events
        self._failed = failed
        self._waiting: deque[Event] = deque()
        self._rest: list[memoryview] = []  # of the first of them, when it has been begun
        self._size = 0  # of those that wait, in bytes; and by sender
        self._shares: Counter[int] = Counter()
        self._missing = 0  # dropped since the writer was last told
        self._loop: asyncio.AbstractEventLoop | None = None  # while it tells us when the writer can take more

    def put(self, event: Event) -> None:
        if self._size + event.size_bytes > MAX_WAITING_BYTES or self._shares[event.tag] > MAX_SHARE_BYTES:
            self._missing += 1
            return
        self._append(event)
        if self._loop is None:
            self._send()

    def replace(self, writer: Writer) -> None:
        """Close the writer; what waits for it goes to the new one."""
        self._close()
        self.writer, self._rest = writer, []
        self._send()

    def close(self) -> None:
        """What the writer doesn't take soon is lost."""
        poll = select.poll()
        poll.register(self.writer.fileno(), select.POLLOUT)
        end = time.monotonic() + CLOSE_TIMEOUT_S
        while self._waiting and (left := end - time.monotonic()) > 0 and poll.poll(left * 1000):
            self._send()
        self._close()

    def _close(self) -> None:
        self._expect(False)
        self.writer.close()

    def _append(self, event: Event) -> None:
        self._waiting.append(event)
        self._size += event.size_bytes
        self._shares[event.tag] += event.size_bytes

    def _send(self) -> None:
        while self._waiting:
            try:
                self._send_first()
            except BlockingIOError:
                self._expect(True)
                return
            except OSError as e:
                self._failed(self._drop_first(), e)
            else:
                self.written += 1
                self._drop_first()
        self._expect(False)

    def _send_first(self) -> None:
        self._rest = self._rest or [memoryview(record) for record in self.writer.records(self._waiting[0])]
        while self._rest:
            rest = self._rest[0][self.writer.send(self._rest[0]) :]
            self._rest[:1] = [rest] if rest else []

    def _drop_first(self) -> Event:
        event, self._rest = self._waiting.popleft(), []
        self._size -= event.size_bytes
        self._shares[event.tag] -= event.size_bytes
        if not self._shares[event.tag]:
            del self._shares[event.tag]
        if self._missing and self._size <= MAX_WAITING_BYTES // 2:
            text = f"{self._missing} lines are missing before this one: {self.writer.method} took no more"
            self._missing = 0
            self._append(Event(LogGroup.LOGGER, LogCategory.WARN, text))
        return event

    def _expect(self, more: bool) -> None:
        """Have `_send` called when the writer can take more, or no longer."""
        if more and self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_writer(self.writer.fileno(), self._send)
        elif not more and self._loop:
            self._loop.remove_writer(self.writer.fileno())
            self._loop = None
