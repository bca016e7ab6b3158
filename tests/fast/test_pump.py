"""The pump's thread, with the test at both far ends."""

import ctypes
import errno
import gc
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from ovpn3._fast import aead
from ovpn3._fast.pump import Pump
from ovpn3.datapath.engine import EventKind
from ovpn3.datapath.stats import as_statistics
from ovpn3.transport.proxy import datagram_header
from tests.fast.rig import PACKET, Keys, Rig, eventually, same_descriptors, tcp_pair, udp_pair, unix_pair

PING = bytes.fromhex("2a187bf3641eb4cb07ed2d0a981fc748")
OCC = bytes.fromhex("287f346bd4ef7a812d56b8d3afc5459c")
CONTROL = b"\x20control packet"


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def rig(threads: int) -> Iterator[Rig]:
    with Rig(udp_pair(), threads=threads) as rig:
        yield rig


@pytest.fixture
def stream_rig(threads: int) -> Iterator[Rig]:
    with Rig(tcp_pair(), stream=True, threads=threads) as rig:
        yield rig


@pytest.fixture(params=["udp", "tcp"])
def any_rig(request: pytest.FixtureRequest, threads: int) -> Iterator[Rig]:
    sockets = udp_pair() if request.param == "udp" else tcp_pair()
    with Rig(sockets, stream=request.param == "tcp", threads=threads) as rig:
        yield rig


# ---- packets ----


def test_packets_flow_both_ways(any_rig: Rig) -> None:
    for i in range(100):
        any_rig.tun.send(PACKET + bytes([i]))
        assert any_rig.opened() == PACKET + bytes([i])
        any_rig.send(any_rig.channel.seal(PACKET + bytes([i])))
        assert any_rig.tun.recv(2000) == PACKET + bytes([i])
    any_rig.pump.stop()  # what it still had to count when the last packet arrived is in its counters then
    statistics = as_statistics(any_rig.pump.stats())
    assert statistics["TUN_PACKETS_IN"] == statistics["TUN_PACKETS_OUT"] == 100
    assert statistics["TUN_BYTES_IN"] == statistics["TUN_BYTES_OUT"] == 100 * (len(PACKET) + 1)
    assert statistics["PACKETS_OUT"] == statistics["PACKETS_IN"] == 100
    assert not {name for name in statistics if name.endswith(("ERROR", "OVERFLOW"))}


def test_bursts_keep_their_order(any_rig: Rig) -> None:
    sent = [PACKET + i.to_bytes(2) + bytes(i % 1300) for i in range(150)]
    for packet in sent:
        any_rig.tun.send(packet)
    assert [any_rig.opened() for _ in sent] == sent
    for packet in sent:
        any_rig.send(any_rig.channel.seal(packet))
    assert [any_rig.tun.recv(2000) for _ in sent] == sent


def test_data_v1() -> None:
    with Rig(udp_pair(), peer_id=-1) as rig:
        rig.tun.send(PACKET)
        packet = rig.received()
        assert packet[0] == 6 << 3
        assert rig.channel.open(packet, time.monotonic()) == PACKET
        rig.send(rig.channel.seal(PACKET))
        assert rig.tun.recv(2000) == PACKET


def test_largest_packets(any_rig: Rig) -> None:
    big = PACKET[:20] + bytes(1500 - 20)
    any_rig.tun.send(big)
    assert any_rig.opened() == big
    any_rig.send(any_rig.channel.seal(big))
    assert any_rig.tun.recv(2000) == big


def test_a_large_mtu_gets_large_buffers(rig: Rig) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.settimeout(5)
        rig.send(rig.channel.seal(PACKET[:20] + bytes(8980)))
        rig.await_count("malformed_packets")
        rig.pump.attach_tun(ours.fileno(), 9000)
        theirs.send(PACKET[:20] + bytes(8980))  # proof that the command was obeyed
        assert len(rig.opened()) == 9000
        rig.send(rig.channel.seal(PACKET[:20] + bytes(8980)))
        assert len(theirs.recv(10000)) == 9000


def test_mssfix_lowers_syn_both_ways(rig: Rig) -> None:
    syn = bytes.fromhex("4500002c000100004006cafe0a0800020a0800011f90005000000001000000006002ffff00000000020405b4")
    rig.pump.set_mssfix(1300)
    rig.tun.send(syn)
    assert rig.opened()[-2:] == (1300).to_bytes(2)
    rig.send(rig.channel.seal(syn))
    assert rig.tun.recv(2000)[-2:] == (1300).to_bytes(2)


