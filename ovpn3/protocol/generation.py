"""One key generation: its reset, its TLS handshake over reliable delivery, its key exchange, its messages.

The session feeds it unwrapped packets and takes unwrapped packets; what it became is read from its attributes.
"""

from collections.abc import Callable
from typing import final

from ovpn3.errors import PeerError, UsageError
from ovpn3.protocol.actions import FailureKind
from ovpn3.protocol.failure import failed
from ovpn3.protocol.keymethod import ServerHello, unpack_server
from ovpn3.protocol.keys import KeySource
from ovpn3.protocol.messages import MessageReader
from ovpn3.protocol.packet import MAX_PIGGYBACK_ACKS, ControlPacket, Opcode, wants_wkc_again
from ovpn3.protocol.reliable import Reliable
from ovpn3.protocol.states import GENERATION, KeyEvent, KeyState, follow
from ovpn3.protocol.tls import TlsConnection

Hello = Callable[[], tuple[KeySource, bytes]]  # our random and our key-method-2 message


@final
class Generation:
    """`room` says how many octets of TLS fit into a packet of an opcode."""

    def __init__(
        self,
        key_id: int,
        reset: Opcode,
        tls: TlsConnection,
        reliable: Reliable,
        *,
        hello: Hello,
        room: Callable[[Opcode], int],
        max_acks: int,
        has_wkc: bool,
    ) -> None:
        self.key_id = key_id
        self.tls = tls
        self.state = KeyState.RESET
        self._source: KeySource | None = None
        self._server: ServerHello | None = None
        self._reliable = reliable
        self._hello, self._room, self._max_acks, self._has_wkc = hello, room, max_acks, has_wkc
        self._reset_received = False
        self._repeat_wkc = False
        self._reader = MessageReader()
        self._messages: list[str] = []
        reliable.queue(reset, b"")

    @property
    def active(self) -> bool:
        return self.state is KeyState.ACTIVE

    @property
    def exchanged(self) -> bool:
        """Both sides' key-method-2 messages are known."""
        return self.state in (KeyState.CONFIRM, KeyState.ACTIVE)

    def sources(self) -> tuple[KeySource, KeySource]:
        """Client's and server's randoms; UsageError before they are exchanged."""
        if self._source is None or self._server is None:
            raise UsageError("keys are not exchanged yet")
        return self._source, self._server.source

    @property
    def settled(self) -> bool:
        """The server acknowledged all we sent."""
        return self._reliable.settled

    @property
    def round_trip(self) -> float | None:
        """Seconds the server's acknowledgements took so far; None before the first."""
        return self._reliable.round_trip

    def receive(self, packet: ControlPacket, now: float) -> None:
        """Take a packet of this generation; SessionEnd or PeerError if what it completes is refused."""
        self._reliable.acknowledged(packet.acks, now)
        if packet.message_id is not None:
            self._reliable.receive(packet.message_id, packet.payload)
        for message_id, payload in self._reliable.deliver():
            if message_id == 0:
                self._reset_received = True
                self._repeat_wkc = self._has_wkc and wants_wkc_again(payload)
            else:
                self.tls.feed(payload)
        try:
            self._advance()
        finally:
            self._queue_ciphertext()  # after a failure: the alert

    def write(self, plaintext: bytes) -> None:
        """Send a message; only while active."""
        self.tls.write(plaintext)
        self._queue_ciphertext()

    def take_messages(self) -> list[str]:
        messages, self._messages = self._messages, []
        return messages

    def outgoing(self, now: float, session_id: bytes, peer_session_id: bytes | None) -> list[ControlPacket]:
        """Packets to send now: new ones, repeated ones, and acknowledgements nothing else carries."""
        if self._reliable.must_ack and self._repeat_wkc and self._reliable.next_id == 1:
            # A server without state can't read an ACK before it has seen the wrapped key again.
            self._reliable.queue(Opcode.CONTROL_WKC, b"")

        def make(opcode: Opcode, limit: int, message_id: int | None = None, payload: bytes = b"") -> ControlPacket:
            acks = self._reliable.take_acks(limit)
            peer = peer_session_id if acks else None
            return ControlPacket(opcode, self.key_id, session_id, acks, peer, message_id, payload)

        packets = [
            make(opcode, MAX_PIGGYBACK_ACKS, message_id, payload)
            for message_id, opcode, payload in self._reliable.due(now)
        ]
        while self._reliable.must_ack:
            packets.append(make(Opcode.ACK, self._max_acks))
        return packets

    def next_timer(self) -> float | None:
        return self._reliable.next_timer()

    def _advance(self) -> None:
        if self.state is KeyState.RESET and self._reset_received and self._reliable.settled:
            self._enter(KeyEvent.RESET_DONE)
        if self.state is KeyState.TLS and self.tls.handshake():
            self._source, hello = self._hello()
            self.tls.write(hello)
            self._enter(KeyEvent.TLS_DONE)
        if self.state not in (KeyState.RESET, KeyState.TLS):
            self._read()
        self._queue_ciphertext()
        if self.state is KeyState.CONFIRM and self._reliable.settled:
            self._enter(KeyEvent.CONFIRMED)

    def _read(self) -> None:
        for record in self.tls.read():
            try:
                if self._server is None:
                    self._server = unpack_server(record)
                    self._enter(KeyEvent.KEYS_RECEIVED)
                else:
                    self._messages += self._reader.feed(record)
            except PeerError as e:
                # It came through TLS, so it isn't a stranger's.
                raise failed(FailureKind.PEER, str(e)) from e

    def _queue_ciphertext(self) -> None:
        data = self.tls.take()
        while data:
            first = self._repeat_wkc and self._reliable.next_id == 1
            opcode = Opcode.CONTROL_WKC if first else Opcode.CONTROL
            size = self._room(opcode)
            self._reliable.queue(opcode, data[:size])
            data = data[size:]

    def _enter(self, event: KeyEvent) -> None:
        self.state = follow(GENERATION, self.state, event)
