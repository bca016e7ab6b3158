"""The bus without an event loop: results, errors, interruptions, and an end that leaves nothing behind."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH
from ovpn3.errors import NetworkError, RemoteError
from ovpn3.proxies.blocking import Blocking


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ovpn3"]


def test_results_and_errors(bus_address: str) -> None:
    with Blocking(bus_address) as wait:
        assert wait(wait.bus.name_owner(DAEMON_NAME)) == DAEMON_NAME
        with pytest.raises(RemoteError, match="nope"):
            wait(wait.bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "nope"))
        assert threads() == ["ovpn3"]
    assert threads() == []


def test_from_several_threads(bus_address: str) -> None:
    with Blocking(bus_address) as wait, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: wait(wait.bus.name_owner(DAEMON_NAME)), range(100)))
    assert found == [DAEMON_NAME] * 100


def test_no_bus() -> None:
    with pytest.raises(NetworkError), Blocking("unix:path=/nowhere/bus"):
        pytest.fail("there is no bus")
    assert threads() == []


def test_what_takes_too_long_is_cancelled(bus_address: str) -> None:
    cancelled = threading.Event()

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with Blocking(bus_address) as wait:
        with pytest.raises(TimeoutError):
            wait(long(), timeout_s=0.01)
        assert cancelled.wait(5)


def test_contexts(bus_address: str) -> None:
    seen = []

    @asynccontextmanager
    async def context(swallow: bool) -> AsyncIterator[str]:
        seen.append("begin")
        try:
            yield "entered"
        except KeyError:
            seen.append("error")
            if not swallow:
                raise
        seen.append("end")

    with Blocking(bus_address) as wait:
        with wait.within(context(False)) as entered:
            assert entered == "entered"
        assert seen == ["begin", "end"]
        with wait.within(context(True)):
            raise KeyError
        assert seen[2:] == ["begin", "error", "end"]
        with pytest.raises(KeyError), wait.within(context(False)):
            raise KeyError
        assert seen[5:] == ["begin", "error"]


def test_what_still_waits_ends_with_it(bus_address: str) -> None:
    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(forever())

    with Blocking(bus_address) as wait:
        wait(start())
        wait(asyncio.sleep(0))
    assert ended.is_set()
