import pytest

from ovpn3.errors import UsageError
from ovpn3.protocol.states import GENERATION, SESSION, Event, KeyEvent, KeyState, State, follow

# Written out once more by hand: a changed table must be meant.
SESSION_ROWS = {
    (State.IDLE, Event.START): State.WAITING,
    (State.IDLE, Event.END): State.CLOSED,
    (State.WAITING, Event.ANSWERED): State.HANDSHAKING,
    (State.WAITING, Event.END): State.CLOSED,
    (State.HANDSHAKING, Event.AUTHENTICATED): State.PULLING,
    (State.HANDSHAKING, Event.END): State.CLOSED,
    (State.PULLING, Event.HELD): State.PENDING,
    (State.PULLING, Event.CONFIGURED): State.CONNECTED,
    (State.PULLING, Event.END): State.CLOSED,
    (State.PENDING, Event.HELD): State.PENDING,
    (State.PENDING, Event.CONFIGURED): State.CONNECTED,
    (State.PENDING, Event.END): State.CLOSED,
    (State.CONNECTED, Event.LEAVE): State.LEAVING,
    (State.CONNECTED, Event.END): State.CLOSED,
    (State.LEAVING, Event.END): State.CLOSED,
}
GENERATION_ROWS = {
    (KeyState.RESET, KeyEvent.RESET_DONE): KeyState.TLS,
    (KeyState.TLS, KeyEvent.TLS_DONE): KeyState.KEYS,
    (KeyState.KEYS, KeyEvent.KEYS_RECEIVED): KeyState.CONFIRM,
    (KeyState.CONFIRM, KeyEvent.CONFIRMED): KeyState.ACTIVE,
}


@pytest.mark.parametrize(("state", "event"), [(s, e) for s in State for e in Event])
def test_session_row(state, event):
    check(SESSION, SESSION_ROWS, state, event)


@pytest.mark.parametrize(("state", "event"), [(s, e) for s in KeyState for e in KeyEvent])
def test_generation_row(state, event):
    check(GENERATION, GENERATION_ROWS, state, event)


def check(table, rows, state, event):
    if (state, event) in rows:
        assert follow(table, state, event) is rows[state, event]
    else:
        with pytest.raises(UsageError):
            follow(table, state, event)
