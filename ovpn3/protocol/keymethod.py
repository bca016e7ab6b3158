"""Key-method-2: the first message each side sends inside TLS, once per key generation."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ovpn3.errors import PeerError
from ovpn3.protocol.keys import KeySource
from ovpn3.secret import Secret

PREFIX: Final = b"\0\0\0\0\x02"  # four reserved octets, key method 2
RANDOM_BYTES: Final = 32
PRE_MASTER_BYTES: Final = 48
SERVER_FIXED_BYTES: Final = len(PREFIX) + 2 * RANDOM_BYTES


@dataclass(frozen=True, slots=True)
class ServerHello:
    """`options` is informational; `peer_info` is empty with most servers."""

    source: KeySource
    options: str
    peer_info: str = ""


def make_source(random: Callable[[int], bytes]) -> KeySource:
    """A client's share of randomness."""
    return KeySource(
        pre_master=Secret(random(PRE_MASTER_BYTES)),
        random1=Secret(random(RANDOM_BYTES)),
        random2=Secret(random(RANDOM_BYTES)),
    )


def pack_client(source: KeySource, options: str, username: str, password: Secret, peer_info: str) -> bytes:
    """The client's message; an empty string is sent as absent."""
    return b"".join(
        (
            PREFIX,
            source.pre_master.reveal(),
            source.random1.reveal(),
            source.random2.reveal(),
            *(_pack_string(s) for s in (options.encode(), username.encode(), password.reveal(), peer_info.encode())),
        )
    )


def unpack_server(record: bytes) -> ServerHello:
    """The server's message: one TLS record. Strings after the options are optional. PeerError if malformed."""
    if len(record) < SERVER_FIXED_BYTES or record[:4] != PREFIX[:4] or record[4] & 0xF != 2:
        raise PeerError("the server's first TLS message isn't key method 2")
    at = len(PREFIX)
    random1 = record[at : at + RANDOM_BYTES]
    random2 = record[at + RANDOM_BYTES : SERVER_FIXED_BYTES]
    strings = _unpack_strings(record[SERVER_FIXED_BYTES:])
    return ServerHello(
        KeySource(random1=Secret(random1), random2=Secret(random2)),
        options=strings[0] if strings else "",
        peer_info=strings[3] if len(strings) > 3 else "",
    )


def _pack_string(text: bytes) -> bytes:
    return struct.pack(">H", len(text) + 1) + text + b"\0" if text else b"\0\0"


def _unpack_strings(data: bytes) -> list[str]:
    strings, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        at += 2
        if at > len(data) or len(data) - at < size:
            raise PeerError("the server's key-method-2 message is cut off")
        strings.append(data[at : at + size].rstrip(b"\0").decode(errors="replace"))
        at += size
    return strings
