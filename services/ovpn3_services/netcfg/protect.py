"""Keep a VPN socket's packets out of the tunnel."""

import os
import socket

from ovpn3.errors import ConfigurationRefused, NetworkError


def protect_socket(fd: int | None, mark: int = -1, device: int = 0) -> None:
    """Give the socket `mark` unless -1, and bind it to the device of index `device` unless 0; `fd` stays open.

    ConfigurationRefused without the socket that it needs, NetworkError if the kernel refuses.
    """
    if mark < 0 and not device:
        return
    if fd is None:
        raise ConfigurationRefused("no socket was passed, but one has to be marked or bound")
    try:
        # A socket object owns its descriptor, so it gets one of its own.
        with socket.socket(fileno=os.dup(fd)) as s:
            if mark >= 0:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            if device:
                name = socket.if_indextoname(device)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
    except OSError as e:
        raise NetworkError(f"can't protect the socket: {e.strerror}", e.errno or 0) from e
