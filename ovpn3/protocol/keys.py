"""Key material: the 256-octet layout all keys share, its derivation, and its slices for a cipher.

Octets 0-63 key0.cipher, 64-127 key0.hmac, 128-191 key1.cipher, 192-255 key1.hmac; a shorter key is the beginning
of its slice. A client sends data with key0 and receives with key1; for tls-crypt it is the other way round.
"""

import hmac
from dataclasses import dataclass, field
from typing import Final, final

from ovpn3.errors import CryptoError
from ovpn3.secret import Secret

KEY2_BYTES: Final = 256
EKM_DATA_LABEL: Final = b"EXPORTER-OpenVPN-datakeys"
EKM_WRAP_LABEL: Final = b"EXPORTER-OpenVPN-dynamic-tls-crypt"
AEAD_IV_BYTES: Final = 8  # implicit part of the nonce
EPOCH_SECRET_BYTES: Final = 32

AEAD_KEY_BYTES: Final = {
    "AES-128-GCM": 16,
    "AES-192-GCM": 24,
    "AES-256-GCM": 32,
    "CHACHA20-POLY1305": 32,
}
CBC_KEY_BYTES: Final = {"AES-128-CBC": 16, "AES-192-CBC": 24, "AES-256-CBC": 32}
DIGEST_BYTES: Final = {"NONE": 0, "MD5": 16, "SHA1": 20, "SHA224": 28, "SHA256": 32, "SHA384": 48, "SHA512": 64}


@final
class Key2:
    """256 octets, cut into cipher and HMAC keys of two directions (0 and 1)."""

    __slots__ = ("_secret",)

    def __init__(self, octets: bytes | bytearray | memoryview) -> None:
        if len(octets) != KEY2_BYTES:
            raise CryptoError(f"key material has {len(octets)} octets, {KEY2_BYTES} are needed")
        self._secret = Secret(octets)

    def cipher(self, direction: int, size: int) -> bytes:
        return bytes(self._secret.view()[128 * direction : 128 * direction + size])

    def hmac(self, direction: int, size: int) -> bytes:
        return bytes(self._secret.view()[128 * direction + 64 : 128 * direction + 64 + size])

    def xor(self, other: "Key2") -> "Key2":
        return Key2(_xor(self._secret.view(), other._secret.view()))

    def wipe(self) -> None:
        self._secret.wipe()


@dataclass(frozen=True, slots=True)
class DataKeys:
    """Keys of one generation as its client uses them: implicit IVs for an AEAD cipher, HMAC keys for CBC.

    With epochs each key is the secret that the first epoch begins with, and there is nothing else.
    """

    send_key: Secret
    recv_key: Secret
    send_iv: Secret = field(default_factory=Secret)
    recv_iv: Secret = field(default_factory=Secret)
    send_hmac: Secret = field(default_factory=Secret)
    recv_hmac: Secret = field(default_factory=Secret)

    def wipe(self) -> None:
        for secret in (
            self.send_key,
            self.recv_key,
            self.send_iv,
            self.recv_iv,
            self.send_hmac,
            self.recv_hmac,
        ):
            secret.wipe()


@dataclass(frozen=True, slots=True)
class KeySource:
    """Random octets one side contributes to the PRF; a server has no pre-master."""

    random1: Secret
    random2: Secret
    pre_master: Secret = field(default_factory=Secret)


def data_keys(key2: Key2, cipher: str, digest: str = "", *, epochs: bool = False) -> DataKeys:
    """A client's slices for a cipher in upper case; `digest` matters for CBC only. CryptoError if unknown."""
    if epochs:
        return DataKeys(
            send_key=Secret(key2.cipher(0, EPOCH_SECRET_BYTES)), recv_key=Secret(key2.cipher(1, EPOCH_SECRET_BYTES))
        )
    if size := AEAD_KEY_BYTES.get(cipher):
        return DataKeys(
            send_key=Secret(key2.cipher(0, size)),
            recv_key=Secret(key2.cipher(1, size)),
            send_iv=Secret(key2.hmac(0, AEAD_IV_BYTES)),
            recv_iv=Secret(key2.hmac(1, AEAD_IV_BYTES)),
        )
    if (size := CBC_KEY_BYTES.get(cipher)) and (digest_size := DIGEST_BYTES.get(digest)) is not None:
        return DataKeys(
            send_key=Secret(key2.cipher(0, size)),
            recv_key=Secret(key2.cipher(1, size)),
            send_hmac=Secret(key2.hmac(0, digest_size)),
            recv_hmac=Secret(key2.hmac(1, digest_size)),
        )
    raise CryptoError(f"data cipher {cipher!r} with digest {digest!r} is not supported")


def expand(client: KeySource, server: KeySource, client_session_id: bytes, server_session_id: bytes) -> Key2:
    """Key derivation without an exporter: the PRF of TLS 1.0, whatever TLS version carried the randoms."""
    master = prf(
        client.pre_master.reveal(),
        b"OpenVPN master secret" + client.random1.reveal() + server.random1.reveal(),
        48,
    )
    seed = client.random2.reveal() + server.random2.reveal() + client_session_id + server_session_id
    return Key2(prf(master, b"OpenVPN key expansion" + seed, KEY2_BYTES))


def prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """RFC 2246 section 5: MD5 and SHA-1 halves, XORed."""
    half = (len(secret) + 1) // 2
    return _xor(
        _p_hash("md5", secret[:half], seed, size),
        _p_hash("sha1", secret[len(secret) - half :], seed, size),
    )


def _p_hash(digest: str, secret: bytes, seed: bytes, size: int) -> bytes:
    out, a = b"", seed
    while len(out) < size:
        a = hmac.digest(secret, a, digest)
        out += hmac.digest(secret, a + seed, digest)
    return out[:size]


def _xor(a: bytes | memoryview, b: bytes | memoryview) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))
