"""Bulk data between two namespaces, checked by hash."""

import hashlib
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol


class Place(Protocol):
    """A Namespace, or what else can be entered as one."""

    def entered(self) -> AbstractContextManager[None]: ...


_TIMEOUT = 60.0


def transfer(source: Place, sink: Place, address: str, size: int, *, window: int = 0, dull: bool = False) -> float:
    """Send `size` random bytes over TCP from `source` to `address`, which `sink` has; the seconds it took.

    At most `window` bytes are under way at once; 0 leaves that to the kernel. `dull`: lines of text, not random bytes.

    AssertionError if what arrives isn't what was sent.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with sink.entered():
        listener = socket.create_server((address, 0), family=family)
    if window:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    with source.entered():
        sender = socket.socket(family)
    payload = _alike(size) if dull else os.urandom(size)
    with listener, sender, ThreadPoolExecutor(1) as pool:
        listener.settimeout(_TIMEOUT)
        sender.settimeout(_TIMEOUT)
        started = time.monotonic()
        received = pool.submit(_digest_of_one, listener)
        sender.connect(listener.getsockname()[:2])
        sender.sendall(payload)
        sender.shutdown(socket.SHUT_WR)
        digest = received.result()
        seconds = time.monotonic() - started
    assert digest == hashlib.sha256(payload).digest(), "the bytes that arrived are not those that were sent"
    return seconds


def _alike(size: int) -> bytes:
    """Text that can be compressed; no two lines are the same."""
    return "".join(f"line {n} of many that are alike\n" for n in range(size // 30 + 1)).encode()[:size]


def _digest_of_one(listener: socket.socket) -> bytes:
    digest = hashlib.sha256()
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_TIMEOUT)
        while data := connection.recv(1 << 18):
            digest.update(data)
    return digest.digest()
