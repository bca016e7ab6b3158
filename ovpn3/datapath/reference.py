"""Slow, plain twin of the data path: the oracle the tests compare the compiled one with. Never used at run time.

AEAD   header | packet id (4) | tag | ciphertext                    nonce = packet id | implicit IV
CBC    header | HMAC | IV | CBC(packet id (4) | payload)            HMAC over IV and ciphertext
epoch  header | epoch (2), counter (6) | ciphertext | tag           nonce = implicit IV xor (epoch, counter, 0)
"""

import hmac
from dataclasses import dataclass, field
from struct import pack

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.padding import PKCS7

from ovpn3.errors import AuthenticationFailed, PeerError

DATA_V1 = 6
DATA_V2 = 9
TAG_BYTES = 16
BLOCK_BYTES = 16
AEAD = {"AES-128-GCM": 16, "AES-192-GCM": 24, "AES-256-GCM": 32, "CHACHA20-POLY1305": 32}  # key lengths


@dataclass(frozen=True)
class Opened:
    """What a packet held."""

    key_id: int
    packet_id: int
    payload: bytes


def pack_header(key_id: int, peer_id: int | None) -> bytes:
    """DATA_V2, or DATA_V1 without a peer id."""
    if peer_id is None:
        return bytes([DATA_V1 << 3 | key_id])
    return pack(">I", (DATA_V2 << 3 | key_id) << 24 | peer_id)


def split_header(packet: bytes) -> tuple[bytes, bytes]:
    """Header and rest; PeerError if it isn't a data packet."""
    opcode = packet[0] >> 3 if packet else None
    if opcode == DATA_V1:
        return packet[:1], packet[1:]
    if opcode == DATA_V2 and len(packet) >= 4:
        return packet[:4], packet[4:]
    raise PeerError("not a data packet")


def aead(cipher: str, key: bytes) -> AESGCM | ChaCha20Poly1305:
    return ChaCha20Poly1305(key) if cipher == "CHACHA20-POLY1305" else AESGCM(key)


def covered(header: bytes, packet_id: bytes) -> bytes:
    """The authenticated part of an AEAD packet: with DATA_V1 the packet id alone."""
    return packet_id if header[0] >> 3 == DATA_V1 else header + packet_id


def seal_aead(
    cipher: str, key: bytes, iv: bytes, key_id: int, peer_id: int | None, packet_id: int, payload: bytes
) -> bytes:
    header, id_bytes = pack_header(key_id, peer_id), pack(">I", packet_id)
    sealed = aead(cipher, key).encrypt(id_bytes + iv, payload, covered(header, id_bytes))
    return header + id_bytes + sealed[-TAG_BYTES:] + sealed[:-TAG_BYTES]


def open_aead(cipher: str, key: bytes, iv: bytes, packet: bytes) -> Opened:
    header, rest = split_header(packet)
    if len(rest) < 4 + TAG_BYTES:
        raise PeerError("data packet too short")
    id_bytes, tag, text = rest[:4], rest[4 : 4 + TAG_BYTES], rest[4 + TAG_BYTES :]
    payload = authentic(aead(cipher, key), id_bytes + iv, text + tag, covered(header, id_bytes))
    return Opened(header[0] & 7, int.from_bytes(id_bytes), payload)


def authentic(key: AESGCM | ChaCha20Poly1305, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    try:
        return key.decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise AuthenticationFailed("wrong tag") from None


def seal_cbc(
    key: bytes,
    auth: str,
    hmac_key: bytes,
    key_id: int,
    peer_id: int | None,
    packet_id: int,
    payload: bytes,
    iv: bytes,
) -> bytes:
    padder = PKCS7(BLOCK_BYTES * 8).padder()
    padded = padder.update(pack(">I", packet_id) + payload) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    text = iv + encryptor.update(padded) + encryptor.finalize()
    return pack_header(key_id, peer_id) + mac(auth, hmac_key, text) + text


def mac(auth: str, key: bytes, text: bytes) -> bytes:
    """The HMAC; with an empty `auth` there is none."""
    return hmac.digest(key, text, auth) if auth else b""


def open_cbc(key: bytes, auth: str, hmac_key: bytes, packet: bytes) -> Opened:
    header, rest = split_header(packet)
    digest_bytes = len(mac(auth, hmac_key, b""))
    digest, text = rest[:digest_bytes], rest[digest_bytes:]
    if not hmac.compare_digest(digest, mac(auth, hmac_key, text)):
        raise AuthenticationFailed("wrong HMAC")
    iv, text = text[:BLOCK_BYTES], text[BLOCK_BYTES:]
    if not text or len(text) % BLOCK_BYTES:
        raise PeerError("ciphertext isn't whole blocks")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = PKCS7(BLOCK_BYTES * 8).unpadder()
    try:
        plain = unpadder.update(decryptor.update(text) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        raise PeerError("wrong padding") from None
    if len(plain) < 4:
        raise PeerError("no packet id")
    return Opened(header[0] & 7, int.from_bytes(plain[:4]), plain[4:])


def expand_label(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand with the info of RFC 8446 §7.1, prefix "ovpn " and no context."""
    full = b"ovpn " + label.encode()
    return HKDFExpand(SHA256(), size, pack(">HB", size, len(full)) + full + b"\0").derive(secret)


@dataclass(frozen=True)
class Epoch:
    """One epoch of one direction; the first one's secret is the start of the direction's cipher slice."""

    number: int
    secret: bytes = field(repr=False)

    def next(self) -> "Epoch":
        return Epoch(self.number + 1, expand_label(self.secret, "datakey upd", 32))

    def keys(self, cipher: str) -> tuple[bytes, bytes]:
        """(key, implicit IV)"""
        return expand_label(self.secret, "data_key", AEAD[cipher]), expand_label(self.secret, "data_iv", 12)

    def seal(self, cipher: str, key_id: int, peer_id: int, counter: int, payload: bytes) -> bytes:
        key, iv = self.keys(cipher)
        head = pack_header(key_id, peer_id) + pack(">Q", self.number << 48 | counter)
        return head + aead(cipher, key).encrypt(epoch_nonce(iv, head[4:12]), payload, head)

    def open(self, cipher: str, packet: bytes) -> Opened:
        """PeerError if the packet is of another epoch."""
        key, iv = self.keys(cipher)
        head, sealed = packet[:12], packet[12:]
        if len(sealed) < TAG_BYTES or head[0] >> 3 != DATA_V2 or int.from_bytes(head[4:6]) != self.number:
            raise PeerError("not a packet of this epoch")
        payload = authentic(aead(cipher, key), epoch_nonce(iv, head[4:12]), sealed, head)
        return Opened(head[0] & 7, int.from_bytes(head[6:12]), payload)


def epoch_nonce(iv: bytes, packet_id: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(iv, packet_id + bytes(4), strict=True))


class ReplayWindow:
    """The replay rule as a set of ids: so many back from the highest, none from before so many seconds of silence."""

    def __init__(self, reach: int = 2048, silence_s: float = 30.0) -> None:
        self.reach, self.silence_s = reach, silence_s
        self.seen: set[int] = set()
        self.highest = self.floor = 0
        self.expires = 0.0

    def accept(self, packet_id: int, now: float) -> bool:
        if now >= self.expires:
            self.floor = self.highest
        self.expires = now + self.silence_s
        oldest = max(self.floor, self.highest - self.reach)
        if packet_id <= oldest or packet_id in self.seen:
            return False
        self.seen.add(packet_id)
        self.highest = max(self.highest, packet_id)
        return True
