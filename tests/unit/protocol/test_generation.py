"""One generation with a TLS engine that only passes bytes on."""

import pytest

from ovpn3.errors import UsageError
from ovpn3.protocol.failure import SessionEnd
from ovpn3.protocol.generation import Generation
from ovpn3.protocol.keymethod import PREFIX, make_source
from ovpn3.protocol.packet import ControlPacket, Opcode
from ovpn3.protocol.reliable import Reliable
from ovpn3.protocol.states import KeyState

OURS, THEIRS = b"clientid", b"serverid"
SERVER_HELLO = PREFIX + bytes(64) + b"\0\3V4\0"
RESEND_WKC = b"\0\1\0\2\0\1"


class FakeTls:
    """Complete once anything arrived; every feed is one record."""

    closed = False

    def __init__(self, first_flight=b"ClientHello"):
        self._first_flight, self._out, self._in = first_flight, b"", []
        self.complete = False

    def feed(self, ciphertext):
        self._in.append(ciphertext)

    def take(self):
        out, self._out = self._out, b""
        return out

    def handshake(self):
        self._out, self._first_flight = self._first_flight, b""
        if self._in:
            self.complete = True
            self._in.pop(0)
        return self.complete

    def write(self, plaintext):
        self._out += plaintext

    def read(self):
        records, self._in = self._in, []
        return records


def make(tls=None, *, max_acks=8, has_wkc=False, room=lambda opcode: 1000):
    return Generation(
        0,
        Opcode.HARD_RESET_CLIENT,
        tls or FakeTls(),
        Reliable(1.0, stream=False),
        hello=lambda: (make_source(bytes), b"ClientKeys"),
        room=room,
        max_acks=max_acks,
        has_wkc=has_wkc,
    )


def server(message_id, payload=b"", acks=()):
    opcode = Opcode.CONTROL if message_id else Opcode.HARD_RESET_SERVER
    return ControlPacket(opcode, 0, THEIRS, acks, OURS if acks else None, message_id, payload)


def ack(*ids):
    return ControlPacket(Opcode.ACK, 0, THEIRS, ids, OURS)


def outgoing(generation):
    packets = generation.outgoing(0.0, OURS, THEIRS)
    return [(p.opcode, p.message_id, p.acks, p.payload) for p in packets]


def test_the_whole_way():
    generation = make()
    assert outgoing(generation) == [(Opcode.HARD_RESET_CLIENT, 0, (), b"")]
    generation.receive(server(0, acks=(0,)), 0.0)
    assert generation.state is KeyState.TLS
    assert outgoing(generation) == [(Opcode.CONTROL, 1, (0,), b"ClientHello")]
    generation.receive(server(1, b"ServerHello", acks=(1,)), 0.0)
    assert generation.state is KeyState.KEYS
    assert outgoing(generation) == [(Opcode.CONTROL, 2, (1, 0), b"ClientKeys")]
    with pytest.raises(UsageError):
        generation.sources()
    generation.receive(server(2, SERVER_HELLO), 0.0)
    assert (generation.state, generation.exchanged, generation.active) == (KeyState.CONFIRM, True, False)
    assert outgoing(generation) == [(Opcode.ACK, None, (2, 1, 0), b"")]
    generation.receive(server(3, b"PUSH_REPLY\0"), 0.0)
    assert not generation.active
    assert generation.take_messages() == ["PUSH_REPLY"]
    generation.receive(ack(2), 0.0)
    assert generation.active
    assert generation.settled
    assert generation.take_messages() == []
    assert [len(s.random1) for s in generation.sources()] == [32, 32]


def test_tls_waits_for_both_reset_and_acknowledgement():
    generation = make()
    outgoing(generation)
    generation.receive(server(0, acks=(7,)), 0.0)
    assert generation.state is KeyState.RESET
    assert outgoing(generation) == [(Opcode.ACK, None, (0,), b"")]
    generation.receive(ack(0), 0.0)
    assert generation.state is KeyState.TLS


@pytest.mark.parametrize(("max_acks", "sizes"), [(8, [5]), (4, [4, 4])])
def test_acknowledgements_of_a_burst(max_acks, sizes):
    """The second packet of four has the fifth, and three others again."""
    generation = make(max_acks=max_acks)
    outgoing(generation)
    for message_id in range(5):
        generation.receive(server(message_id, b"x"), 0.0)
    assert [len(acks) for _, _, acks, _ in outgoing(generation)] == sizes


def test_the_wrapped_key_goes_again_when_asked_for():
    generation = make(has_wkc=True, room=lambda opcode: 4 if opcode.carries_wkc else 20)
    outgoing(generation)
    generation.receive(server(0, RESEND_WKC, acks=(0,)), 0.0)
    assert [(o, i, p) for o, i, _, p in outgoing(generation)] == [
        (Opcode.CONTROL_WKC, 1, b"Clie"),
        (Opcode.CONTROL, 2, b"ntHello"),
    ]


def test_no_bare_acknowledgement_before_the_wrapped_key():
    generation = make(has_wkc=True)
    outgoing(generation)
    generation.receive(server(0, RESEND_WKC, acks=(7,)), 0.0)
    assert outgoing(generation) == [(Opcode.CONTROL_WKC, 1, (0,), b"")]


def test_without_a_wrapped_key_nobody_can_ask_for_it():
    generation = make()
    outgoing(generation)
    generation.receive(server(0, RESEND_WKC, acks=(0,)), 0.0)
    assert outgoing(generation)[0][0] is Opcode.CONTROL


def test_a_packet_may_have_room_for_the_wrapped_key_only():
    generation = make(has_wkc=True, room=lambda opcode: 0 if opcode.carries_wkc else 20)
    outgoing(generation)
    generation.receive(server(0, RESEND_WKC, acks=(0,)), 0.0)
    assert [(o, p) for o, _, _, p in outgoing(generation)] == [
        (Opcode.CONTROL_WKC, b""),
        (Opcode.CONTROL, b"ClientHello"),
    ]


def test_nonsense_inside_tls_is_the_servers():
    generation = make()
    outgoing(generation)
    generation.receive(server(0, acks=(0,)), 0.0)
    generation.receive(server(1, b"ServerHello"), 0.0)
    with pytest.raises(SessionEnd):
        generation.receive(server(2, b"not key method 2"), 0.0)
