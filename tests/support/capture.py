"""What leaves a machine by its link, looked at on the link itself."""

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.support.netns import Namespace

_IPV4, _IPV6, _ICMPV6 = 0x0800, 0x86DD, 58
_NEIGHBOURS = range(133, 138)  # ICMPv6 types of neighbour discovery, which a link can't do without


class Leaving(NamedTuple):
    """Where a packet wants to go; the port is 0 unless it is one of UDP or TCP."""

    address: str
    port: int


class Capture:
    """All IP packets that leave by one link."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def leaving(self) -> set[Leaving]:
        """Since the last time."""
        found: set[Leaving] = set()
        while True:
            try:
                packet, (_, _, kind, _, _) = self._sock.recvfrom(2048)
            except BlockingIOError:
                return found
            if kind == socket.PACKET_OUTGOING and (where := _destination(packet)):
                found.add(where)

    def destinations(self) -> set[str]:
        return {where.address for where in self.leaving()}

    def wait(self) -> None:
        """For another packet, one of those that have to leave; a second at most."""
        select.select([self._sock], [], [], 1)


@contextmanager
def capturing(namespace: Namespace, link: str = "eth0") -> Iterator[Capture]:
    with namespace.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
    with sock:
        sock.bind((link, 0))
        sock.setblocking(False)
        yield Capture(sock)


def _destination(frame: bytes) -> Leaving | None:
    (protocol,) = struct.unpack_from(">H", frame, 12)
    if protocol == _IPV4:
        kind, address = frame[23], socket.inet_ntop(socket.AF_INET, frame[30:34])
        payload = frame[14 + 4 * (frame[14] & 15) :]
    elif protocol == _IPV6:
        kind, address = frame[20], socket.inet_ntop(socket.AF_INET6, frame[38:54])
        payload = frame[54:]
        if kind == _ICMPV6 and payload[0] in _NEIGHBOURS:
            return None
    else:
        return None
    ports = kind in (socket.IPPROTO_UDP, socket.IPPROTO_TCP)
    return Leaving(address, struct.unpack_from(">H", payload, 2)[0] if ports else 0)
