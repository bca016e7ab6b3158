"""Builds IP packets and tun frames, and judges what was made of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from struct import pack, unpack_from
from typing import Any

from ovpn3.datapath import reference_offload as reference
from ovpn3.datapath.reference_offload import CHECK_AT, FRAME_HEADER_BYTES, KINDS, NEEDS_CSUM, TCP, UDP, FrameHeader

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
DF, MF = 0x4000, 0x2000
CSUM, TSO4, TSO6, TSO_ECN, USO4, USO6 = 1, 2, 4, 8, 0x20, 0x40  # TUN_F_*
EVERYTHING = CSUM | TSO4 | TSO6 | TSO_ECN | USO4 | USO6
OFFLOADS = {(4, TCP): TSO4, (6, TCP): TSO6, (4, UDP): USO4, (6, UDP): USO6}
TIMESTAMPS = b"\1\1\x08\x0a" + bytes(range(8))


def ip(
    version: int,
    protocol: int,
    body: bytes,
    *,
    host: int = 1,
    ident: int = 1,
    fragment: int = DF,
    tos: int = 0,
    ttl: int = 64,
    label: int = 0,
    options: bytes = b"",
) -> bytes:
    """`label` is IPv6's; `ident`, `fragment` (flags and offset) and `options` are IPv4's."""
    if version == 6:
        addresses = bytes.fromhex("fd00") + bytes(13) + bytes([host]) + bytes.fromhex("fd01") + bytes(14)
        return pack(">IHBB", 6 << 28 | tos << 20 | label, len(body), protocol, ttl) + addresses + body
    size = 20 + len(options)
    head = pack(">BBHHHBB", 0x40 | size // 4, tos, size + len(body), ident & 0xFFFF, fragment, ttl, protocol)
    addresses = bytes([10, 8, 0, host, 10, 9, 0, 1])
    check = ~reference.checksum(head + addresses + options) & 0xFFFF
    return head + pack(">H", check) + addresses + options + body


def tcp(
    payload: bytes = b"",
    *,
    version: int = 4,
    port: int = 5000,
    seq: int = 1,
    ack: int = 1,
    flags: int = ACK,
    window: int = 500,
    urgent: int = 0,
    options: bytes = b"",
    ip_options: bytes = b"",
    **of_ip: int,
) -> bytes:
    head = pack(">HHIIBBHHH", port, 80, seq & 0xFFFFFFFF, ack, (20 + len(options)) << 2, flags, window, 0, urgent)
    return checked(ip(version, TCP, head + options + payload, options=ip_options, **of_ip))


def udp(payload: bytes = b"", *, version: int = 4, port: int = 5000, ip_options: bytes = b"", **of_ip: int) -> bytes:
    body = pack(">HHHH", port, 53, 8 + len(payload), 0) + payload
    return checked(ip(version, UDP, body, options=ip_options, **of_ip))


def partly_checked(packet: bytes) -> bytes:
    """The packet with the uncomplemented sum of its pseudo-header as checksum."""
    protocol, start = reference.carried(packet)
    at = start + CHECK_AT[protocol]
    return packet[:at] + pack(">H", reference.pseudo_sum(packet, protocol, len(packet) - start)) + packet[at + 2 :]


def checked(packet: bytes) -> bytes:
    protocol, start = reference.carried(packet)
    return reference.finished(FrameHeader(csum_start=start, csum_offset=CHECK_AT[protocol]), partly_checked(packet))


def frame(packet: bytes, cut_to: int = 0, gso_flags: int = 0, **fields: int) -> bytes:
    """What a tun hands out for a packet whose checksum, and cutting to this payload size, is left to us.

    `fields` of the header override what is right.
    """
    protocol, start = reference.carried(packet)
    head_bytes = start + (8 if protocol == UDP else reference.tcp_bytes(packet, start))
    header: dict[str, Any] = {"flags": NEEDS_CSUM, "csum_start": start, "csum_offset": CHECK_AT[protocol]}
    if cut_to:
        kind = KINDS[packet[0] >> 4, protocol] | gso_flags
        header |= {"gso_type": kind, "gso_size": cut_to, "hdr_len": head_bytes}
    return FrameHeader(**header | fields).pack() + partly_checked(packet)


def plain_frame(packet: bytes) -> bytes:
    return bytes(FRAME_HEADER_BYTES) + packet


def stream(sizes: Iterable[int], *, seq: int = 1000, ident: int = 1, fill: int = 0, **of_tcp: Any) -> list[bytes]:
    """One TCP connection's packets with these payload sizes."""
    packets = []
    for size in sizes:
        payload = bytes((fill + seq + i) % 251 for i in range(size))
        packets.append(tcp(payload, seq=seq, ident=ident, **of_tcp))
        seq, ident = seq + size, ident + 1
    return packets