# ---- control packets and events ----


def test_control_packets(any_rig: Rig) -> None:
    any_rig.send(CONTROL)
    event = any_rig.await_event(EventKind.CONTROL_PACKET)
    assert (event.value, event.data) == (CONTROL[0], CONTROL)
    any_rig.pump.send_control(CONTROL)
    assert any_rig.received() == CONTROL


def test_control_works_before_any_key_or_tun() -> None:
    own, peer = udp_pair()
    with own, peer:
        pump = Pump(own.fileno(), stream=False)
        pump.send_control(CONTROL)
        pump.send_exit()
        pump.set_keepalive(0.01, 0)
        pump.start()
        peer.settimeout(5)
        assert peer.recv(2000) == CONTROL
        pump.stop()


def test_first_data_is_told_once_a_key(rig: Rig) -> None:
    for _ in range(3):
        rig.send(rig.channel.seal(PACKET))
        rig.tun.recv(2000)
    assert rig.await_event(EventKind.FIRST_DATA).value == 0
    again = Keys.fresh()  # a later generation may have the same id
    again.install(rig.pump, 0)
    again.mirrored().install(rig.channel, 0)
    rig.channel.use(0)
    rig.pump.send_control(CONTROL)
    assert rig.received() == CONTROL
    rig.send(rig.channel.seal(PACKET))
    assert rig.await_event(EventKind.FIRST_DATA).value == 0
    assert not rig.seen


def test_a_flood_of_control_packets_leaves_room_for_the_rest(rig: Rig) -> None:
    for i in range(100):
        rig.send(CONTROL + i.to_bytes(2))
    rig.await_count("control_dropped", 60)
    rig.pump.set_keepalive(0, 0.01)
    rig.await_count("peer_timeouts")
    rig.await_event(EventKind.PEER_TIMEOUT)
    assert [e.data for e in rig.seen] == [CONTROL + i.to_bytes(2) for i in range(40)]
    rig.send(CONTROL)
    rig.seen.clear()
    assert rig.await_event(EventKind.CONTROL_PACKET).data == CONTROL


def test_control_packets_too_large_for_an_event_are_dropped(stream_rig: Rig) -> None:
    stream_rig.send(CONTROL + bytes(60000))
    stream_rig.await_count("control_dropped")


# ---- hostile packets ----


def test_hostile_packets_are_counted_and_nothing_reaches_the_tun(rig: Rig) -> None:
    good = rig.channel.seal(PACKET)
    rig.send(good)
    assert rig.tun.recv(2000) == PACKET
    rig.send(good)
    rig.send(good[:-1] + bytes([good[-1] ^ 1]))
    rig.send(good[:8])
    rig.send(b"\x48")
    rig.send(b"")
    rig.send(bytes([good[0] | 5]) + good[1:])
    for payload in (b"", b"\x60", bytes(40), OCC + b"\0"):
        rig.send(rig.channel.seal(payload))
    rig.await_count("transport_packets_in", 11)
    rig.send(rig.channel.seal(PACKET + b"!"))
    assert rig.tun.recv(2000) == PACKET + b"!"
    statistics = as_statistics(rig.pump.stats())
    assert statistics["REPLAY_ERROR"] == 1
    assert statistics["DECRYPT_ERROR"] == 1
    assert statistics["KEY_STATE_ERROR"] == 1
    assert statistics["BUFFER_ERROR"] == 3
    assert statistics["TUN_FRAMING_ERROR"] == 3


def test_a_datagram_larger_than_the_buffers(rig: Rig) -> None:
    rig.send(rig.channel.seal(PACKET + bytes(5000)))
    rig.await_count("malformed_packets")


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_through_a_proxy_that_relays_datagrams(threads: int, address: str) -> None:
    header = datagram_header(address, 1194)
    with Rig(udp_pair(), prefix=header, threads=threads) as rig:
        for size in (0, 900, 900, 900, 1400):
            rig.tun.send(PACKET + bytes(size))
            assert rig.opened() == PACKET + bytes(size)
        rig.pump.send_control(b"\x38control")
        assert rig.received() == b"\x38control"
        named = bytes.fromhex("00000003") + b"\x07example\x04\xaa"
        for before in (header, datagram_header("192.0.2.77", 9), datagram_header("2001:db8::77", 9), named):
            rig.peer.send(before + rig.channel.seal(PACKET))
            assert rig.tun.recv(2000) == PACKET
        fragment, unknown = header[:2] + b"\1" + header[3:], header[:3] + b"\2" + header[4:]
        wrong = [b"", header[:3], header, bytes.fromhex("00000003ff") + bytes(255)]
        for datagram in (*wrong, *(before + rig.channel.seal(PACKET) for before in (fragment, unknown))):
            rig.peer.send(datagram)
        rig.await_count("malformed_packets", 6)
        rig.send(rig.channel.seal(PACKET))
        assert rig.tun.recv(2000) == PACKET
        assert rig.pump.stats()["malformed_packets"] == 6


