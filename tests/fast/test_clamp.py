"""MSS clamping, with whole packets and full checksums worked out here."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3._fast.mss import clamp

SYN, ACK = 2, 16


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2]) for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_packet(
    options: bytes, *, version: int = 4, flags: int = SYN, payload: bytes = b"", ip_options: bytes = b""
) -> bytes:
    options += bytes(-len(options) % 4)
    size = 20 + len(options) + len(payload)
    tcp = struct.pack(">HHIIBBHHH", 8080, 80, 1, 2, (20 + len(options)) << 2, flags, 65535, 0, 0) + options + payload
    addresses = bytes(range(1, 9)) if version == 4 else bytes(range(1, 33))
    pseudo = addresses + struct.pack(">HH" if version == 4 else ">II", *((6, size) if version == 4 else (size, 6)))
    tcp = tcp[:16] + checksum(pseudo + tcp).to_bytes(2) + tcp[18:]
    if version == 4:
        ip_bytes = 20 + len(ip_options)
        ip = struct.pack(">BBHHHBBH", 0x40 | ip_bytes // 4, 0, ip_bytes + size, 1, 0, 64, 6, 0) + addresses + ip_options
    else:
        ip = struct.pack(">IHBB", 6 << 28, size, 6, 64) + addresses
    return ip + tcp


def clamped(packet: bytes, mss: int) -> bytes:
    buffer = bytearray(packet)
    clamp(buffer, mss)
    return bytes(buffer)


def mss_option(value: int) -> bytes:
    return struct.pack(">BBH", 2, 4, value)


before = st.lists(st.sampled_from([b"\1", b"\4\2", b"\3\3\7", b"\x08\x0aAAAABBBB"]), max_size=3).map(b"".join)
values = st.integers(1, 65535)


@given(before, values, values, st.sampled_from([4, 6]), st.sampled_from([SYN, SYN | ACK]), st.binary(max_size=9))
def test_is_the_packet_with_the_lower_value(
    options: bytes, announced: int, limit: int, version: int, flags: int, payload: bytes
) -> None:
    def packet(value: int) -> bytes:
        return tcp_packet(options + mss_option(value), version=version, flags=flags, payload=payload)

    room = limit if version == 4 else limit - 20
    expected = min(announced, room) if room > 0 else announced
    got, wanted = clamped(packet(announced), limit), packet(expected)
    at = 36 if version == 4 else 56
    assert got[:at] + got[at + 2 :] == wanted[:at] + wanted[at + 2 :]
    # 0 and 0xffff are the same in this arithmetic
    assert int.from_bytes(got[at : at + 2]) % 0xFFFF == int.from_bytes(wanted[at : at + 2]) % 0xFFFF


def test_with_ip_options() -> None:
    packet = tcp_packet(mss_option(1460), ip_options=b"\1\1\1\0")
    assert clamped(packet, 1300) == tcp_packet(mss_option(1300), ip_options=b"\1\1\1\0")


@pytest.mark.parametrize(
    "packet",
    [
        tcp_packet(mss_option(1460), flags=ACK),
        tcp_packet(b"\0" + mss_option(1460)),
        tcp_packet(b"\3\0" + mss_option(1460)),
        tcp_packet(b"\3\x28" + mss_option(1460)),
        tcp_packet(b"\2\3\1\1" + b"\2"),
        tcp_packet(b"\1\1\1\2"),
        tcp_packet(mss_option(1460))[:43],
        tcp_packet(mss_option(1460)).replace(b"\0\1\0\0\x40\6", b"\0\1\0\7\x40\6"),
        tcp_packet(mss_option(1460)).replace(b"\x40\6", b"\x40\x11"),
        b"\x4f" + tcp_packet(mss_option(1460))[1:],
        b"\x41" + tcp_packet(mss_option(1460))[1:],
        b"\x55" + tcp_packet(mss_option(1460))[1:],
        tcp_packet(mss_option(1460), version=6)[:59],
        b"",
        b"\x45",
        b"\x60",
    ],
    ids=lambda packet: packet.hex()[:80],
)
def test_anything_else_stays(packet: bytes) -> None:
    assert clamped(packet, 1000) == packet


def test_zero_is_off() -> None:
    packet = tcp_packet(mss_option(1460))
    assert clamped(packet, 0) == packet


@given(st.binary(max_size=120), st.binary(max_size=40), st.sampled_from([0x45, 0x46, 0x60]))
def test_rubbish_is_survived(packet: bytes, options: bytes, first: int) -> None:
    clamped(packet, 500)
    header = bytearray(tcp_packet(mss_option(1460), version=first >> 4)[: 40 if first >> 4 == 4 else 60])
    header[0] = first
    clamped(bytes(header) + options, 500)


def test_misuse() -> None:
    wrong: Any
    with pytest.raises(BufferError):
        clamp(b"read-only", 1300)
    with pytest.raises((ValueError, BufferError)):
        clamp(memoryview(bytearray(80))[::2], 1300)
    for wrong in (None, "text", 5):
        with pytest.raises(TypeError):
            clamp(wrong, 1300)
    with pytest.raises(ValueError, match="range"):
        clamp(bytearray(20), -1)
