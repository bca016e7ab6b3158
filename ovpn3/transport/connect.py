"""Connected sockets to a server: one per attempt, handed to the data path."""

import asyncio
import errno
import os
import socket

from ovpn3.errors import NetworkError
from ovpn3.transport.resolve import Endpoint

BUFFER_BYTES = 1 << 20  # asked for; the kernel gives what net.core.[rw]mem_max allows


def open_socket(endpoint: Endpoint) -> socket.socket:
    """An unconnected socket, so that its way can be protected before anything is sent."""
    kind = socket.SOCK_STREAM if endpoint.stream else socket.SOCK_DGRAM
    sock = socket.socket(endpoint.family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if endpoint.stream:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    return sock


def set_buffers(sock: socket.socket, send_bytes: int | None, receive_bytes: int | None) -> None:
    """Sizes of a profile's sndbuf and rcvbuf, as far as the kernel allows; nothing or 0 leaves them as they are."""
    for option, size in ((socket.SO_SNDBUF, send_bytes), (socket.SO_RCVBUF, receive_bytes)):
        if size:
            sock.setsockopt(socket.SOL_SOCKET, option, size)


async def connect(sock: socket.socket, endpoint: Endpoint, timeout_s: float) -> None:
    """Connect, for UDP only to fix the peer's address. NetworkError says what the network answered."""
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, (endpoint.address, endpoint.port))
    except TimeoutError:
        raise NetworkError(f"no answer from {endpoint} within {timeout_s:g} s", errno.ETIMEDOUT) from None
    except OSError as e:
        raise NetworkError(f"can't connect to {endpoint}: {os.strerror(e.errno or 0)}", e.errno or 0) from e
