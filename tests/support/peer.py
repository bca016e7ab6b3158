"""The server side of our protocol, in memory: just enough to meet a `Session` in tests."""

import base64
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from OpenSSL import SSL, crypto

from ovpn3.protocol.actions import InstallKeys, SendPacket
from ovpn3.protocol.config import SessionConfig, TlsConfig, WrapConfig, WrapMode
from ovpn3.protocol.keyfile import unpack_client_key, unpack_static_key
from ovpn3.protocol.keymethod import PREFIX
from ovpn3.protocol.keys import (
    DIGEST_BYTES,
    EKM_DATA_LABEL,
    EKM_WRAP_LABEL,
    KEY2_BYTES,
    DataKeys,
    Key2,
    KeySource,
    data_keys,
    expand,
)
from ovpn3.protocol.packet import ControlPacket, Opcode, pack_first, pack_rest, unpack_first, unpack_rest
from ovpn3.protocol.reliable import Reliable
from ovpn3.protocol.session import Session
from ovpn3.protocol.wrap import Plain, Replayed, TlsAuth, TlsCrypt, Wrapper
from ovpn3.secret import Secret
from tests.support.clock import Clock
from tests.support.link import Link
from tests.support.pki import Authority, Credential

T = TypeVar("T")

CHUNK = 1000
PUSH = "PUSH_REPLY,ifconfig 10.8.0.2 255.255.255.0,peer-id 7,cipher AES-256-GCM,ping 10,ping-restart 60"
ALL_FLAGS = ",protocol-flags cc-exit tls-ekm dyn-tls-crypt"


@dataclass
class Identity:
    """Certificates of both ends."""

    ca: str
    server: Credential
    client: Credential

    @classmethod
    def make(cls) -> "Identity":
        authority = Authority("Test CA")
        return cls(authority.certificate, authority.issue("server", server=True), authority.issue("client"))

    def client_tls(self, **changes: Any) -> TlsConfig:
        config = TlsConfig(
            ca=self.ca, cert=self.client.certificate, key=Secret(self.client.key), remote_purpose="server"
        )
        return replace(config, **changes)


def make_session(config: SessionConfig, clock: Clock, seed: int = 1) -> Session:
    return Session(config, random=Random(seed).randbytes, wall=1_700_000_000, now=clock.now)


@dataclass
class ClientHello:
    source: KeySource
    options: str
    username: str
    password: str
    peer_info: str


@dataclass
class _Generation:
    reliable: Reliable
    tls: SSL.Connection
    source: KeySource
    hello: ClientHello | None = None
    shaken: bool = False
    text: bytes = b""


