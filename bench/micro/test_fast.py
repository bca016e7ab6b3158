"""Cost of one packet in the compiled data path: crypto, channel, replay window, MSS clamping."""

import os
from typing import Any

import pytest

from ovpn3._fast.aead import Aead
from ovpn3._fast.channel import DataChannel
from ovpn3._fast.mss import clamp
from ovpn3._fast.packet import pack_data_header, unpack_data_header
from ovpn3._fast.replay import Replay
from ovpn3.datapath.engine import CIPHERS

ROUNDS = {"rounds": 50, "iterations": 2000, "warmup_rounds": 2}
SIZES = [64, 1400]
SYN = bytes.fromhex("4500002c00010000400600000a0800020a080001" + "1f90005000000001000000006002ffff00000000020405b4")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", list(CIPHERS))
def test_seal(benchmark: Any, name: str, size: int) -> None:
    cipher = CIPHERS[name]
    key = Aead(cipher.number, os.urandom(cipher.key_bytes), sealing=True)
    benchmark.pedantic(key.seal, (bytes(12), bytes(8), os.urandom(size)), **ROUNDS)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", list(CIPHERS))
def test_open(benchmark: Any, name: str, size: int) -> None:
    cipher = CIPHERS[name]
    secret = os.urandom(cipher.key_bytes)
    sealed = Aead(cipher.number, secret, sealing=True).seal(bytes(12), bytes(8), os.urandom(size))
    key = Aead(cipher.number, secret, sealing=False)
    benchmark.pedantic(key.open, (bytes(12), bytes(8), sealed), **ROUNDS)


@pytest.mark.parametrize("size", SIZES)
def test_channel_seal(benchmark: Any, size: int) -> None:
    """Header, nonce, counters and crypto: what the pump does with a packet of the tun."""
    channel, key = DataChannel(), os.urandom(32)
    channel.install(0, CIPHERS["AES-256-GCM"].number, key, bytes(8), key, bytes(8), 1)
    channel.use(0)
    benchmark.pedantic(channel.seal, (os.urandom(size),), **ROUNDS)


def test_header(benchmark: Any) -> None:
    benchmark.pedantic(lambda: unpack_data_header(pack_data_header(1, 2, 3)), **ROUNDS)


def test_replay_in_order(benchmark: Any) -> None:
    window = Replay()
    ids = iter(range(1, 10_000_000))
    benchmark.pedantic(lambda: window.accept(next(ids), 0), **ROUNDS)


def test_clamp(benchmark: Any) -> None:
    packet = bytearray(SYN)
    benchmark.pedantic(clamp, (packet, 1300), **ROUNDS)
