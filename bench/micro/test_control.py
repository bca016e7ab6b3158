"""Control packets: what a handshake pays for each."""

import os
from typing import Any

from ovpn3.protocol.packet import ControlPacket, Opcode, pack_first, pack_rest, unpack_rest
from ovpn3.protocol.wrap import TlsCrypt

SESSION_ID = bytes(8)
PACKET = ControlPacket(Opcode.CONTROL, 0, SESSION_ID, (1, 2), SESSION_ID, 3, os.urandom(1100))
FIRST = pack_first(Opcode.CONTROL, 0)


def test_pack(benchmark: Any) -> None:
    benchmark(pack_rest, PACKET)


def test_unpack(benchmark: Any) -> None:
    assert benchmark(unpack_rest, FIRST, SESSION_ID, pack_rest(PACKET)) == PACKET


def test_tls_crypt(benchmark: Any) -> None:
    """There and back; only fresh ones are read."""
    keys = os.urandom(32), os.urandom(32)
    wrapper, rest = TlsCrypt(keys, keys, 0), pack_rest(PACKET)
    assert benchmark(lambda: wrapper.unwrap(wrapper.wrap(FIRST, SESSION_ID, rest)))[2] == rest
