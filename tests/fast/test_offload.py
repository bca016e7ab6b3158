"""Runs of datagrams that the kernel cuts (UDP_SEGMENT) and joins (UDP_GRO), seen from the far end."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from socket import AddressFamily as Family
from struct import pack, unpack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovpn3._fast.pump import GRO, GSO, Pump
from ovpn3.datapath.engine import EventKind
from tests.fast.rig import PACKET, PATIENCE, Rig, eventually, tcp_pair, unix_pair
from tests.support.netns import Namespace

UDP_SEGMENT, UDP_GRO = 103, 104  # linux/udp.h
SO_NO_CHECK = 11  # asm-generic/socket.h
LOCALHOST = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
CONTROL = b"\x20"


@pytest.fixture
def lo() -> Iterator[Callable[[int], None]]:
    """In a namespace of our own, for it has IPv6 for sure; call it to set the MTU of the loopback."""
    with Namespace(f"gso-{os.getpid()}") as namespace, namespace.entered():
        yield lambda mtu: namespace.ip("link", "set", "lo", "mtu", str(mtu))


@pytest.fixture(params=["ipv4", pytest.param("ipv6", marks=pytest.mark.netns)])
def family(request: pytest.FixtureRequest) -> Family:
    if request.param == "ipv4":
        return socket.AF_INET
    request.getfixturevalue("lo")
    return socket.AF_INET6


def udp_pair(family: Family = socket.AF_INET) -> tuple[socket.socket, socket.socket]:
    one, other = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    for end in (one, other):
        end.bind((LOCALHOST[family], 0))
    one.connect(other.getsockname())
    other.connect(one.getsockname())
    return one, other


def made(sizes: list[int]) -> list[bytes]:
    """Control packets of these sizes (at least 3), no two alike."""
    return [CONTROL + i.to_bytes(2) + os.urandom(size - 3) for i, size in enumerate(sizes)]


@dataclass
class Sender:
    """A pump without tun or keys; what it sends arrives uncut."""

    pump: Pump
    peer: socket.socket

    def burst(self, packets: list[bytes]) -> None:
        """Have all packets wait before the first is sent."""
        self.pump.pause()
        for packet in packets:
            eventually(partial(posted, self.pump.send_control, packet))
        eventually(partial(posted, self.pump.resume))

    def message(self) -> list[bytes]:
        """The datagrams of the next message."""
        data, ancillary, flags, _ = self.peer.recvmsg(65536, socket.CMSG_SPACE(4))
        assert not flags
        (segment,) = [unpack("i", value)[0] for _, _, value in ancillary] or [len(data)]
        return [data[i : i + segment] for i in range(0, len(data), segment)]

    def messages(self, packets: int) -> list[list[bytes]]:
        found: list[list[bytes]] = []
        while sum(map(len, found)) < packets:
            found.append(self.message())
        return found


def posted(command: Callable[..., None], *arguments: bytes) -> bool:
    try:
        command(*arguments)
    except BufferError:  # for now
        return False
    return True


@contextmanager
def sender(family: Family = socket.AF_INET, *, offload: bool = True, no_check: bool = False) -> Iterator[Sender]:
    own, peer = udp_pair(family)
    with own, peer:
        peer.settimeout(PATIENCE)
        peer.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        own.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, no_check)
        pump = Pump(own.fileno(), stream=False, offloads=GSO | GRO if offload else 0)
        pump.start()
        try:
            yield Sender(pump, peer)
        finally:
            pump.stop()


def final(pump: Pump) -> dict[str, int]:
    """The counters of a pump at its end: what it still had to count when a packet arrived is in them."""
    pump.stop()
    return pump.stats()


def split(packets: list[bytes], lengths: list[int]) -> list[list[bytes]]:
    rest = iter(packets)
    return [[next(rest) for _ in range(length)] for length in lengths]


# ---- sending ----


@pytest.mark.parametrize(
    ("sizes", "messages"),
    [
        ([100], [1]),
        ([100] * 5, [5]),
        ([100, 100, 60], [3]),
        ([100, 100, 60, 60], [3, 1]),
        ([100, 100, 200, 100, 100], [2, 2, 1]),
        ([60, 100, 101], [1, 1, 1]),
        ([103, 102, 101, 100], [2, 2]),
        ([100] * 64, [64]),
        ([100] * 64 + [50], [64, 1]),
        ([100] * 150, [64, 64, 22]),
        ([2500] * 30, [26, 4]),
    ],
)
def test_equal_packets_go_out_as_one_message(family: Family, sizes: list[int], messages: list[int]) -> None:
    with sender(family) as to:
        packets = made(sizes)
        to.burst(packets)
        assert to.messages(len(packets)) == split(packets, messages)
    stats = to.pump.stats()
    assert stats["gso_sends"] == sum(length > 1 for length in messages)
    assert stats["transport_packets_out"] == len(packets)
    assert stats["transport_bytes_out"] == sum(sizes)
    assert (stats["gso_active"], stats["unsent_packets"], stats["send_errors"]) == (1, 0, 0)


@pytest.mark.parametrize(("last", "runs"), [(13, 1), (14, 2)])
def test_a_message_has_at_most_65507_octets(family: Family, last: int, runs: int) -> None:
    with sender(family) as to:
        packets = made([2519] * 26 + [last] * 2)
        to.burst(packets)
        # The device cuts messages as large as these before the far end sees them.
        assert [packet for message in to.messages(28) for packet in message] == packets
    assert to.pump.stats()["gso_sends"] == runs


def test_any_burst_arrives_once_and_in_order() -> None:
    with sender() as to:

        @settings(max_examples=40)
        @given(st.lists(st.sampled_from([3, 4, 50, 51, 1400, 2560]), min_size=1, max_size=100))
        def check(sizes: list[int]) -> None:
            packets = made(sizes)
            to.burst(packets)
            messages = to.messages(len(packets))
            assert [packet for message in messages for packet in message] == packets

        check()


def test_without_offload_every_packet_is_a_message() -> None:
    with sender(offload=False) as to:
        packets = made([100] * 10)
        to.burst(packets)
        assert to.messages(10) == split(packets, [1] * 10)
    stats = to.pump.stats()
    assert (stats["gso_sends"], stats["gso_active"], stats["gro_active"]) == (0, 0, 0)


def test_a_kernel_that_refuses_gets_the_packets_one_by_one() -> None:
    with sender(no_check=True) as to:  # without checksums the kernel can't cut
        packets = made([100] * 70 + [50] * 3)
        assert to.pump.stats()["gso_active"] == 1
        to.burst(packets)
        assert to.messages(len(packets)) == split(packets, [1] * len(packets))
        assert to.pump.events() == []
    stats = to.pump.stats()
    assert (stats["gso_sends"], stats["gso_active"]) == (0, 0)
    assert (stats["transport_packets_out"], stats["unsent_packets"], stats["send_errors"]) == (73, 0, 0)


def test_an_error_costs_one_packet_of_a_run() -> None:
    own, peer = udp_pair()
    with own, peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as successor:
        address = peer.getsockname()
        pump = Pump(own.fileno(), stream=False)
        to = Sender(pump, successor)
        pump.pause()
        pump.start()
        peer.close()
        own.send(b"!")  # refused: the pump meets the error
        successor.bind(address)
        successor.settimeout(PATIENCE)
        successor.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        packets = made([100] * 5)
        to.burst(packets)
        stats = final(pump)
        assert stats["send_errors"] + stats["receive_errors"] == 1
        assert to.message() == packets[stats["send_errors"] :]
        assert (stats["gso_active"], stats["unsent_packets"]) == (1, stats["send_errors"])


def test_only_udp_is_offloaded() -> None:
    for sockets, stream in ((unix_pair(), False), (tcp_pair(), True)):
        with Rig(sockets, stream=stream) as rig:
            rig.tun.send(PACKET)
            assert rig.opened() == PACKET
            rig.send(rig.channel.seal(PACKET))
            assert rig.tun.recv(2000) == PACKET
            stats = rig.pump.stats()
        assert (stats["gso_active"], stats["gro_active"]) == (0, 0)


# ---- the path's MTU ----


@pytest.mark.netns
@pytest.mark.parametrize(("family", "headers"), [(socket.AF_INET, 28), (socket.AF_INET6, 48)], ids=["ipv4", "ipv6"])
def test_a_segment_fits_the_path(lo: Callable[[int], None], family: Family, headers: int) -> None:
    lo(1500)
    with sender(family) as to:
        for size, messages in ((1500 - headers, [6]), (1501 - headers, [1] * 6)):
            packets = made([size] * 6)
            to.burst(packets)
            assert to.messages(6) == split(packets, messages)
        lo(1300)  # unknown until a run is refused
        for size, messages in ((1400, [1] * 6), (1300 - headers, [6]), (1400, [1] * 6)):
            packets = made([size] * 6)
            to.burst(packets)
            assert to.messages(6) == split(packets, messages)
    stats = to.pump.stats()
    assert (stats["gso_active"], stats["gso_sends"]) == (1, 2)
    assert (stats["transport_packets_out"], stats["unsent_packets"], stats["send_errors"]) == (30, 0, 0)


# ---- receiving ----


@pytest.fixture
def rig(family: Family) -> Iterator[Rig]:
    with Rig(udp_pair(family)) as rig:
        yield rig


def send_joined(rig: Rig, packets: list[bytes]) -> None:
    """One message; all packets but the last are as large as the first."""
    size = pack("H", len(packets[0]))
    rig.peer.sendmsg([b"".join(packets)], [(socket.IPPROTO_UDP, UDP_SEGMENT, size)])


@pytest.mark.parametrize(("count", "size", "last"), [(2, 21, 21), (5, 101, 20), (40, 1400, 1399), (64, 50, 50)])
def test_joined_packets_are_taken_apart(rig: Rig, count: int, size: int, last: int) -> None:
    payloads = [b"\x45" + os.urandom(n - 1) for n in [size] * (count - 1) + [last]]
    for _ in range(3):
        sealed = [rig.channel.seal(payload) for payload in payloads]
        send_joined(rig, sealed)
        assert [rig.tun.recv(2000) for _ in payloads] == payloads
    stats = final(rig.pump)
    assert (stats["gro_active"], stats["gro_receives"]) == (1, 3)
    assert stats["transport_packets_in"] == stats["tun_packets_out"] == 3 * count
    assert stats["transport_bytes_in"] == 3 * sum(map(len, sealed))
    assert (stats["malformed_packets"], stats["decrypt_errors"]) == (0, 0)


def test_joined_control_and_data(rig: Rig) -> None:
    payloads = [PACKET + bytes([i]) for i in range(3)]
    sealed = [rig.channel.seal(payload) for payload in payloads]
    control = [CONTROL + os.urandom(len(sealed[0]) - 1), CONTROL + os.urandom(3)]
    send_joined(rig, [sealed[0], control[0], sealed[1], sealed[2], control[1]])
    assert [rig.tun.recv(2000) for _ in payloads] == payloads
    assert [rig.await_event(EventKind.CONTROL_PACKET).data for _ in control] == control


def test_hostile_packets_among_joined_ones(rig: Rig) -> None:
    good = [rig.channel.seal(PACKET + bytes([i])) for i in range(3)]
    forged = good[1][:-1] + bytes([good[1][-1] ^ 1])
    send_joined(rig, [good[0], forged, good[0], bytes(len(forged)), good[1], good[2], b"\x48"])
    assert [rig.tun.recv(2000) for _ in good] == [PACKET + bytes([i]) for i in range(3)]
    assert rig.await_event(EventKind.CONTROL_PACKET).data == bytes(len(forged))
    rig.await_count("transport_packets_in", 7)
    stats = final(rig.pump)
    assert (stats["decrypt_errors"], stats["replay_errors"], stats["malformed_packets"]) == (1, 1, 1)


def test_packets_beyond_the_mtu_are_refused_joined_or_not(rig: Rig) -> None:
    big = [rig.channel.seal(bytes(5000)) for _ in range(3)]
    small = rig.channel.seal(PACKET)
    send_joined(rig, [*big, small])
    rig.send(rig.channel.seal(bytes(60000)))
    rig.send(b"")
    rig.send(rig.channel.seal(PACKET + b"!"))
    assert [rig.tun.recv(2000) for _ in range(2)] == [PACKET, PACKET + b"!"]
    stats = final(rig.pump)
    assert (stats["transport_packets_in"], stats["malformed_packets"]) == (7, 5)


def test_more_messages_than_buffers(rig: Rig) -> None:
    payloads = [PACKET + i.to_bytes(2) for i in range(60)]
    rig.pump.pause()
    for i in range(0, 60, 2):
        send_joined(rig, [rig.channel.seal(payload) for payload in payloads[i : i + 2]])
    rig.send(rig.channel.seal(PACKET))
    rig.pump.resume()
    assert [rig.tun.recv(2000) for _ in range(61)] == [*payloads, PACKET]


def test_two_pumps_exchange_bursts(rig: Rig) -> None:
    """What one pump's kernel cuts the other's joins."""
    payloads = [PACKET + os.urandom(size) for size in [1300] * 40 + [7] + [1300] * 20]
    with rig.peer as own:
        pump = Pump(own.fileno(), stream=False)
        pump.start()
        Sender(pump, own).burst([rig.channel.seal(payload) for payload in payloads])
        assert [rig.tun.recv(2000) for _ in payloads] == payloads
        assert (final(pump)["gso_sends"], final(rig.pump)["gro_receives"]) == (2, 2)
