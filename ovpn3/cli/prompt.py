"""Questions on the terminal, answered on standard input, which may be a pipe: a line for each."""

import asyncio
import os
import sys
import termios
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TextIO

from ovpn3.cli.command import CommandError
from ovpn3.cli.text import one_line
from ovpn3.proxies.attention import Slot

MAX_LINE_BYTES = 65536

Ask = Callable[[Slot], Awaitable[str]]


class NoAnswer(CommandError):
    """A question that nobody answers."""


class LineReader:
    """Lines of a descriptor, without blocking the event loop and without reading ahead of what is asked for."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()

    async def line(self) -> str:
        """The next line without its end; EOFError if there is none."""
        while b"\n" not in self._buffer and len(self._buffer) < MAX_LINE_BYTES:
            await self._readable()
            chunk = os.read(self._fd, MAX_LINE_BYTES)
            if not chunk:
                if not self._buffer:
                    raise EOFError
                break
            self._buffer += chunk
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        return line.decode(errors="replace").removesuffix("\r")

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        try:
            loop.add_reader(self._fd, lambda: None if ready.done() else ready.set_result(None))
        except PermissionError:
            return  # a regular file is always readable, and epoll doesn't take it
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)


_standard_input = LineReader(0)


async def ask(slot: Slot, to: TextIO | None = None) -> str:
    """The answer to a question, never empty; what is typed is not shown if the slot is hidden.

    The question is written to `to`, default standard output.
    """
    label = one_line(slot.label or slot.name)
    while True:
        try:
            # Echo first: whoever answers as soon as there is a question is not to be shown.
            with _echo_off(0) if slot.hidden else nullcontext():
                print(f"{label}: ", end="", file=to, flush=True)
                answer = await _standard_input.line()
        except EOFError:
            print(file=to)
            raise NoAnswer(f"{label}: standard input ended without an answer") from None
        if slot.hidden or not sys.stdin.isatty():
            print(file=to)  # the Enter that wasn't shown
        if answer:
            return answer
        print("An answer is needed.", file=to)


async def confirmed(question: str) -> bool:
    """Whether the word YES, in capitals, is given."""
    print(f"{question}\nAre you sure you want to do this? (enter yes in upper case) ", end="", flush=True)
    try:
        return await _standard_input.line() == "YES"
    except EOFError:
        print()
        return False


@contextmanager
def _echo_off(fd: int) -> Iterator[None]:
    """Don't show what is typed, if `fd` is a terminal."""
    try:
        before = termios.tcgetattr(fd)
    except termios.error:
        yield
        return
    quiet = [*before]
    quiet[3] = before[3] & ~termios.ECHO
    termios.tcsetattr(fd, termios.TCSAFLUSH, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)
