"""Whole sessions against the in-memory server."""

import itertools
from dataclasses import replace

import pytest

from ovpn3.protocol import Credentials, PullFilter, SessionConfig, State, WrapConfig, WrapMode
from ovpn3.protocol.actions import (
    Advance,
    AuthFailed,
    AuthPending,
    Challenge,
    Closed,
    Established,
    Failed,
    FailureKind,
    FirstPacket,
    Halt,
    InstallKeys,
    LogLine,
    Pushed,
    Renegotiated,
    Restart,
    RetireKey,
    SendExit,
    SendPacket,
    ServerInfo,
    SetKeepalive,
    TextChallenge,
    TokenChanged,
    UseKey,
    WebAuth,
)
from ovpn3.protocol.packet import Opcode
from ovpn3.secret import Secret
from tests.support.clock import Clock
from tests.support.peer import (
    ALL_FLAGS,
    PUSH,
    Peer,
    make_client_key,
    make_session,
    meet,
    of,
    same_keys,
    saw,
)
from tests.support.pki import Authority, static_key

STATIC = Secret(static_key())
WRAPS = {
    "none": WrapConfig(),
    "tls-auth": WrapConfig(WrapMode.TLS_AUTH, STATIC, 1, "SHA256"),
    "tls-auth-bidirectional": WrapConfig(WrapMode.TLS_AUTH, STATIC, None, "SHA1"),
    "tls-crypt": WrapConfig(WrapMode.TLS_CRYPT, STATIC),
    "tls-crypt-v2": WrapConfig(WrapMode.TLS_CRYPT_V2, make_client_key()),
}


class Scene:
    """A session and its peer, started."""

    def __init__(self, identity, *, config=None, **peer):
        self.clock = Clock()
        self.config = config or SessionConfig(tls=identity.client_tls())
        self.session = make_session(self.config, self.clock)
        self.peer = Peer(identity, self.clock.now, wrap=self.config.wrap, stream=self.config.stream, **peer)
        self.session.start(self.clock.now)

    def until(self, kind, **options):
        return meet(self.session, self.peer, self.clock, until=saw(kind), **options)

    def run(self, seconds, **options):
        return meet(self.session, self.peer, self.clock, seconds=seconds, **options)

    def connect(self):
        actions = self.until(Established)
        assert of(Established, actions), actions
        return actions

    def tell(self, *messages):
        """The session's actions after messages of the server."""
        self.peer.send(*messages)
        return [a for a in self.run(0.5) if not isinstance(a, LogLine)]


@pytest.fixture
def scene(identity):
    scene = Scene(identity)
    scene.connect()
    return scene


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_connection_in_every_mode(identity, wrap, stream):
    config = SessionConfig(tls=identity.client_tls(), wrap=wrap, stream=stream)
    scene = Scene(identity, config=config, resend_wkc=wrap.mode is WrapMode.TLS_CRYPT_V2)
    actions = [a for a in scene.connect() if not isinstance(a, LogLine)]
    assert [type(a) for a in actions] == [
        FirstPacket,
        Pushed,
        InstallKeys,
        UseKey,
        SetKeepalive,
        Established,
    ]
    install = of(InstallKeys, actions)[0]
    assert (install.key_id, install.cipher, install.peer_id) == (0, "AES-256-GCM", 7)
    assert same_keys(install, scene.peer.keys(0))
    assert of(SetKeepalive, actions) == [SetKeepalive(10.0, 60.0)]
    if wrap.mode is WrapMode.TLS_CRYPT_V2:
        assert scene.peer.wkc_seen == [Opcode.HARD_RESET_CLIENT_WKC, Opcode.CONTROL_WKC]
    # Renegotiation from both sides, with dynamic tls-crypt.
    for key_id, start in ((1, scene.peer.renegotiate), (2, scene.session.renegotiate)):
        start(scene.clock.now)
        actions = scene.until(UseKey)
        assert of(Renegotiated, actions)[0].key_id == key_id
        assert same_keys(of(InstallKeys, actions)[0], scene.peer.keys(key_id))
        assert of(UseKey, actions) == [UseKey(key_id)]


