"""Slow, plain twin of the tun's offloads: the oracle the tests compare the compiled ones with. Never used at run time.

A frame is what a tun with IFF_VNET_HDR reads and writes: struct virtio_net_hdr, then an IP packet that may want its
checksum finished, or want to be cut into many.
"""

from dataclasses import astuple, dataclass
from struct import pack, unpack_from

NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_ECN = 0, 1, 4, 5, 0x80
FRAME_HEADER_BYTES = 10
MAX_PACKET = 0xFFFF
MAX_HEADERS = 128  # octets of IP and transport headers of a super packet: those of IPv4 can't be more
TCP, UDP = 6, 17
CHECK_AT = {TCP: 16, UDP: 6}
FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80
KINDS = {(4, TCP): GSO_TCPV4, (6, TCP): GSO_TCPV6, (4, UDP): GSO_UDP_L4, (6, UDP): GSO_UDP_L4}


@dataclass(frozen=True)
class FrameHeader:
    """struct virtio_net_hdr, little endian."""

    flags: int = 0
    gso_type: int = GSO_NONE
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    def pack(self) -> bytes:
        return pack("<BBHHHH", *astuple(self))

    @classmethod
    def unpack(cls, frame: bytes) -> "FrameHeader":
        if len(frame) < FRAME_HEADER_BYTES:
            raise ValueError("frame too short")
        return cls(*unpack_from("<BBHHHH", frame))


def checksum(data: bytes, initial: int = 0) -> int:
    """One's-complement sum (RFC 1071), not complemented."""
    total = int.from_bytes(data + bytes(len(data) % 2)) + initial
    return total % 0xFFFF or (0xFFFF if total else 0)  # 0x10000 leaves 1: the remainder is the folded sum


def pseudo_sum(packet: bytes, protocol: int, size: int) -> int:
    """Sum of the pseudo-header of `size` bytes of a protocol in this IP packet."""
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    return checksum(addresses + pack(">II", protocol, size))


def segments(frame: bytes) -> list[bytes]:
    """The packets a frame stands for; ValueError if it contradicts itself."""
    header, packet = FrameHeader.unpack(frame), frame[FRAME_HEADER_BYTES:]
    if not 1 <= len(packet) <= MAX_PACKET:
        raise ValueError("no packet, or too large")
    if header.gso_type & ~GSO_ECN != GSO_NONE:
        return cut(header, packet)
    return [finished(header, packet) if header.flags & NEEDS_CSUM else packet]


def finished(header: FrameHeader, packet: bytes) -> bytes:
    """The packet with its checksum: the field holds what is to be added to the rest."""
    at = header.csum_start + header.csum_offset
    if at + 2 > len(packet):
        raise ValueError("checksum beyond the packet")
    value = ~checksum(packet[header.csum_start :]) & 0xFFFF
    if header.csum_offset == CHECK_AT[UDP] and value == 0:
        value = 0xFFFF  # 0 would mean that there is none
    return packet[:at] + pack(">H", value) + packet[at + 2 :]


def cut(header: FrameHeader, packet: bytes) -> list[bytes]:
    protocol, ip_bytes = carried(packet)
    if packet[0] >> 4 == 6 and header.csum_start > ip_bytes:  # what stands between are extension headers
        protocol, ip_bytes = UDP if header.gso_type & ~GSO_ECN == GSO_UDP_L4 else TCP, header.csum_start
    if header.gso_type & ~GSO_ECN != KINDS.get((packet[0] >> 4, protocol)):
        raise ValueError("not the kind of packet announced")
    if not header.flags & NEEDS_CSUM or (header.csum_start, header.csum_offset) != (ip_bytes, CHECK_AT[protocol]):
        raise ValueError("not the checksum of the packet")
    head_bytes = ip_bytes + (8 if protocol == UDP else tcp_bytes(packet, ip_bytes))
    if head_bytes >= len(packet) or head_bytes > MAX_HEADERS:
        raise ValueError("no payload, or too many headers")
    if header.gso_size == 0:
        raise ValueError("segments of no size")
    payload_bytes = len(packet) - head_bytes
    return [
        segment(packet, protocol, ip_bytes, head_bytes, at, min(header.gso_size, payload_bytes - at), header.gso_size)
        for at in range(0, payload_bytes, header.gso_size)
    ]


