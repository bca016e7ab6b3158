"""Stop one thread of a process for a while, as a call does that blocks: ptrace(2)."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def _ptrace(request: int, tid: int) -> None:
    if _libc.ptrace(request, tid, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


@contextmanager
def stalled(tid: int) -> Iterator[None]:
    """Within the block the thread `tid` does nothing; the other threads of its process go on."""
    _ptrace(_SEIZE, tid)
    _ptrace(_INTERRUPT, tid)
    os.waitpid(tid, _WALL)
    try:
        yield
    finally:
        _ptrace(_DETACH, tid)