def test_a_server_without_modern_features(identity):
    config = SessionConfig(tls=identity.client_tls(), fallback_cipher="AES-256-GCM")
    scene = Scene(identity, config=config, push=("PUSH_REPLY,ifconfig 10.8.0.2 255.255.255.0",))
    actions = scene.connect()
    install = of(InstallKeys, actions)[0]
    assert install.peer_id is None
    assert same_keys(install, scene.peer.keys(0, ekm=False))
    scene.session.renegotiate(scene.clock.now)
    assert same_keys(of(InstallKeys, scene.until(UseKey))[0], scene.peer.keys(1, ekm=False))
    scene.session.disconnect(scene.clock.now)
    assert [type(a) for a in scene.session.actions() if not isinstance(a, LogLine)] == [SendExit, Closed]


def test_what_the_server_learns(identity):
    credentials = Credentials("alice", Secret("pw"))
    scene = Scene(identity, config=SessionConfig(tls=identity.client_tls(), credentials=credentials))
    scene.connect()
    hello = scene.peer.hello()
    assert (hello.username, hello.password) == ("alice", "pw")
    assert "IV_PROTO=8094\n" in hello.peer_info
    assert hello.options.startswith("V4,dev-type tun")
    assert scene.peer.messages == ["PUSH_REQUEST"]


def test_options_sent_unasked_in_several_parts(identity):
    parts = (
        "PUSH_REPLY,route 10.1.0.0,push-continuation 2",
        PUSH + ALL_FLAGS + ",up evil,push-continuation 1",
    )
    scene = Scene(identity, push=parts, push_unasked=True)
    actions = scene.connect()
    scene.run(5.0)
    assert scene.peer.messages == []
    options = of(Pushed, actions)[0].options
    assert options[0] == ("route", ("10.1.0.0",))
    assert "up" not in dict(options)
    assert any("up" in line.text for line in of(LogLine, actions))


def test_an_update_of_options(identity):
    config = SessionConfig(tls=identity.client_tls(), pull_filters=(PullFilter("ignore", "dns"),))
    scene = Scene(identity, config=config, push=(PUSH + ALL_FLAGS + ",route 10.1.0.0",))
    before = of(Pushed, scene.connect())[0]
    scene.peer.send("PUSH_UPDATE,-route, dns server 0 address 10.9.9.9,push-continuation 2")
    scene.peer.send("PUSH_UPDATE,?tun-mtu 1400,?auth-token x,push-continuation 1")
    updated = of(Pushed, scene.until(Pushed))[0]
    assert set(updated.options) - set(before.options) == {("tun-mtu", ("1400",))}
    assert set(before.options) - set(updated.options) == {("route", ("10.1.0.0",))}
    assert updated.replaced == {"route", "dns", "tun-mtu"}
    scene.peer.send("PUSH_UPDATE,cipher AES-128-GCM")
    assert "cipher" in of(Failed, scene.until(Closed))[0].reason


def test_requests_are_repeated_until_the_server_speaks(identity):
    asked = []
    scene = Scene(identity, on_message=lambda peer, text: asked.append(peer.now))
    actions = scene.run(70.0)
    gaps = [round(b - a) for a, b in itertools.pairwise(asked)]
    assert gaps[:4] == [1, 2, 3, 3]
    assert of(Failed, actions)[0].kind is FailureKind.PUSH


def test_pull_reject_asks_for_another_session(identity):
    config = SessionConfig(tls=identity.client_tls(), pull_filters=(PullFilter("reject", "ifconfig"),))
    actions = Scene(identity, config=config).until(Closed)
    assert "ifconfig" in of(Restart, actions)[0].reason
    assert not of(Pushed, actions)


