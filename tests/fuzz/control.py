"""Hostile profiles and servers: whatever octets come, nothing but the proper error or the end of the session follows.

Each target takes octets; `SEEDS` are sensible ones to begin with. `guided` drives them by coverage.
"""

import contextlib
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from ovpn3.client.settings import session_config, tun_settings, unheeded_in
from ovpn3.errors import ConfigurationRefused, PeerError, ProfileError
from ovpn3.profile import build, missing, parse
from ovpn3.protocol.actions import Closed, Established, Pushed, SendPacket
from ovpn3.protocol.auth import Credentials
from ovpn3.protocol.config import SessionConfig, WrapConfig, WrapMode
from ovpn3.protocol.failure import SessionEnd
from ovpn3.protocol.negotiate import negotiate
from ovpn3.protocol.push import PushAssembler, accept, update
from ovpn3.protocol.session import Session
from ovpn3.secret import Secret
from tests.support.clock import Clock
from tests.support.peer import ALL_FLAGS, PUSH, Identity, Peer, make_session, meet, saw
from tests.support.pki import static_key
from tests.support.vectors import load

PROFILES = Path(__file__).parents[1] / "data" / "profiles"
MAX_PACKET_BYTES = 2000
WRAPS = (
    WrapConfig(),
    WrapConfig(WrapMode.TLS_AUTH, Secret(static_key()), 1, "SHA256"),
    WrapConfig(WrapMode.TLS_CRYPT, Secret(static_key())),
)


@cache
def identity() -> Identity:
    return Identity.make()


@cache
def config(wrap: int) -> SessionConfig:
    return SessionConfig(tls=identity().client_tls(), wrap=WRAPS[wrap])


def profile(data: bytes) -> None:
    """A profile as a user imports it."""
    with contextlib.suppress(ProfileError, ConfigurationRefused):
        directives = parse(data.decode(errors="replace"))
        missing(directives)
        made = build(directives)
        unheeded_in({})
        session_config(made, Credentials(), stream=False)


def push(data: bytes) -> None:
    """Options that a server pushes, and an update of them after the first NUL."""
    reply, _, changes = data.decode(errors="replace").partition("\0")
    plain = build(parse("client\ndev tun\nremote a\nauth-user-pass\n<ca>\n-----BEGIN x\n</ca>\n"))
    with contextlib.suppress(PeerError, SessionEnd, ConfigurationRefused):
        used, _ = accept(PushAssembler().add(f"PUSH_REPLY,{reply}") or [])
        negotiate(used, SessionConfig())
        tun_settings(plain, tuple(used), lambda _: None)
        changed, about, _ = update(used, PushAssembler().add(f"PUSH_UPDATE,{changes}") or [])
        tun_settings(plain, tuple(changed), lambda _: None, about)


def packets(data: bytes) -> None:
    """Packets before anybody has been authenticated: the first octet chooses the wrapping."""
    wrap = data[0] % len(WRAPS) if data else 0
    clock = Clock()
    session = make_session(config(wrap), clock)
    session.start(clock.now)
    for packet in unpack(data[1:]):
        session.receive(packet, clock.now)
        session.actions()
        clock.now += 0.25
        session.tick(clock.now)


def messages(data: bytes) -> None:
    """Messages of a server that we are connected to, each up to a NUL."""
    scene = connected()
    scene.peer.send(*(text.decode(errors="replace") for text in data[:8000].split(b"\0")))
    actions = meet(scene.session, scene.peer, scene.clock, seconds=0.2)
    for action in actions:
        if isinstance(action, Pushed):
            with contextlib.suppress(ConfigurationRefused):
                tun_settings(PLAIN, action.options, lambda _: None, action.replaced)
    if any(isinstance(action, Closed) for action in actions) or scene.clock.now > 3000:
        connected.cache_clear()


PLAIN = build(parse("client\ndev tun\nremote a\nauth-user-pass\n<ca>\n-----BEGIN x\n</ca>\n"))


class Scene:
    def __init__(self) -> None:
        self.clock = Clock()
        self.session: Session = make_session(config(0), self.clock)
        self.peer = Peer(identity(), self.clock.now)
        self.session.start(self.clock.now)
        assert saw(Established)(meet(self.session, self.peer, self.clock, until=saw(Established)))


@cache
def connected() -> Scene:
    return Scene()


def unpack(data: bytes) -> Iterator[bytes]:
    while len(data) >= 2:
        size = struct.unpack(">H", data[:2])[0] % MAX_PACKET_BYTES
        yield data[2 : 2 + size]
        data = data[2 + size :]


def pack(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def transcript(wrap: int) -> bytes:
    """All that a server sends in a good handshake."""
    clock, sent = Clock(), []
    session, peer = make_session(config(wrap), clock), Peer(identity(), clock.now, wrap=WRAPS[wrap])
    session.start(clock.now)
    for _ in range(40):
        for action in session.actions():
            if isinstance(action, SendPacket):
                peer.receive(action.data, clock.now)
        for packet in peer.outgoing():
            sent.append(packet)
            session.receive(packet, clock.now)
    return bytes([wrap]) + pack(*sent)


def profile_seeds() -> list[bytes]:
    return [path.read_bytes() for path in PROFILES.glob("*.ovpn")]


def push_seeds() -> list[bytes]:
    replies = [*load("messages")["real_push_replies"].values(), PUSH + ALL_FLAGS]
    replies.append(
        "PUSH_REPLY,ifconfig-ipv6 fd08::2/64 fd08::1,dns server 0 address 10.8.0.1:53 [fd08::1]:53,cipher AES-256-GCM"
    )
    update = (
        "route 10.9.0.0 255.255.0.0 vpn_gateway 5, -?dns,-redirect-gateway,tun-mtu 1400,?dhcp-option DOMAIN a.example"
    )
    return [f"{reply.removeprefix('PUSH_REPLY,')}\0{update}".encode() for reply in replies]


def message_seeds() -> list[bytes]:
    texts = (
        *("AUTH_FAILED,CRV1:R,E:abc:YWxpY2U=:Enter the code", "AUTH_FAILED,TEMP[backoff 42,advance no]:later"),
        *(
            "AUTH_PENDING,timeout 60",
            "INFO_PRE,CR_TEXT:R,E:code",
            "INFO_PRE,WEB_AUTH:hidden:https://a.example/",
            "INFO,x",
        ),
        *("RESTART,[P]bye", "HALT,no", "EXIT", "RELAY,x", "PUSH_REPLY,auth-token x,auth-token-user YQ==", "CUSTOM,x"),
        *("PUSH_UPDATE,route 10.9.0.0 255.255.0.0,push-continuation 2", "PUSH_UPDATE,-route,push-continuation 1"),
    )
    return [text.encode() for text in texts] + ["\0".join(texts[:4]).encode()]


def packet_seeds() -> list[bytes]:
    return [transcript(wrap) for wrap in range(len(WRAPS))]


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "profile": (profile, profile_seeds),
    "push": (push, push_seeds),
    "packets": (packets, packet_seeds),
    "messages": (messages, message_seeds),
}
