"""The state machines as literal tables: what may happen in which state, and where it leads.

A session's states are those of a connection; a key generation's are those of one TLS handshake within it.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeVar

from ovpn3.errors import UsageError


class State(Enum):
    IDLE = "idle"
    WAITING = "waiting for the server"
    HANDSHAKING = "handshaking"
    PULLING = "asking for options"
    PENDING = "waiting for authentication"
    CONNECTED = "connected"
    LEAVING = "leaving"
    CLOSED = "closed"


class Event(Enum):
    START = "start"
    ANSWERED = "server answered"
    AUTHENTICATED = "first key generation active"
    HELD = "authentication pending"
    CONFIGURED = "options received"
    LEAVE = "leave"
    END = "end"


SESSION: Final[Mapping[State, Mapping[Event, State]]] = {
    State.IDLE: {Event.START: State.WAITING, Event.END: State.CLOSED},
    State.WAITING: {Event.ANSWERED: State.HANDSHAKING, Event.END: State.CLOSED},
    State.HANDSHAKING: {Event.AUTHENTICATED: State.PULLING, Event.END: State.CLOSED},
    State.PULLING: {
        Event.HELD: State.PENDING,
        Event.CONFIGURED: State.CONNECTED,
        Event.END: State.CLOSED,
    },
    State.PENDING: {
        Event.HELD: State.PENDING,
        Event.CONFIGURED: State.CONNECTED,
        Event.END: State.CLOSED,
    },
    State.CONNECTED: {Event.LEAVE: State.LEAVING, Event.END: State.CLOSED},
    State.LEAVING: {Event.END: State.CLOSED},
    State.CLOSED: {},
}


class KeyState(Enum):
    RESET = "resetting"  # both resets must arrive and be acknowledged
    TLS = "TLS handshake"
    KEYS = "exchanging keys"  # ours is sent, the server's must come
    CONFIRM = "confirming"  # the server must acknowledge all we sent
    ACTIVE = "active"


class KeyEvent(Enum):
    RESET_DONE = "reset done"
    TLS_DONE = "TLS done"
    KEYS_RECEIVED = "keys received"
    CONFIRMED = "confirmed"


GENERATION: Final[Mapping[KeyState, Mapping[KeyEvent, KeyState]]] = {
    KeyState.RESET: {KeyEvent.RESET_DONE: KeyState.TLS},
    KeyState.TLS: {KeyEvent.TLS_DONE: KeyState.KEYS},
    KeyState.KEYS: {KeyEvent.KEYS_RECEIVED: KeyState.CONFIRM},
    KeyState.CONFIRM: {KeyEvent.CONFIRMED: KeyState.ACTIVE},
    KeyState.ACTIVE: {},
}

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


def follow(table: Mapping[S, Mapping[E, S]], state: S, event: E) -> S:
    """The next state; UsageError for an event the state doesn't allow."""
    try:
        return table[state][event]
    except KeyError:
        raise UsageError(f"{event.value!r} can't happen while {state.value}") from None