@pytest.mark.parametrize(
    ("push", "kind"),
    [
        (PUSH.replace("AES-256-GCM", "BF-CBC"), FailureKind.CIPHER),
        (PUSH + ",comp-lzo yes", FailureKind.COMPRESSION),
        (PUSH + ",protocol-flags tls-ekm aead-future", FailureKind.PUSH),
    ],
)
def test_options_we_cannot_live_with(identity, push, kind):
    scene = Scene(identity, push=(push,))
    actions = scene.until(Closed)
    failed = of(Failed, actions)[0]
    assert (failed.kind, failed.fatal) == (kind, True)
    assert not of(InstallKeys, actions)


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("AUTH_FAILED,no", AuthFailed("no")),
        (
            "AUTH_FAILED,TEMP[backoff 7,advance remote]:busy",
            AuthFailed("busy", temporary=True, backoff=7.0, advance=Advance.NEXT_REMOTE),
        ),
        ("AUTH_FAILED,CRV1:R:id:YQ==:PIN", Challenge("id", "a", "PIN", echo=False, response_required=True)),
        ("RESTART,[P]bye", Restart("bye", keep_credentials=True)),
        ("HALT,off", Halt("off")),
        ("EXIT", Restart("the server is going away", keep_credentials=True)),
    ],
)
@pytest.mark.parametrize("connected", [False, True])
def test_messages_that_end_the_session(identity, message, outcome, connected):
    scene = Scene(identity, on_message=None if connected else lambda peer, text: peer.send(message))
    if connected:
        scene.connect()
        actions = scene.tell(message)
    else:
        actions = scene.until(Closed)
    assert [a for a in actions if isinstance(a, type(outcome))] == [outcome]
    assert actions[-1] == Closed()
    assert scene.session.state is State.CLOSED


def test_relay_is_not_supported(scene):
    assert of(Failed, scene.tell("RELAY"))[0].kind is FailureKind.PEER


def test_a_token_is_used_and_a_rejected_one_dropped(identity):
    credentials = Credentials("alice", Secret("pw"))
    config = SessionConfig(tls=identity.client_tls(), credentials=credentials)
    scene = Scene(identity, config=config, push=(PUSH + ",auth-token T0,auth-token-user Ym9i",))
    actions = scene.connect()
    assert of(TokenChanged, actions) == [TokenChanged(present=True)]
    assert "T0" not in str(actions)
    scene.session.renegotiate(scene.clock.now)
    scene.until(UseKey)
    assert (scene.peer.hello(1).username, scene.peer.hello(1).password) == ("bob", "T0")
    assert scene.tell("PUSH_REPLY,auth-token T1,route 10.0.0.0") == [TokenChanged(present=True)]
    assert credentials.login()[1].text() == "T1"
    actions = scene.tell("AUTH_FAILED,SESSION:expired")
    assert actions == [TokenChanged(present=False), AuthFailed("expired", token_rejected=True), Closed()]
    assert credentials.login()[1].text() == "pw"


@pytest.mark.parametrize(("message", "kept"), [("RESTART", False), ("RESTART,[P]", True), ("AUTH_FAILED,TEMP", True)])
def test_what_keeps_the_token(identity, message, kept):
    config = SessionConfig(tls=identity.client_tls(), credentials=Credentials("a"))
    scene = Scene(identity, config=config, push=(PUSH + ",auth-token T",))
    scene.connect()
    scene.tell(message)
    assert config.credentials.has_token == kept


def test_a_dynamic_answer_is_sent_once(identity):
    credentials = Credentials("a", Secret("pw"))
    credentials.answer_dynamic("id", "alice", Secret("1234"))
    scene = Scene(identity, config=SessionConfig(tls=identity.client_tls(), credentials=credentials))
    scene.connect()
    assert (scene.peer.hello().username, scene.peer.hello().password) == ("alice", "CRV1::id::1234")
    scene.session.renegotiate(scene.clock.now)
    scene.until(UseKey)
    assert scene.peer.hello(1).password == "pw"


def test_pending_authentication(identity):
    def on_message(peer, text):
        if text == "PUSH_REQUEST" and len(peer.messages) == 1:
            peer.send("AUTH_PENDING,timeout 300", "INFO_PRE,CR_TEXT:R,E:Your PIN?", "INFO_PRE,OPEN_URL:file:///x")
        elif text.startswith("CR_RESPONSE"):
            peer.send("INFO_PRE,WEB_AUTH:external:https://login.example/?a=b:c")
            peer.reply_push()

    scene = Scene(identity, on_message=on_message)
    actions = scene.until(TextChallenge)
    assert of(AuthPending, actions) == [AuthPending(300.0)]
    assert of(TextChallenge, actions) == [TextChallenge("Your PIN?", echo=True, response_required=True)]
    scene.run(100.0)
    assert scene.session.state is State.PENDING
    asked = [m for m in scene.peer.messages if m == "PUSH_REQUEST"]
    assert 11 <= len(asked) <= 15  # every 8 s
    scene.session.answer(Secret("12 34"), scene.clock.now)
    actions = scene.connect()
    assert scene.peer.messages[-1] == "CR_RESPONSE,MTIgMzQ="
    assert of(WebAuth, actions) == [WebAuth("https://login.example/?a=b:c", ("external",))]


