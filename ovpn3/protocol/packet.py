"""Codec of control packets, as they are before wrapping. Layout:

first | session_id[8] | ack_count | ack_id[4]… | peer_session_id[8] if acks | message_id[4] unless ACK | payload

`first` is opcode << 3 | key_id. "Rest" is everything after the session id: the part that wrapping may encrypt.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from ovpn3.errors import PeerError

SESSION_ID_BYTES = 8
HEADER_BYTES = 1 + SESSION_ID_BYTES
MAX_ACKS = 8  # in an ACK packet
MAX_PIGGYBACK_ACKS = 4  # on any other packet

TLV_EARLY_FLAGS = 1
EARLY_FLAG_RESEND_WKC = 1


class Opcode(IntEnum):
    """Control packets of the present protocol; data packets (6, 9) never come here."""

    SOFT_RESET = 3
    CONTROL = 4
    ACK = 5
    HARD_RESET_CLIENT = 7
    HARD_RESET_SERVER = 8
    HARD_RESET_CLIENT_WKC = 10
    CONTROL_WKC = 11

    @property
    def is_reset(self) -> bool:
        """Opens a key generation, so it carries message id 0."""
        return self not in (Opcode.CONTROL, Opcode.ACK, Opcode.CONTROL_WKC)

    @property
    def carries_wkc(self) -> bool:
        return self in (Opcode.HARD_RESET_CLIENT_WKC, Opcode.CONTROL_WKC)


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """`peer_session_id` is None exactly when `acks` is empty, `message_id` exactly for an ACK."""

    opcode: Opcode
    key_id: int
    session_id: bytes
    acks: tuple[int, ...] = ()
    peer_session_id: bytes | None = None
    message_id: int | None = None
    payload: bytes = b""


def pack_first(opcode: Opcode, key_id: int) -> int:
    return opcode << 3 | key_id


def unpack_first(first: int) -> tuple[Opcode, int]:
    """Opcode and key id of a packet's first octet; PeerError for an opcode that isn't a control packet's."""
    try:
        return Opcode(first >> 3), first & 7
    except ValueError as e:
        raise PeerError(f"opcode {first >> 3} is not a control packet") from e


def pack_rest(packet: ControlPacket) -> bytes:
    parts = [struct.pack(f">B{len(packet.acks)}I", len(packet.acks), *packet.acks)]
    if packet.peer_session_id is not None:
        parts.append(packet.peer_session_id)
    if packet.message_id is not None:
        parts.append(struct.pack(">I", packet.message_id))
    parts.append(packet.payload)
    return b"".join(parts)


def unpack_rest(first: int, session_id: bytes, rest: bytes) -> ControlPacket:
    """The packet of an unwrapped header and rest; PeerError if it is malformed."""
    opcode, key_id = unpack_first(first)
    try:
        (ack_count,) = struct.unpack_from(">B", rest)
        if ack_count > MAX_ACKS:
            raise PeerError(f"{ack_count} acknowledgements in one packet")
        acks = struct.unpack_from(f">{ack_count}I", rest, 1)
        at = 1 + 4 * ack_count
        peer_session_id = None
        if acks:
            peer_session_id = rest[at : at + SESSION_ID_BYTES]
            at += SESSION_ID_BYTES
        message_id = None
        if opcode is not Opcode.ACK:
            (message_id,) = struct.unpack_from(">I", rest, at)
            at += 4
    except struct.error as e:
        raise PeerError("control packet is too short") from e
    if at > len(rest):
        raise PeerError("control packet is too short")
    if message_id is not None and opcode.is_reset != (message_id == 0):
        raise PeerError(f"{opcode.name} with message id {message_id}")
    return ControlPacket(opcode, key_id, session_id, acks, peer_session_id, message_id, rest[at:])


def unpack_tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each record in a server reset's payload; PeerError if one is cut off."""
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise PeerError("server reset has a truncated record")
        kind, size = struct.unpack_from(">HH", data, at)
        at += 4
        if len(data) - at < size:
            raise PeerError("server reset has a truncated record")
        yield kind, data[at : at + size]
        at += size


def wants_wkc_again(reset_payload: bytes) -> bool:
    """Whether a server reset asks for the wrapped client key in our next packet; PeerError if malformed."""
    flags = 0
    for kind, value in unpack_tlvs(reset_payload):
        if kind == TLV_EARLY_FLAGS:
            if len(value) != 2:
                raise PeerError("server reset has early flags of a wrong length")
            flags = int.from_bytes(value, "big")
    return bool(flags & EARLY_FLAG_RESEND_WKC)
