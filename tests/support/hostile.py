"""Traffic as a network, or an enemy, may make it; everything follows from the Random passed in."""

from collections.abc import Callable
from itertools import chain, zip_longest
from random import Random
from struct import pack
from typing import Any

from ovpn3.datapath import reference_offload as reference
from tests.support.packets import (
    ACK,
    CWR,
    DF,
    ECE,
    FIN,
    MF,
    PSH,
    RST,
    SYN,
    TIMESTAMPS,
    URG,
    acknowledgements,
    checked,
    datagrams,
    frame,
    ip,
    plain_frame,
    stream,
    tcp,
    udp,
)

EDGES = [0, 1, 7, 8, 19, 20, 21, 39, 40, 41, 60, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF]


def mixed(random: Random, count: int, length: int) -> list[bytes]:
    """Packets of `count` flows, one after the other or in turn."""
    flows = [one_flow(random, port, length) for port in range(count)]
    if random.random() < 0.5:
        return list(chain(*flows))
    return [packet for row in zip_longest(*flows) for packet in row if packet]


def one_flow(random: Random, port: int, length: int) -> list[bytes]:
    about: dict[str, Any] = {"version": random.choice([4, 6]), "port": port, "fragment": random.choice([0, DF])}
    size = random.choice([*range(1, 61), 536, 1400])
    if random.random() < 0.3:
        return disturbed(random, datagrams([size] * length, **about))
    if random.random() < 0.3:
        acks = [random.choice([1, 2, 2**31, 2**32 - 1]) * random.randrange(4) & 0xFFFFFFFF for _ in range(length)]
        return disturbed(random, acknowledgements(sorted(acks), options=random.choice([b"", TIMESTAMPS]), **about))
    packets: list[bytes] = []
    seq = random.choice([1000, 2**32 - 200])
    for ident in range(length):
        each = random.choice([size] * 8 + [size - 1, 1, 0, size + 1])
        flags = ACK | (random.choice([PSH, FIN, ECE, CWR | ECE, SYN]) if random.random() < 0.1 else 0)
        options = random.choice([b"", b"", TIMESTAMPS])
        packets += stream([each], seq=seq, ident=ident, flags=flags, options=options, **about)
        seq += each
    return disturbed(random, packets)


def disturbed(random: Random, packets: list[bytes]) -> list[bytes]:
    """Loss, duplicates, disorder, damage."""
    for _ in range(random.choice([0, 0, 1, 3])):
        if packets:
            at = random.randrange(len(packets))
            change = random.randrange(4)
            if change == 0:
                del packets[at]
            elif change == 1:
                packets.insert(random.randrange(len(packets)), packets[at])
            elif change == 2:
                packets.append(packets.pop(at))
            else:
                packets[at] = corrupted(packets[at], random.randrange(len(packets[at])))
    return packets


def corrupted(packet: bytes, at: int) -> bytes:
    return packet[:at] + bytes([packet[at] ^ 0x10]) + packet[at + 1 :]


def packet(random: Random) -> bytes:
    """A packet of any kind, whole or mutated, often with its checksums right all the same."""
    made = mutated(random, sound_packet(random))
    return mended(made) if random.random() < 0.5 else made


def tun_frame(random: Random) -> bytes:
    """A frame of any kind, whole or mutated."""
    whole = sound_packet(random)
    try:
        made = frame(whole, random.choice([0, 1 + len(whole) // 100, 100, 1400]))
    except (KeyError, ValueError):
        made = plain_frame(whole)
    return mutated(random, made)


def sound_packet(random: Random) -> bytes:
    version, flags = random.choice([4, 6]), ACK | random.choice([0, 0, PSH, FIN, SYN, SYN, RST, URG, ECE, CWR])
    payload = random.randbytes(random.choice([random.randrange(60), random.randrange(1500)]))
    about: dict[str, Any] = {"version": version, "fragment": random.choice([DF, DF, 0, MF, 5])}
    about["ip_options"] = random.choice([b"", b"", b"", b"\1" * 4, random.randbytes(40)]) if version == 4 else b""
    kind = random.randrange(4)
    if kind == 0:
        return udp(payload, **about)
    if kind == 1:
        return ip(version, random.choice([0, 1, 44, 58, 60, 132, 255]), payload)
    options = random.choice([b"", TIMESTAMPS, b"\2\4\5\xb4", b"\1\1\2\4\5\xb4\0\0", random.randbytes(40)])
    return tcp(payload, flags=flags, options=options, **about)


def mutated(random: Random, data: bytes) -> bytes:
    """The data after up to four changes, mostly near its start."""
    made = bytearray(data)
    for _ in range(random.choice([0, 1, 1, 2, 4])):
        at = random.randrange(min(len(made), random.choice([60, 80, 0xFFFF])) + 1)
        change = random.randrange(6)
        if change == 0 and at < len(made):
            made[at] ^= 1 << random.randrange(8)
        elif change == 1:
            made[at : at + 2] = pack(random.choice(["<H", ">H"]), random.choice(EDGES))
        elif change == 2:
            made[at : at + 4] = random.randbytes(4)
        elif change == 3:
            del made[random.randrange(len(made) + 1) :]
        elif change == 4:
            made[at:at] = random.randbytes(random.randrange(20))
        elif change == 5:
            del made[at : at + random.randrange(20)]
    return bytes(made)


def mended(packet: bytes) -> bytes:
    """The packet with its lengths and checksums right, as far as it has any."""
    for mend in (with_length, with_ip_checksum, checked):
        packet = attempted(mend, packet)
    return packet


def with_length(packet: bytes) -> bytes:
    reference.carried(packet)
    if packet[0] >> 4 == 4:
        return packet[:2] + pack(">H", len(packet)) + packet[4:]
    return packet[:4] + pack(">H", len(packet) - 40) + packet[6:]


def with_ip_checksum(packet: bytes) -> bytes:
    _, size = reference.carried(packet)
    if packet[0] >> 4 == 6:
        return packet
    return packet[:10] + pack(">H", ~reference.checksum(packet[:10] + packet[12:size]) & 0xFFFF) + packet[12:]


def attempted(change: Callable[[bytes], bytes], packet: bytes) -> bytes:
    try:
        return change(packet)
    except (KeyError, ValueError):
        return packet