def test_pending_authentication_ends(identity):
    scene = Scene(identity, on_message=lambda peer, text: peer.send("AUTH_PENDING,timeout 99999999"))
    assert of(AuthPending, scene.until(AuthPending)) == [AuthPending(1800.0)]
    scene.peer.on_message = lambda peer, text: None
    started = scene.clock.now
    actions = scene.until(Closed, seconds=4000.0)
    assert round(scene.clock.now - started) == 1800
    assert "not completed" in of(Failed, actions)[0].reason


def test_texts_for_the_user(scene):
    assert scene.tell("INFO,maintenance at 9", "SOMETHING,else") == [ServerInfo("maintenance at 9")]


def test_leaving_tells_the_server_and_waits_for_it(scene):
    scene.session.disconnect(scene.clock.now)
    assert scene.session.state is State.LEAVING
    started = scene.clock.now
    assert scene.until(Closed)[-1] == Closed()
    assert scene.clock.now - started < 0.1
    assert scene.peer.messages[-1] == "EXIT"


def test_leaving_gives_up_waiting(scene):
    scene.session.disconnect(scene.clock.now)
    scene.session.tick(scene.clock.advance(2.0))
    assert scene.session.actions()[-1] == Closed()


def test_leaving_waits_and_repeats_as_long_as_the_profile_says(identity):
    config = SessionConfig(tls=identity.client_tls(), exit_attempts=4)
    scene = Scene(identity, config=config)
    scene.connect()
    scene.session.disconnect(scene.clock.now)
    repeated = 0
    while scene.session.state is State.LEAVING:
        repeated += len(of(SendPacket, scene.session.actions()))
        scene.session.tick(scene.clock.advance(0.1))
    assert repeated > 2
    old_server = Scene(identity, config=config, push=("PUSH_REPLY,ifconfig 10.8.0.2 255.255.255.0,cipher AES-256-GCM",))
    old_server.connect()
    old_server.session.disconnect(old_server.clock.now)
    assert len(of(SendExit, old_server.session.actions())) == 4


def test_leaving_over_tcp_is_silent(identity):
    scene = Scene(identity, config=SessionConfig(tls=identity.client_tls(), stream=True))
    scene.connect()
    scene.session.disconnect(scene.clock.now)
    assert not of(SendPacket, scene.session.actions())


def test_leaving_during_a_renegotiation_uses_the_data_channel(scene):
    scene.session.renegotiate(scene.clock.now)
    scene.session.disconnect(scene.clock.now)
    actions = scene.session.actions()
    assert of(SendExit, actions)
    assert of(Closed, actions)


def test_messages_wait_for_the_end_of_a_renegotiation(scene):
    scene.session.renegotiate(scene.clock.now)
    scene.session.answer(Secret("x"), scene.clock.now)
    scene.until(UseKey)
    assert scene.peer.messages[-1] == "CR_RESPONSE,eA=="


def test_a_server_in_a_hurry_never_loses_a_key_it_needs(scene):
    """Renegotiation faster than the switch: sending moves on before the server may forget the old key."""
    installed, sending, current = {0}, 0, 0
    for turn in range(1, 20):
        scene.peer.renegotiate(scene.clock.now)
        for action in scene.run(1.0):
            if isinstance(action, InstallKeys):
                installed.add(action.key_id)
                current = action.key_id
            elif isinstance(action, UseKey):
                sending = action.key_id
            elif isinstance(action, RetireKey):
                installed.remove(action.key_id)
            assert sending in installed
        previous = current - 1 or 7
        assert current == (turn - 1) % 7 + 1
        assert {current, 0 if turn == 1 else previous} <= installed
        assert len(installed) == min(turn + 1, 3)
        assert sending in (current, 0 if turn == 1 else previous)