def carried(packet: bytes) -> tuple[int, int]:
    """(protocol, size of the IP header)"""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        ip_bytes = (packet[0] & 15) * 4
        if 20 <= ip_bytes <= len(packet):
            return packet[9], ip_bytes
    elif version == 6 and len(packet) >= 40:
        return packet[6], 40
    raise ValueError("not an IP packet")


def tcp_bytes(packet: bytes, ip_bytes: int) -> int:
    if len(packet) < ip_bytes + 20 or packet[ip_bytes + 12] >> 4 < 5:
        raise ValueError("no whole TCP header")
    return (packet[ip_bytes + 12] >> 4) * 4


def supersedes(later: bytes, earlier: bytes) -> bool:
    """Whether `later` is a bare TCP acknowledgement that makes one which came right before it needless."""
    try:
        same, acknowledged = bare_acknowledgement(later)
        same_before, acknowledged_before = bare_acknowledgement(earlier)
    except ValueError:
        return False
    return same == same_before and 0 < (acknowledged - acknowledged_before) & 0xFFFFFFFF < 1 << 31


def bare_acknowledgement(packet: bytes) -> tuple[list[bytes], int]:
    """(what it must have in common with another, what it acknowledges)"""
    protocol, start = carried(packet)
    transport = packet[start:]
    size = len(transport)
    if protocol != TCP or size not in (20, 32) or transport[12:14] != bytes([size << 2, ACK]):
        raise ValueError("not TCP, or not bare")
    if size == 32 and transport[20:24] != b"\1\1\x08\x0a":
        raise ValueError("options beyond timestamps")
    ip = [packet[:4], packet[6:10], packet[12:20]] if packet[0] >> 4 == 4 else [packet[:start]]
    if (packet[0] >> 4 == 4 and checksum(packet[:start]) != 0xFFFF) or (
        checksum(transport, pseudo_sum(packet, protocol, size)) != 0xFFFF
    ):
        raise ValueError("wrong checksum")
    return [*ip, transport[:8]], unpack_from(">I", transport, 8)[0]


def segment(packet: bytes, protocol: int, ip_bytes: int, head_bytes: int, at: int, size: int, gso_size: int) -> bytes:
    """The packet with only `size` bytes of payload, from `at`."""
    made = bytearray(packet[:head_bytes] + packet[head_bytes + at : head_bytes + at + size])
    transport = memoryview(made)[ip_bytes:]
    if packet[0] >> 4 == 4:
        (ident,) = unpack_from(">H", packet, 4)
        made[2:6] = pack(">HH", len(made), (ident + at // gso_size) & 0xFFFF)
        made[10:12] = bytes(2)
        made[10:12] = pack(">H", ~checksum(bytes(made[:ip_bytes])) & 0xFFFF)
    else:
        made[4:6] = pack(">H", len(made) - 40)
    if protocol == TCP:
        (sequence,) = unpack_from(">I", transport, 4)
        transport[4:8] = pack(">I", (sequence + at) & 0xFFFFFFFF)
        if at > 0:
            transport[13] &= ~CWR & 0xFF
        if head_bytes + at + size < len(packet):
            transport[13] &= ~(FIN | PSH) & 0xFF
    else:
        transport[4:6] = pack(">H", len(transport))
    check_at = CHECK_AT[protocol]
    transport[check_at : check_at + 2] = pack(">H", pseudo_sum(packet, protocol, len(transport)))
    return finished(FrameHeader(csum_start=ip_bytes, csum_offset=check_at), bytes(made))
