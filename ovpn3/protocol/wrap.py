"""Authentication and encryption of control packets: none, tls-auth, tls-crypt, tls-crypt-v2, dynamic tls-crypt.

A wrapper turns (first octet, session id, rest) into a packet and back. Each holds its own send counter and replay
window.
"""

import hmac
import struct
from typing import Final, Protocol, final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ovpn3.errors import AuthenticationFailed, CryptoError, PeerError
from ovpn3.protocol.config import WrapConfig, WrapMode
from ovpn3.protocol.keyfile import unpack_client_key, unpack_static_key
from ovpn3.protocol.keys import DIGEST_BYTES, Key2
from ovpn3.protocol.packet import HEADER_BYTES, unpack_first
from ovpn3.protocol.replay import ReplayWindow

TAG_BYTES: Final = 32
REPLAY_ID: Final = struct.Struct(">II")  # packet id, Unix time
EARLY_NEGOTIATION_ID: Final = 0x0F000000  # a tls-crypt-v2 client's counter starts here to show what it supports


class Replayed(PeerError):
    """A packet that authenticates but was seen before."""


class Wrapper(Protocol):
    """One way to protect control packets."""

    @property
    def overhead(self) -> int:
        """Octets added to each packet, without a wrapped client key."""

    @property
    def wkc(self) -> bytes:
        """Appended to packets whose opcode says so; empty except for tls-crypt-v2."""

    def wrap(self, first: int, session_id: bytes, rest: bytes) -> bytes: ...

    def unwrap(self, packet: bytes) -> tuple[int, bytes, bytes]:
        """(first, session id, rest); raises AuthenticationFailed, Replayed, or PeerError if too short."""


@final
class Plain:
    """No protection at all."""

    overhead: Final = 0
    wkc: Final = b""

    def wrap(self, first: int, session_id: bytes, rest: bytes) -> bytes:
        return bytes((first,)) + session_id + rest

    def unwrap(self, packet: bytes) -> tuple[int, bytes, bytes]:
        if len(packet) < HEADER_BYTES:
            raise PeerError("control packet is too short")
        return packet[0], packet[1:HEADER_BYTES], packet[HEADER_BYTES:]


@final
class TlsAuth:
    """HMAC over packet id, time and packet; on the wire it stands *before* packet id and time."""

    wkc: Final = b""

    def __init__(self, send_key: bytes, recv_key: bytes, digest: str, time: int, *, next_id: int = 1) -> None:
        self._digest = digest.lower()
        self._size = DIGEST_BYTES[digest]
        self._send_key, self._recv_key = send_key, recv_key
        self._counter = _Counter(time, next_id)
        self._window = ReplayWindow()

    @property
    def overhead(self) -> int:
        return self._size + REPLAY_ID.size

    def wrap(self, first: int, session_id: bytes, rest: bytes) -> bytes:
        replay_id = self._counter.take()
        header = bytes((first,)) + session_id
        mac = hmac.digest(self._send_key, replay_id + header + rest, self._digest)
        return header + mac + replay_id + rest

    def unwrap(self, packet: bytes) -> tuple[int, bytes, bytes]:
        at = HEADER_BYTES + self._size
        if len(packet) < at + REPLAY_ID.size:
            raise PeerError("control packet is too short")
        header, mac = packet[:HEADER_BYTES], packet[HEADER_BYTES:at]
        replay_id, rest = packet[at : at + REPLAY_ID.size], packet[at + REPLAY_ID.size :]
        if not hmac.compare_digest(mac, hmac.digest(self._recv_key, replay_id + header + rest, self._digest)):
            raise AuthenticationFailed("control packet has a wrong HMAC")
        _check_replay(self._window, replay_id)
        return header[0], header[1:], rest


