"""Cgroups of our own in this machine's tree, for tests of what is in them."""

import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.netns import kill

_serial = itertools.count()


def tree() -> Path | None:
    """Where this machine has it, as a whole; None if it hasn't."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 ") and before.split()[3] == "/":
            return Path(before.split()[4])
    return None


class Cgroups:
    """Below one with a name of its own; closing it ends every process in them. OSError where none can be made."""

    def __init__(self) -> None:
        root = tree()
        if root is None:
            raise FileNotFoundError("no cgroup2 file system is mounted")
        self.name = f"lab-{os.getpid()}-{next(_serial)}"
        self._folder = root / self.name
        self._folder.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def make(self, name: str) -> str:
        """One below ours; its path."""
        (self._folder / name).mkdir(parents=True, exist_ok=True)
        return f"{self.name}/{name}"

    def remove(self, name: str = "") -> None:
        """Without a name all of them."""
        folders = [folder for folder in (self._folder / name, *(self._folder / name).glob("**/")) if folder.is_dir()]
        for folder in sorted(set(folders), reverse=True):
            while pids := [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]:
                kill(pids)
            folder.rmdir()

    def run(self, name: str, argv: Sequence[str], check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command that begins in one of them, in the calling thread's namespaces."""
        return subprocess.run(
            self.command(name, argv, str(self._folder)), capture_output=True, text=True, check=check, timeout=30
        )

    def command(self, name: str, argv: Sequence[str], folder: str) -> list[str]:
        """`folder` is where ours is in the mount namespace that it will be run in."""
        return ["sh", "-c", 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"', "sh", f"{folder}/{name}", *argv]