def acknowledgements(acks: Iterable[int], **of_tcp: Any) -> list[bytes]:
    """Bare ones of one TCP connection."""
    return [tcp(ack=ack, ident=ident, **of_tcp) for ident, ack in enumerate(acks, 1)]


def datagrams(sizes: Iterable[int], **of_udp: Any) -> list[bytes]:
    """UDP packets of one flow with these payload sizes."""
    return [udp(bytes([i % 256]) * size, ident=i, **of_udp) for i, size in enumerate(sizes, 1)]


def outcome(cut: Callable[[Any], list[bytes]], made: object) -> list[bytes] | None:
    """The packets of a frame, None if it is refused."""
    try:
        return cut(made)
    except ValueError:
        return None


def flow(packet: bytes) -> tuple[object, ...]:
    """What packets have in common that must not overtake each other."""
    try:
        protocol, start = reference.carried(packet)
    except ValueError:
        return ()
    if packet[0] >> 4 == 6:
        addresses, whole = packet[8:40], True
    else:
        addresses, whole = packet[12:20], not unpack_from(">H", packet, 6)[0] & 0x3FFF
    return protocol, addresses, packet[start : start + 4] if whole and protocol in CHECK_AT else None


def comparable(packet: bytes) -> bytes:
    """The packet without what cutting needn't restore: the id of one that is never fragmented (RFC 6864 §4.1)."""
    if packet[:1] == b"\x45" and packet[6:8] == pack(">H", DF) and reference.checksum(packet[:20]) == 0xFFFF:
        return packet[:4] + bytes(2) + packet[6:10] + bytes(2) + packet[12:]
    return packet


def by_flow(packets: Iterable[bytes]) -> dict[tuple[object, ...], list[bytes]]:
    found = defaultdict(list)
    for packet in packets:
        found[flow(packet)].append(packet)
    return dict(found)


def assert_joined(packets: Sequence[bytes], frames: Sequence[bytes], offloads: int = EVERYTHING) -> None:
    """The frames are well-formed, allowed, and stand for exactly these packets, each flow in order.

    But for acknowledgements that the next packet of their flow makes needless.
    """
    found = []
    for made in frames:
        parts = reference.segments(made)
        if made[:FRAME_HEADER_BYTES] == bytes(FRAME_HEADER_BYTES):
            assert parts == [made[FRAME_HEADER_BYTES:]]
        else:
            assert_super_packet(made, offloads)
            assert len(parts) > 1
        found += parts
    passed, given = by_flow(found), by_flow(packets)
    assert passed.keys() == given.keys()
    for name, sent in given.items():
        assert stands_for(passed[name], sent, offloads)


def stands_for(passed: Sequence[bytes], sent: Sequence[bytes], offloads: int) -> bool:
    """Whether the one is the other without acknowledgements that were made needless. Equal packets leave a choice."""
    matched = {0}  # packets of `passed` that those of `sent` so far may account for
    for packet, following in pairwise([*sent, b""]):
        goes_on = {n + 1 for n in matched if comparable(packet) == comparable(b"".join(passed[n : n + 1]))}
        needless = reference.supersedes(following, packet) and offloads & OFFLOADS[packet[0] >> 4, TCP]
        matched = goes_on | matched if needless else goes_on
    return len(passed) in matched


def assert_super_packet(made: bytes, offloads: int) -> None:
    header, packet = FrameHeader.unpack(made), made[FRAME_HEADER_BYTES:]
    protocol, start = reference.carried(packet)
    version = packet[0] >> 4
    assert offloads & CSUM
    assert offloads & OFFLOADS[version, protocol]
    assert len(packet) <= 0xFFFF
    head_bytes = start + (8 if protocol == UDP else reference.tcp_bytes(packet, start))
    assert header == FrameHeader(
        NEEDS_CSUM, KINDS[version, protocol], head_bytes, header.gso_size, start, CHECK_AT[protocol]
    )
    assert packet == partly_checked(packet)
    if version == 4:
        assert unpack_from(">H", packet, 2)[0] == len(packet)
        assert reference.checksum(packet[:start]) == 0xFFFF
    else:
        assert unpack_from(">H", packet, 4)[0] == len(packet) - 40
    if protocol == UDP:
        assert unpack_from(">H", packet, start + 4)[0] == len(packet) - start
