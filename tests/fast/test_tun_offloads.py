"""A tun with virtio_net_hdr before its packets: what the pump makes of super packets, both ways."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from ovpn3._fast.checksum import checksum
from ovpn3._fast.coalesce import coalesce
from ovpn3._fast.segment import segments
from ovpn3.constants import TunOffload
from tests.fast.rig import Rig, eventually, tcp_pair, udp_pair

ALL = int(TunOffload.CSUM | TunOffload.TSO4 | TunOffload.TSO6 | TunOffload.USO4 | TunOffload.USO6)
PLAIN = bytes(10)
ACK, SYN = 0x10, 0x02


def tcp(payload: bytes, *, sequence: int = 1, flags: int = ACK, options: bytes = b"", sound: bool = True) -> bytes:
    """An IPv4 packet."""
    size = 40 + len(options) + len(payload)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 1, 0x4000, 64, 6, 0, b"\x0a\x08\0\2", b"\x0a\x08\0\1")
    head = head[:10] + (checksum(head) ^ 0xFFFF).to_bytes(2) + head[12:]
    body = (
        struct.pack(">HHIIBBHHH", 5001, 80, sequence, 9, (20 + len(options)) << 2, flags, 501, 0, 0) + options + payload
    )
    total = checksum(head[12:20] + struct.pack(">HH", 6, len(body)) + body) ^ 0xFFFF
    return head + body[:16] + (total ^ (not sound)).to_bytes(2) + body[18:]


def run(count: int, size: int = 1388) -> list[bytes]:
    """Packets that follow each other in one flow."""
    return [tcp(bytes([i]) * size, sequence=1 + i * size) for i in range(count)]


@contextmanager
def offloading_rig(*, stream: bool = False, threads: int = 1) -> Iterator[Rig]:
    with Rig(tcp_pair() if stream else udp_pair(), stream=stream, threads=threads, tun_offloads=ALL) as rig:
        yield rig


@pytest.fixture(params=["udp", "tcp", "two threads"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with offloading_rig(stream=request.param == "tcp", threads=1 + (request.param == "two threads")) as rig:
        yield rig


def send_batch(rig: Rig, packets: list[bytes]) -> None:
    """Have all packets wait before the pump takes the first."""
    rig.pump.pause()
    for packet in packets:
        rig.send(rig.channel.seal(packet))
    rig.pump.resume()


# ---- from the tun ----


def test_a_super_packet_goes_out_in_parts(rig: Rig) -> None:
    packets = [packet[:4] + (i + 1).to_bytes(2) + packet[6:] for i, packet in enumerate(run(20))]
    (frame,) = coalesce(run(20), ALL)
    rig.tun.send(frame)
    received = [rig.opened() for _ in packets]
    assert [p[:4] + p[6:10] + p[12:] for p in received] == [p[:4] + p[6:10] + p[12:] for p in packets]
    assert received == segments(frame)
    rig.pump.stop()
    stats = rig.pump.stats()
    assert (stats["tun_packets_in"], stats["tun_super_packets_in"]) == (20, 1)
    assert stats["tun_bytes_in"] == sum(map(len, packets))


def test_a_checksum_is_completed(rig: Rig) -> None:
    whole = tcp(b"some text")
    pseudo = checksum(whole[12:20] + struct.pack(">HH", 6, len(whole) - 20))
    rig.tun.send(struct.pack("<BBHHHH", 1, 0, 0, 0, 20, 16) + whole[:36] + pseudo.to_bytes(2) + whole[38:])
    assert rig.opened() == whole


def test_a_syn_is_lowered_after_its_checksum(rig: Rig) -> None:
    def syn(mss: int) -> bytes:
        return tcp(b"", flags=SYN, options=struct.pack(">BBH", 2, 4, mss))

    rig.pump.set_mssfix(1300)
    rig.tun.send(PLAIN + syn(1460))
    assert rig.opened() == syn(1300)
    rig.send(rig.channel.seal(syn(1460)))
    assert rig.tun.recv(70000) == PLAIN + syn(1300)


def test_frames_that_contradict_themselves_are_dropped(rig: Rig) -> None:
    packet = tcp(bytes(100))
    for frame in (
        struct.pack("<BBHHHH", 1, 0, 0, 0, 20, 200) + packet,
        struct.pack("<BBHHHH", 1, 1, 40, 0, 20, 16) + packet,
        struct.pack("<BBHHHH", 1, 4, 40, 50, 20, 16) + packet,
        struct.pack("<BBHHHH", 1, 3, 40, 50, 20, 16) + packet,
        struct.pack("<BBHHHH", 1, 1, 40, 50, 139, 16) + packet,
    ):
        rig.tun.send(frame)
    rig.tun.send(PLAIN + packet)
    assert rig.opened() == packet
    assert rig.pump.stats()["tun_malformed_frames"] == 5


def test_as_many_segments_as_there_can_be(rig: Rig) -> None:
    """More than fit the queue towards the transport at once: those that don't are dropped, nothing else happens."""
    packet = tcp(bytes(65535 - 40))
    rig.tun.send(struct.pack("<BBHHHH", 1, 1, 40, 1, 20, 16) + packet)
    eventually(lambda: rig.pump.stats()["tun_super_packets_in"])
    while rig.opened() != tcp(b"the end"):
        rig.tun.send(PLAIN + tcp(b"the end"))