@final
class TlsCrypt:
    """Encrypt-and-authenticate: the tag over the plaintext is the IV of AES-256-CTR."""

    def __init__(
        self, send: tuple[bytes, bytes], recv: tuple[bytes, bytes], time: int, *, wkc: bytes = b"", next_id: int = 1
    ) -> None:
        self._send_cipher, self._send_hmac = send
        self._recv_cipher, self._recv_hmac = recv
        self._counter = _Counter(time, next_id)
        self._window = ReplayWindow()
        self._wkc = wkc

    @property
    def overhead(self) -> int:
        return REPLAY_ID.size + TAG_BYTES

    @property
    def wkc(self) -> bytes:
        return self._wkc

    def wrap(self, first: int, session_id: bytes, rest: bytes) -> bytes:
        header = bytes((first,)) + session_id + self._counter.take()
        tag = hmac.digest(self._send_hmac, header + rest, "sha256")
        packet = header + tag + _aes_ctr(self._send_cipher, tag, rest)
        return packet + self._wkc if unpack_first(first)[0].carries_wkc else packet

    def unwrap(self, packet: bytes) -> tuple[int, bytes, bytes]:
        at = HEADER_BYTES + REPLAY_ID.size
        if len(packet) < at + TAG_BYTES:
            raise PeerError("control packet is too short")
        header, tag = packet[:at], packet[at : at + TAG_BYTES]
        rest = _aes_ctr(self._recv_cipher, tag, packet[at + TAG_BYTES :])
        if not hmac.compare_digest(tag, hmac.digest(self._recv_hmac, header + rest, "sha256")):
            raise AuthenticationFailed("control packet has a wrong tag")
        _check_replay(self._window, header[HEADER_BYTES:])
        return header[0], header[1:HEADER_BYTES], rest


@final
class ControlWrap:
    """Chooses the wrapper by key id: the configured one for the first generation, later the dynamic one if any."""

    def __init__(self, config: WrapConfig, time: int) -> None:
        self._base_key: Key2 | None = None
        self._dynamic: Wrapper | None = None
        self.base: Wrapper = self._make_base(config, time)

    @property
    def overhead(self) -> int:
        """Octets added to a packet, whatever its generation."""
        return max(self.base.overhead, REPLAY_ID.size + TAG_BYTES)

    def for_key(self, key_id: int) -> Wrapper:
        return self.base if key_id == 0 or self._dynamic is None else self._dynamic

    def make_dynamic(self, exported: Key2, time: int) -> None:
        """Protect later generations with keys from the first TLS session, combined with the configured key."""
        key = exported if self._base_key is None else exported.xor(self._base_key)
        self._dynamic = _tls_crypt(key, time)

    def _make_base(self, config: WrapConfig, time: int) -> Wrapper:
        match config.mode:
            case WrapMode.NONE:
                return Plain()
            case WrapMode.TLS_AUTH:
                self._base_key = unpack_static_key(config.key)
                return _tls_auth(self._base_key, config, time)
            case WrapMode.TLS_CRYPT:
                self._base_key = unpack_static_key(config.key)
                return _tls_crypt(self._base_key, time)
            case WrapMode.TLS_CRYPT_V2:
                self._base_key, wkc = unpack_client_key(config.key)
                return _tls_crypt(self._base_key, time, wkc=wkc, next_id=EARLY_NEGOTIATION_ID + 1)


class _Counter:
    """Packet id and time of the next packet to send."""

    def __init__(self, time: int, next_id: int) -> None:
        self._time, self._next_id = time, next_id

    def take(self) -> bytes:
        replay_id = REPLAY_ID.pack(self._next_id, self._time)
        self._next_id += 1
        return replay_id


def _tls_auth(key: Key2, config: WrapConfig, time: int) -> TlsAuth:
    size = DIGEST_BYTES.get(config.digest)
    if size is None:
        raise CryptoError(f"digest {config.digest!r} can't be used for tls-auth")
    send, recv = {None: (0, 0), 0: (0, 1), 1: (1, 0)}[config.direction]
    return TlsAuth(key.hmac(send, size), key.hmac(recv, size), config.digest, time)


def _tls_crypt(key: Key2, time: int, *, wkc: bytes = b"", next_id: int = 1) -> TlsCrypt:
    return TlsCrypt(
        (key.cipher(1, 32), key.hmac(1, 32)),
        (key.cipher(0, 32), key.hmac(0, 32)),
        time,
        wkc=wkc,
        next_id=next_id,
    )


def _check_replay(window: ReplayWindow, replay_id: bytes) -> None:
    packet_id, time = REPLAY_ID.unpack(replay_id)
    if not window.accept(time, packet_id):
        raise Replayed(f"control packet {packet_id} is a replay")


def _aes_ctr(key: bytes, tag: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES256(key), modes.CTR(tag[:16])).encryptor().update(data)
