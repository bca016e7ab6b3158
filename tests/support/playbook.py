"""Transcripts of a session: what is done to it, and exactly what it asks for in return.

    Playbook(session, clock) >> Start() << [Sent(Opcode.HARD_RESET_CLIENT, message_id=0)] >> Wait(1.0) << […]

Log lines are left out. `Sent` matches a SendPacket by the fields given (unwrapped packets only), `Any` by type;
both keep what they matched.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from ovpn3.protocol import Session
from ovpn3.protocol.actions import LogLine, SendPacket
from ovpn3.protocol.packet import ControlPacket, Opcode, pack_first, pack_rest, unpack_rest
from tests.support.clock import Clock

T = TypeVar("T")


@dataclass
class Start:
    def apply(self, session: Session, clock: Clock) -> None:
        session.start(clock.now)


@dataclass
class Wait:
    seconds: float

    def apply(self, session: Session, clock: Clock) -> None:
        session.tick(clock.advance(self.seconds))


@dataclass
class Receive:
    packet: ControlPacket

    def apply(self, session: Session, clock: Clock) -> None:
        session.receive(pack_plain(self.packet), clock.now)


@dataclass
class Call:
    """Any other method that takes the time."""

    method: str

    def apply(self, session: Session, clock: Clock) -> None:
        getattr(session, self.method)(clock.now)


class Any(Generic[T]):
    """Equal to any value of the type; `value` is what it was."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self.value: T

    def __eq__(self, other: object) -> bool:
        if isinstance(other, self._kind):
            self.value = other
            return True
        return False

    def __repr__(self) -> str:
        return f"any {self._kind.__name__}"


class Sent:
    """Equal to a SendPacket whose packet has these fields."""

    def __init__(self, opcode: Opcode, **fields: object) -> None:
        self._wanted = {"opcode": opcode, **fields}
        self.packet: ControlPacket

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SendPacket):
            return False
        self.packet = unpack_plain(other.data)
        return all(getattr(self.packet, name) == value for name, value in self._wanted.items())

    def __repr__(self) -> str:
        return f"sent {self._wanted}"


class Playbook:
    def __init__(self, session: Session, clock: Clock) -> None:
        self._session, self._clock = session, clock

    def __rshift__(self, event: Start | Wait | Receive | Call) -> "Playbook":
        event.apply(self._session, self._clock)
        return self

    def __lshift__(self, expected: list[object]) -> "Playbook":
        actual = [_decoded(a) for a in self._session.actions() if not isinstance(a, LogLine)]
        assert actual == expected, f"\nexpected: {expected}\nactual:   {actual}"
        return self


class _Decoded(SendPacket):
    """A SendPacket that shows its fields."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"sent {unpack_plain(self.data)}"


def _decoded(action: object) -> object:
    return _Decoded(action.data) if isinstance(action, SendPacket) else action


def pack_plain(packet: ControlPacket) -> bytes:
    return bytes((pack_first(packet.opcode, packet.key_id),)) + packet.session_id + pack_rest(packet)


def unpack_plain(data: bytes) -> ControlPacket:
    return unpack_rest(data[0], data[1:9], data[9:])
