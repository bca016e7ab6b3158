"""The two ends of the control channel: session ids, wrapping, and the checks every received packet must pass."""

from collections.abc import Callable
from typing import Final, final

from ovpn3.errors import AuthenticationFailed, PeerError
from ovpn3.protocol.config import SessionConfig
from ovpn3.protocol.keys import Key2
from ovpn3.protocol.packet import (
    HEADER_BYTES,
    MAX_PIGGYBACK_ACKS,
    SESSION_ID_BYTES,
    ControlPacket,
    Opcode,
    pack_first,
    pack_rest,
    unpack_first,
    unpack_rest,
)
from ovpn3.protocol.wrap import ControlWrap

REST_HEAD_BYTES: Final = 1 + 4 * MAX_PIGGYBACK_ACKS + SESSION_ID_BYTES + 4  # at most
FROM_SERVER: Final = frozenset({Opcode.SOFT_RESET, Opcode.CONTROL, Opcode.ACK, Opcode.HARD_RESET_SERVER})


@final
class Channel:
    """`wall` is the Unix time that replay protection starts with."""

    def __init__(self, config: SessionConfig, random: Callable[[int], bytes], wall: int) -> None:
        self._wrap = ControlWrap(config.wrap, wall)
        self._max_packet_bytes = config.max_packet_bytes
        self.session_id = _make_session_id(random)
        self.peer_session_id: bytes | None = None
        self.forged = 0  # packets that didn't authenticate

    @property
    def has_wkc(self) -> bool:
        return bool(self._wrap.base.wkc)

    def protect_later(self, exported: Key2, wall: int) -> None:
        """Wrap all generations but the first with keys of the first one's TLS session."""
        self._wrap.make_dynamic(exported, wall)

    def room(self, opcode: Opcode) -> int:
        """Octets of TLS that fit into a packet; a packet that carries the wrapped key may have none."""
        used = HEADER_BYTES + self._wrap.overhead + REST_HEAD_BYTES
        if opcode.carries_wkc:
            return max(self._max_packet_bytes - used - len(self._wrap.base.wkc), 0)
        return max(self._max_packet_bytes - used, 1)

    def seal(self, packet: ControlPacket) -> bytes:
        first = pack_first(packet.opcode, packet.key_id)
        return self._wrap.for_key(packet.key_id).wrap(first, packet.session_id, pack_rest(packet))

    def open(self, data: bytes) -> ControlPacket:
        """The packet, if it is authentic and from our peer to us; PeerError if not, and nothing has changed."""
        if not data:
            raise PeerError("empty packet")
        opcode, key_id = unpack_first(data[0])
        if opcode not in FROM_SERVER:
            raise PeerError(f"{opcode.name} is not a server's to send")
        if (opcode is Opcode.HARD_RESET_SERVER and key_id) or (opcode is Opcode.SOFT_RESET and not key_id):
            raise PeerError(f"{opcode.name} with key id {key_id}")
        try:
            packet = unpack_rest(*self._wrap.for_key(key_id).unwrap(data))
        except AuthenticationFailed as e:
            self.forged += 1
            raise PeerError(str(e)) from e
        if packet.acks and packet.peer_session_id != self.session_id:
            raise PeerError("control packet is meant for another session")
        if self.peer_session_id is None:
            self._learn(packet)
        elif packet.session_id != self.peer_session_id:
            raise PeerError("control packet is from another session")
        return packet

    def _learn(self, packet: ControlPacket) -> None:
        """The first packet names the peer. It must quote our session id, which only a real answer can."""
        if not packet.acks or packet.key_id or packet.opcode not in (Opcode.HARD_RESET_SERVER, Opcode.ACK):
            raise PeerError("the server's first packet doesn't answer ours")
        self.peer_session_id = packet.session_id


def _make_session_id(random: Callable[[int], bytes]) -> bytes:
    while not any(session_id := random(SESSION_ID_BYTES)):
        pass
    return session_id
