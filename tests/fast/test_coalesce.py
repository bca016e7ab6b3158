"""Packets joined for the tun: what is cut again must be what was put in."""

from collections.abc import Callable
from itertools import chain
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovpn3._fast.coalesce import coalesce
from ovpn3._fast.segment import segments
from ovpn3.datapath import reference_offload as reference
from tests.fast.rig import PACKET
from tests.support.hostile import corrupted, mixed
from tests.support.packets import (
    ACK,
    CSUM,
    CWR,
    ECE,
    EVERYTHING,
    FIN,
    MF,
    PSH,
    RST,
    SYN,
    TIMESTAMPS,
    TSO4,
    TSO6,
    TSO_ECN,
    URG,
    USO4,
    USO6,
    acknowledgements,
    assert_joined,
    checked,
    comparable,
    datagrams,
    ip,
    plain_frame,
    stream,
    tcp,
    udp,
)

either = pytest.mark.parametrize("version", [4, 6])


def joined(packets: list[bytes], offloads: int = EVERYTHING) -> list[int]:
    """How many packets each frame stands for, after all was checked; the compiled cutter agrees."""
    frames = coalesce(packets, offloads)
    assert_joined(packets, frames, offloads)
    assert [segments(made) for made in frames] == [reference.segments(made) for made in frames]
    return [len(reference.segments(made)) for made in frames]


def apart(packets: list[bytes], offloads: int = EVERYTHING) -> bool:
    """Nothing was joined, and nothing changed."""
    return joined(packets, offloads) == [1] * len(packets)


# ---- what is joined ----


@either
@pytest.mark.parametrize("options", [b"", TIMESTAMPS, b"\1" * 40], ids=len)
def test_payloads_of_every_small_size(version: int, options: bytes) -> None:
    for size in range(1, 61):
        for last in {1, size - 1, size} - {0}:
            assert joined(stream([size] * 5 + [last], version=version, options=options)) == [6]
        assert joined(datagrams([size] * 6, version=version)) == [6]


@either
def test_a_shorter_packet_closes_and_a_longer_one_begins(version: int) -> None:
    assert joined(stream([100, 100, 99, 100, 100, 101, 101], version=version)) == [3, 2, 2]
    assert joined(datagrams([100, 100, 99, 100, 100, 101, 101], version=version)) == [3, 2, 2]


@either
def test_push_closes_and_stays(version: int) -> None:
    first, pushed, next_ = stream([100] * 3, version=version), stream([100], seq=1300, ident=4, flags=ACK | PSH), 1400
    if version == 6:
        pushed = stream([100], seq=1300, flags=ACK | PSH, version=6)
    last = stream([100, 100], seq=next_, ident=5, version=version)
    assert joined(first + pushed + last) == [4, 2]
    assert joined(stream([100] * 3, version=version, flags=ACK | PSH)) == [1, 1, 1]