@dataclass
class Peer:
    """`on_message` answers a client's message; the default sends `push` once, when first asked."""

    identity: Identity
    now: float
    wrap: WrapConfig = field(default_factory=WrapConfig)
    push: tuple[str, ...] = (PUSH + ALL_FLAGS,)
    resend_wkc: bool = False
    push_unasked: bool = False
    stream: bool = False
    on_message: Callable[["Peer", str], None] | None = None
    seed: int = 2

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self.session_id = self._random.randbytes(8)
        self.client_id: bytes | None = None
        self.base = _server_wrap(self.wrap)
        self.dynamic: Wrapper | None = None
        self.generations: dict[int, _Generation] = {}
        self.newest = 0
        self.messages: list[str] = []
        self.tls_errors: list[str] = []
        self.wkc_seen: list[Opcode] = []
        self._out: list[bytes] = []
        self._context = server_context(self.identity)

    # Driving

    def receive(self, data: bytes, now: float) -> None:
        self.now = now
        opcode, key_id = unpack_first(data[0])
        if opcode.carries_wkc:
            _, wkc = unpack_client_key(self.wrap.key)
            assert data.endswith(wkc), f"{opcode.name} without wrapped key"
            self.wkc_seen.append(opcode)
            data = data[: -len(wkc)]
        try:
            packet = unpack_rest(*self._wrapper(key_id).unwrap(data))
        except Replayed:
            return
        if opcode in (Opcode.HARD_RESET_CLIENT, Opcode.HARD_RESET_CLIENT_WKC) and self.client_id is None:
            self.client_id = packet.session_id
            self._open(0, Opcode.HARD_RESET_SERVER)
        assert packet.session_id == self.client_id
        assert not packet.acks or packet.peer_session_id == self.session_id
        if key_id not in self.generations:
            assert opcode is Opcode.SOFT_RESET, packet
            self._open(key_id, Opcode.SOFT_RESET)
        generation = self.generations[key_id]
        generation.reliable.acknowledged(packet.acks, now)
        if packet.message_id is not None:
            generation.reliable.receive(packet.message_id, packet.payload)
        for message_id, payload in generation.reliable.deliver():
            if message_id and payload:
                generation.tls.bio_write(payload)
        self._advance(key_id, generation)
        self._flush()

    def tick(self, now: float) -> None:
        self.now = now
        self._flush()

    def next_timer(self) -> float | None:
        timers = [g.reliable.next_timer() for g in self.generations.values()]
        return min((t for t in timers if t is not None), default=None)

    def outgoing(self) -> list[bytes]:
        out, self._out = self._out, []
        return out

    # What a server does

    def send(self, *messages: str) -> None:
        generation = self.generations[self.newest]
        for message in messages:
            generation.tls.send(message.encode() + b"\0")
        self._queue(generation)
        self._flush()

    def renegotiate(self, now: float) -> None:
        self.now = now
        self._open(self.newest % 7 + 1, Opcode.SOFT_RESET)
        self._flush()

    def close_tls(self) -> None:
        generation = self.generations[self.newest]
        generation.tls.shutdown()
        self._queue(generation)
        self._flush()

    def hello(self, key_id: int = 0) -> ClientHello:
        hello = self.generations[key_id].hello
        assert hello is not None
        return hello

    def keys(self, key_id: int, *, ekm: bool = True, cipher: str = "AES-256-GCM", epochs: bool = False) -> DataKeys:
        """A client's keys, as the server derives them."""
        generation = self.generations[key_id]
        if ekm:
            key2 = Key2(generation.tls.export_keying_material(EKM_DATA_LABEL, KEY2_BYTES))
        else:
            assert self.client_id is not None
            key2 = expand(self.hello(key_id).source, generation.source, self.client_id, self.session_id)
        return data_keys(key2, cipher, epochs=epochs)

    def reply_push(self) -> None:
        """Whoever asks gets it: some clients don't read what came too early, in one packet with the keys."""
        self.send(*self.push)
        if self.dynamic is None and any("dyn-tls-crypt" in part for part in self.push):
            exported = Key2(self.generations[0].tls.export_keying_material(EKM_WRAP_LABEL, KEY2_BYTES))
            base = _base_key(self.wrap)
            self.dynamic = _server_tls_crypt(exported if base is None else exported.xor(base))

    # Inside

    def _wrapper(self, key_id: int) -> Wrapper:
        return self.base if key_id == 0 or self.dynamic is None else self.dynamic

    def _open(self, key_id: int, reset: Opcode) -> None:
        tls = SSL.Connection(self._context)
        tls.set_accept_state()
        reliable = Reliable(2.0, stream=self.stream)
        reliable.queue(reset, b"\0\1\0\2\0\1" if self.resend_wkc and key_id == 0 else b"")
        source = KeySource(Secret(self._random.randbytes(32)), Secret(self._random.randbytes(32)))
        self.generations[key_id] = _Generation(reliable, tls, source)
        self.newest = key_id

    def _advance(self, key_id: int, generation: _Generation) -> None:
        try:
            if not generation.shaken:
                generation.tls.do_handshake()
                generation.shaken = True
            while True:
                self._on_record(generation, generation.tls.recv(16384))
        except SSL.WantReadError:
            pass
        except SSL.Error as e:
            self.tls_errors.append(str(e))  # a real server waits for the time-out too
        self._queue(generation)

    def _on_record(self, generation: _Generation, record: bytes) -> None:
        if generation.hello is None:
            generation.hello = unpack_client(record)
            options = b"V4,dev-type tun,tls-server\0"
            generation.tls.send(
                PREFIX
                + generation.source.random1.reveal()
                + generation.source.random2.reveal()
                + len(options).to_bytes(2, "big")
                + options
                + bytes(6)
            )
            if self.push_unasked and self.newest == 0:
                self.reply_push()  # in one packet with the keys
            return
        for raw in record.rstrip(b"\0").split(b"\0"):
            message = raw.decode()
            self.messages.append(message)
            if self.on_message is not None:
                self.on_message(self, message)
            elif message == "PUSH_REQUEST":
                self.reply_push()

    def _queue(self, generation: _Generation) -> None:
        try:
            while data := generation.tls.bio_read(CHUNK):
                generation.reliable.queue(Opcode.CONTROL, data)
        except SSL.WantReadError:
            pass

    def _flush(self) -> None:
        for key_id, generation in self.generations.items():
            for message_id, opcode, payload in generation.reliable.due(self.now):
                self._pack(key_id, opcode, generation.reliable.take_acks(4), message_id, payload)
            while generation.reliable.must_ack:
                self._pack(key_id, Opcode.ACK, generation.reliable.take_acks(8), None, b"")

    def _pack(self, key_id: int, opcode: Opcode, acks: tuple[int, ...], message_id: int | None, payload: bytes) -> None:
        peer = self.client_id if acks else None
        packet = ControlPacket(opcode, key_id, self.session_id, acks, peer, message_id, payload)
        rest = pack_rest(packet)
        self._out.append(self._wrapper(key_id).wrap(pack_first(opcode, key_id), self.session_id, rest))


