import asyncio
import os
import signal

from ovpn3_services.common.signals import signals


async def test_handlers_are_called_in_the_loop_and_only_within_the_block() -> None:
    former = signal.getsignal(signal.SIGHUP)
    came: asyncio.Queue[str] = asyncio.Queue()
    with signals({signal.SIGHUP: lambda: came.put_nowait("HUP"), signal.SIGUSR1: lambda: came.put_nowait("USR1")}):
        for number, name in ((signal.SIGUSR1, "USR1"), (signal.SIGHUP, "HUP"), (signal.SIGHUP, "HUP")):
            os.kill(os.getpid(), number)
            assert await asyncio.wait_for(came.get(), 5) == name
    assert signal.getsignal(signal.SIGHUP) is former
    assert signal.set_wakeup_fd(-1) == -1


async def test_a_loop_that_sleeps_is_woken() -> None:
    """The signal is another process's, while we wait for nothing else."""
    came = asyncio.Event()
    with signals({signal.SIGUSR1: came.set}):
        other = await asyncio.create_subprocess_exec("sh", "-c", "kill -USR1 $PPID")
        await asyncio.wait_for(came.wait(), 5)
        await other.wait()
