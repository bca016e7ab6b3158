"""What the kernel's rtnetlink says, and how to hear it: without pyroute2, which clients don't load."""

import socket
import struct
from collections.abc import Iterator
from typing import Final

# linux/rtnetlink.h: RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE
ANYTHING: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
NEW_LINK, DEL_LINK, NEW_ADDRESS, DEL_ADDRESS, NEW_ROUTE, DEL_ROUTE, DEL_RULE = 16, 17, 20, 21, 24, 25, 33
RTA_DST, RTA_OIF = 1, 4

# What messages begin with, and what follows in those of a kind.
HEADER: Final = struct.Struct("=IHHII")  # size, kind, flags, number, port
LINK: Final = struct.Struct("=BxHiII")  # family, kind of hardware, index, flags, those of them that have changed
ADDRESS_INDEX: Final = struct.Struct("=4xi")
ROUTE: Final = struct.Struct("=BBxxB7x")  # family, size of the prefix, table

_TYPE: Final = 0x3FFF  # without the flags for nested and for big endian, linux/netlink.h
_MAX_DATAGRAM: Final = 65536


def rtnetlink_socket(groups: int = 0) -> socket.socket:
    """A socket in the present network namespace, that tells of changes to these. It doesn't block.

    The kernel has answered when a question is sent. ENOBUFS is more news than the socket could hold.
    """
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    sock = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    sock.bind((0, groups))
    return sock


def news_from(sock: socket.socket) -> list[bytes] | None:
    """Messages that have come, each with its header; None if they were too many to be kept."""
    found: list[bytes] = []
    lost = False
    while True:
        try:
            found += messages(sock.recv(_MAX_DATAGRAM))
        except BlockingIOError:
            return None if lost else found
        except OSError:  # ENOBUFS
            lost = True


def messages(datagram: bytes) -> Iterator[bytes]:
    """Each with its header."""
    offset = 0
    while offset + HEADER.size <= len(datagram):
        size, *_ = HEADER.unpack_from(datagram, offset)
        yield datagram[offset : offset + size]
        offset += (max(size, HEADER.size) + 3) & ~3


def attributes(octets: bytes, offset: int) -> dict[int, bytes]:
    """The attributes of a message, or in one, from `offset` on, by type."""
    found = {}
    while offset + 4 <= len(octets):
        length, kind = struct.unpack_from("=HH", octets, offset)
        found[kind & _TYPE] = octets[offset + 4 : offset + length]
        offset += (max(length, 4) + 3) & ~3
    return found


def family(version: int) -> int:
    """Of addresses of that version of IP."""
    return socket.AF_INET if version == 4 else socket.AF_INET6
