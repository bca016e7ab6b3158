"""Hostile packets into everything that handles them; nothing but a ValueError may come of it.

    python -m tests.fuzz.data_path [--seconds N] [--seed N]

What a round does depends on its number alone. A failure names the round; `--seed` with this number begins there.
"""

import argparse
import sys
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from random import Random
from secrets import randbelow

from ovpn3._fast.channel import DataChannel
from ovpn3._fast.checksum import checksum
from ovpn3._fast.coalesce import coalesce
from ovpn3._fast.decompress import decompress
from ovpn3._fast.mss import clamp
from ovpn3._fast.segment import segments
from ovpn3.constants import Framing
from ovpn3.datapath import reference_offload as reference
from ovpn3.datapath.engine import CIPHERS
from ovpn3.datapath.reference_offload import FRAME_HEADER_BYTES
from ovpn3.transport.proxy import datagram_header
from tests.fast.rig import PACKET, Keys, Rig, eventually, tcp_pair, udp_pair
from tests.support import hostile
from tests.support.compression import COMPRESSED, compress, fenced, framed
from tests.support.packets import CSUM, EVERYTHING, TSO4, TSO6, USO4, USO6, assert_joined, outcome, plain_frame

MTU = 1500
MAX_SEGMENTS = 200  # of one frame; those that the pump keeps for a slow transport are limited
REFUSALS = {"malformed", "no key", "forged", "replayed", "spent"}
PING = bytes.fromhex("2a187bf3641eb4cb07ed2d0a981fc748")
EXIT = bytes.fromhex("287f346bd4ef7a812d56b8d3afc5459c06")


def exactly(data: bytes) -> "array[int]":
    """The data in memory of its very size, so that a sanitizer sees a read beyond it; `bytes` hold one byte more."""
    return array("B", data)


# ---- one round each ----


def fuzz_checksum(random: Random) -> None:
    data, initial = random.randbytes(random.randrange(3000)), random.randrange(0x10000)
    assert checksum(exactly(data), initial) == reference.checksum(data, initial)


def fuzz_segments(random: Random) -> None:
    frame = hostile.tun_frame(random)
    packets = outcome(segments, exactly(frame))
    assert packets == outcome(reference.segments, frame)
    assert_joined(packets or [], coalesce(packets or [], EVERYTHING))


def fuzz_coalesce(random: Random) -> None:
    packets = hostile.mixed(random, random.randrange(1, 7), random.randrange(12))
    for _ in range(random.randrange(4)):
        packets.insert(random.randrange(len(packets) + 1), hostile.packet(random) or b"\0")
    for _ in range(random.choice([0, 1, 3]) if packets else 0):
        at = random.randrange(len(packets))
        packets[at] = hostile.mended(hostile.mutated(random, packets[at])) or b"\0"
    offloads = random.choice([0, CSUM, CSUM | TSO4, CSUM | TSO6 | USO4 | USO6, EVERYTHING, EVERYTHING])
    assert_joined(packets, coalesce(packets, offloads), offloads)


def fuzz_clamp(random: Random) -> None:
    """No more than a value and the checksum change, and what was right stays right."""
    packet, mss = hostile.packet(random), random.choice([0, 1, 20, 21, 1300, 0xFFFF])
    once = exactly(packet)
    clamp(once, mss)
    assert len(once) == len(packet)
    assert sum(before != after for before, after in zip(packet, once, strict=True)) <= 4
    twice = exactly(bytes(once))
    clamp(twice, mss)
    assert once == twice
    assert bytes(once) == packet or transport_sum(bytes(once)) == transport_sum(packet)


def transport_sum(packet: bytes) -> int:
    protocol, start = reference.carried(packet)
    return reference.checksum(packet[start:], reference.pseudo_sum(packet, protocol, len(packet) - start))


