"""What every process that may hold a secret does first: no core dumps, no tracing, nothing in swap."""

import ctypes
import resource

PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4


def harden() -> None:
    """Memory is locked only where RLIMIT_MEMLOCK allows it; the rest always holds."""
    libc = ctypes.CDLL(None, use_errno=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for option, value in ((PR_SET_DUMPABLE, 0), (PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl({option})")
    # A finite limit would make later allocations fail, not only this call.
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY:
        libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)


def rename_process(name: str) -> None:
    """What ps and top call this process; 15 octets are kept."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)
