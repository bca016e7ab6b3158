"""Texts that scripts match on, and what hostile ones become."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.cli import text
from ovpn3.cli.verbs.log import event_text, wants_colour
from ovpn3.cli.verbs.sessions_list import _block
from ovpn3.proxies.session import Status
from ovpn3.proxies.watch import LogLine


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ((0, 0, ""), "(No status)"),
        ((2, 7, ""), "Connection, Client connected"),
        ((2, 11, "AUTH_FAILED"), "Connection, Client authentication failed: AUTH_FAILED"),
        ((3, 22, "https://x/"), "Session, URL authentication: https://x/"),
        ((5, 29, ""), "Process, Process killed"),
        ((99, 99, "a\x1b[2J"), "(99), (99): a [2J"),
    ],
)
def test_status(status: tuple[int, int, str], expected: str) -> None:
    assert text.status_text(status) == expected


def test_statistics() -> None:
    assert text.statistics_text({}) == ""
    lines = text.statistics_text({"BYTES_IN": 12345, "N_RECONNECT": 1}).splitlines()
    assert lines[1:] == ["     BYTES_IN...................12345", "     N_RECONNECT....................1"]


def test_log_lines() -> None:
    assert text.log_text(7, 4, "hello\n") == "Client INFO: hello"
    assert text.log_text(0, 0, "bare") == "bare"
    assert text.log_text(2, 7, "a\nb") == "Config Manager !! CRITICAL !!: a\n" + " " * 23 + "b"
    assert text.log_text(7, 6, "x", colour=True) == "\x1b[31mClient -- ERROR --: x\x1b[0m"
    assert event_text(Status(2, 7, ""))[19:] == "  [STATUS] Connection, Client connected"
    assert event_text(LogLine(1, 5, "w"))[19:] == "  Master Process WARNING: w"


def test_colour_needs_a_willing_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    willing = {"TERM": "xterm", "COLORTERM": "1"}
    assert not wants_colour(willing)  # no terminal here
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert wants_colour(willing)
    for spoilt in ({**willing, "NO_COLOR": ""}, {**willing, "TERM": "dumb"}, {"TERM": "xterm"}, {}):
        assert not wants_colour(spoilt)


@given(st.text())
def test_nothing_moves_the_cursor(value: str) -> None:
    assert text.one_line(value).isprintable()
    assert all(c == "\n" or c.isprintable() for c in text.many_lines(value))


@pytest.mark.parametrize("seconds", [0, -5, 2**63 - 1])
def test_no_time(seconds: int) -> None:
    assert text.local_time(seconds) == ""


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (text.user_name(0), text.user_name(4294967294), text.user_name(2**40)) == (
        "root",
        "(4294967294)",
        "(1099511627776)",
    )
    assert text.user_lines([0, 4000000]) == [
        "Users granted access: 2 users",
        "- (0)  root",
        "- (4000000)  (unknown)",
    ]
    assert text.user_lines([]) == ["Users granted access: 0 users"]


def test_wrapped() -> None:
    assert text.wrapped("Tags", []) == "Tags: (none)"
    lines = text.wrapped("Tags", [f"tag{n}" for n in range(30)]).splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 78 for line in lines)
    assert lines[1].startswith(" " * 6)


def test_json_has_sorted_keys() -> None:
    assert text.to_json({"b": 1, "a": {}}) == '{\n\t"a" : {},\n\t"b" : 1\n}'
    assert "\x1b" not in text.to_json({"a": "\x1b[2J"})


SESSION = {
    "session_created": 1700000000,
    "backend_pid": 4711,
    "owner": 0,
    "device_name": "tun0",
    "config_name": "office",
    "current_name": "office",
    "connected_to": ["udp", "192.0.2.1", 1194],
    "session_name": "vpn.example.com",
    "status": [2, 7, ""],
}


def test_session_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert _block("/net/openvpn/v3/sessions/s1", SESSION) == [
        "        Path: /net/openvpn/v3/sessions/s1",
        "     Created: 2023-11-14 22:13:20                       PID: 4711",
        "       Owner: root                                   Device: tun0",
        " Config name: office",
        "Connected to: udp:192.0.2.1:1194",
        "      Status: Connection, Client connected",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"current_name": "new\x07"}, " Config name: office  (Current name: new )"),
        ({"current_name": None}, " Config name: office  (Config not available)"),
        ({"device_name": ""}, "       Owner: root                                   Device: "),
        ({"connected_to": ["tcp", "2001:db8::1", 443]}, "Connected to: tcp:[2001:db8::1]:443"),
        ({"connected_to": ["udp", "192.0.2.1", 0]}, "Connected to: udp:192.0.2.1"),
        ({"connected_to": ["", "", 0]}, "Session name: vpn.example.com"),
        ({"status": [0, 0, ""]}, "      Status: (No status)"),
        ({"status": [3, 22, "https://x/"]}, "      Status: Web authentication required to connect"),
    ],
)
def test_session_block_variants(change: dict[str, object], line: str) -> None:
    assert line in _block("/s", SESSION | change)


def test_json_of_dates() -> None:
    assert json.loads(text.to_json({"n": 2**40})) == {"n": 2**40}