def fuzz_channel(random: Random) -> None:
    """Only what was sealed is opened, and once."""
    keys = Keys(random.randbytes(32), random.randbytes(8), random.randbytes(32), random.randbytes(8))
    far, near = DataChannel(), DataChannel()
    epochs = random.random() < 0.5
    keys.install(far, 0, epochs=epochs)
    keys.mirrored().install(near, 0, epochs=epochs)
    far.use(0)
    for _ in range(8):
        payload = hostile.packet(random)
        sealed = far.seal(exactly(payload))
        for packet in (hostile.mutated(random, sealed), sealed):
            opened = try_open(near, packet)
            assert opened in ((payload, "replayed") if packet == sealed else REFUSALS)
        assert try_open(near, sealed) == "replayed"


def fuzz_old_channel(random: Random) -> None:
    """The same with CBC and with framings. A CBC packet's header isn't authenticated."""
    cipher = random.choice([CIPHERS["AES-256-CBC"], CIPHERS["AES-256-GCM"]])
    key, mac = random.randbytes(32), random.randbytes(20 if cipher.cbc else 8)
    framing = random.choice(list(Framing)[0 if cipher.cbc else 1 :])
    far, near = DataChannel(), DataChannel()
    for end in (far, near):
        end.install(0, cipher.number, key, mac, key, mac, digest="SHA1" if cipher.cbc else "", framing=framing)
    far.use(0)
    for _ in range(8):
        payload = hostile.packet(random) or b"\0"
        sealed = far.seal(exactly(payload))
        forged = hostile.mutated(random, sealed)
        opened = try_open(near, forged)
        assert opened in REFUSALS or forged[1:] == sealed[1:]
        assert try_open(near, sealed) == ("replayed" if opened == payload else payload)
    unframed = DataChannel()
    unframed.install(0, cipher.number, key, mac, key, mac, digest="SHA1" if cipher.cbc else "")
    unframed.use(0)
    try_open(near, unframed.seal(random.randbytes(random.randrange(40))))


def fuzz_compressed(random: Random) -> None:
    """What a server has compressed comes out; what it never would compress is refused, and nothing is touched by it."""
    cipher, framing = random.choice([CIPHERS["AES-256-CBC"], CIPHERS["AES-256-GCM"]]), random.choice(list(COMPRESSED))
    key, mac = random.randbytes(32), random.randbytes(20 if cipher.cbc else 8)
    largest = random.choice([0, 100, 1500, 65535])
    far, near = DataChannel(), DataChannel(largest=largest)
    for end, options in ((far, {}), (near, {"framing": framing, "decompress": True})):
        end.install(0, cipher.number, key, mac, key, mac, digest="SHA1" if cipher.cbc else "", **options)
    far.use(0)
    method, _ = COMPRESSED[framing]
    for _ in range(8):
        payload = dull(random, hostile.packet(random)) or b"\0"
        sealed = far.seal(framed(framing, payload))
        opened = try_open(near, sealed)
        assert opened == payload or (opened == "compressed" and len(payload) > largest)
        sealed = far.seal(hostile.mutated(random, framed(framing, payload))[:65535])
        opened = try_open(near, sealed)
        assert opened in ("compressed", "malformed") or len(opened) <= max(largest, len(sealed))
        block, dst = hostile.mutated(random, compress(method, payload))[:65535], fenced(size := random.randrange(65536))
        with suppress(ValueError):
            assert 0 <= decompress(method, fenced(len(block), block), dst) <= size


def dull(random: Random, data: bytes) -> bytes:
    """With something in it to compress."""
    at, times = random.randrange(len(data) + 1), random.choice([0, 1, 10, 100, 1000])
    return (data[:at] + data[at : at + 20] * times + data[at:])[:60000]


def try_open(channel: DataChannel, packet: bytes) -> bytes | str:
    """The payload, or why there is none."""
    try:
        return channel.open(exactly(packet), 1.0)
    except ValueError as e:
        return str(e)


