"""Packets of one flow, and the frame in which a tun would hand them over."""

import struct

from ovpn3._fast.checksum import checksum
from ovpn3._fast.coalesce import coalesce
from ovpn3.constants import TunOffload

OFFLOADS = TunOffload.CSUM | TunOffload.TSO4 | TunOffload.TSO6 | TunOffload.USO4 | TunOffload.USO6
SOURCE, DESTINATION = bytes([10, 8, 0, 2]), bytes([10, 8, 0, 1])
TCP, UDP = 6, 17


def tcp_run(count: int, size: int) -> list[bytes]:
    """Segments of one connection, in order."""
    return [
        _ip(TCP, struct.pack(">HHIIBBHHH", 5000, 80, 1 + i * size, 1, 5 << 4, 0x10, 500, 0, 0) + bytes(size), 16, i)
        for i in range(count)
    ]


def udp_run(count: int, size: int) -> list[bytes]:
    return [_ip(UDP, struct.pack(">HHHH", 5000, 53, 8 + size, 0) + bytes(size), 6, i) for i in range(count)]


def frame(packets: list[bytes]) -> bytes:
    """virtio_net_hdr and the packets in one."""
    (joined,) = coalesce(packets, OFFLOADS)
    return joined


def _ip(protocol: int, body: bytes, checksum_at: int, ident: int) -> bytes:
    pseudo = checksum(SOURCE + DESTINATION + struct.pack(">HH", protocol, len(body)))
    body = body[:checksum_at] + _complement(checksum(body, pseudo)) + body[checksum_at + 2 :]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), ident, 0x4000, 64, protocol, 0) + SOURCE + DESTINATION
    return head[:10] + _complement(checksum(head)) + head[12:] + body


def _complement(total: int) -> bytes:
    return (total ^ 0xFFFF).to_bytes(2)
