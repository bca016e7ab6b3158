"""A client's connection to one server, from the first reset to the exit: composes everything else in this package.

Nothing here reads a clock, a socket or a random source. Each call is given `now` (monotonic seconds) and leaves
actions to collect; `next_timer` says when `tick` is needed at the latest.
"""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, final

from ovpn3.constants import LogCategory
from ovpn3.errors import PeerError, UsageError
from ovpn3.protocol import diagnosis
from ovpn3.protocol.actions import (
    Action,
    AuthFailed,
    AuthPending,
    Closed,
    End,
    Established,
    Failed,
    FailureKind,
    FirstPacket,
    LogLine,
    Pushed,
    Renegotiated,
    Restart,
    SendExit,
    SendPacket,
    ServerInfo,
    SetKeepalive,
    TokenChanged,
)
from ovpn3.protocol.auth import unpack_base64_text
from ovpn3.protocol.channel import Channel
from ovpn3.protocol.config import SessionConfig, WrapMode
from ovpn3.protocol.failure import SessionEnd, failed
from ovpn3.protocol.generation import Generation
from ovpn3.protocol.keymethod import make_source, pack_client
from ovpn3.protocol.keyring import KeyRing
from ovpn3.protocol.keys import EKM_WRAP_LABEL, KEY2_BYTES, Key2, KeySource
from ovpn3.protocol.messages import (
    pack_message,
    parse_auth_failed,
    parse_halt,
    parse_info_pre,
    parse_pending_timeout,
    parse_restart,
)
from ovpn3.protocol.negotiate import Negotiated, negotiate, options_string, peer_info
from ovpn3.protocol.packet import MAX_ACKS, MAX_PIGGYBACK_ACKS, ControlPacket, Opcode
from ovpn3.protocol.push import (
    FIRST_REPEATS,
    REPEAT,
    REPEAT_PENDING,
    Option,
    PullRejected,
    PushAssembler,
    accept,
    update,
)
from ovpn3.protocol.reliable import Reliable
from ovpn3.protocol.states import SESSION, Event, State, follow
from ovpn3.protocol.timers import LEAVE_TIME, SWITCH_DELAY, Alarm, Timers
from ovpn3.protocol.tls import TlsContext, check_expiry
from ovpn3.secret import Secret

TOKEN_OPTIONS: Final = ("auth-token", "auth-token-user")
ASKING: Final = (State.PULLING, State.PENDING)