def fuzz_pump(random: Random) -> None:
    """A tunnel under attack from a peer with a good key, and from others, still carries what is right."""
    stream, mss, granted = random.random() < 0.3, random.choice([0, 1300]), random.choice([0, CSUM, EVERYTHING])
    options = {"offloads": random.randrange(8) << 2, "threads": random.choice([1, 1, 2])}
    framing = random.choice([Framing.NONE, *COMPRESSED])
    options |= {"framing": framing, "decompress": True}
    prefix = b"" if stream else random.choice([b"", datagram_header("192.0.2.1", 9), datagram_header("2001:db8::1", 9)])
    with Rig(
        tcp_pair() if stream else udp_pair(), stream=stream, prefix=prefix, tun_offloads=granted, **options
    ) as rig:
        rig.pump.set_mssfix(mss)
        expected = []
        together = random.random() < 0.5
        if together:
            rig.pump.pause()
        for payload in payloads(random):
            sealed = rig.raw.seal(framed(framing, payload) if framing else payload)
            forged = hostile.mutated(random, sealed)[:MTU]
            if forged != sealed and (forged or not stream):
                rig.send(forged)
            rig.send(sealed)
            if prefix:  # another header, whole or not, before nothing or rubbish
                rig.peer.send(bytes(3) + bytes([random.randrange(6)]) + random.randbytes(random.randrange(300)))
            if len(payload) >= 20 and payload[0] >> 4 in (4, 6):
                expected.append(clamped(payload, mss))
        if together:
            rig.pump.resume()
        assert_joined(expected, through_tun(rig, len(expected), framing, plain=not granted), granted)
        for _ in range(random.randrange(30)):
            frame = hostile.tun_frame(random) if granted else plain_frame(hostile.packet(random)[:MTU])
            packets = outcome(segments, frame) or []
            if len(packets) <= MAX_SEGMENTS and len(frame) > FRAME_HEADER_BYTES:
                rig.tun.send(frame if granted else frame[FRAME_HEADER_BYTES:])
                for i, packet in enumerate(packets):  # a SYN travels alone: what follows isn't looked at
                    assert rig.opened() == clamped(packet, 0 if i else mss)


def payloads(random: Random) -> list[bytes]:
    """Flows that may be joined, with anything in between."""
    found = hostile.mixed(random, random.randrange(1, 4), random.randrange(8))
    for _ in range(random.randrange(10)):
        odd = random.choice([PING, EXIT, b"", *[hostile.packet(random)[:MTU]] * 5])
        found.insert(random.randrange(len(found) + 1), odd)
    return found


def through_tun(rig: Rig, count: int, framing: Framing, *, plain: bool) -> list[bytes]:
    """The frames made of this many packets, and no more."""

    def arrived() -> bool:
        stats = rig.pump.stats()
        return stats["tun_packets_out"] + stats["tun_superseded_acks"] == count

    eventually(arrived)
    last = PACKET + b"the last one"
    rig.send(rig.raw.seal(framed(framing, last) if framing else last))
    found: list[bytes] = []
    while not found or found[-1] != plain_frame(last):
        packet = rig.tun.recv(0x20000)
        found.append(plain_frame(packet) if plain else packet)
    return found[:-1]


def clamped(packet: bytes, mss: int) -> bytes:
    made = bytearray(packet)
    clamp(made, mss)
    return bytes(made)


# ---- all of them ----

TARGETS: dict[Callable[[Random], None], int] = {  # how many rounds of a hundred
    fuzz_checksum: 5,
    fuzz_segments: 35,
    fuzz_coalesce: 35,
    fuzz_clamp: 10,
    fuzz_channel: 10,
    fuzz_old_channel: 10,
    fuzz_compressed: 10,
    fuzz_pump: 5,
}


def run_round(number: int) -> None:
    random = Random(number)
    (target,) = random.choices(list(TARGETS), list(TARGETS.values()))
    try:
        target(random)
    except BaseException as e:
        e.add_note(f"{target.__name__}, --seed {number}")
        raise


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60, help="at least one round is done")
    parser.add_argument("--seed", type=int, default=randbelow(10**9), help="number of the first round")
    args = parser.parse_args(argv)
    number, end = args.seed, time.monotonic() + args.seconds
    while number == args.seed or time.monotonic() < end:
        if (number - args.seed) % 10_000 == 0:  # a sanitizer ends the program at once, so say in time where we are
            print(f"round {number}", file=sys.stderr, flush=True)
        run_round(number)
        number += 1
    print(f"{number - args.seed} rounds")


if __name__ == "__main__":
    main()