def test_room_for_a_prefix(threads: int) -> None:
    one, other = udp_pair()
    with one, other, pytest.raises(ValueError, match="prefix"):
        Pump(one.fileno(), stream=False, threads=threads, prefix=bytes(23))
    near, far = tcp_pair()
    with near, far, pytest.raises(ValueError, match="prefix"):
        Pump(near.fileno(), stream=True, threads=threads, prefix=bytes(10))


def test_peer_exit(rig: Rig) -> None:
    rig.send(rig.channel.seal(OCC + b"\6"))
    rig.await_event(EventKind.PEER_EXIT)


def test_send_exit(rig: Rig) -> None:
    rig.pump.send_exit()
    assert rig.opened() == OCC + b"\6"


# ---- keys ----


def test_renegotiation_loses_no_packet(rig: Rig) -> None:
    new = Keys.fresh()
    new.install(rig.pump, 1)
    new.mirrored().install(rig.channel, 1)
    rig.channel.use(1)  # the peer switches first; we still send with the old key
    old_style = []
    for _ in range(10):
        rig.tun.send(PACKET)
        old_style.append(rig.received())
        rig.send(rig.channel.seal(PACKET))
        assert rig.tun.recv(2000) == PACKET
    rig.pump.use_key(1)
    rig.tun.send(PACKET)
    packet = rig.received()
    assert packet[0] & 7 == 1
    assert rig.channel.open(packet, time.monotonic()) == PACKET
    rig.channel.use(0)
    late = rig.channel.seal(PACKET)
    rig.send(late)
    assert rig.tun.recv(2000) == PACKET
    assert {p[0] & 7 for p in old_style} == {0}
    assert all(rig.channel.open(p, time.monotonic()) == PACKET for p in old_style)
    rig.pump.retire_key(0)
    rig.pump.send_control(CONTROL)
    assert rig.received() == CONTROL
    rig.send(rig.channel.seal(PACKET))
    rig.await_count("unknown_key_packets")


def test_without_a_key_the_tun_waits(rig: Rig) -> None:
    rig.pump.retire_key(0)
    rig.pump.send_control(CONTROL)
    assert rig.received() == CONTROL
    rig.tun.send(PACKET)
    rig.keys.install(rig.pump, 0)
    rig.pump.use_key(0)
    assert rig.opened() == PACKET
    assert rig.pump.stats()["unsent_packets"] == 0


def test_unknown_keys_are_refused(rig: Rig) -> None:
    for wrong in (1, -1, 8):
        with pytest.raises(ValueError, match="no such key"):
            rig.pump.use_key(wrong)
        with pytest.raises(ValueError, match="no such key"):
            rig.pump.retire_key(wrong)


# ---- timers ----


def test_ping_when_nothing_is_sent(rig: Rig) -> None:
    rig.pump.set_keepalive(0.02, 0)
    start = time.monotonic()
    assert [rig.opened() for _ in range(3)] == [PING] * 3
    assert time.monotonic() - start >= 0.06
    assert rig.pump.stats()["tun_bytes_in"] == 0


def test_peer_timeout_comes_once_until_something_is_heard(rig: Rig) -> None:
    rig.pump.set_keepalive(0, 0.02)
    rig.await_event(EventKind.PEER_TIMEOUT)
    rig.send(rig.channel.seal(PING))
    rig.await_event(EventKind.PEER_TIMEOUT)
    statistics = as_statistics(rig.pump.stats())
    assert statistics["KEEPALIVE_TIMEOUT"] == 2
    assert rig.pump.stats()["pings_in"] == 1


def test_forged_packets_do_not_keep_a_session_alive(rig: Rig) -> None:
    good = rig.channel.seal(PACKET)
    forged = good[:-1] + bytes([good[-1] ^ 1])
    rig.pump.set_keepalive(0, 0.05)
    while not rig.pump.stats()["peer_timeouts"]:
        rig.send(forged)
    assert rig.pump.stats()["tun_packets_out"] == 0


