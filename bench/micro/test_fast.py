"""Cost of one packet, or one super packet, in the compiled data path."""

import os
from typing import Any

import pytest

from ovpn3._fast.aead import IPSEC_MB_OBJECTION, Aead
from ovpn3._fast.channel import DataChannel
from ovpn3._fast.checksum import checksum
from ovpn3._fast.coalesce import coalesce
from ovpn3._fast.engine import Engine
from ovpn3._fast.mss import clamp
from ovpn3._fast.packet import pack_data_header, unpack_data_header
from ovpn3._fast.replay import Replay
from ovpn3._fast.segment import segments
from ovpn3.datapath.engine import AEAD_CIPHERS
from tests.support.packets import EVERYTHING, datagrams, stream

ROUNDS = {"rounds": 50, "iterations": 2000, "warmup_rounds": 2}
BATCHES = {"rounds": 50, "iterations": 50, "warmup_rounds": 2}
SIZES = [64, 1400]
SYN = bytes.fromhex("4500002c00010000400600000a0800020a080001" + "1f90005000000001000000006002ffff00000000020405b4")

RUNS = {"tcp": stream([1388] * 44), "udp": datagrams([1388] * 44), "small udp": datagrams([64] * 40)}
each_size = pytest.mark.parametrize("size", SIZES)
each_cipher = pytest.mark.parametrize("name", list(AEAD_CIPHERS))
each_run = pytest.mark.parametrize("kind", list(RUNS))
each_library = pytest.mark.parametrize(
    "fast",
    [
        pytest.param(True, id="ipsec-mb", marks=pytest.mark.skipif(bool(IPSEC_MB_OBJECTION), reason="no ipsec-mb")),
        pytest.param(False, id="libcrypto"),
    ],
)


@each_size
@each_cipher
@each_library
def test_seal(benchmark: Any, fast: bool, name: str, size: int) -> None:
    cipher = AEAD_CIPHERS[name]
    key = Aead(cipher.number, os.urandom(cipher.key_bytes), sealing=True, fast=fast)
    benchmark.pedantic(key.seal, (bytes(12), bytes(8), os.urandom(size)), **ROUNDS)


@each_size
@each_cipher
@each_library
def test_open(benchmark: Any, fast: bool, name: str, size: int) -> None:
    cipher = AEAD_CIPHERS[name]
    secret = os.urandom(cipher.key_bytes)
    sealed = Aead(cipher.number, secret, sealing=True).seal(bytes(12), bytes(8), os.urandom(size))
    key = Aead(cipher.number, secret, sealing=False, fast=fast)
    benchmark.pedantic(key.open, (bytes(12), bytes(8), sealed), **ROUNDS)


def channel() -> DataChannel:
    """One that opens what it seals."""
    made, key = DataChannel(), os.urandom(32)
    made.install(0, AEAD_CIPHERS["AES-256-GCM"].number, key, bytes(8), key, bytes(8), 1)
    made.use(0)
    return made


@each_size
def test_channel_seal(benchmark: Any, size: int) -> None:
    """Header, nonce, counters and crypto."""
    benchmark.pedantic(channel().seal, (os.urandom(size),), **ROUNDS)


@each_size
def test_channel_seal_and_open(benchmark: Any, size: int) -> None:
    """A packet there and back; only fresh ones are opened."""
    both, payload = channel(), os.urandom(size)
    benchmark.pedantic(lambda: both.open(both.seal(payload), 0.0), **ROUNDS)


def test_header(benchmark: Any) -> None:
    benchmark.pedantic(lambda: unpack_data_header(pack_data_header(1, 2, 3)), **ROUNDS)


def test_replay_in_order(benchmark: Any) -> None:
    window = Replay()
    ids = iter(range(1, 10_000_000))
    benchmark.pedantic(lambda: window.accept(next(ids), 0), **ROUNDS)


def test_clamp(benchmark: Any) -> None:
    packet = bytearray(SYN)
    benchmark.pedantic(clamp, (packet, 1300), **ROUNDS)


@pytest.mark.parametrize("size", [20, 1400, 65000])
def test_checksum(benchmark: Any, size: int) -> None:
    benchmark.pedantic(checksum, (os.urandom(size),), **ROUNDS)


@each_run
def test_segmentation(benchmark: Any, kind: str) -> None:
    """A super packet of the tun, its making of Python objects included."""
    packets = benchmark.pedantic(segments, (coalesce(RUNS[kind], EVERYTHING)[0],), **BATCHES)
    assert len(packets) == len(RUNS[kind])


@each_run
def test_coalescing(benchmark: Any, kind: str) -> None:
    """A super packet for the tun, all checksums verified."""
    frames = benchmark.pedantic(coalesce, (RUNS[kind], EVERYTHING), **BATCHES)
    assert len(frames) == 1


@each_run
@each_library
def test_engine(benchmark: Any, fast: bool, kind: str) -> None:
    """A super packet from one tun to the other, without tun and socket; `bench.macro.engine` prints it by direction."""
    engine = Engine(AEAD_CIPHERS["AES-256-GCM"].number, fast=fast)
    benchmark.pedantic(engine.run, (coalesce(RUNS[kind], EVERYTHING)[0], 1), **BATCHES)
