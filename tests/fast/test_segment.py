"""Super packets cut and checksums finished, against the reference."""

from collections.abc import Callable
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3._fast.mss import clamp
from ovpn3._fast.segment import segments
from ovpn3.datapath import reference_offload as reference
from ovpn3.datapath.reference_offload import GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4
from tests.fast.rig import PACKET
from tests.support.packets import (
    ACK,
    CWR,
    DF,
    ECE,
    FIN,
    PSH,
    SYN,
    TIMESTAMPS,
    frame,
    ip,
    outcome,
    plain_frame,
    tcp,
    udp,
)

versions = st.sampled_from([4, 6])
ends = st.integers(0, 2**32 - 1) | st.sampled_from([0, 2**32 - 1, 2**32 - 100])
options = st.sampled_from([b"", TIMESTAMPS, b"\1" * 4, b"\1" * 40])
ip_options = st.sampled_from([b"", b"\1\1\1\0", b"\1" * 40])
payloads = st.integers(1, 400) | st.integers(1, 4000) | st.just(65000)


def filled(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


def same(made: bytes) -> list[bytes]:
    """The segments, checked."""
    found = segments(made)
    assert found == reference.segments(made)
    return found


@st.composite
def of_ip(draw: st.DrawFn) -> dict[str, Any]:
    chosen: dict[str, Any] = {"version": draw(versions), "tos": draw(st.integers(0, 255))}
    if chosen["version"] == 6:
        return chosen | {"label": draw(st.sampled_from([0, 0xFFFFF]))}
    ident = draw(st.integers(0, 0xFFFF) | st.just(0xFFFE))
    return chosen | {"ident": ident, "fragment": draw(st.sampled_from([0, DF])), "ip_options": draw(ip_options)}


@st.composite
def super_tcp(draw: st.DrawFn) -> bytes:
    flags = ACK | draw(st.sampled_from([0, PSH, FIN, PSH | FIN, CWR, ECE, CWR | ECE | PSH | FIN, SYN]))
    packet = tcp(filled(draw(payloads)), flags=flags, seq=draw(ends), options=draw(options), **draw(of_ip()))
    return frame(packet, draw(sizes(packet)), gso_flags=GSO_ECN if flags & CWR else 0)


@st.composite
def super_udp(draw: st.DrawFn) -> bytes:
    packet = udp(filled(draw(payloads)), **draw(of_ip()))
    return frame(packet, draw(sizes(packet)))


def sizes(packet: bytes) -> st.SearchStrategy[int]:
    """Of at most some hundred segments."""
    least = max(len(packet) // 200, 1)
    return st.integers(least, least + 60) | st.integers(least, 1500) | st.integers(least, 0xFFFF)


@given(super_tcp() | super_udp())
def test_is_what_the_reference_makes(made: bytes) -> None:
    same(made)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("build", [tcp, udp])
def test_payloads_around_every_boundary(version: int, build: Any) -> None:
    for size in range(1, 61):
        for gso_size in {1, size - 1, size, size + 1, 7} - {0}:
            parts = same(frame(build(filled(size), version=version), gso_size))
            assert len(parts) == -(-size // gso_size)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("build", [tcp, udp])
@pytest.mark.parametrize("count", [63, 64, 65, 128])
def test_many_segments(version: int, build: Any, count: int) -> None:
    for short in (0, 1, 99):
        assert len(same(frame(build(filled(100 * count - short), version=version), 100))) == count


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("gso_size", [1, 536, 1460, 32768, 65535])
def test_largest(version: int, gso_size: int) -> None:
    for packet in (tcp(filled(65535 - 60), version=version), udp(filled(65535 - 48), version=version)):
        same(frame(packet, gso_size))


@pytest.mark.parametrize("build", [tcp, udp])
@pytest.mark.parametrize("words", [0, 4, 100])
def test_ipv6_extension_headers(build: Callable[..., bytes], words: int) -> None:
    plain = build(filled(300), version=6)
    protocol, body = plain[6], plain[40:]
    extension = bytes([protocol, words]) + bytes(6 + 8 * words)
    made = frame(plain, 100, csum_start=40 + len(extension))
    made = made[:50].replace(plain[:40], ip(6, 60, extension + body)[:40]) + extension + made[50:]
    if 40 + len(extension) + 20 > 128:
        assert outcome(segments, made) is None
    else:
        found = same(made)
        assert [packet[40 + len(extension) :] for packet in found] == [
            packet[40:] for packet in reference.segments(frame(plain, 100))
        ]


# ---- one packet ----


@given(st.binary(max_size=1600), of_ip(), st.sampled_from([tcp, udp]))
def test_finishes_a_checksum(payload: bytes, about: dict[str, Any], build: Any) -> None:
    packet = build(payload, **about)
    assert segments(frame(packet)) == [packet]


@pytest.mark.parametrize("version", [4, 6])
def test_udp_checksum_is_never_zero(version: int) -> None:
    packet = next(
        packet for i in range(0x10000) if (packet := udp(pack(">H", i), version=version))[-4:-2] == b"\xff\xff"
    )
    assert segments(frame(packet)) == [packet]
    assert segments(frame(packet + packet[-2:], 2))[0][-4:-2] == b"\xff\xff"


@pytest.mark.parametrize("version", [4, 6])
def test_any_other_protocol(version: int) -> None:
    """Where the checksum is, is said by the frame alone: here one of ICMP behind an extension header."""
    body = bytes([1, 0, 1, 4, 0, 0, 0, 0]) + b"\x80\0\0\0" + b"some data"
    packet = ip(version, 0, body)
    start = len(packet) - len(body) + 8
    made = reference.FrameHeader(1, csum_start=start, csum_offset=2).pack() + packet
    assert reference.checksum(same(made)[0][start:]) == 0xFFFF


@given(st.binary(min_size=1, max_size=100))
def test_anything_finished_passes(packet: bytes) -> None:
    assert segments(plain_frame(packet)) == [packet]


def test_checksum_said_to_be_right_already() -> None:
    assert segments(reference.FrameHeader(flags=2).pack() + PACKET) == [PACKET]


# ---- clamping ----


@pytest.mark.parametrize("version", [4, 6])
def test_syn_is_clamped(version: int) -> None:
    syn = tcp(flags=SYN, options=b"\2\4\x05\xb4", version=version)
    lowered = tcp(flags=SYN, options=b"\2\4" + pack(">H", 1300 if version == 4 else 1280), version=version)
    for made in (frame(syn), plain_frame(syn)):
        assert segments(made, 1300) == [lowered]
        assert segments(made, 0) == segments(made) == segments(made, 1460 + 20) == [syn]


@given(super_tcp(), st.integers(0, 1500))
def test_clamping_is_that_of_whole_packets(made: bytes, mss: int) -> None:
    wanted = [bytearray(packet) for packet in reference.segments(made)]
    for packet in wanted:
        clamp(packet, mss)
    assert segments(made, mss) == wanted


# ---- frames that contradict themselves ----

TCP4, UDP6 = tcp(bytes(100)), udp(bytes(100), version=6)
CONTRADICTIONS = {
    "no size": frame(TCP4, 50, gso_size=0),
    "checksum at the end": frame(TCP4, csum_start=20, csum_offset=len(TCP4) - 21),
    "checksum starts beyond": frame(TCP4, csum_start=len(TCP4) + 1, csum_offset=0),
    "checksum far beyond": frame(TCP4, csum_start=0xFFFF, csum_offset=0xFFFF),
    "checksum beyond of a super packet": frame(TCP4, 50, csum_start=0xFFFF),
    "no checksum of a super packet": frame(TCP4, 50, flags=0),
    "checksum of another place": frame(TCP4, 50, csum_start=24),
    "checksum of UDP": frame(TCP4, 50, csum_offset=6),
    "TCP over the wrong IP": frame(TCP4, 50, gso_type=GSO_TCPV6),
    "TCP over IPv4 over IPv6": frame(tcp(bytes(100), version=6), 50, gso_type=GSO_TCPV4),
    "UDP that is TCP": frame(TCP4, 50, gso_type=GSO_UDP_L4),
    "TCP that is UDP": frame(UDP6, 50, gso_type=GSO_TCPV6),
    "unknown type": frame(TCP4, 50, gso_type=2),
    "UDP fragments": frame(UDP6, 50, gso_type=3),
    "TCP header beyond": frame(TCP4[:32] + b"\xf0" + TCP4[33:60], 50),
    "TCP header too small": frame(TCP4, 50)[:42] + b"\x40" + frame(TCP4, 50)[43:],
    "TCP header cut": frame(TCP4, 50)[: 10 + 39],
    "UDP header cut": frame(UDP6, 50)[: 10 + 47],
    "IPv4 header cut": frame(TCP4, 50)[: 10 + 19],
    "IPv6 header cut": frame(UDP6, 50)[: 10 + 39],
    "IPv4 header too small": frame(TCP4, 50)[:10] + b"\x44" + frame(TCP4, 50)[11:],
    "IPv4 header beyond": frame(TCP4, 50)[:10] + b"\x4f" + frame(TCP4, 50)[11 : 10 + 59],
    "neither version": frame(TCP4, 50)[:10] + b"\x55" + frame(TCP4, 50)[11:],
    "no payload": frame(tcp(), 50),
    "super packet of nothing": frame(TCP4, 50)[:10],
    "header cut": frame(TCP4, 50)[:9],
    "nothing": b"",
}


@pytest.mark.parametrize("made", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradiction(made: bytes) -> None:
    for cut in (segments, reference.segments):
        with pytest.raises(ValueError, match=r"\w"):
            cut(made)


junk = st.binary(max_size=200)
headers = st.builds(
    reference.FrameHeader,
    st.sampled_from([0, 1, 2, 3, 255]),
    st.sampled_from([0, 1, 3, 4, 5, 0x81, 0x84, 0x85, 255]),
    st.integers(0, 100) | st.integers(0, 0xFFFF),
    st.integers(0, 100) | st.integers(0, 0xFFFF),
    st.sampled_from([0, 20, 24, 40, 60]) | st.integers(0, 0xFFFF),
    st.sampled_from([0, 6, 16]) | st.integers(0, 0xFFFF),
).map(reference.FrameHeader.pack)
starts = st.sampled_from([b"", b"\x45", b"\x46", b"\x4f", b"\x60", tcp()[:20], tcp(version=6)[:40], udp()[:20]])


@given(junk | st.builds(lambda *parts: b"".join(parts), headers, starts, junk))
def test_junk(made: bytes) -> None:
    assert outcome(segments, made) == outcome(reference.segments, made)


@given(super_tcp() | super_udp(), st.data())
def test_every_byte_counts(made: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, min(len(made), 70) - 1))
    changed = made[:at] + bytes([made[at] ^ data.draw(st.integers(1, 255))]) + made[at + 1 :]
    assert outcome(segments, changed) == outcome(reference.segments, changed)


def test_misuse() -> None:
    wrong: Any
    made = frame(TCP4, 50)
    assert segments(bytearray(made)) == segments(memoryview(made)) == segments(made)
    for wrong in (None, "text", 5):
        with pytest.raises(TypeError):
            segments(wrong)
    with pytest.raises((ValueError, BufferError)):
        segments(memoryview(made + made)[::2])
    for wrong in (-1, 65536):
        with pytest.raises(ValueError, match="range"):
            segments(made, wrong)


def test_leaves_its_argument_alone() -> None:
    for made in (frame(TCP4, 50), frame(TCP4), frame(tcp(flags=SYN, options=b"\2\4\x05\xb4"))):
        given_ = bytearray(made)
        segments(given_, 1000)
        assert given_ == made