def test_inactive_counts_tunnel_bytes_only(rig: Rig) -> None:
    rig.pump.set_keepalive(0.005, 0)
    start = time.monotonic()
    rig.pump.set_inactive(0.05, len(PACKET))
    rig.tun.send(PACKET)
    rig.await_event(EventKind.INACTIVE)
    assert time.monotonic() - start >= 0.05
    rig.await_count("pings_out")


def test_at_rest_nothing_happens(rig: Rig) -> None:
    rig.pump.send_control(CONTROL)
    assert rig.received() == CONTROL
    rig.await_count("transport_packets_out")
    before = rig.pump.stats()
    time.sleep(0.05)
    assert rig.pump.stats() == before


def test_pause_and_resume(rig: Rig) -> None:
    rig.pump.set_keepalive(0.01, 0.01)
    rig.pump.pause()
    rig.pump.set_keepalive(0, 0)
    rig.tun.send(PACKET)
    rig.send(rig.channel.seal(PACKET))
    time.sleep(0.03)
    assert rig.pump.stats()["tun_packets_in"] == rig.pump.stats()["tun_packets_out"] == 0
    rig.pump.resume()
    assert rig.tun.recv(2000) == PACKET
    rig.await_count("tun_packets_in")


# ---- a full transport ----


def test_a_full_datagram_socket_holds_the_tun_back() -> None:
    with Rig(unix_pair()) as rig:
        sent = 0
        rig.tun.settimeout(0.05)
        with suppress(TimeoutError):
            while sent < 10_000:
                rig.tun.send(PACKET + sent.to_bytes(2))
                sent += 1
        assert sent < 10_000
        assert [rig.opened() for _ in range(sent)] == [PACKET + i.to_bytes(2) for i in range(sent)]
        assert rig.pump.stats()["unsent_packets"] == 0


def test_a_full_transport_costs_nothing_while_it_is_full() -> None:
    with Rig(unix_pair()) as rig:
        for _ in range(40):
            rig.tun.send(PACKET)
        rig.await_count("transport_packets_out")
        rig.pump.set_keepalive(0.001, 0)
        before = time.process_time()
        time.sleep(0.1)
        assert time.process_time() - before < 0.05
        assert rig.pump.stats()["transport_packets_out"] < 40
        assert [rig.opened() for _ in range(40)] == [PACKET] * 40
        while rig.opened() != PING:
            pass


def test_a_small_queue_limit_drops_nothing_while_the_stream_flows() -> None:
    with Rig(tcp_pair(), stream=True, queue_limit=1) as rig:
        for _ in range(200):
            rig.tun.send(PACKET)
        assert [rig.opened() for _ in range(200)] == [PACKET] * 200
        assert rig.pump.stats()["queue_overflows"] == 0


@pytest.mark.option("tcp-queue-limit")
def test_a_full_stream_drops_tunnel_packets_but_no_control() -> None:
    own, peer = tcp_pair()
    for end in (own, peer):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with Rig((own, peer), stream=True, queue_limit=8) as rig:
        big = PACKET + bytes(1400)
        while not rig.pump.stats()["queue_overflows"]:
            rig.tun.send(big)
        for i in range(20):
            rig.pump.send_control(CONTROL + bytes([i]))
        control: list[int] = []
        data = 0
        while len(control) < 20:
            packet = rig.received()
            if packet[0] == CONTROL[0]:
                control.append(packet[-1])
            else:
                assert rig.channel.open(packet, time.monotonic()) == big
                data += 1
        assert control == list(range(20))
        stats = rig.pump.stats()
        assert data >= 8
        assert stats["unsent_packets"] == 0
        rig.tun.send(PACKET)
        while rig.opened() != PACKET:
            pass


# ---- errors of the transport and the tun ----


def test_a_stream_in_single_octets(stream_rig: Rig) -> None:
    packet = stream_rig.channel.seal(PACKET)
    for octet in len(packet).to_bytes(2) + packet:
        stream_rig.peer.send(bytes([octet]))
    assert stream_rig.tun.recv(2000) == PACKET


def test_a_frame_of_length_zero_ends_the_stream(stream_rig: Rig) -> None:
    stream_rig.send(CONTROL)
    stream_rig.peer.send(b"\0\0")
    assert stream_rig.await_event(EventKind.CLOSED).value == errno.EBADMSG
    assert stream_rig.await_event(EventKind.CONTROL_PACKET).data == CONTROL
    assert as_statistics(stream_rig.pump.stats())["TCP_SIZE_ERROR"] == 1


