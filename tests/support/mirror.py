"""A server that tells everybody by which address it sees them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.netns import Namespace


@contextmanager
def mirror(namespace: Namespace) -> Iterator[int]:
    """Its port, over TCP at all addresses there: it sends a line, and is never the first to end a connection."""
    with namespace.entered():
        listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)

    def serve() -> None:
        while True:
            try:
                connection, (address, *_) = listening.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):
                connection.sendall(f"{address.removeprefix('::ffff:')}\n".encode())
                connection.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        listening.close()