@final
class Session:
    """`wall` is the Unix time at `now`. CryptoError if keys or certificates of `config` can't be used."""

    def __init__(self, config: SessionConfig, *, random: Callable[[int], bytes], wall: int, now: float) -> None:
        self._config, self._random = config, random
        self._wall_offset = wall - now
        self._state = State.IDLE
        if config.tls.cert:
            check_expiry(config.tls.cert, wall)
        self._tls = TlsContext(config.tls)
        self._channel = Channel(config, random, wall)
        self._ring = KeyRing()
        self._timers = Timers()
        self._assembler = PushAssembler()
        self._updates = PushAssembler()
        self._pushed: list[Option] | None = None  # complete, not used yet
        self._used: list[Option] = []  # in force
        self._replaced: set[str] = set()  # names of options that updates were about
        self._requests = 0  # PUSH_REQUESTs sent
        self._agreed: Negotiated | None = None
        self._hold_until: float | None = None  # authentication may stay pending
        self._dropped = 0  # packets
        self._outbox: list[str] = []  # while a handshake is going on
        self._actions: list[Action] = []

    @property
    def state(self) -> State:
        return self._state

    @property
    def round_trip(self) -> float | None:
        """Seconds a control packet's acknowledgement takes in the newest handshake; None before the first."""
        return self._ring.newest.round_trip

    def start(self, now: float) -> None:
        """Send the first packet."""
        self._step(Event.START)
        self._open(0, Opcode.HARD_RESET_CLIENT_WKC if self._channel.has_wkc else Opcode.HARD_RESET_CLIENT, now)
        if self._config.server_poll_timeout:
            self._timers.set(Alarm.POLL, now + self._config.server_poll_timeout)
        self._heard(now)
        self._flush(now)

    def receive(self, packet: bytes, now: float) -> None:
        """Take one control packet from the network, without TCP's length; hostile until proven otherwise."""
        if self._state in (State.IDLE, State.CLOSED):
            return
        try:
            opened = self._channel.open(packet)
        except PeerError as e:
            self._dropped += 1
            if self._dropped.bit_count() == 1:  # ever more rarely: a flood must not flood the log
                self._log(LogCategory.VERB1, f"control packet dropped: {e} ({self._dropped} so far)")
            if self._config.stream:  # nobody but the server can have put it there
                self._end(Failed(FailureKind.PEER, f"the server sent an unusable packet: {e}"))
            return
        with self._ends(now):
            self._on_packet(opened, now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        with self._ends(now):
            while due := self._timers.take_due(now):
                self._on_alarm(*due, now)

    def actions(self) -> list[Action]:
        """What there is to do since the last call, in order."""
        drained, self._actions = self._actions, []
        return drained

    def next_timer(self) -> float | None:
        """When `tick` must be called at the latest; None: not at all."""
        timers = [self._timers.next(), *(g.next_timer() for g in self._ring)]
        return min((t for t in timers if t is not None), default=None)

    def renegotiate(self, now: float) -> None:
        """Change keys, unless that is going on already. UsageError unless connected."""
        if self._state is not State.CONNECTED:
            raise UsageError(f"can't renegotiate while {self._state.value}")
        if self._ring.newest.active:
            self._open(self._ring.next_key_id, Opcode.SOFT_RESET, now)
            self._flush(now)

    def key_expiring(self, key_id: int, now: float) -> None:
        """The data path has nearly used up a key."""
        if self._state is State.CONNECTED and key_id == self._ring.newest.key_id:
            self.renegotiate(now)

    def peer_timeout(self, now: float) -> None:
        """The data path heard nothing for ping-restart."""
        if self._state is State.CLOSED:
            return
        with self._ends(now):
            raise failed(FailureKind.TIMEOUT, "the server has gone silent (ping-restart)")

    def transport_closed(self, now: float) -> None:
        """The other side closed the connection (TCP)."""
        if self._state is State.CLOSED:
            return
        answered = self._channel.peer_session_id is not None
        connected = self._state in (State.CONNECTED, State.LEAVING)
        with self._ends(now):
            reason = diagnosis.connection_lost(self._config, answered=answered, connected=connected)
            raise failed(FailureKind.PEER, reason)

    def answer(self, text: Secret, now: float) -> None:
        """Response to a TextChallenge. UsageError unless the server can hear it."""
        if self._state not in (*ASKING, State.CONNECTED):
            raise UsageError(f"can't answer while {self._state.value}")
        self._send(f"CR_RESPONSE,{base64.b64encode(text.reveal()).decode()}")
        self._flush(now)

    def disconnect(self, now: float) -> None:
        """Leave; the server is told if there is a way. Closed follows, at once or when the server has heard."""
        if self._state in (State.LEAVING, State.CLOSED):
            return
        if self._state is not State.CONNECTED or self._config.stream:
            self._close()
        elif self._agreed is not None and self._agreed.cc_exit and self._ring.newest.active:
            self._step(Event.LEAVE)
            self._timers.clear()
            self._timers.set(Alarm.LEAVE, now + max(LEAVE_TIME, self._config.exit_attempts))
            self._send("EXIT")
            self._flush(now)
        else:
            self._actions += [SendExit()] * max(1, self._config.exit_attempts)
            self._close()

    # Packets and timers

    def _on_packet(self, packet: ControlPacket, now: float) -> None:
        generation = self._ring.get(packet.key_id) or self._accept_reset(packet, now)
        if generation is None:
            self._log(LogCategory.VERB1, f"{packet.opcode.name} for unknown key {packet.key_id} dropped")
            return
        if self._state is State.WAITING:
            self._step(Event.ANSWERED)
            self._timers.cancel(Alarm.POLL)
            self._actions.append(FirstPacket())
        self._heard(now)
        was_active = generation.active
        generation.receive(packet, now)
        if self._state is State.LEAVING:
            if generation is self._ring.newest and generation.settled:
                self._close()
            return
        if generation.exchanged and self._agreed is not None and not self._ring.is_installed(generation.key_id):
            self._install(generation, self._agreed)
        for message in generation.take_messages():
            self._on_message(message, now)
        if generation.active and not was_active:
            self._on_active(generation, now)
        if generation.tls.closed and generation is self._ring.newest:
            raise failed(FailureKind.PEER, "the server ended the TLS session")
        self._configure(now)

    def _accept_reset(self, packet: ControlPacket, now: float) -> Generation | None:
        """The generation a server's soft reset opens; None if it may not."""
        if (
            packet.opcode is not Opcode.SOFT_RESET
            or self._state is not State.CONNECTED
            or packet.key_id != self._ring.next_key_id
            or not self._ring.newest.active
        ):
            return None
        return self._open(packet.key_id, Opcode.SOFT_RESET, now)

    def _open(self, key_id: int, reset: Opcode, now: float) -> Generation:
        """A new generation; our reset is queued."""
        config = self._config
        generation = Generation(
            key_id,
            reset,
            self._tls.connect(),
            Reliable(config.tls_timeout, stream=config.stream),
            hello=self._make_hello,
            room=self._channel.room,
            # Some servers without wrapping can't read more.
            max_acks=MAX_PIGGYBACK_ACKS if config.wrap.mode is WrapMode.NONE else MAX_ACKS,
            has_wkc=self._channel.has_wkc and key_id == 0,
        )
        if key_id:  # the server may drop all keys older than the newest now
            self._switch(self._ring.newest.key_id)
        self._ring.add(generation)
        self._timers.cancel(Alarm.RENEGOTIATE)
        self._timers.set(Alarm.HANDSHAKE, now + config.hand_window, key_id)
        return generation

    def _on_alarm(self, alarm: Alarm, key_id: int, now: float) -> None:
        config, forged = self._config, self._channel.forged
        match alarm:
            case Alarm.POLL:
                reason = diagnosis.no_answer(config, forged, config.server_poll_timeout)
                raise failed(FailureKind.TIMEOUT, reason)
            case Alarm.HANDSHAKE:
                generation = self._ring.get(key_id)
                if generation is not None and not generation.active:
                    reason = diagnosis.unfinished(generation.state, forged, config.hand_window)
                    raise failed(FailureKind.HANDSHAKE_TIMEOUT, reason)
            case Alarm.SILENCE:
                reason = diagnosis.silence(self._ring.newest.state, config.ping_restart)
                raise failed(FailureKind.TIMEOUT, reason)
            case Alarm.PUSH_REQUEST:
                self._request_push(now)
            case Alarm.PUSH_DEADLINE:
                reason = diagnosis.no_options(pending=self._state is State.PENDING)
                raise failed(FailureKind.PUSH, reason)
            case Alarm.RENEGOTIATE:
                self.renegotiate(now)
            case Alarm.SWITCH:
                self._switch(key_id)
            case Alarm.RETIRE:
                self._actions += self._ring.retire(key_id)
            case Alarm.LEAVE:
                self._close()

    def _on_active(self, generation: Generation, now: float) -> None:
        self._timers.cancel(Alarm.HANDSHAKE, generation.key_id)
        if generation.key_id == 0:
            self._step(Event.AUTHENTICATED)
            self._timers.set(Alarm.PUSH_DEADLINE, now + self._config.hand_window)
            if self._hold_until is not None:
                self._hold(self._hold_until)
            if not self._assembler.started:
                self._request_push(now)
            return
        self._timers.set(Alarm.SWITCH, now + SWITCH_DELAY, generation.key_id)
        for older in self._ring:
            if older is not generation and not self._timers.is_set(Alarm.RETIRE, older.key_id):
                lifetime = max(self._config.tran_window, 2 * SWITCH_DELAY)
                self._timers.set(Alarm.RETIRE, now + lifetime, older.key_id)
        self._schedule_renegotiation(now)
        self._actions.append(Renegotiated(generation.key_id, generation.tls.describe()))
        waiting, self._outbox = self._outbox, []
        for message in waiting:
            self._send(message)

    # Keys

    def _make_hello(self) -> tuple[KeySource, bytes]:
        source = make_source(self._random)
        username, password = self._config.credentials.login()
        hello = pack_client(source, options_string(self._config), username, password, peer_info(self._config))
        self._config.credentials.login_sent()
        return source, hello

    def _install(self, generation: Generation, agreed: Negotiated) -> None:
        peer_session_id = self._channel.peer_session_id or b""
        self._timers.cancel(Alarm.RETIRE, generation.key_id)
        self._actions += self._ring.install(generation, agreed, self._channel.session_id, peer_session_id)

    def _switch(self, key_id: int) -> None:
        self._timers.cancel(Alarm.SWITCH, key_id)
        self._actions += self._ring.use(key_id)

    def _schedule_renegotiation(self, now: float) -> None:
        if self._agreed is not None and self._agreed.reneg_sec:
            self._timers.set(Alarm.RENEGOTIATE, now + self._agreed.reneg_sec)

    # Messages

    def _on_message(self, message: str, now: float) -> None:
        keyword, _, rest = message.partition(",")
        match keyword:
            case "PUSH_REPLY":
                self._on_push_reply(message)
            case "PUSH_UPDATE":
                self._on_push_update(message)
            case "AUTH_FAILED":
                self._on_auth_failed(message)
            case "AUTH_PENDING":
                self._on_auth_pending(message, now)
            case "INFO":
                self._actions.append(ServerInfo(rest))
            case "INFO_PRE":
                self._on_info_pre(rest)
            case "RESTART":
                restart = parse_restart(message)
                if not restart.keep_credentials:
                    self._drop_token()
                raise SessionEnd(restart)
            case "HALT":
                raise SessionEnd(parse_halt(message))
            case "EXIT":
                raise SessionEnd(Restart("the server is going away", keep_credentials=True))
            case "RELAY":
                raise failed(FailureKind.PEER, "the server wants to relay us elsewhere, which isn't supported")
            case _:
                self._log(LogCategory.VERB1, f"message {keyword[:32]!r} from the server ignored")

    def _on_push_reply(self, message: str) -> None:
        options = self._assembler.add(message)
        self._timers.cancel(Alarm.PUSH_REQUEST)
        if options is None:
            return
        if self._agreed is None:
            self._pushed = options
        else:  # once connected, a server only renews the token
            self._take_token(options)

    def _on_push_update(self, message: str) -> None:
        if self._state is not State.CONNECTED:
            self._log(LogCategory.WARN, "an update of options before there are any was ignored")
            return
        items = self._updates.add(message)
        if items is None:
            return
        updated, about, unknown = update(self._used, items)
        self._replaced |= about
        if unknown:
            self._log(LogCategory.VERB1, f"options not updated: {', '.join(unknown)[:500]}")
        self._use(updated)

    def _on_auth_failed(self, message: str) -> None:
        outcome = parse_auth_failed(message)
        if isinstance(outcome, AuthFailed) and not outcome.temporary:
            rejected = self._drop_token()
            outcome = AuthFailed(outcome.reason, token_rejected=rejected)
        raise SessionEnd(outcome)

    def _on_auth_pending(self, message: str, now: float) -> None:
        config = self._config
        timeout = parse_pending_timeout(message)
        granted = config.hand_window if timeout is None else timeout
        granted = min(granted, max(config.reneg_sec / 2, config.hand_window))
        self._actions.append(AuthPending(granted))
        self._hold_until = now + granted
        if self._state in ASKING:
            self._hold(self._hold_until)

    def _hold(self, until: float) -> None:
        self._step(Event.HELD)
        self._timers.set(Alarm.PUSH_DEADLINE, until)

    def _on_info_pre(self, extra: str) -> None:
        try:
            question = parse_info_pre(extra)
        except PeerError as e:
            self._log(LogCategory.WARN, str(e))
            return
        self._actions.append(ServerInfo(extra) if question is None else question)

    def _send(self, message: str) -> None:
        """A server reads messages of its newest generation only, so during a handshake they wait."""
        if self._ring.newest.active:
            self._ring.newest.write(pack_message(message))
        else:
            self._outbox.append(message)

    # Options

    def _request_push(self, now: float) -> None:
        self._send("PUSH_REQUEST")
        self._requests += 1
        if self._state is State.PENDING:
            repeat = REPEAT_PENDING
        elif self._requests <= len(FIRST_REPEATS):
            repeat = FIRST_REPEATS[self._requests - 1]
        else:
            repeat = REPEAT
        self._timers.set(Alarm.PUSH_REQUEST, now + repeat)

    def _configure(self, now: float) -> None:
        """Connected, once the options are complete and the first generation is active."""
        if self._pushed is None or self._state not in ASKING:
            return
        config, first = self._config, self._ring.newest
        pushed, self._pushed = self._pushed, None
        self._use(pushed)
        agreed = self._agreed = negotiate(self._used, config)
        self._take_token(self._used)
        if agreed.dynamic_wrap:
            exported = Key2(first.tls.export(EKM_WRAP_LABEL, KEY2_BYTES))
            self._channel.protect_later(exported, int(now + self._wall_offset))
        self._install(first, agreed)
        self._switch(first.key_id)
        self._step(Event.CONFIGURED)
        for alarm in (Alarm.PUSH_REQUEST, Alarm.PUSH_DEADLINE, Alarm.SILENCE):
            self._timers.cancel(alarm)
        self._schedule_renegotiation(now)
        self._actions += [
            SetKeepalive(agreed.ping, agreed.ping_restart),
            Established(first.tls.describe()),
        ]

    def _use(self, options: list[Option]) -> None:
        """Have the filters decide what of the server's options is in force from now on."""
        config = self._config
        try:
            self._used, refused = accept(options, config.pull_filters, route_nopull=config.route_nopull)
        except PullRejected as e:
            raise SessionEnd(Restart(str(e))) from e
        if refused:
            self._log(LogCategory.WARN, f"options refused from the server: {', '.join(sorted(set(refused)))[:500]}")
        in_force = tuple(o for o in self._used if o[0] not in TOKEN_OPTIONS)
        self._actions.append(Pushed(in_force, frozenset(self._replaced)))

    def _take_token(self, options: list[Option]) -> None:
        pushed = {name: args[0] for name, args in options if args and name in TOKEN_OPTIONS}
        if "auth-token" not in pushed:
            return
        username = unpack_base64_text(pushed.get("auth-token-user", ""))
        self._config.credentials.accept_token(Secret(pushed["auth-token"]), username)
        self._actions.append(TokenChanged(present=True))

    def _drop_token(self) -> bool:
        had_token = self._config.credentials.drop_token()
        if had_token:
            self._actions.append(TokenChanged(present=False))
        return had_token

    # Common ground

    @contextmanager
    def _ends(self, now: float) -> Iterator[None]:
        """Send what a step queued; if it failed, end the session after that (an alert may be among it)."""
        end: End | None = None
        try:
            yield
        except SessionEnd as e:
            end = e.action
        except PeerError as e:
            end = Failed(FailureKind.PEER, str(e))
        self._flush(now)
        if self._state is State.LEAVING and end is not None:
            self._close()  # we wanted to go anyway
        elif end is not None:
            self._end(end)

    def _flush(self, now: float) -> None:
        for generation in self._ring:
            for packet in generation.outgoing(now, self._channel.session_id, self._channel.peer_session_id):
                self._actions.append(SendPacket(self._channel.seal(packet)))

    def _heard(self, now: float) -> None:
        if self._config.ping_restart and self._state not in (State.CONNECTED, State.LEAVING):
            self._timers.set(Alarm.SILENCE, now + self._config.ping_restart)

    def _end(self, action: End) -> None:
        self._actions.append(action)
        self._close()

    def _close(self) -> None:
        self._step(Event.END)
        self._timers.clear()
        self._ring.clear()
        self._actions.append(Closed())

    def _step(self, event: Event) -> None:
        self._enter(follow(SESSION, self._state, event))

    def _enter(self, state: State) -> None:
        self._state = state
        self._log(LogCategory.DEBUG, f"session: {state.value}")

    def _log(self, category: LogCategory, text: str) -> None:
        self._actions.append(LogLine(category, text))
