"""Where client processes come from: forks of this one, which has everything imported that they need.

A fresh interpreter needs 0.3 s and 17 MB for a client; a fork a few ms, and most pages stay shared. It happens amid the
life of this process, so what the child finds of that is cut off at once: its descriptors are closed, its signals are
as at the start of a process, and its objects stay where they are, unused, until the child ends. There are no threads.
"""

import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from ovpn3_services.common.harden import return_freed_memory

MAX_TOKEN_BYTES = 1024
STDERR = 2
HANDLED = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)  # here, and by default in a child
CLIENT_MODULE = "ovpn3_services.backend.__main__"  # by name: services don't import each other


class Nursery:
    """`arguments` go to every client."""

    def __init__(self, arguments: list[str]) -> None:
        """Import what clients need. To be called before there is anything that clients have no use for."""
        self._client: Callable[[str], int] = importlib.import_module(CLIENT_MODULE).prepared(arguments)
        gc.collect()
        return_freed_memory()
        gc.freeze()  # a collection would write to every object, and so unshare it

    def start(self, token: str) -> int:
        """Pid of a new client. OSError if there can be none."""
        # A signal that came too early would be told to our loop, by the pipe that the child has in common with us.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                _leave(lambda: self._live(token, mask))
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _live(self, token: str, mask: set[int]) -> int:
        """The life of a child."""
        gc.freeze()  # nor must a collection end what holds descriptors: their numbers are the child's own by then
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor > STDERR:
                with suppress(OSError):  # that of the listing
                    os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.setsid()
        return self._client(token)


def _leave(work: Callable[[], int]) -> None:
    """Do `work` and end this process, whose callers are another's. What isn't caught is told as Python does it."""
    code = 1
    try:
        code = work()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)
