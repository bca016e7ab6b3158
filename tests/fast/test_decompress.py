"""Compressed payloads: what real compressors made, what they never would, and how much may come of it."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3._fast.channel import DataChannel
from ovpn3._fast.decompress import LZ4, LZO, decompress, load
from ovpn3.constants import Framing
from ovpn3.datapath.engine import CIPHERS, Cipher, EventKind, decompressors
from tests.fast.rig import PACKET, Rig, udp_pair
from tests.support.compression import COMPRESSED, METHODS, compress, fenced, framed

GCM, CBC = CIPHERS["AES-256-GCM"], CIPHERS["AES-256-CBC"]
KEY, IV, MAC = bytes(32), bytes(8), bytes(20)
METHOD = st.sampled_from(list(METHODS))
# Words that come again, and octets that don't.
payloads = st.lists(
    st.sampled_from([b"the same words ", bytes(100), b"\xff" * 20]) | st.binary(max_size=60), min_size=1
)
texts = payloads.map(b"".join).filter(bool)


def test_both_libraries_are_there() -> None:
    """As they are wherever there is an OpenVPN server."""
    assert (load(), decompressors()) == ([LZO, LZ4], ("lzo", "lz4"))


# By hand, from the descriptions of the formats.
@pytest.mark.parametrize(
    ("method", "block", "plain"),
    [
        (LZ4, "1f610100 00 50 6263646566", b"a" * 20 + b"bcdef"),  # one literal, a match of 19 at distance 1
        (LZ4, "0000", None),  # a match at distance 0
        (LZ4, "10610200 50 6263646566", None),  # a match from before the beginning
        (LZ4, "f0ffffff", None),  # literals that don't come
        (LZO, "15 61626364 110000", b"abcd"),  # four literals, the end
        (LZO, "15 616263", None),
        (LZO, "15 61626364 110000 00", None),  # something behind the end
        (LZO, "15 61626364", None),  # no end
    ],
)
def test_blocks_made_by_hand(method: int, block: str, plain: bytes | None) -> None:
    src, dst = bytes.fromhex(block), fenced(64)
    if plain is None:
        with pytest.raises(ValueError, match="damaged"):
            decompress(method, fenced(len(src), src), dst)
    else:
        assert bytes(dst[: decompress(method, fenced(len(src), src), dst)]) == plain


@given(METHOD, texts, st.integers(0, 3000))
def test_what_was_compressed(method: int, plain: bytes, room: int) -> None:
    block, dst = compress(method, plain), fenced(room)
    if room < len(plain):
        with pytest.raises(ValueError, match="too large"):
            decompress(method, fenced(len(block), block), dst)
    else:
        assert decompress(method, fenced(len(block), block), dst) == len(plain)
        assert bytes(dst[: len(plain)]) == plain


@given(METHOD, texts, st.data())
def test_damage(method: int, plain: bytes, data: st.DataObject) -> None:
    """Whatever comes, nothing is read or written beyond."""
    block = bytearray(compress(method, plain))
    for _ in range(data.draw(st.integers(1, 3))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    block = block[: data.draw(st.integers(0, len(block)))]
    room = data.draw(st.integers(0, 2 * len(plain)))
    with suppress(ValueError):
        assert 0 <= decompress(method, fenced(len(block), bytes(block)), fenced(room)) <= room


@given(METHOD, st.binary(max_size=300), st.integers(0, 300))
def test_rubbish(method: int, block: bytes, room: int) -> None:
    with suppress(ValueError):
        assert 0 <= decompress(method, fenced(len(block), block), fenced(room)) <= room


def test_sizes_are_those_of_packets() -> None:
    for src, dst in ((bytes(65536), bytearray(1)), (b"", bytearray(65536))):
        with pytest.raises(ValueError, match="too long"):
            decompress(LZ4, src, dst)
    with pytest.raises(ValueError, match="no library"):
        decompress(7, b"x", bytearray(1))


# -- in the channel -------------------------------------------------------------------------------
def channel(cipher: Cipher, framing: Framing, *, decompress: bool = True, largest: int = 65535) -> DataChannel:
    made, mac, digest = DataChannel(largest=largest), MAC if cipher.cbc else IV, "SHA1" if cipher.cbc else ""
    made.install(0, cipher.number, KEY, mac, KEY, mac, 5, digest=digest, framing=framing, decompress=decompress)
    made.use(0)
    return made


@given(st.sampled_from(list(COMPRESSED)), st.sampled_from([GCM, CBC]), texts)
def test_in_a_data_packet(framing: Framing, cipher: Cipher, plain: bytes) -> None:
    """What isn't compressed comes through as ever, what we send never is."""
    near, server, stub = channel(cipher, framing), channel(cipher, Framing.NONE), channel(cipher, framing)
    assert near.open(server.seal(framed(framing, plain)), 0) == plain
    sealed = stub.seal(plain)
    stub.open(sealed, 0)
    assert channel(cipher, framing, decompress=False).open(sealed, 0) == plain
    assert channel(cipher, framing).open(sealed, 0) == plain


