"""What a session does packet by packet, against a server that is played by hand."""

import pytest

from ovpn3.errors import CryptoError, UsageError
from ovpn3.protocol import SessionConfig, State, WrapConfig, WrapMode
from ovpn3.protocol.actions import Closed, Failed, FailureKind, FirstPacket
from ovpn3.protocol.packet import ControlPacket, Opcode
from ovpn3.secret import Secret
from tests.support.peer import make_session, of
from tests.support.pki import static_key
from tests.support.playbook import Any, Call, Playbook, Receive, Sent, Start, Wait

SERVER = b"serverid"


@pytest.fixture
def config(identity):
    return SessionConfig(tls=identity.client_tls(groups="X25519"))  # a ClientHello of one packet


@pytest.fixture
def session(config, clock):
    return make_session(config, clock)


@pytest.fixture
def play(session, clock):
    return Playbook(session, clock)


def server_reset(hello, **changes):
    values = {
        "opcode": Opcode.HARD_RESET_SERVER,
        "key_id": 0,
        "session_id": SERVER,
        "acks": (0,),
        "peer_session_id": hello.packet.session_id,
        "message_id": 0,
    }
    return Receive(ControlPacket(**(values | changes)))


def ack(hello, *ids, session_id=SERVER):
    return Receive(ControlPacket(Opcode.ACK, 0, session_id, ids, hello.packet.session_id))


def test_start_and_retransmissions_until_the_poll_timeout(play, session):
    hello = Sent(Opcode.HARD_RESET_CLIENT, key_id=0, message_id=0, acks=(), payload=b"")
    failed = Any(Failed)
    play >> Start() << [hello] >> Wait(0.9) << [] >> Wait(0.1) << [hello] >> Wait(2.0) << [hello]
    play >> Wait(4.0) << [hello] >> Wait(2.9) << [] >> Wait(0.1) << [failed, Closed()]
    assert (failed.value.kind, failed.value.fatal) == (FailureKind.TIMEOUT, False)
    assert "firewall" in failed.value.reason
    assert session.next_timer() is None
    assert session.state is State.CLOSED


def test_tls_starts_when_the_server_has_answered(play):
    hello, client_hello = Sent(Opcode.HARD_RESET_CLIENT), Sent(Opcode.CONTROL, message_id=1, acks=(0,))
    play >> Start() << [hello] >> server_reset(hello) << [FirstPacket(), client_hello]
    assert client_hello.packet.peer_session_id == SERVER
    assert client_hello.packet.payload.startswith(b"\x16\x03\x01")
    play >> Wait(1.0) << [client_hello]  # with the acknowledgement again
    play >> server_reset(hello) << [Sent(Opcode.ACK, message_id=None, acks=(0,))]
    play >> ack(hello, 1) << [] >> Wait(30.0) << []


def test_an_acknowledgement_may_come_apart_from_the_reset(play):
    hello = Sent(Opcode.HARD_RESET_CLIENT)
    play >> Start() << [hello] >> ack(hello, 0) << [FirstPacket()]
    play >> server_reset(hello, acks=(), peer_session_id=None)
    play << [Sent(Opcode.CONTROL, message_id=1)]


@pytest.mark.parametrize(
    "changes",
    [
        {"peer_session_id": b"somebody"},
        {"acks": (), "peer_session_id": None},
        {"opcode": Opcode.SOFT_RESET},
        {"opcode": Opcode.HARD_RESET_CLIENT},
        {"opcode": Opcode.HARD_RESET_CLIENT_WKC},
        {"opcode": Opcode.CONTROL_WKC, "message_id": 1},
        {"opcode": Opcode.CONTROL, "message_id": 1},
        {"key_id": 1},
    ],
)
def test_a_first_packet_that_answers_nothing_is_dropped(play, changes):
    hello = Sent(Opcode.HARD_RESET_CLIENT)
    play >> Start() << [hello] >> server_reset(hello, **changes) << []
    play >> server_reset(hello) << [FirstPacket(), Sent(Opcode.CONTROL)]


def test_once_known_the_server_cannot_be_replaced(play):
    hello = Sent(Opcode.HARD_RESET_CLIENT)
    play >> Start() << [hello] >> server_reset(hello)
    play << [FirstPacket(), Sent(Opcode.CONTROL)]
    play >> server_reset(hello, session_id=b"intruder") << [] >> ack(hello, 1, session_id=b"intruder") << []
    play >> Wait(1.0) << [Sent(Opcode.CONTROL, message_id=1)]


