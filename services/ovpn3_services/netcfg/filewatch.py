"""Notice that somebody writes, replaces or removes a file: inotify(7) on its directory."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

SETTLE_S: Final = 0.1  # who replaces a file does so in several steps

# linux/inotify.h: IN_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE
_MASK: Final = 0x8 | 0x40 | 0x80 | 0x100 | 0x200
_EVENT: Final = struct.Struct("=iIII")

_libc = ctypes.CDLL(None, use_errno=True)


@final
class FileWatch:
    """Calls `changed` after each change, by ourselves too. OSError if there is no such directory."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._name, self._changed = os.fsencode(path.name), changed
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, os.fsencode(path.parent), _MASK) < 0:
            error = ctypes.get_errno()
            if self._fd >= 0:
                os.close(self._fd)
            raise OSError(error, os.strerror(error))
        self._loop.add_reader(self._fd, self._on_events)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        if self._timer:
            self._timer.cancel()

    def _on_events(self) -> None:
        events = os.read(self._fd, 65536)
        while events:
            size = _EVENT.size + _EVENT.unpack_from(events)[3]
            if events[_EVENT.size : size].rstrip(b"\0") == self._name and self._timer is None:
                self._timer = self._loop.call_later(SETTLE_S, self._tell)
            events = events[size:]

    def _tell(self) -> None:
        self._timer = None
        self._changed()
