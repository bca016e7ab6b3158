"""Connected sockets to a server: one per attempt, handed to the data path."""

import asyncio
import errno
import os
import socket
import struct

from ovpn3.errors import NetworkError
from ovpn3.transport.resolve import Endpoint

BUFFER_BYTES = 1 << 20  # asked for; the kernel gives what net.core.[rw]mem_max allows


def open_socket(endpoint: Endpoint, local: tuple[str, int] | None = None) -> socket.socket:
    """An unconnected socket, so that its way can be protected before anything is sent.

    `local`: address, which may be empty, and port to bind it to. NetworkError if that can't be.
    """
    kind = socket.SOCK_STREAM if endpoint.stream else socket.SOCK_DGRAM
    sock = socket.socket(endpoint.family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if endpoint.stream:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    if local is not None:
        try:
            _bind(sock, *local)
        except OSError as e:
            sock.close()
            where = f"{local[0] or 'any address'}, port {local[1] or 'any'}"
            raise NetworkError(f"can't use {where} on this side: {os.strerror(e.errno or 0)}", e.errno or 0) from None
    return sock


def _bind(sock: socket.socket, address: str, port: int) -> None:
    if sock.type == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # another session may have ended just now
    any_address = "::" if sock.family == socket.AF_INET6 else "0.0.0.0"
    if address and (":" in address) != (sock.family == socket.AF_INET6):
        raise OSError(errno.EAFNOSUPPORT, "")
    sock.bind((address or any_address, port))


def set_buffers(sock: socket.socket, send_bytes: int | None, receive_bytes: int | None) -> None:
    """Sizes of a profile's sndbuf and rcvbuf, as far as the kernel allows; nothing or 0 leaves them as they are."""
    for option, size in ((socket.SO_SNDBUF, send_bytes), (socket.SO_RCVBUF, receive_bytes)):
        if size:
            sock.setsockopt(socket.SOL_SOCKET, option, size)


def pack_address(endpoint: Endpoint) -> bytes:
    """A struct sockaddr_in or sockaddr_in6."""
    family, address = struct.pack("=H", endpoint.family), socket.inet_pton(endpoint.family, endpoint.address)
    if endpoint.ipv6:
        return family + struct.pack("!HI16sI", endpoint.port, 0, address, 0)
    return family + struct.pack("!H4s8x", endpoint.port, address)


def source_address(endpoint: Endpoint) -> str:
    """The address of ours from which packets go there now; empty if there is no way."""
    with socket.socket(endpoint.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect((endpoint.address, endpoint.port))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def is_ours(endpoint: Endpoint, address: str) -> bool:
    """Whether this machine has the address, of the endpoint's family."""
    with socket.socket(endpoint.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


async def connect(sock: socket.socket, endpoint: Endpoint, timeout_s: float) -> None:
    """Connect, for UDP only to fix the peer's address. NetworkError says what the network answered."""
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, (endpoint.address, endpoint.port))
    except TimeoutError:
        raise NetworkError(f"no answer from {endpoint} within {timeout_s:g} s", errno.ETIMEDOUT) from None
    except OSError as e:
        raise NetworkError(f"can't connect to {endpoint}: {os.strerror(e.errno or 0)}", e.errno or 0) from e
