"""The life of a service: options, hardening, bus name, log, idle exit, signals."""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, ClassVar

from ovpn3.constants import API_VERSION, MAX_LOG_LEVEL, SERVICE_ACCOUNT, LogGroup
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.dispatch import Dispatcher
from ovpn3.errors import Ovpn3Error
from ovpn3_services.common import privileges
from ovpn3_services.common.commandline import BadArgument, CommandLine, Options
from ovpn3_services.common.harden import harden
from ovpn3_services.common.log import Log, open_copy
from ovpn3_services.common.signals import signals


def log_level(text: str) -> int:
    """An argument 0-6."""
    if not text.isdigit() or int(text) > MAX_LOG_LEVEL:
        raise BadArgument(f"a log level is 0 to {MAX_LOG_LEVEL}, not {text}")
    return int(text)


def duration(text: str) -> int:
    """An argument that isn't negative."""
    if not text.isdigit() or len(text) > 6:
        raise BadArgument(f"not a duration: {text}")
    return int(text)


def command_line(prog: str, *, level: int = 3, idle_exit: int = 3, idle_unit: str = "minutes") -> CommandLine:
    """The options all services have."""
    line = CommandLine(prog, API_VERSION)
    line.value("--log-level", "N", "0 to 6", default=level, read=log_level)
    line.value("--log-file", "FILE", "log here too; stdout: for standard output")
    line.switch("--colour", "colours in the log file")
    line.value("--idle-exit", idle_unit.upper(), f"{idle_unit}; 0 is never", default=idle_exit, read=duration)
    line.value("--user", "ACCOUNT", "account to run as", default=SERVICE_ACCOUNT)
    return line


class Service:
    """Base of the six. A subclass says its name and fills in `start`, `busy` and `stop`."""

    name: str  # bus name
    interface: ClassVar[str] = ""  # of the root object, if it isn't spelt as the name
    path: ClassVar[str]  # of the root object
    group: ClassVar[LogGroup]
    idle_unit_s: ClassVar[int] = 60

    def __init__(self, bus: Bus, options: Options) -> None:
        self.bus, self.options = bus, options
        self.log = Log(
            bus, self.group, self.path, self.interface or self.name, options.log_level, open_copy(options.log_file)
        )
        self.dispatcher = Dispatcher(bus, failed=self._failed, active=self.active)
        self.exit_code = 0
        self._idle_s = options.idle_exit * self.idle_unit_s
        self._idle: asyncio.TimerHandle | None = None
        self._last_active = 0.0  # in the loop's time
        self._end = asyncio.Event()
        self.signals: dict[int, Callable[[], None]] = {signal.SIGINT: self.end, signal.SIGTERM: self.end}

    async def start(self) -> None:
        """Export the objects. The name is requested after this."""

    async def named(self) -> None:
        """The bus name is ours: callers can come."""

    def busy(self) -> bool:
        """Whether there is a reason to stay although nobody calls."""
        return False

    async def stop(self) -> None:
        """Put in order what must not be left behind."""

    async def attach_log(self) -> None:
        await self.log.attach()

    # -- lifetime ---------------------------------------------------------------------------------
    def active(self) -> None:
        """Something happened: the time until the idle exit starts again."""
        self._last_active = asyncio.get_running_loop().time()
        if self._idle is None and self._idle_s:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._idle_check)

    def _idle_check(self) -> None:
        loop = asyncio.get_running_loop()
        if self.busy():
            self._last_active = loop.time()
        if loop.time() < self._last_active + self._idle_s:
            self._idle = loop.call_at(self._last_active + self._idle_s, self._idle_check)
        else:
            self.log.verb2("idle: leaving")
            self.end()

    def end(self, exit_code: int = 0) -> None:
        """Leave in an orderly way; the first caller's exit code counts."""
        if not self._end.is_set():
            self.exit_code = exit_code
            self._end.set()

    async def run(self) -> int:
        with signals(self.signals):
            return await self._run()

    async def _run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        lost = loop.create_task(self.bus.lost())
        lost.add_done_callback(lambda _: self.end(2))
        try:
            await self.attach_log()
            await self.start()
            await self.bus.request_name(self.name)
            self.active()
            await self.named()
            await self._end.wait()
        finally:
            await self.stop()
            await self.dispatcher.drain()
            self.bus.close()
            await lost
        return self.exit_code

    def broken(self) -> None:
        """Work outside of any call has failed unexpectedly; the log knows where."""

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):
            self._failed("outside of any call", error)  # the loop's own words name a callback's arguments
            self.broken()

    def _failed(self, where: str, error: Exception) -> None:
        """An unexpected exception: the place goes to the log, never its text, which may hold anything."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
        self.log.crit(f"{where}: unexpected {type(error).__name__} at {place}")


def run(service: type[Service], options: Options) -> int:
    """Run a service that needs no privilege, as `options.user` if started by root. Returns the exit code."""
    return run_prepared(lambda: lambda bus: service(bus, options), options)


def run_prepared(prepare: Callable[[], Callable[[Bus], Service]], options: Options) -> int:
    """As `run`, for a service with something to do as the account before there is an event loop: `prepare`."""
    harden()
    try:
        if os.geteuid() == 0:
            privileges.drop(options.user)
        os.umask(0o077)
        return asyncio.run(_run(prepare()))
    except Ovpn3Error as e:
        print(f"{options.prog}: {e}", file=sys.stderr)
        return 2


async def _run(make: Callable[[Bus], Service]) -> int:
    return await make(await Bus.connect()).run()
