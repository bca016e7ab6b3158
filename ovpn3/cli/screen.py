"""The whole terminal for a program: its own screen, keys as they are pressed, and everything back at the end."""

import asyncio
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the other screen, no cursor, no wrapping at the right edge
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Key(Enum):
    UP = "up"
    DOWN = "down"


_SEQUENCES = {b"\x1b[A": Key.UP, b"\x1bOA": Key.UP, b"\x1b[B": Key.DOWN, b"\x1bOB": Key.DOWN}


class Screen:
    """From `whole_screen` on."""

    def __init__(self) -> None:
        self._stdin = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._stdin) if os.isatty(self._stdin) else None
        self._events: asyncio.Queue[Key | str | None] = asyncio.Queue()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        return shutil.get_terminal_size()

    async def next(self, within_s: float) -> Key | str | None:
        """A key that was pressed; None if none was so long, or if the window has another size."""
        try:
            async with asyncio.timeout(within_s):
                return await self._events.get()
        except TimeoutError:
            return None

    def show(self, lines: Sequence[str]) -> None:
        """In place of what was there. Each line fits already."""
        text = f"{_END_OF_LINE}\r\n".join(lines)
        self._write(f"{_HOME}{text}{_END_OF_LINE}{_BELOW}")

    def enter(self) -> None:
        if self._before:
            tty.setcbreak(self._stdin)
        self._write(_ENTER)

    def leave(self) -> None:
        self._write(_LEAVE)
        if self._before:
            termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._before)

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._events.put_nowait, None)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        if self._before:
            loop.add_reader(self._stdin, self._on_input)

    def ignore(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_signal_handler(signal.SIGTSTP)
        loop.remove_reader(self._stdin)

    def _on_input(self) -> None:
        data = os.read(self._stdin, 64)
        if not data:  # the terminal is gone, and a signal will say so
            asyncio.get_running_loop().remove_reader(self._stdin)
        elif data[:1] == b"\x1b":
            if key := _SEQUENCES.get(data, data.decode() if len(data) == 1 else None):
                self._events.put_nowait(key)
        else:
            for c in data.decode(errors="ignore"):
                self._events.put_nowait(c)

    def _suspend(self) -> None:
        """By Ctrl-Z; goes on with `fg`."""
        self.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.enter()
        self._events.put_nowait(None)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def whole_screen() -> Iterator[Screen]:
    """Have the terminal for a block. However it ends, the terminal is as it was."""
    screen = Screen()
    screen.enter()
    try:
        screen.listen()
        yield screen
    finally:
        screen.ignore()
        screen.leave()
