"""Names of ciphers and events, for the compiled modules, which know only numbers."""

from dataclasses import dataclass
from enum import IntEnum

from ovpn3._fast import aead, cbc, decompress, ring
from ovpn3.constants import Framing
from ovpn3.errors import CryptoError

BLOCK_BYTES = TAG_BYTES = 16
PACKET_ID_BYTES, EPOCH_ID_BYTES = 4, 8


class EventKind(IntEnum):
    """Events of the pump; the comment says what `Event.value` is."""

    CONTROL_PACKET = ring.CONTROL_PACKET  # first octet; the packet is in `data`
    FIRST_DATA = ring.FIRST_DATA  # key id: an authentic packet came under it
    KEY_EXPIRING = ring.KEY_EXPIRING  # key id: near a limit, renegotiate
    PEER_TIMEOUT = ring.PEER_TIMEOUT
    INACTIVE = ring.INACTIVE
    PEER_EXIT = ring.PEER_EXIT
    SOCKET_ERROR = ring.SOCKET_ERROR  # errno; at most one a second, and the pump goes on
    TUN_ERROR = ring.TUN_ERROR  # errno; the tun is detached if it is gone
    CLOSED = ring.CLOSED  # errno, 0 for end of stream: nothing more will come
    COMPRESSED = ring.COMPRESSED  # a packet was dropped because it is compressed; told once


@dataclass(frozen=True, slots=True)
class Event:
    """Something the pump has to tell."""

    kind: EventKind
    value: int = 0
    data: bytes = b""


def events(drained: list[tuple[int, int, bytes]]) -> list[Event]:
    """What `Pump.events()` returned, by name."""
    return [Event(EventKind(kind), value, data) for kind, value, data in drained]


@dataclass(frozen=True, slots=True)
class Cipher:
    """A cipher of the data channel: its number in the compiled modules and its key length. Without `cbc` it is AEAD."""

    name: str
    number: int
    key_bytes: int
    cbc: bool = False


AEAD_CIPHERS = {
    c.name: c
    for c in (
        Cipher("AES-128-GCM", aead.AES_128_GCM, 16),
        Cipher("AES-192-GCM", aead.AES_192_GCM, 24),
        Cipher("AES-256-GCM", aead.AES_256_GCM, 32),
        Cipher("CHACHA20-POLY1305", aead.CHACHA20_POLY1305, 32),
    )
}
CBC_CIPHERS = {
    c.name: c
    for c in (
        Cipher("AES-128-CBC", cbc.AES_128_CBC, 16, cbc=True),
        Cipher("AES-192-CBC", cbc.AES_192_CBC, 24, cbc=True),
        Cipher("AES-256-CBC", cbc.AES_256_CBC, 32, cbc=True),
    )
}
CIPHERS = AEAD_CIPHERS | CBC_CIPHERS


def cipher(name: str) -> Cipher:
    """Look a cipher up by name, in any case; CryptoError if the data path doesn't have it."""
    try:
        return CIPHERS[name.upper()]
    except KeyError:
        raise CryptoError(f"data cipher {name!r} is not available") from None


def decompressors() -> tuple[str, ...]:
    """What of lzo and lz4 the data path can decompress; their libraries are loaded with the first call."""
    names = {decompress.LZO: "lzo", decompress.LZ4: "lz4"}
    return tuple(names[method] for method in decompress.load())


def payload_room(
    packet_bytes: int, *, cipher: Cipher, digest_bytes: int, framing: Framing, peer_id: bool, epochs: bool = False
) -> int:
    """Octets of payload for which a data packet has at most `packet_bytes`; `digest_bytes` matters for CBC only."""
    header = 4 if peer_id else 1
    if not cipher.cbc:
        packet_id = EPOCH_ID_BYTES if epochs else PACKET_ID_BYTES
        return packet_bytes - header - packet_id - TAG_BYTES - framing.octets
    blocks = (packet_bytes - header - digest_bytes - BLOCK_BYTES) // BLOCK_BYTES
    return blocks * BLOCK_BYTES - 1 - PACKET_ID_BYTES - framing.octets
