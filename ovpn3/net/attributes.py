"""What messages of the kernel's netlink are made of behind their fixed part."""

import struct
from typing import Final

_TYPE: Final = 0x3FFF  # without the flags for nested and for big endian, linux/netlink.h


def attributes(octets: bytes, offset: int) -> dict[int, bytes]:
    """The attributes of a message, or in one, from `offset` on, by type."""
    found = {}
    while offset + 4 <= len(octets):
        length, kind = struct.unpack_from("=HH", octets, offset)
        found[kind & _TYPE] = octets[offset + 4 : offset + length]
        offset += (max(length, 4) + 3) & ~3
    return found
