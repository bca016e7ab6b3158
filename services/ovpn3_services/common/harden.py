"""What every process does first: no core dumps, no tracing, nothing in swap, and no more memory than it needs."""

import ctypes
import resource

from ovpn3.secret import hide_memory

PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4


# malloc.h
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
LARGE_BYTES = 128 << 10


def harden() -> None:
    """Memory is locked only where RLIMIT_MEMLOCK allows it; the rest always holds."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "mallopt"):  # glibc
        # Else one large message makes it keep up to 64 MB for the next, and each thread has a heap of its own.
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(M_ARENA_MAX, 1)
    hide_memory()
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    # A finite limit would make later allocations fail, not only this call.
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY:
        libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)


def return_freed_memory() -> None:
    """To the kernel, before a fork: what imports have left behind is 1 of 21 MB."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.malloc_trim(0)


def rename_process(name: str) -> None:
    """What ps and top call this process; 15 octets are kept."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
