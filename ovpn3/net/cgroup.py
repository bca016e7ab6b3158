"""Cgroups whose programs' packets get a mark, so that a rule can lead them to a tunnel's table.

The kernel knows a cgroup by a number, and the one that a service has after a restart is another one of the same path.
So we look whenever a cgroup is made above or among them.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from errno import ENOENT, ENOTDIR
from pathlib import Path
from typing import Final, final

from ovpn3.errors import NetworkError
from ovpn3.net import inotify, nftables
from ovpn3.net.inotify import Inotify
from ovpn3.net.nftables import MARK_BITS, Marking

_MOUNTS: Final = Path("/proc/self/mountinfo")
_ABSENT: Final = (ENOENT, ENOTDIR)


@dataclass(frozen=True, slots=True)
class Cgroup:
    """By its path below the root of the tree; `mark` leads to `table`."""

    path: str
    table: int
    mark: int


def mark_for(table: int, used: Collection[Cgroup]) -> int:
    """A mark under MARK_BITS: the one that leads there already, else a new one. NetworkError if there is none left."""
    marks = {cgroup.table: cgroup.mark for cgroup in used}
    if table in marks:
        return marks[table]
    step = MARK_BITS & -MARK_BITS
    for mark in range(step, MARK_BITS + 1, step):
        if mark not in marks.values():
            return mark
    raise NetworkError("there are no marks left for cgroups")


def is_there(path: str) -> bool:
    """Whether there is that cgroup now. NetworkError if there isn't the one above either."""
    folder = _root() / path
    if not folder.parent.is_dir():
        raise NetworkError(f"there is no cgroup {path}, and none above it", ENOENT)
    return folder.is_dir()


def _root() -> Path:
    """Where the tree is mounted, as a whole. NetworkError if it isn't."""
    for line in _MOUNTS.read_text().splitlines():
        mount, _, source = line.partition(" - ")
        _, _, _, root, folder, *_ = mount.split()
        if source.startswith("cgroup2 ") and root == "/":
            return Path(folder)
    raise NetworkError("there are no cgroups here: no file system of the kind cgroup2 is mounted")


@final
class Marks:
    """The firewall's table of cgroups, kept true to what is there."""

    def __init__(self, failed: Callable[[str], None]) -> None:
        """`failed` is told why a cgroup that was made anew is not selected."""
        self._failed = failed
        self._cgroups: list[Cgroup] = []
        self._inotify: Inotify | None = None
        self._in_force: list[Marking] | None = None

    def set(self, cgroups: Collection[Cgroup]) -> None:
        """Mark what comes from these, the innermost that it comes from, and nothing else. NetworkError if the kernel
        refuses."""
        # Of two with the same path a later one would win: which one must not depend on chance.
        self._cgroups = sorted(cgroups, key=lambda c: (c.path.count("/"), c.path, c.mark))
        if self._cgroups:
            self._look()
        else:
            self.close()
            nftables.release_cgroups()

    def close(self) -> None:
        """Look no more; what is in force stays."""
        if self._inotify:
            self._inotify.close()
        self._inotify = self._in_force = None

    def _on_made(self, names: Collection[bytes]) -> None:
        try:
            self._look()
        except NetworkError as e:
            self._failed(str(e))

    def _look(self) -> None:
        numbers = ((cgroup, self._number(cgroup.path)) for cgroup in self._cgroups)
        markings = [Marking(c.path.count("/") + 1, number, c.mark) for c, number in numbers if number]
        if markings != self._in_force:
            nftables.mark_cgroups(markings)
            self._in_force = markings

    def _number(self, path: str) -> int:
        """0 if there is none now; then we are told of it."""
        try:
            self._inotify = self._inotify or Inotify(self._on_made)
            folder = _root()
            for name in path.split("/"):
                self._inotify.watch(folder, inotify.CREATE)  # before we look, so that none is missed
                folder /= name
            return os.stat(folder).st_ino
        except OSError as e:
            if e.errno in _ABSENT:
                return 0
            raise NetworkError(f"can't look for the cgroup {path}: {e.strerror}", e.errno or 0) from None
