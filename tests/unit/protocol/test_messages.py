import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.errors import PeerError
from ovpn3.protocol.actions import Advance, AuthFailed, Challenge, Halt, Restart, TextChallenge, WebAuth
from ovpn3.protocol.messages import (
    MAX_MESSAGE_BYTES,
    MessageReader,
    parse_auth_failed,
    parse_halt,
    parse_info_pre,
    parse_pending_timeout,
    parse_restart,
)
from ovpn3.protocol.tls import RECORD_BYTES
from tests.support.vectors import load

MESSAGES = load("messages")


def test_records_are_cut_at_nul():
    reader = MessageReader()
    assert reader.feed(b"A\0B\r\n\0") == ["A", "B"]
    assert reader.feed(b"no end") == ["no end"]
    assert reader.feed(b"\0\0") == []


def test_a_message_may_span_full_records():
    reader = MessageReader()
    assert reader.feed(b"x" * RECORD_BYTES) == []
    assert reader.feed(b"y\0") == ["x" * RECORD_BYTES + "y"]


def test_spaces_of_all_kinds_are_printable():
    text = "a\u00a0b\u2003c"
    assert MessageReader().feed(text.encode() + b"\0") == [text]


@pytest.mark.parametrize("raw", [b"A\nB\0", b"\xff\0", b"A\x1b[2J\0", b"A\tB\0"])
def test_unprintable_messages_are_left_out(raw):
    assert MessageReader().feed(raw) == []


def test_a_message_without_end_is_refused():
    reader = MessageReader()
    records = [b"x" * RECORD_BYTES] * (MAX_MESSAGE_BYTES // RECORD_BYTES)
    assert [reader.feed(record) for record in records] == [[]] * len(records)
    with pytest.raises(PeerError):
        reader.feed(records[0])


def test_dynamic_challenge():
    case = MESSAGES["dynamic_challenge"]
    assert parse_auth_failed(case["auth_failed"]) == Challenge(
        case["state_id"], case["username"], case["text"], echo=True, response_required=True
    )


@pytest.mark.parametrize("body", ["CRV1:", "CRV1:R,E:a:!:t", "CRV1:R:b", "CRV1:::YQ="])
def test_a_broken_challenge_is_a_refusal(body):
    outcome = parse_auth_failed(f"AUTH_FAILED,{body}")
    assert isinstance(outcome, AuthFailed)
    assert not outcome.temporary


@pytest.mark.parametrize("case", MESSAGES["auth_failed_temp"], ids=lambda c: c["msg"])
def test_temporary_failures(case):
    assert parse_auth_failed(case["msg"]) == AuthFailed(
        case["reason"], temporary=True, backoff=case["backoff"], advance=Advance(case["advance"])
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("AUTH_FAILED", ""),
        ("AUTH_FAILED,", ""),
        ("AUTH_FAILED, bad day", "bad day"),
        ("AUTH_FAILED,SESSION:expired", "expired"),
        ("AUTH_FAILED,TEMPERED", "TEMPERED"),
    ],
)
def test_lasting_failures(message, reason):
    assert parse_auth_failed(message) == AuthFailed(reason)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("RESTART", Restart("")),
        ("RESTART,going down", Restart("going down")),
        ("RESTART,[N]maintenance", Restart("maintenance", next_remote=True)),
        ("RESTART,[P]:soon", Restart("soon", keep_credentials=True)),
        ("RESTART,[P,N]:x", Restart("x", next_remote=True, keep_credentials=True)),
        ("RESTART,[", Restart("[")),
    ],
)
def test_restart(message, expected):
    assert parse_restart(message) == expected


def test_halt():
    assert parse_halt("HALT,no more") == Halt("no more")


@pytest.mark.parametrize(
    ("message", "timeout"),
    [
        ("AUTH_PENDING", None),
        ("AUTH_PENDING,timeout 30", 30.0),
        ("AUTH_PENDING,x y, timeout 5,z", 5.0),
        ("AUTH_PENDING,timeout -1", None),
        ("AUTH_PENDING,timeout", None),
        ("AUTH_PENDING,timeout 99999999999999999999", 999999999.0),
    ],
)
def test_pending_timeout(message, timeout):
    assert parse_pending_timeout(message) == timeout


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("WEB_AUTH:hidden,external:https://x/y:z", WebAuth("https://x/y:z", ("hidden", "external"))),
        ("WEB_AUTH::http://x", WebAuth("http://x")),
        ("OPEN_URL:https://x", WebAuth("https://x")),
        ("CR_TEXT:R,E:Your: PIN", TextChallenge("Your: PIN", echo=True, response_required=True)),
        ("CR_TEXT::note", TextChallenge("note", echo=False, response_required=False)),
        ("ACC:x", None),
        ("hello", None),
    ],
)
def test_pending_methods(extra, expected):
    assert parse_info_pre(extra) == expected


@pytest.mark.parametrize(
    "extra", ["WEB_AUTH:x", "OPEN_URL:file:///etc/passwd", "OPEN_URL:javascript:x", "OPEN_URL:http://a b", "CR_TEXT"]
)
def test_pending_methods_that_are_not_to_be_followed(extra):
    with pytest.raises(PeerError):
        parse_info_pre(extra)


@given(st.text())
def test_any_text_is_understood_somehow(text):
    parse_auth_failed(f"AUTH_FAILED,{text}")
    parse_restart(f"RESTART,{text}")
    parse_pending_timeout(f"AUTH_PENDING,{text}")
