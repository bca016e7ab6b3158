"""The typed clients for programs that have no event loop.

with Blocking() as wait:
    for session in wait(SessionManager(wait.bus).available()):
        print(wait(session.get("config_name")))
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from threading import Event, Thread
from typing import Any, Self, TypeVar

from ovpn3.dbus.bus import Bus

T = TypeVar("T")


class Blocking:
    """A connection to the bus, `bus`, on an event loop in a thread of its own, for a `with` block.

    Called with a coroutine it awaits that there; several threads may call. `address` is that of another bus than the
    system's. NetworkError at the start if there is no bus.
    """

    bus: Bus

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._runs = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._run()), name="ovpn3", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._runs.wait()
        try:
            self.bus = self(Bus.connect(self._address))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self(self.bus.__aexit__())
        self._stop()

    def __call__(self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """What the coroutine returns or raises. TimeoutError, or another interruption, cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout_s)
        except BaseException:
            future.cancel()
            raise

    @contextmanager
    def within(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """An asynchronous context, such as `watching(session)`, for a block."""
        entered = self(manager.__aenter__())
        try:
            yield entered
        except BaseException as e:
            if not self(manager.__aexit__(type(e), e, e.__traceback__)):
                raise
        else:
            self(manager.__aexit__(None, None, None))

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._runs.set()
        await self._end.wait()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
