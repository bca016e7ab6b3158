"""Where client processes come from: a process that has everything imported and does nothing but fork.

A fresh interpreter needs 0.3 s and 17 MB for a client; a fork of a warm one 2 ms, and most pages stay shared. What
forks must be clean, without event loop, threads or bus connection, so it is a process of its own: forked by the starter
before that has any of these, so that the two share their memory as well. It is told over a socket: one datagram with
the token of a client in, one with its pid out. End of file ends it; the clients live on.
"""

import asyncio
import gc
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from ovpn3_services.common.harden import rename_process

MAX_TOKEN_BYTES = 1024
CLIENT_MODULE = "ovpn3_services.backend.__main__"  # by name: services don't import each other


class Nursery:
    """The starter's end. `arguments` go to every client."""

    def __init__(self, arguments: list[str]) -> None:
        """Import what clients need, and fork the process that forks them. To be called before any event loop."""
        self._one_at_a_time = asyncio.Lock()
        client: Callable[[str], int] = importlib.import_module(CLIENT_MODULE).prepared(arguments)
        gc.collect()
        gc.freeze()  # a collection would write to every object, and so unshare it
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            _leave(lambda: forker(theirs, client))
        theirs.close()
        self._socket.setblocking(False)

    async def start(self, token: str) -> int:
        """Pid of a new client."""
        loop = asyncio.get_running_loop()
        async with self._one_at_a_time:
            await loop.sock_sendall(self._socket, token.encode())
            answer = await loop.sock_recv(self._socket, MAX_TOKEN_BYTES)
        if not answer:
            raise OSError("the process that forks clients is gone")
        return int(answer)

    def watch(self, lost: Callable[[], None]) -> None:
        """Call `lost` once the process that forks is gone, as after an operator's or the kernel's kill."""
        handle = os.pidfd_open(self.pid)
        loop = asyncio.get_running_loop()

        def on_end() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            lost()

        loop.add_reader(handle, on_end)

    def close(self) -> None:
        self._socket.close()
        os.waitpid(self.pid, 0)


def forker(control: socket.socket, client: Callable[[str], int]) -> int:
    """Fork a process per token, to run `client`, until end of file. Runs alone in its process."""
    rename_process("openvpn3-forker")
    # Clients are nobody's to wait for; signals meant for the starter's group are not for this process.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while token := control.recv(MAX_TOKEN_BYTES):
        pid = os.fork()
        if pid == 0:
            control.close()
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            return client(token.decode())
        control.send(str(pid).encode())
    return 0


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
