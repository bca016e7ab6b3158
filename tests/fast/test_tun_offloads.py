"""A tun with virtio_net_hdr before its packets: what the pump makes of super packets, both ways."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from struct import pack

import pytest

from ovpn3._fast.coalesce import coalesce
from ovpn3._fast.segment import segments
from tests.fast.rig import Rig, eventually, tcp_pair, udp_pair
from tests.support.packets import EVERYTHING, SYN, frame, plain_frame, stream, tcp

HEADER = 10  # octets of virtio_net_hdr
PLAIN = bytes(HEADER)
PACKETS = stream([1388] * 20)


@contextmanager
def offloading_rig(*, stream: bool = False, threads: int = 1) -> Iterator[Rig]:
    with Rig(tcp_pair() if stream else udp_pair(), stream=stream, threads=threads, tun_offloads=EVERYTHING) as rig:
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
    (joined,) = coalesce(PACKETS, EVERYTHING)
    rig.tun.send(joined)
    assert [rig.opened() for _ in PACKETS] == PACKETS
    rig.pump.stop()
    stats = rig.pump.stats()
    assert (stats["tun_packets_in"], stats["tun_super_packets_in"]) == (20, 1)
    assert stats["tun_bytes_in"] == sum(map(len, PACKETS))


def test_a_checksum_is_completed(rig: Rig) -> None:
    rig.tun.send(frame(tcp(b"some text")))
    assert rig.opened() == tcp(b"some text")


def test_a_syn_is_lowered_after_its_checksum(rig: Rig) -> None:
    def syn(mss: int) -> bytes:
        return tcp(flags=SYN, options=pack(">BBH", 2, 4, mss))

    rig.pump.set_mssfix(1300)
    rig.tun.send(frame(syn(1460)))
    assert rig.opened() == syn(1300)
    rig.send(rig.channel.seal(syn(1460)))
    assert rig.tun.recv(70000) == plain_frame(syn(1300))


def test_frames_that_contradict_themselves_are_dropped(rig: Rig) -> None:
    packet = tcp(bytes(100))
    for wrong in (
        frame(packet, csum_offset=200),
        frame(packet, 50, gso_size=0),
        frame(packet, 50, gso_type=4),
        frame(packet, 50, gso_type=3),
        frame(packet, 50, csum_start=139),
    ):
        rig.tun.send(wrong)
    rig.tun.send(plain_frame(packet))
    assert rig.opened() == packet
    assert rig.pump.stats()["tun_malformed_frames"] == 5


def test_as_many_segments_as_there_can_be(rig: Rig) -> None:
    """More than fit the queue towards the transport at once: those that don't are dropped, nothing else happens."""
    rig.tun.send(frame(tcp(bytes(65535 - 40)), 1))
    eventually(lambda: rig.pump.stats()["tun_super_packets_in"])
    while rig.opened() != tcp(b"the end"):
        rig.tun.send(plain_frame(tcp(b"the end")))


# ---- to the tun ----


def test_a_batch_becomes_a_super_packet(rig: Rig) -> None:
    send_batch(rig, PACKETS)
    received: list[bytes] = []
    frames = 0
    while len(received) < 20:
        received += segments(rig.tun.recv(70000))
        frames += 1
    assert received == PACKETS
    assert frames < 20
    rig.pump.stop()
    stats = rig.pump.stats()
    assert stats["tun_super_packets_out"] >= 1
    assert (stats["tun_packets_out"], stats["tun_bytes_out"]) == (20, sum(map(len, PACKETS)))


def test_pings_and_rubbish_within_a_batch() -> None:
    ping = bytes.fromhex("2a187bf3641eb4cb07ed2d0a981fc748")
    with offloading_rig() as rig:
        payloads = (PACKETS[0], PACKETS[1], ping, PACKETS[2], b"\x99" * 60, PACKETS[3])
        sealed = [rig.channel.seal(payload) for payload in payloads]
        forged = sealed[1][:-1] + bytes([sealed[1][-1] ^ 1])
        rig.pump.pause()
        for datagram in (*sealed[:2], forged, sealed[0], *sealed[2:]):
            rig.send(datagram)
        rig.pump.resume()
        assert segments(rig.tun.recv(70000)) == PACKETS[:4]
        stats = rig.pump.stats()
        counters = ("pings_in", "decrypt_errors", "replay_errors", "unknown_payloads")
        assert [stats[counter] for counter in counters] == [1, 1, 1, 1]


def test_a_wrong_checksum_goes_to_the_kernel_alone(rig: Rig) -> None:
    wrong = PACKETS[2][:-1] + bytes([PACKETS[2][-1] ^ 1])
    packets = [*PACKETS[:2], wrong, *PACKETS[3:5]]
    send_batch(rig, packets)
    received: list[bytes] = []
    while len(received) < 5:
        made = rig.tun.recv(70000)
        if wrong in made:
            assert made == plain_frame(wrong)
        received += segments(made)
    assert received == packets


def test_a_tun_that_refuses_super_packets_gets_single_ones(rig: Rig) -> None:
    """A message too long for the socket buffer is refused with EMSGSIZE, as the kernel refuses with EINVAL."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2500)  # the kernel doubles it
        theirs.settimeout(5)
        rig.pump.attach_tun(ours.fileno(), 1500, EVERYTHING)
        send_batch(rig, PACKETS)
        received = [theirs.recv(70000)]
        rig.pump.stop()
        theirs.setblocking(False)
        with suppress(BlockingIOError, ConnectionResetError):  # what didn't fit was dropped
            while made := theirs.recv(70000):
                received.append(made)
        assert received[0] == plain_frame(PACKETS[0])
        assert all(made[:HEADER] == PLAIN and made[HEADER:] in PACKETS for made in received)
        assert rig.pump.stats()["tun_super_packets_out"] == 0
