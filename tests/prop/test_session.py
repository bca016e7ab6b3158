"""Sessions over a bad network, and under fire."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovpn3.protocol import SessionConfig, State, WrapConfig, WrapMode
from ovpn3.protocol.actions import Closed, Established, InstallKeys, SendPacket, UseKey
from ovpn3.secret import Secret
from tests.support.clock import Clock
from tests.support.link import Link
from tests.support.peer import Identity, Peer, make_client_key, make_session, meet, of, same_keys, saw
from tests.support.pki import static_key

IDENTITY = Identity.make()
STATIC = Secret(static_key())
WRAPS = [
    WrapConfig(),
    WrapConfig(WrapMode.TLS_AUTH, STATIC, 1, "SHA256"),
    WrapConfig(WrapMode.TLS_CRYPT, STATIC),
    WrapConfig(WrapMode.TLS_CRYPT_V2, make_client_key()),
]
# Time enough that only a defect can keep the ends apart.
PATIENT = {"hand_window": 10_000.0, "ping_restart": 0.0, "server_poll_timeout": 0.0}


@settings(max_examples=40, deadline=None)
@given(
    wrap=st.sampled_from(WRAPS),
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.4),
    duplication=st.floats(0.0, 0.5),
    jitter=st.floats(0.0, 3.0),
)
def test_any_network_that_delivers_now_and_then_is_enough(wrap, seed, loss, duplication, jitter):
    clock = Clock()
    config = SessionConfig(tls=IDENTITY.client_tls(), wrap=wrap, **PATIENT)
    session = make_session(config, clock, seed)
    peer = Peer(IDENTITY, clock.now, wrap=wrap, resend_wkc=wrap.mode is WrapMode.TLS_CRYPT_V2, seed=seed + 1)
    quality = {"loss": loss, "duplication": duplication, "jitter": jitter}
    links = {"up": Link(seed + 2, **quality), "down": Link(seed + 3, **quality), "seconds": 10_000.0}
    session.start(clock.now)
    actions = meet(session, peer, clock, **links, until=saw(Established))
    assert session.state is State.CONNECTED
    assert same_keys(of(InstallKeys, actions)[0], peer.keys(0))
    for key_id, start in ((1, peer.renegotiate), (2, session.renegotiate)):
        meet(session, peer, clock, **links | {"seconds": 200.0})  # both ends active
        start(clock.now)
        actions = meet(session, peer, clock, **links, until=lambda a, k=key_id: UseKey(k) in a)
        assert session.state is State.CONNECTED
        assert same_keys(of(InstallKeys, actions)[-1], peer.keys(key_id))
    session.disconnect(clock.now)
    assert of(Closed, meet(session, peer, clock, **links, until=saw(Closed)))


@settings(max_examples=25, deadline=None)
@given(wrap=st.sampled_from(WRAPS[1:]), seed=st.integers(0, 2**32))
def test_forgeries_replays_and_junk_change_nothing(wrap, seed):
    """Whatever a stranger who sees all packets can send: a wrapped session comes about as if he weren't there."""
    clock, random = Clock(), Random(seed)
    session = make_session(SessionConfig(tls=IDENTITY.client_tls(), wrap=wrap, **PATIENT), clock, seed)
    peer = Peer(IDENTITY, clock.now, wrap=wrap, resend_wkc=wrap.mode is WrapMode.TLS_CRYPT_V2)
    seen, receive = [], session.receive

    def under_fire(packet, now):
        seen.append(packet)
        for _ in range(3):
            receive(spoil(random, random.choice(seen)), now)
        receive(packet, now)
        receive(random.choice(seen), now)

    session.receive = under_fire
    session.start(clock.now)
    sent = meet(session, peer, clock, until=saw(Established), seconds=200.0)
    assert same_keys(of(InstallKeys, sent)[0], peer.keys(0))


def spoil(random, packet):
    match random.randrange(3):
        case 0:
            return packet[: random.randrange(len(packet))]
        case 1:
            at = random.randrange(len(packet))
            return packet[:at] + bytes((packet[at] ^ 1 << random.randrange(8),)) + packet[at + 1 :]
        case _:
            return random.randbytes(random.randrange(100))


@settings(max_examples=200, deadline=None)
@given(packets=st.lists(st.binary(max_size=100), max_size=20), stream=st.booleans())
def test_any_octets_are_taken_without_an_exception(packets, stream):
    clock = Clock()
    session = make_session(SessionConfig(tls=IDENTITY.client_tls(), stream=stream), clock)
    session.start(clock.now)
    answered = of(SendPacket, session.actions())[0].data[1:9]
    for packet in packets:
        session.receive(packet, clock.now)
        # The same, made to look like an answer to us.
        session.receive(b"\x40server__\1\0\0\0\0" + answered + packet, clock.now)
        session.tick(clock.advance(0.1))
    session.actions()


@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_talks_nonsense_inside_tls(seed):
    """Random records after the handshake end the session in order or are ignored."""
    clock, random = Clock(), Random(seed)
    session = make_session(SessionConfig(tls=IDENTITY.client_tls()), clock, seed)
    peer = Peer(IDENTITY, clock.now)
    session.start(clock.now)
    meet(session, peer, clock, until=saw(Established))
    words = ["PUSH_REPLY,", "AUTH_PENDING,", "INFO_PRE,", "INFO,", "ACC,", "WEB_AUTH:", "auth-token ", '"', "\\", ","]
    for _ in range(300):
        peer.send("".join(random.choice([*words, chr(random.randrange(32, 0x2000))]) for _ in range(8)))
        meet(session, peer, clock, seconds=0.1)
        if session.state is State.CLOSED:
            return
    assert session.state is State.CONNECTED
