"""Signals, told to the event loop. As asyncio's own way to do it, which loads `inspect`: 1 MB in each process."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def signals(handlers: Mapping[int, Callable[[], None]]) -> Iterator[None]:
    """Within the block the running loop calls a signal's handler when it comes. To be used in the main thread."""
    loop = asyncio.get_running_loop()
    come, written = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def call() -> None:
        for number in os.read(come, 64):
            if number in handlers:
                handlers[number]()

    loop.add_reader(come, call)
    former_fd = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    former = {number: signal.signal(number, lambda *_: None) for number in handlers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_fd)
        loop.remove_reader(come)
        os.close(come)
        os.close(written)
