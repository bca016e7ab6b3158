"""A service's voice: Log signals to net.openvpn.v3.log, re-attached whenever that service is a new one."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TextIO

from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT, LOG_NAME, LogCategory, LogGroup
from ovpn3.dbus.bus import DISCONNECTED, Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.log import Log as LogService


def clean(text: str) -> str:
    """One printable line of `text`."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


class Log:
    """Sends what passes `level` (0-6) from `path` and `interface`; also to `copy`, if given, as text lines."""

    def __init__(
        self, bus: Bus, group: LogGroup, path: str, interface: str, level: int, copy: TextIO | None = None
    ) -> None:
        self.bus, self.group, self.path, self.interface, self.level = bus, group, path, interface, level
        self.receiver = ""  # unique name of the log service we are attached to
        self.session_manager = ""  # unique name; a client process tells it everything as well
        self.session_token = ""  # of a client process
        self._copy = copy
        # A new log service knows nothing of what the old one was told: this tells it.
        self.renewed: Callable[[], Awaitable[None]] | None = None
        self._owner: str | None = None  # of the log service's name, once it has changed
        self._attaching = False
        self._again: asyncio.Task[None] | None = None

    async def attach(self) -> None:
        """Attach to the log service, activating it, and to each that comes after it."""
        await self.bus.watch_name(LOG_NAME, self._owner_changed)
        await self._attach()

    async def _attach(self) -> None:
        self._attaching = True
        try:
            while True:
                self.receiver = await LogService(self.bus).attach(self.interface)
                if self._owner in (None, self.receiver):  # else another one has come meanwhile
                    break
        finally:
            self._attaching = False

    def _owner_changed(self, owner: str) -> None:
        """A log service ended or came: attach to its successor, which that activates if need be."""
        self._owner = owner
        if owner != self.receiver and not self._attaching:
            self._again = asyncio.get_running_loop().create_task(self._attach_again())

    async def _attach_again(self) -> None:
        self.receiver = ""
        try:
            await self._attach()
            if self.renewed:
                await self.renewed()
        except RemoteError as e:
            if e.name != DISCONNECTED:
                self._write(LogCategory.CRIT, f"the log service can't be reached: {e}")

    def event(self, category: LogCategory, text: str, *, path: str = "") -> None:
        """Log one event of the object at `path`."""
        if category.level > self.level:
            return
        text = clean(text)
        self._write(category, text)
        signature, token = ("uuss", (self.session_token,)) if self.session_token else ("uus", ())
        self.signal("Log", signature, int(self.group), int(category), *token, text, path=path)

    def signal(
        self, member: str, signature: str, *args: object, path: str = "", only: str = "", last: bool = False
    ) -> None:
        """Send a signal to the log service, and to the session manager if we are a client process; or `only` to one.

        To the session manager first: who is told of a change by the log and asks there has to find it. But not the
        `last` word, upon which the session manager ends the session and what the log forwards of it.
        """
        both = (self.receiver, self.session_manager) if last else (self.session_manager, self.receiver)
        for destination in (only,) if only else both:
            if destination:
                self.bus.emit(path or self.path, self.interface, member, signature, *args, destination=destination)

    def _write(self, category: LogCategory, text: str) -> None:
        if self._copy:
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            print(now, GROUP_TEXT[self.group], f"{CATEGORY_TEXT[category]}: {text}", file=self._copy, flush=True)

    def debug(self, text: str, *, path: str = "") -> None:
        self.event(LogCategory.DEBUG, text, path=path)

    def verb2(self, text: str, *, path: str = "") -> None:
        self.event(LogCategory.VERB2, text, path=path)

    def verb1(self, text: str, *, path: str = "") -> None:
        self.event(LogCategory.VERB1, text, path=path)

    def info(self, text: str, *, path: str = "") -> None:
        self.event(LogCategory.INFO, text, path=path)

    def warn(self, text: str, *, path: str = "") -> None:
        self.event(LogCategory.WARN, text, path=path)

    def error(self, text: str, *, path: str = "") -> None:
        self.event(LogCategory.ERROR, text, path=path)

    def crit(self, text: str, *, path: str = "") -> None:
        self.event(LogCategory.CRIT, text, path=path)


def open_copy(target: str) -> TextIO | None:
    """The stream named by --log-file: a path, `stdout:`, or nothing."""
    if target == "stdout:":
        return sys.stdout
    return open(target, "a", encoding="utf-8") if target else None
