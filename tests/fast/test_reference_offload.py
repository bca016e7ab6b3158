"""The oracle itself: a published sum, and super packets against packets built one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.datapath import reference_offload as reference
from tests.fast.rig import PACKET
from tests.support.packets import ACK, CWR, FIN, PSH, TIMESTAMPS, frame, plain_frame, tcp, udp

PAYLOAD = bytes(range(250))
either = pytest.mark.parametrize("version", [4, 6])


def test_published_sum() -> None:
    assert reference.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2  # RFC 1071 §3
    assert reference.checksum(PACKET[:20]) == reference.checksum(PACKET[20:]) == 0xFFFF


@given(st.binary(max_size=100), st.integers(0, 0xFFFF))
def test_sum_word_by_word(data: bytes, initial: int) -> None:
    total = initial
    for i in range(0, len(data), 2):
        total += int.from_bytes(data[i : i + 2].ljust(2, b"\0"))
        total = (total & 0xFFFF) + (total >> 16)
    assert reference.checksum(data, initial) == total


@either
@pytest.mark.parametrize("options", [b"", TIMESTAMPS], ids=len)
@pytest.mark.parametrize(("flags", "first", "between", "last"), [
    (ACK, ACK, ACK, ACK),
    (ACK | PSH, ACK, ACK, ACK | PSH),
    (ACK | PSH | FIN | CWR, ACK | CWR, ACK, ACK | PSH | FIN),
])  # fmt: skip
def test_tcp(version: int, options: bytes, flags: int, first: int, between: int, last: int) -> None:
    start: dict[str, Any] = {"version": version, "options": options, "tos": 2}
    whole = tcp(PAYLOAD, seq=0xFFFFFFFF, ident=0xFFFF, flags=flags, **start)
    assert reference.segments(frame(whole, 100)) == [
        tcp(PAYLOAD[:100], seq=0xFFFFFFFF, ident=0xFFFF, flags=first, **start),
        tcp(PAYLOAD[100:200], seq=99, ident=0, flags=between, **start),
        tcp(PAYLOAD[200:], seq=199, ident=1, flags=last, **start),
    ]


@either
def test_udp(version: int) -> None:
    assert reference.segments(frame(udp(PAYLOAD, version=version), 125)) == [
        udp(PAYLOAD[:125], version=version),
        udp(PAYLOAD[125:], version=version, ident=2),
    ]


@either
def test_single_packets(version: int) -> None:
    for packet in (tcp(PAYLOAD, version=version), udp(PAYLOAD, version=version)):
        assert reference.segments(frame(packet)) == [packet]
        assert reference.segments(plain_frame(packet)) == [packet]