def meet(
    session: Session,
    peer: Peer,
    clock: Clock,
    *,
    up: Link | None = None,
    down: Link | None = None,
    until: Callable[[list[object]], bool] = lambda actions: False,
    seconds: float = 60.0,
) -> list[object]:
    """Let both ends talk until a condition on the client's actions, or nothing is left to happen in `seconds`."""
    up, down = up or Link(), down or Link()
    actions: list[object] = []
    end = clock.now + seconds
    while True:
        for action in session.actions():
            if isinstance(action, SendPacket):
                up.send(action.data, clock.now)
            else:
                actions.append(action)
        for packet in peer.outgoing():
            down.send(packet, clock.now)
        if until(actions):
            return actions
        times = (session.next_timer(), peer.next_timer(), up.next_arrival(), down.next_arrival())
        upcoming = min((t for t in times if t is not None), default=end)
        if upcoming >= end:
            clock.now = end
            return actions
        clock.now = max(clock.now, upcoming)
        for packet in up.arrived(clock.now):
            peer.receive(packet, clock.now)
        for packet in down.arrived(clock.now):
            session.receive(packet, clock.now)
        peer.tick(clock.now)
        session.tick(clock.now)


def saw(kind: type[object]) -> Callable[[list[object]], bool]:
    """Condition for `meet`: an action of this kind."""
    return lambda actions: any(isinstance(a, kind) for a in actions)


def of(kind: type[T], actions: Sequence[object]) -> list[T]:
    """The actions of this kind."""
    return [a for a in actions if isinstance(a, kind)]


def same_keys(install: InstallKeys, keys: DataKeys) -> bool:
    ours = install.keys
    return all(
        hmac.compare_digest(getattr(ours, name).reveal(), getattr(keys, name).reveal())
        for name in ("send_key", "recv_key", "send_iv", "recv_iv")
    )


def unpack_client(record: bytes) -> ClientHello:
    assert record.startswith(PREFIX)
    at = len(PREFIX)
    pre_master, random1, random2 = record[at : at + 48], record[at + 48 : at + 80], record[at + 80 : at + 112]
    at += 112
    strings = []
    while at < len(record):
        size = int.from_bytes(record[at : at + 2], "big")
        strings.append(record[at + 2 : at + 2 + size].rstrip(b"\0").decode())
        at += 2 + size
    return ClientHello(KeySource(Secret(random1), Secret(random2), Secret(pre_master)), *strings)


def make_client_key(seed: int = 3) -> Secret:
    """A tls-crypt-v2 client key file; the server key that wrapped it is forgotten, the peer compares octets."""
    random = Random(seed)
    key, cipher, mac = random.randbytes(256), random.randbytes(32), random.randbytes(32)
    metadata = b"\1" + bytes(8)
    size = (32 + len(key) + len(metadata) + 2).to_bytes(2, "big")
    tag = hmac.digest(mac, size + key + metadata, "sha256")
    sealed = Cipher(algorithms.AES256(cipher), modes.CTR(tag[:16])).encryptor().update(key + metadata)
    text = base64.b64encode(key + tag + sealed + size).decode()
    name = "OpenVPN tls-crypt-v2 client key"
    return Secret(f"-----BEGIN {name}-----\n{text}\n-----END {name}-----\n")


def _base_key(wrap: WrapConfig) -> Key2 | None:
    match wrap.mode:
        case WrapMode.NONE:
            return None
        case WrapMode.TLS_CRYPT_V2:
            return unpack_client_key(wrap.key)[0]
        case _:
            return unpack_static_key(wrap.key)


def _server_wrap(wrap: WrapConfig) -> Wrapper:
    key = _base_key(wrap)
    if key is None:
        return Plain()
    if wrap.mode is WrapMode.TLS_AUTH:
        size = DIGEST_BYTES[wrap.digest]
        send, recv = {None: (0, 0), 0: (1, 0), 1: (0, 1)}[wrap.direction]  # the client's, turned round
        return TlsAuth(key.hmac(send, size), key.hmac(recv, size), wrap.digest, 1_700_000_001)
    return _server_tls_crypt(key)


def _server_tls_crypt(key: Key2) -> TlsCrypt:
    return TlsCrypt((key.cipher(0, 32), key.hmac(0, 32)), (key.cipher(1, 32), key.hmac(1, 32)), 1_700_000_001)


def server_context(identity: Identity) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(x509.load_pem_x509_certificate(identity.server.certificate.encode()))
    key = serialization.load_pem_private_key(identity.server.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    context.use_privatekey(key)
    store = context.get_cert_store()
    assert store is not None
    certificate = x509.load_pem_x509_certificate(identity.ca.encode())
    store.add_cert(crypto.X509.from_cryptography(certificate))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *args: bool(args[4]))
    return context