@pytest.mark.parametrize("cipher", [GCM, CBC], ids=lambda cipher: cipher.name)
@pytest.mark.parametrize("framing", COMPRESSED)
def test_no_more_comes_out_than_may(framing: Framing, cipher: Cipher) -> None:
    server = channel(cipher, Framing.NONE)
    for size, largest in ((1500, 1500), (1501, 1500), (65535, 65535), (65535, 65534), (65535, 1500)):
        packet = server.seal(framed(framing, bytes(size)))
        near = channel(cipher, framing, largest=largest)
        if size <= largest:
            assert near.open(packet, 0) == bytes(size)
        else:
            with pytest.raises(ValueError, match="compressed"):
                near.open(packet, 0)


@pytest.mark.parametrize("framing", COMPRESSED)
def test_what_is_compressed_counts_as_what_it_was(framing: Framing) -> None:
    """Against the limit of AES-GCM: blocks that were decrypted, not those that came out."""
    near, server = DataChannel(), channel(GCM, Framing.NONE)
    late = 0xE_0000_0000 - 200
    near.install(0, GCM.number, KEY, IV, KEY, IV, 5, framing=framing, decompress=True, units_used=late)
    near.open(server.seal(framed(framing, bytes(65535))), 0)
    assert not near.expiring
    for packet in [server.seal(framed(framing, bytes(range(256)) * 4)) for _ in range(40)]:
        near.open(packet, 0)
    assert near.expiring


# -- in the pump ----------------------------------------------------------------------------------
@pytest.fixture(params=COMPRESSED, ids=lambda framing: framing.name)
def rig(request: pytest.FixtureRequest) -> Iterator[tuple[Rig, Framing]]:
    with Rig(udp_pair(), framing=request.param, decompress=True) as made:
        yield made, request.param


def test_compressed_packets_reach_the_tun(rig: tuple[Rig, Framing]) -> None:
    pump, framing = rig
    long = PACKET + b"the same words " * 80
    for packet in (PACKET, long, PACKET):
        pump.send(pump.raw.seal(framed(framing, packet)))
        assert pump.tun.recv(2000) == packet
    pump.tun.send(long)
    assert pump.opened() == long


def test_too_large_a_packet_is_dropped_counted_and_told_once(rig: tuple[Rig, Framing]) -> None:
    pump, framing = rig
    for _ in range(3):
        pump.send(pump.raw.seal(framed(framing, PACKET + bytes(4000))))
    pump.send(pump.raw.seal(framed(framing, PACKET)))
    assert pump.tun.recv(5000) == PACKET
    pump.await_count("compressed_packets", 3)
    pump.await_event(EventKind.COMPRESSED)
    assert EventKind.COMPRESSED not in [event.kind for event in pump.seen]
    assert pump.pump.stats()["malformed_packets"] == 0
