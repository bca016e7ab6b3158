"""Keep a VPN socket's packets out of the tunnel, and give them room."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ovpn3.errors import ConfigurationRefused, NetworkError

# In each direction; the kernel doubles it for its own needs. More makes a busy tunnel no faster and its queue longer.
BUFFER_BYTES = 3 << 19

# asm-generic/socket.h: beyond net.core.[rw]mem_max, with CAP_NET_ADMIN
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33


def protect_socket(fd: int | None, mark: int = -1, device: int = 0) -> None:
    """Give the socket `mark` unless -1, and bind it to the device of index `device` unless 0; `fd` stays open.

    A UDP socket also gets large buffers, if the kernel lets us; its owner can't do that.
    ConfigurationRefused without the socket that it needs, NetworkError if the kernel refuses.
    """
    if mark >= 0 or device:
        if fd is None:
            raise ConfigurationRefused("no socket was passed, but one has to be marked or bound")
        try:
            _lead_out(fd, mark, device)
        except OSError as e:
            raise NetworkError(f"can't protect the socket: {e.strerror}", e.errno or 0) from e
    if fd is not None:
        with suppress(OSError):
            _enlarge_buffers(fd)


def _lead_out(fd: int, mark: int, device: int) -> None:
    with _borrowed(fd) as s:
        if mark >= 0:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark.to_bytes(4, sys.byteorder))
        if device:
            name = socket.if_indextoname(device)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())


def _enlarge_buffers(fd: int) -> None:
    """Raise the buffers of a UDP socket to BUFFER_BYTES; larger ones stay."""
    with _borrowed(fd) as s:
        if s.proto != socket.IPPROTO_UDP:
            return
        for option, force in ((socket.SO_RCVBUF, _SO_RCVBUFFORCE), (socket.SO_SNDBUF, _SO_SNDBUFFORCE)):
            if s.getsockopt(socket.SOL_SOCKET, option) < 2 * BUFFER_BYTES:
                s.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    """A socket object for a descriptor that stays its owner's. OSError if it is no socket."""
    s = socket.socket(fileno=fd)
    try:
        yield s
    finally:
        s.detach()