# ---- to the tun ----


def test_a_batch_becomes_a_super_packet(rig: Rig) -> None:
    packets = run(20)
    send_batch(rig, packets)
    received: list[bytes] = []
    frames = 0
    while len(received) < 20:
        received += segments(rig.tun.recv(70000))
        frames += 1
    assert [p[40:] for p in received] == [p[40:] for p in packets]
    assert frames < 20
    rig.pump.stop()
    stats = rig.pump.stats()
    assert stats["tun_super_packets_out"] >= 1
    assert (stats["tun_packets_out"], stats["tun_bytes_out"]) == (20, sum(map(len, packets)))


def test_pings_and_rubbish_within_a_batch() -> None:
    ping = bytes.fromhex("2a187bf3641eb4cb07ed2d0a981fc748")
    with offloading_rig() as rig:
        packets = run(6)
        sealed = [rig.channel.seal(p) for p in (packets[0], packets[1], ping, packets[2], b"\x99" * 60, *packets[3:])]
        forged = sealed[1][:-1] + bytes([sealed[1][-1] ^ 1])
        rig.pump.pause()
        for datagram in (*sealed[:2], forged, sealed[0], *sealed[2:]):
            rig.send(datagram)
        rig.pump.resume()
        assert b"".join(p[40:] for p in segments(rig.tun.recv(70000))) == b"".join(p[40:] for p in packets)
        stats = rig.pump.stats()
        assert (stats["pings_in"], stats["decrypt_errors"], stats["replay_errors"], stats["unknown_payloads"]) == (
            1,
        ) * 4


def test_a_wrong_checksum_goes_to_the_kernel_alone(rig: Rig) -> None:
    packets = run(5)
    packets[2] = tcp(bytes([2]) * 1388, sequence=1 + 2 * 1388, sound=False)
    send_batch(rig, packets)
    received: list[bytes] = []
    while len(received) < 5:
        frame = rig.tun.recv(70000)
        if len(frame) == 10 + len(packets[2]):
            assert frame[:10] == PLAIN
        received += segments(frame)
    assert received[2] == packets[2]
    assert [p[40:] for p in received] == [p[40:] for p in packets]


def test_a_tun_that_refuses_super_packets_gets_single_ones(rig: Rig) -> None:
    """A message too long for the socket buffer is refused with EMSGSIZE, as the kernel refuses with EINVAL."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2500)  # the kernel doubles it
        theirs.settimeout(5)
        rig.pump.attach_tun(ours.fileno(), 1500, ALL)
        packets = run(20)
        send_batch(rig, packets)
        received = [theirs.recv(70000)]
        rig.pump.stop()
        theirs.setblocking(False)
        with suppress(BlockingIOError, ConnectionResetError):  # what didn't fit was dropped
            while frame := theirs.recv(70000):
                received.append(frame)
        assert received[0] == PLAIN + packets[0]
        assert all(frame[:10] == PLAIN and len(frame) == 10 + len(packets[0]) for frame in received)
        assert rig.pump.stats()["tun_super_packets_out"] == 0