def test_end_of_stream(stream_rig: Rig) -> None:
    stream_rig.peer.close()
    assert stream_rig.await_event(EventKind.CLOSED).value == 0


def test_nothing_is_sent_to_a_dead_stream() -> None:
    with Rig(tcp_pair(), stream=True) as rig:
        rig.peer.close()
        rig.await_event(EventKind.CLOSED)
        rig.tun.send(PACKET)
        rig.pump.send_control(CONTROL)
        rig.await_count("unsent_packets")
        assert not rig.seen


def test_a_reset_stream(stream_rig: Rig) -> None:
    stream_rig.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream_rig.peer.close()
    assert stream_rig.await_event(EventKind.CLOSED).value == errno.ECONNRESET


def test_a_refused_datagram_is_told_and_survived(rig: Rig) -> None:
    address, ours = rig.peer.getsockname(), rig.peer.getpeername()
    rig.peer.close()
    rig.pump.send_control(CONTROL)
    assert rig.await_event(EventKind.SOCKET_ERROR).value == errno.ECONNREFUSED
    rig.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rig.peer.settimeout(5)
    rig.peer.bind(address)
    rig.peer.connect(ours)
    rig.tun.send(PACKET)
    assert rig.opened() == PACKET
    statistics = as_statistics(rig.pump.stats())
    assert statistics.get("NETWORK_RECV_ERROR", 0) + statistics.get("NETWORK_SEND_ERROR", 0) == 1


def test_a_lost_tun_is_told_and_can_be_replaced(rig: Rig) -> None:
    rig.tun.close()
    assert rig.await_event(EventKind.TUN_ERROR).value == errno.ENODEV
    rig.send(rig.channel.seal(PACKET))
    eventually(lambda: as_statistics(rig.pump.stats()).get("TUN_WRITE_ERROR"))
    ours, rig.tun = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    rig.tun.settimeout(5)
    with ours:
        rig.pump.attach_tun(ours.fileno(), 1500)
    rig.tun.send(PACKET)
    assert rig.opened() == PACKET


def test_detach(rig: Rig) -> None:
    rig.pump.detach_tun()
    rig.pump.detach_tun()
    assert rig.tun.recv(2000) == b""


# ---- Python is busy ----

TRAFFIC = """
import socket, sys, time
tun, peer = (socket.socket(fileno=int(n)) for n in sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
for i in range(2000):
    tun.send(b"\\x45" + bytes(100))
    assert len(peer.recv(2000)) == 125
print(time.monotonic(), flush=True)
"""