@either
@pytest.mark.parametrize("size", [1, 536, 1460, 1400])
def test_up_to_the_largest_packet(version: int, size: int) -> None:
    head = 40 if version == 4 else 60
    room = min((65535 - head) // size, 64)
    assert sum(joined(stream([size] * room, version=version))) == room
    assert len(joined(stream([size] * 150, version=version))) <= -(-150 // room) + 1


def test_exactly_the_largest_packet() -> None:
    size = (65535 - 40) // 5
    assert (65535 - 40) % 5 == 0
    assert joined(stream([size] * 5)) == [5]
    assert joined(stream([size] * 4 + [size - 1, size])) == [5, 1]
    assert joined(stream([size + 1] * 5)) == [4, 1]


@either
@pytest.mark.parametrize("count", [63, 64, 65, 128, 129])
def test_many_small_ones(version: int, count: int) -> None:
    for packets in (stream([10] * count, version=version), datagrams([10] * count, version=version)):
        assert len(joined(packets)) <= -(-count // 63)


def test_sequence_and_id_wrap() -> None:
    assert joined(stream([100] * 5, seq=2**32 - 250, ident=0xFFFE)) == [5]
    assert joined(stream([100] * 5, seq=2**32 - 250, ident=0xFFFE, fragment=0)) == [5]


@either
def test_flows_side_by_side(version: int) -> None:
    flows = [stream([100] * 8, version=version, port=port, ident=port * 10) for port in range(1, 4)]
    assert joined(list(chain(*zip(*flows, strict=True)))) == [8, 8, 8]


@either
@pytest.mark.parametrize("count", [4, 5, 6])
def test_more_flows_than_may_be_open(version: int, count: int) -> None:
    flows = [stream([100] * 8, version=version, port=port, ident=port * 10) for port in range(count)]
    joined(list(chain(*zip(*flows, strict=True))))
    assert len(joined(list(chain(*flows)))) <= count


def test_others_in_between() -> None:
    packets = stream([100] * 4)
    assert sorted(joined([*packets[:2], PACKET, b"junk", *packets[2:]])) in ([1, 1, 4], [1, 1, 2, 2])


# ---- acknowledgements ----


@either
@pytest.mark.parametrize("options", [b"", TIMESTAMPS], ids=len)
def test_only_the_last_of_several_acknowledgements_goes_on(version: int, options: bytes) -> None:
    acks = acknowledgements([1000, 2000, 2**31, 2**32 - 5], version=version, options=options)
    assert coalesce(acks, EVERYTHING) == [plain_frame(acks[-1])]
    around = acknowledgements([2**32 - 5, 4], version=version, options=options)
    assert coalesce(around, EVERYTHING) == [plain_frame(around[-1])]
    later = tcp(ack=3000, window=1, version=version, options=TIMESTAMPS[:-1] + b"\xff" if options else b"")
    assert coalesce([acks[0], later], EVERYTHING) == [plain_frame(later)]


@either
@pytest.mark.parametrize("count", [5, 6, 7, 12, 13])
def test_but_one_stands_for_six_at_most(version: int, count: int) -> None:
    acks = acknowledgements(range(1000, 1000 + count), version=version)
    assert coalesce(acks, EVERYTHING) == [plain_frame(acks[min(at + 5, count - 1)]) for at in range(0, count, 6)]


NEWS: dict[str, dict[str, Any]] = {
    "a repeated one": {"ack": 1000},
    "an older one": {"ack": 999},
    "half a round": {"ack": 1000 + 2**31},
    "SACK": {"options": b"\1\1\5\x0a" + bytes(8)},
    "other options": {"options": b"\1" * 12},
    "timestamps and more": {"options": TIMESTAMPS + b"\1" * 4},
    "an echoed mark": {"flags": ACK | ECE},
    "a push": {"flags": ACK | PSH},
    "its end": {"flags": ACK | FIN},
    "a sequence number": {"seq": 2},
    "TOS": {"tos": 4},
    "ECN": {"tos": 3},
    "TTL": {"ttl": 63},
    "port": {"port": 5001},
    "host": {"host": 2},
    "data": {"payload": b"x"},
}


@either
@pytest.mark.parametrize("news", NEWS.values(), ids=NEWS)
@pytest.mark.parametrize("options", [b"", TIMESTAMPS], ids=len)
def test_acknowledgements_with_news_go_on(version: int, news: dict[str, Any], options: bytes) -> None:
    first, other = {"ack": 1000, "options": options}, {"ack": 2000, "options": options} | news
    assert apart([tcp(version=version, **first), tcp(version=version, **other)])
    if "ack" in news or "payload" in news:
        return
    assert apart([tcp(version=version, **other | {"ack": 1000}), tcp(version=version, **first | {"ack": 2000})])


@either
def test_acknowledgements_keep_their_place_among_data(version: int) -> None:
    acks, data = acknowledgements([1000, 2000], version=version), stream([100, 100], ack=2000, version=version)
    assert coalesce([*acks, *data], EVERYTHING)[0] == plain_frame(acks[1])
    assert apart([acks[0], data[0], acks[1]])


@either
@pytest.mark.parametrize("victim", range(3))
@pytest.mark.parametrize("back", [1, 12, 20])
def test_a_damaged_acknowledgement_supersedes_nothing_and_passes(version: int, victim: int, back: int) -> None:
    acks = acknowledgements([1000, 2000, 3000], version=version)
    acks[victim] = corrupted(acks[victim], -back)
    frames = coalesce(acks, EVERYTHING)
    assert plain_frame(acks[victim]) in frames
    assert_joined(acks, frames)


def test_acknowledgements_stay_where_tcp_is_not_joined() -> None:
    acks = acknowledgements([1000, 2000])
    assert apart(acks, CSUM | TSO6 | USO4 | USO6)
    assert apart(acks, 0)
    assert apart(acknowledgements([1000, 2000], fragment=MF))
    assert apart(acknowledgements([1000, 2000], ip_options=b"\1" * 4))


# ---- what is not ----


GRANTS = [0, CSUM, CSUM | TSO4, CSUM | TSO6, CSUM | TSO4 | TSO6 | TSO_ECN, CSUM | USO4 | USO6, EVERYTHING]


@pytest.mark.parametrize("offloads", GRANTS)
def test_only_what_was_granted(offloads: int) -> None:
    """A tun grants USO for both versions of IP or none."""
    for made, bit in (
        (stream([100] * 3), TSO4),
        (stream([100] * 3, version=6), TSO6),
        (datagrams([100] * 3), USO4),
        (datagrams([100] * 3, version=6), USO6),
    ):
        assert joined(made, offloads) == ([3] if offloads & bit else [1, 1, 1])


@either
@pytest.mark.parametrize("flags", [SYN, FIN, RST, URG, ECE, CWR])
def test_other_flags(version: int, flags: int) -> None:
    for at in range(3):
        each = [stream([50] * 3, version=version, flags=ACK | (flags if at == i else 0))[i] for i in range(3)]
        counts = joined(each)
        assert 3 not in counts
        assert counts[-1] == 1 or at == 0


DIFFERENCES: dict[str, dict[str, Any]] = {
    "acknowledgement": {"ack": 2},
    "window": {"window": 501},
    "urgent pointer": {"urgent": 1},
    "other timestamps": {"options": TIMESTAMPS[:-1] + b"\xff"},
    "no options": {"options": b""},
    "longer options": {"options": TIMESTAMPS + b"\1" * 4},
    "TOS": {"tos": 4},
    "ECN": {"tos": 3},
    "TTL": {"ttl": 63},
    "port": {"port": 5001},
    "host": {"host": 2},
    "gap": {"seq": 1101},
    "overlap": {"seq": 1099},
    "again": {"seq": 1000},
    "one round later": {"seq": 1100 + 2**31},
}


def second(version: int, **different: Any) -> list[bytes]:
    about: dict[str, Any] = {"seq": 1100, "ident": 2, "options": TIMESTAMPS, "version": version} | different
    return stream([100], **about)


@either
@pytest.mark.parametrize("different", DIFFERENCES.values(), ids=DIFFERENCES)
def test_different(version: int, different: dict[str, Any]) -> None:
    first = stream([100], options=TIMESTAMPS, version=version)
    assert joined(first + second(version)) == [2]
    assert apart(first + second(version, **different))


def test_different_in_ipv4_or_ipv6_alone() -> None:
    assert apart(stream([100]) + second(4, options=b"", fragment=0))
    assert apart(stream([100], fragment=0) + second(4, options=b"", fragment=0, ident=3))
    assert apart(stream([100], fragment=0) + second(4, options=b"", fragment=0, ident=1))
    assert apart(stream([100], version=6) + second(6, options=b"", label=1))
    assert apart(stream([100]) + second(6, options=b""))


@either
def test_reserved_bits_of_tcp(version: int) -> None:
    one, other = stream([100, 100], version=version)
    at = (20 if version == 4 else 40) + 12
    assert apart([one, checked(other[:at] + bytes([other[at] | 1]) + other[at + 1 :])])


@pytest.mark.parametrize("different", [{"port": 1}, {"host": 2}, {"tos": 1}, {"ttl": 1}], ids=str)
@either
def test_different_datagrams(version: int, different: dict[str, int]) -> None:
    assert joined(datagrams([50, 50], version=version)) == [2]
    assert apart([datagrams([50], version=version)[0], datagrams([50, 50], version=version, **different)[1]])


@either
def test_nothing_to_join(version: int) -> None:
    assert apart(stream([0, 0, 0], version=version))
    assert apart(datagrams([0, 0, 0], version=version))
    assert joined(stream([100, 0, 100], version=version)) == [1, 1, 1]


@either
@pytest.mark.parametrize("build", [stream, datagrams])
@pytest.mark.parametrize("victim", range(4))
@pytest.mark.parametrize("back", [1, 50, 99])
def test_wrong_checksum_passes_alone(version: int, build: Callable[..., list[bytes]], victim: int, back: int) -> None:
    packets = build([100] * 4, version=version)
    packets[victim] = corrupted(packets[victim], -back)
    frames = coalesce(packets, EVERYTHING)
    assert_joined(packets, frames)
    assert plain_frame(packets[victim]) in frames
    assert len(frames) in ((2, 3) if victim else (2,))


@pytest.mark.parametrize("victim", range(3))
def test_wrong_ipv4_header_checksum_passes_alone(victim: int) -> None:
    for build in (stream, datagrams):
        packets = build([100] * 3)
        packets[victim] = corrupted(packets[victim], 11)
        frames = coalesce(packets, EVERYTHING)
        assert_joined(packets, frames)
        assert plain_frame(packets[victim]) in frames


@either
def test_udp_without_checksum(version: int) -> None:
    at = (20 if version == 4 else 40) + 6
    assert apart([packet[:at] + bytes(2) + packet[at + 2 :] for packet in datagrams([50] * 3, version=version)])


@either
def test_udp_checksum_that_would_be_zero(version: int) -> None:
    packets = [udp(i.to_bytes(2), version=version, ident=i) for i in range(0x10000)]
    (at,) = [i for i, packet in enumerate(packets) if packet[-4:-2] == b"\xff\xff"]
    assert joined(packets[at : at + 3]) == [3]
    assert apart([packets[at][:-4] + bytes(2) + packets[at][-2:]] * 2)


def test_fragments_and_ip_options() -> None:
    assert apart(stream([100] * 3, fragment=MF))
    assert apart(stream([100] * 3, fragment=3))
    assert apart(datagrams([104] * 3, fragment=MF))
    assert apart(stream([100] * 3, ip_options=b"\1" * 4))
    assert apart(datagrams([100] * 3, ip_options=b"\1" * 40))


def test_extension_headers() -> None:
    body = bytes([6, 0, 1, 4, 0, 0, 0, 0])
    assert apart([ip(6, 0, body + packet[40:]) for packet in stream([100] * 3, version=6)])


@either
def test_lengths_that_lie(version: int) -> None:
    at = 2 if version == 4 else 4
    for build in (stream, datagrams):
        one, other = build([100] * 2, version=version)
        assert apart([one, other + b"more"])
        assert apart([one + b"more", other + b"more"])
        assert apart([one[:-1], other[:-1]])
        for size in (0, 1, 19, 20, 40, 0xFFFF):
            lying = [packet[:at] + size.to_bytes(2) + packet[at + 2 :] for packet in (one, other)]
            assert apart(lying)


@either
def test_headers_that_lie(version: int) -> None:
    start = 20 if version == 4 else 40
    for offset in (0, 0x40, 0xF0):
        packets = stream([8] * 3, version=version)
        assert apart([packet[: start + 12] + bytes([offset]) + packet[start + 13 :] for packet in packets])
    for size in (0, 7, 8, 107, 109, 0xFFFF):
        packets = datagrams([100] * 3, version=version)
        lying = [packet[: start + 4] + size.to_bytes(2) + packet[start + 6 :] for packet in packets]
        assert apart(lying)
        assert apart([checked(packet) for packet in lying])


@either
@pytest.mark.parametrize("build", [stream, datagrams])
def test_cut_off_anywhere(version: int, build: Callable[..., list[bytes]]) -> None:
    one, other = build([20] * 2, version=version)
    for size in range(1, len(one)):
        assert apart([one[:size], other[:size]])
        assert apart([one, other[:size]])


# ---- order ----


def test_one_flow_never_overtakes_itself() -> None:
    data = stream([100] * 4)
    for single in (tcp(seq=1200, flags=ACK), tcp(seq=1200, flags=ACK | FIN), tcp(b"x", seq=7), data[0]):
        frames = coalesce([*data[:2], single, *data[2:]], EVERYTHING)
        assert [part for made in frames for part in map(comparable, reference.segments(made))] == [
            comparable(packet) for packet in (*data[:2], single, *data[2:])
        ]


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    """Up to six flows, mixed, with all that may go wrong on the way."""
    random = Random(draw(st.integers(0, 2**32)))
    return mixed(random, draw(st.integers(1, 6)), draw(st.integers(0, 12)))


@settings(max_examples=500)
@given(batches(), st.sampled_from(GRANTS))
def test_what_is_cut_again_is_what_was_put_in(packets: list[bytes], offloads: int) -> None:
    joined(packets, offloads)


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=10), st.sampled_from(GRANTS))
def test_junk_passes(packets: list[bytes], offloads: int) -> None:
    joined(packets, offloads)


# ---- misuse ----


def test_kinds_of_sequences() -> None:
    packets = stream([100] * 3)
    assert coalesce([], EVERYTHING) == []
    assert coalesce(tuple(packets), EVERYTHING) == coalesce(packets, EVERYTHING)
    kept = [bytes(packet) for packet in packets]
    coalesce(packets, EVERYTHING)
    assert packets == kept


def test_misuse() -> None:
    wrong: Any
    for wrong in (None, 5, [None], ["text"], [5]):
        with pytest.raises((TypeError, ValueError)):
            coalesce(wrong, EVERYTHING)
    with pytest.raises(TypeError):
        coalesce([], None)  # type: ignore[arg-type]
    for wrong in ([b""], [bytes(65536)], [PACKET, b""], [memoryview(bytes(80))[::2]]):
        with pytest.raises((ValueError, BufferError)):
            coalesce(wrong, EVERYTHING)
    assert coalesce([bytearray(PACKET), memoryview(PACKET)], 0) == [plain_frame(PACKET)] * 2
