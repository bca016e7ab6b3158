"""Notice that somebody writes, replaces or removes a file."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from ovpn3.net import inotify
from ovpn3.net.inotify import Inotify

SETTLE_S: Final = 0.1  # who replaces a file does so in several steps


@final
class FileWatch:
    """Calls `changed` after each change, by ourselves too. OSError if there is no such directory."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._name, self._changed = os.fsencode(path.name), changed
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._inotify = Inotify(self._on_names)
        try:
            self._inotify.watch(path.parent, inotify.CLOSE_WRITE | inotify.MOVED | inotify.CREATE | inotify.DELETE)
        except OSError:
            self._inotify.close()
            raise

    def close(self) -> None:
        self._inotify.close()
        if self._timer:
            self._timer.cancel()

    def _on_names(self, names: set[bytes]) -> None:
        if self._name in names and self._timer is None:
            self._timer = self._loop.call_later(SETTLE_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._changed()
