"""Directories in which something happens: inotify(7)."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

# linux/inotify.h
CLOSE_WRITE: Final = 0x8
MOVED: Final = 0x40 | 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200

_EVENT: Final = struct.Struct("=iIII")
_libc = ctypes.CDLL(None, use_errno=True)


@final
class Inotify:
    """Calls `happened` with the names of those concerned. OSError if the kernel has no more of these."""

    def __init__(self, happened: Callable[[set[bytes]], None]) -> None:
        self._happened = happened
        self._watches: dict[Path, int] = {}
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._on_events)

    def watch(self, folder: Path, events: int) -> None:
        """The directory that has that name now, and no other that had it before. OSError if there is none."""
        watch = _checked(_libc.inotify_add_watch(self._fd, os.fsencode(folder), events))
        before = self._watches.get(folder, watch)
        if before != watch:
            _libc.inotify_rm_watch(self._fd, before)
        self._watches[folder] = watch

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _on_events(self) -> None:
        events, names = os.read(self._fd, 65536), set()
        while events:
            size = _EVENT.size + _EVENT.unpack_from(events)[3]
            names.add(events[_EVENT.size : size].rstrip(b"\0"))
            events = events[size:]
        self._happened(names)


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
