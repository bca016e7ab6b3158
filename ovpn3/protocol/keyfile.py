"""Text formats of key files: the static key of tls-auth and tls-crypt, and tls-crypt-v2's client key."""

import base64
import binascii
from typing import Final

from ovpn3.errors import CryptoError
from ovpn3.protocol.keys import KEY2_BYTES, Key2
from ovpn3.secret import Secret

MIN_WKC_BYTES: Final = 32 + 2  # tag and length
MAX_WKC_BYTES: Final = 1024


def unpack_static_key(text: Secret) -> Key2:
    """Key of an "OpenVPN Static key V1" file: 256 octets as hexadecimal lines of any length, else CryptoError."""
    lines = _block(text, "OpenVPN Static key V1")
    try:
        octets = binascii.unhexlify("".join(lines))
    except ValueError:
        raise CryptoError("the static key isn't hexadecimal") from None
    if len(octets) != KEY2_BYTES:
        raise CryptoError(f"the static key has {len(octets)} octets, {KEY2_BYTES} are needed")
    return Key2(octets)


def unpack_client_key(text: Secret) -> tuple[Key2, bytes]:
    """Client key and wrapped client key (opaque, for the server) of a tls-crypt-v2 file, else CryptoError."""
    lines = _block(text, "OpenVPN tls-crypt-v2 client key")
    try:
        octets = base64.b64decode("".join(lines), validate=True)
    except ValueError:
        raise CryptoError("the tls-crypt-v2 key isn't base64") from None
    wkc = octets[KEY2_BYTES:]
    if not MIN_WKC_BYTES <= len(wkc) <= MAX_WKC_BYTES or int.from_bytes(wkc[-2:], "big") != len(wkc):
        raise CryptoError("the tls-crypt-v2 key is truncated or isn't a client key")
    return Key2(octets[:KEY2_BYTES]), wkc


def _block(text: Secret, name: str) -> list[str]:
    """Lines between the markers; anything outside is comment."""
    try:
        lines = [line.strip() for line in text.text().splitlines()]
        begin = lines.index(f"-----BEGIN {name}-----")
        return lines[begin + 1 : lines.index(f"-----END {name}-----", begin)]
    except ValueError:  # also of the decoder, whose text would show the key
        raise CryptoError(f"no complete {name!r} block in the key file") from None
