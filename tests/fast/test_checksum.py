"""One's-complement sums, against the reference."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3._fast.checksum import checksum
from ovpn3.datapath import reference_offload as reference

sums = st.integers(0, 0xFFFF)


@given(st.binary(max_size=3000), sums)
def test_any_data(data: bytes, initial: int) -> None:
    assert checksum(data, initial) == reference.checksum(data, initial)


@pytest.mark.parametrize("filling", [b"\xff", b"\0\xff", b"\1"])
def test_every_length_and_alignment(filling: bytes) -> None:
    data = memoryview(filling * 300)
    for start in range(8):
        for size in range(280):
            part = data[start : start + size]
            assert checksum(part) == reference.checksum(bytes(part)), (start, size)


@pytest.mark.parametrize("size", [65534, 65535, 65536, 1 << 20])
@pytest.mark.parametrize("filling", [b"\xff", b"\0", b"\xab"])
def test_carries_of_long_data(size: int, filling: bytes) -> None:
    for initial in (0, 1, 0xFFFF):
        assert checksum(filling * size, initial) == reference.checksum(filling * size, initial)


@given(st.binary(max_size=100).map(lambda data: data[: len(data) & ~1]), st.binary(max_size=100))
def test_goes_on_from_a_partial_sum(head: bytes, tail: bytes) -> None:
    assert checksum(tail, checksum(head)) == checksum(head + tail)


@given(st.binary(max_size=101))
def test_its_complement_makes_it_good(data: bytes) -> None:
    assert checksum(data, ~checksum(data) & 0xFFFF) == 0xFFFF


def test_misuse() -> None:
    wrong: Any
    assert checksum(b"") == 0
    assert checksum(b"", 0x1234) == 0x1234
    assert checksum(bytearray(b"\1\2")) == 0x0102
    for wrong in (None, "text", 5):
        with pytest.raises(TypeError):
            checksum(wrong)
    with pytest.raises((ValueError, BufferError)):
        checksum(memoryview(bytes(80))[::2])
    with pytest.raises((ValueError, OverflowError)):
        checksum(b"\1\2", -1)