@pytest.mark.option("reneg-sec", "tran-window")
def test_old_keys_go_after_their_time(identity):
    config = SessionConfig(tls=identity.client_tls(), tran_window=100.0, reneg_sec=1000.0)
    scene = Scene(identity, config=config)
    scene.connect()
    actions = scene.until(Renegotiated, seconds=2000.0)
    assert round(scene.clock.now) == 2000
    assert not of(RetireKey, actions)
    assert of(RetireKey, scene.run(99.0)) == []
    assert of(RetireKey, scene.run(2.0)) == [RetireKey(0)]


def test_keys_nearly_used_up(scene):
    scene.session.key_expiring(3, scene.clock.now)
    assert of(SendPacket, scene.session.actions()) == []
    scene.session.key_expiring(0, scene.clock.now)
    scene.session.key_expiring(0, scene.clock.now)
    assert of(Renegotiated, scene.until(UseKey))[0].key_id == 1


def test_renegotiation_without_an_answer(scene):
    scene.session.renegotiate(scene.clock.now)
    scene.session.actions()
    scene.session.tick(scene.clock.advance(60.0))
    assert of(Failed, scene.session.actions())[0].kind is FailureKind.HANDSHAKE_TIMEOUT


def test_a_soft_reset_out_of_turn_is_dropped(scene):
    scene.peer.newest = 4
    scene.peer.renegotiate(scene.clock.now)
    packet = scene.peer.outgoing()[0]
    scene.session.receive(packet, scene.clock.now)
    assert of(SendPacket, scene.session.actions()) == []


def test_a_soft_reset_during_a_renegotiation_is_dropped(scene):
    scene.session.renegotiate(scene.clock.now)
    scene.session.actions()
    scene.peer.newest = 1
    scene.peer.renegotiate(scene.clock.now)
    scene.session.receive(scene.peer.outgoing()[0], scene.clock.now)
    assert of(SendPacket, scene.session.actions()) == []


def test_the_server_ends_tls(scene):
    scene.peer.close_tls()
    assert of(Failed, scene.run(1.0))[0].kind is FailureKind.PEER


def test_the_data_path_reports_silence(scene):
    scene.session.peer_timeout(scene.clock.now)
    failed = of(Failed, scene.session.actions())[0]
    assert (failed.kind, failed.fatal) == (FailureKind.TIMEOUT, False)


def test_a_connected_session_needs_no_wakeups(scene):
    scene.run(1.0)
    assert scene.session.next_timer() - scene.clock.now > 3000.0


def test_a_server_we_do_not_trust_gets_an_alert(identity):
    config = SessionConfig(tls=identity.client_tls(ca=Authority("Other").certificate))
    scene = Scene(identity, config=config)
    actions = scene.run(1.0)
    failed = of(Failed, actions)[0]
    assert (failed.kind, failed.fatal) == (FailureKind.CERTIFICATE, True)
    assert "unknown ca" in scene.peer.tls_errors[0]
    assert actions[-1] == Closed()


def test_a_client_the_server_does_not_trust(identity):
    stranger = replace(identity, client=Authority("Other").issue("stranger"))
    config = SessionConfig(tls=stranger.client_tls())
    failed = of(Failed, Scene(identity, config=config).until(Closed))[0]
    assert (failed.kind, failed.fatal) == (FailureKind.TLS_ALERT, True)


def test_packets_keep_to_the_size_limit(identity):
    wrap = WRAPS["tls-crypt-v2"]
    config = SessionConfig(tls=identity.client_tls(), wrap=wrap, max_packet_bytes=600)
    scene = Scene(identity, config=config, resend_wkc=True)
    sizes = []
    original = scene.peer.receive
    scene.peer.receive = lambda data, now: (sizes.append(len(data)), original(data, now))
    scene.connect()
    assert max(sizes) <= 600
    assert len(sizes) > 8


def test_nothing_secret_in_any_action(identity):
    credentials = Credentials("alice", Secret("hunter2"))
    config = SessionConfig(tls=identity.client_tls(), credentials=credentials)
    scene = Scene(identity, config=config, push=(PUSH + ALL_FLAGS + ",auth-token SECRETTOKEN",))
    text = repr(scene.connect()) + repr(config) + repr(scene.session)
    assert "hunter2" not in text
    assert "SECRETTOKEN" not in text
    assert identity.client.key.splitlines()[1] not in text