def test_unfinished_handshake(play):
    hello, failed = Sent(Opcode.HARD_RESET_CLIENT), Any(Failed)
    play >> Start() << [hello] >> server_reset(hello)
    play << [FirstPacket(), Sent(Opcode.CONTROL)]
    play >> ack(hello, 1) << []
    for _ in range(5):
        play >> Wait(11.0) >> ack(hello, 1) << []
    play >> Wait(5.0) << [failed, Closed()]
    assert failed.value.kind is FailureKind.HANDSHAKE_TIMEOUT
    assert "certificate" in failed.value.reason


def test_silence_during_the_handshake(play):
    hello, failed = Sent(Opcode.HARD_RESET_CLIENT), Any(Failed)
    play >> Start() << [hello] >> server_reset(hello)
    play << [FirstPacket(), Sent(Opcode.CONTROL)]
    play >> ack(hello, 1) << [] >> Wait(40.0) << [failed, Closed()]
    assert failed.value.kind is FailureKind.TIMEOUT


def test_leaving_before_anything_happened(play, session):
    play >> Start() << [Sent(Opcode.HARD_RESET_CLIENT)] >> Call("disconnect") << [Closed()]
    play >> Call("disconnect") << [] >> Wait(100.0) << [] >> Call("peer_timeout") << []
    play >> Call("transport_closed") << []


@pytest.mark.parametrize("method", ["renegotiate", "answer"])
def test_what_the_state_does_not_allow_changes_nothing(play, session, clock, method):
    play >> Start() << [Sent(Opcode.HARD_RESET_CLIENT)]
    arguments = (Secret("x"), clock.now) if method == "answer" else (clock.now,)
    timer = session.next_timer()
    with pytest.raises(UsageError):
        getattr(session, method)(*arguments)
    with pytest.raises(UsageError):
        session.start(clock.now)
    assert session.state is State.WAITING
    assert session.next_timer() == timer
    assert session.actions() == []


def test_nothing_is_read_before_the_start(session, clock):
    session.receive(b"\x40" + bytes(30), clock.now)
    session.tick(clock.now)
    assert session.actions() == []
    assert session.state is State.IDLE


@pytest.mark.parametrize("mode", [WrapMode.TLS_AUTH, WrapMode.TLS_CRYPT])
def test_silence_may_mean_a_wrong_key(identity, clock, mode):
    wrap = WrapConfig(mode, Secret(static_key()))
    session = make_session(SessionConfig(tls=identity.client_tls(), wrap=wrap), clock)
    session.start(clock.now)
    session.tick(clock.advance(10.0))
    assert f"{mode.value} key" in of(Failed, session.actions())[0].reason


def test_answers_that_do_not_authenticate_name_the_key(identity, clock):
    wrap = WrapConfig(WrapMode.TLS_CRYPT, Secret(static_key()))
    session = make_session(SessionConfig(tls=identity.client_tls(), wrap=wrap), clock)
    session.start(clock.now)
    session.receive(b"\x40" + bytes(80), clock.now)
    session.tick(clock.advance(10.0))
    assert "key is not the profile's" in of(Failed, session.actions())[0].reason


def test_a_bad_packet_ends_a_stream_but_not_datagrams(identity, clock):
    for stream in (True, False):
        session = make_session(SessionConfig(tls=identity.client_tls(), stream=stream), clock)
        session.start(clock.now)
        session.actions()
        session.receive(b"\x40junk", clock.now)
        assert (session.state is State.CLOSED) == stream


def test_a_closed_connection_names_the_likely_cause(identity, clock):
    wrap = WrapConfig(WrapMode.TLS_CRYPT, Secret(static_key()))
    session = make_session(SessionConfig(tls=identity.client_tls(), wrap=wrap, stream=True), clock)
    session.start(clock.now)
    session.transport_closed(clock.now)
    assert "tls-crypt key" in of(Failed, session.actions())[0].reason


def test_a_flood_of_junk_is_not_logged_packet_by_packet(play, session, clock):
    play >> Start() << [Sent(Opcode.HARD_RESET_CLIENT)]
    for _ in range(1000):
        session.receive(b"\xff" * 20, clock.now)
    assert len(session.actions()) == 10


def test_unusable_keys_show_at_construction(identity, clock):
    config = SessionConfig(tls=identity.client_tls(), wrap=WrapConfig(WrapMode.TLS_CRYPT, Secret("junk")))
    with pytest.raises(CryptoError):
        make_session(config, clock)
