"""Work that is always finished, and cancellation that waits for it."""

import asyncio

import pytest

from ovpn3.client.unbroken import unbroken
from ovpn3.errors import NetworkError


class Work:
    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.gate, self.done, self._error = asyncio.Event(), asyncio.Event(), False, error

    async def run(self) -> str:
        self.begun.set()
        await self.gate.wait()
        self.done = True
        if self._error:
            raise self._error
        return "result"


async def test_result() -> None:
    work = Work()
    work.gate.set()
    assert await unbroken(work.run()) == "result"


async def test_error() -> None:
    work = Work(NetworkError("no"))
    work.gate.set()
    with pytest.raises(NetworkError, match="no"):
        await unbroken(work.run())


@pytest.mark.parametrize("error", [None, NetworkError("no")])
async def test_cancelled_twice(error: Exception | None) -> None:
    work = Work(error)
    task = asyncio.create_task(unbroken(work.run()))
    await work.begun.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.done


async def test_a_time_limit_still_is_one() -> None:
    work = Work()
    task = asyncio.create_task(asyncio.wait_for(unbroken(work.run()), 0.01))
    asyncio.get_running_loop().call_later(0.05, work.gate.set)
    with pytest.raises(TimeoutError):
        await task
    assert work.done