def test_packets_flow_while_python_holds_the_gil(rig: Rig) -> None:
    fds = [rig.tun.fileno(), rig.peer.fileno()]
    for end in (rig.tun, rig.peer):
        end.setblocking(True)
    argv = [sys.executable, "-c", TRAFFIC, *map(str, fds)]
    with subprocess.Popen(argv, pass_fds=fds, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("go\n")
        child.stdin.flush()
        ctypes.PyDLL(None).usleep(1_500_000)  # a PyDLL call keeps the GIL
        released = time.monotonic()
        assert float(child.stdout.readline()) < released
    assert rig.pump.stats()["tun_packets_in"] == 2000


# ---- lifetime and misuse ----


def test_nothing_is_left_behind() -> None:
    with same_descriptors():
        for _ in range(20):
            with Rig(udp_pair()) as rig:
                rig.pump.send_control(CONTROL)
                rig.pump.stop()
                rig.pump.stop()


def test_a_forgotten_pump_stops_itself() -> None:
    own, peer = udp_pair()
    with own, peer, same_descriptors():
        pump = Pump(own.fileno(), stream=False)
        pump.start()
        Keys.fresh().install(pump, 3)
        del pump
        gc.collect()


def test_what_was_ordered_before_the_start_is_freed_without_one() -> None:
    own, peer = udp_pair()
    with own, peer, same_descriptors():
        pump = Pump(own.fileno(), stream=False)
        pump.attach_tun(peer.fileno(), 1500)
        pump.send_control(CONTROL)
        Keys.fresh().install(pump, 0)
        pump.stop()


def test_a_tun_is_attached_to_both_threads_or_to_none() -> None:
    own, peer = udp_pair()
    with own, peer, same_descriptors():
        pump = Pump(own.fileno(), stream=False, threads=2)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = os.dup(peer.fileno())  # the lowest free number, so what may be opened ends right behind it
        os.close(spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                pump.attach_tun(peer.fileno(), 1500)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert os.dup(peer.fileno()) == spare
        os.close(spare)
        pump.stop()


def test_what_was_ordered_before_the_stop_is_sent() -> None:
    with Rig(udp_pair()) as rig:
        rig.pump.send_control(CONTROL)
        rig.pump.stop()
        assert rig.received() == CONTROL


def test_a_stopped_pump_refuses_everything() -> None:
    with Rig(udp_pair()) as rig:
        pump = rig.pump
        pump.stop()
        calls: list[Callable[[], object]] = [
            pump.start,
            pump.events,
            pump.send_exit,
            pump.detach_tun,
            pump.pause,
            pump.resume,
            lambda: pump.event_fd,
            lambda: pump.send_control(CONTROL),
            lambda: pump.attach_tun(rig.tun.fileno(), 1500),
            lambda: Keys.fresh().install(pump, 0),
            lambda: pump.use_key(0),
            lambda: pump.retire_key(0),
            lambda: pump.set_keepalive(1, 1),
            lambda: pump.set_inactive(1),
            lambda: pump.set_mssfix(1),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="stopped"):
                call()


def test_counters_outlive_the_thread(rig: Rig) -> None:
    rig.tun.send(PACKET)
    rig.received()
    rig.pump.stop()
    assert rig.pump.stats()["tun_packets_in"] == 1


def test_a_pump_starts_once(rig: Rig) -> None:
    with pytest.raises(ValueError, match="already"):
        rig.pump.start()


def test_too_many_commands() -> None:
    own, peer = udp_pair()
    with own, peer, same_descriptors():
        pump = Pump(own.fileno(), stream=False)
        for _ in range(64):
            pump.send_control(CONTROL)
        keys = Keys.fresh()
        calls: list[Callable[[], object]] = [
            lambda: pump.send_control(CONTROL),
            lambda: keys.install(pump, 0),
            lambda: pump.attach_tun(peer.fileno(), 1500),
            pump.pause,
        ]
        for call in calls:
            with pytest.raises(BufferError):
                call()
        pump.stop()


def test_arguments_are_checked(rig: Rig) -> None:
    pump, key, iv = rig.pump, bytes(32), bytes(8)
    gcm = aead.AES_256_GCM
    calls: list[Callable[[], object]] = [
        lambda: pump.send_control(b""),
        lambda: pump.send_control(bytes(2561)),
        lambda: pump.attach_tun(rig.tun.fileno(), 0),
        lambda: pump.attach_tun(rig.tun.fileno(), 70000),
        lambda: pump.attach_tun(rig.tun.fileno(), 1500, -1),
        lambda: pump.attach_tun(rig.tun.fileno(), 1500, 1 << 16),
        lambda: pump.set_keepalive(-1, 0),
        lambda: pump.set_keepalive(0, float("nan")),
        lambda: pump.set_inactive(0, -1),
        lambda: pump.set_mssfix(-1),
        lambda: pump.install_key(8, gcm, key, iv, key, iv),
        lambda: pump.install_key(0, 99, key, iv, key, iv),
        lambda: pump.install_key(0, gcm, key[:-1], iv, key, iv),
        lambda: pump.install_key(0, gcm, key, iv, b"", iv),
        lambda: pump.install_key(0, gcm, key, iv + b"x", key, iv),
        lambda: pump.install_key(0, gcm, key, iv, key, b""),
        lambda: pump.install_key(0, gcm, key, iv, key, iv, -2),
        lambda: pump.install_key(0, gcm, key, iv, key, iv, 1 << 24),
        lambda: pump.install_key(0, gcm, key, iv, key, iv, 5, epochs=True),
        lambda: Pump(rig.peer.fileno(), stream=True),
        lambda: Pump(rig.peer.fileno(), stream=False, queue_limit=0),
        lambda: Pump(rig.peer.fileno(), stream=False, queue_limit=257),
        lambda: Pump(rig.peer.fileno(), stream=False, threads=0),
        lambda: Pump(rig.peer.fileno(), stream=False, threads=3),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"."):
            call()
    for fd in (-1, 10_000):
        with pytest.raises(OSError, match=r"."):
            Pump(fd, stream=False)
        with pytest.raises(OSError, match=r"."):
            pump.attach_tun(fd, 1500)
    pump.send_control(memoryview(bytearray(CONTROL)))
    assert rig.received() == CONTROL
    with pytest.raises((ValueError, BufferError)):
        pump.send_control(memoryview(CONTROL)[::2])
