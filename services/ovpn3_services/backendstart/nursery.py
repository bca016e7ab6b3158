"""Where client processes come from: a process that has everything imported and does nothing but fork.

A fresh interpreter needs 0.3 s and 17 MB for a client; a fork of a warm one 2 ms, and most pages stay shared. What
forks must be clean, without event loop, threads or bus connection, so it is a process of its own, started by exec
and told over a socket: one datagram with the arguments of a client in, one with its pid out. End of file ends it;
the clients live on.
"""

import asyncio
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys

MAX_REQUEST_BYTES = 65536
CLIENT_MODULE = "ovpn3_services.backend.__main__"  # by name: services don't import each other


class Nursery:
    """The starter's end. `arguments` go to every client."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._one_at_a_time = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Start the process that forks. It imports while we go on: the first start may have to wait for that."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), CLIENT_MODULE], pass_fds=[theirs.fileno()]
            )
        ours.setblocking(False)
        self._socket = ours

    async def start(self, arguments: list[str]) -> int:
        """Pid of a new client."""
        loop = asyncio.get_running_loop()
        async with self._one_at_a_time:
            await loop.sock_sendall(self._socket, json.dumps(self._arguments + arguments).encode())
            answer = await loop.sock_recv(self._socket, MAX_REQUEST_BYTES)
        if not answer:
            raise OSError("the process that forks clients is gone")
        return int(answer)

    def close(self) -> None:
        if self._process:
            self._socket.close()
            self._process.wait()


def forker(control: socket.socket, module: str) -> int:
    """Fork a process per request, to run the module's `main`, until end of file. Runs alone in its process."""
    main = importlib.import_module(module).main
    # Clients are nobody's to wait for; signals meant for the starter's group are not for this process.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while request := control.recv(MAX_REQUEST_BYTES):
        pid = os.fork()
        if pid == 0:
            control.close()
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            return int(main(json.loads(request)))
        control.send(str(pid).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(forker(socket.socket(fileno=int(sys.argv[1])), sys.argv[2]))
