import collections
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.errors import PeerError
from ovpn3.protocol.config import PullFilter
from ovpn3.protocol.push import (
    ACCEPTED,
    IGNORED,
    ROUTE_NOPULL,
    UPDATABLE,
    PullRejected,
    PushAssembler,
    accept,
    split_unquoted,
    split_words,
    unpack_options,
    update,
)
from tests.support.vectors import load

MESSAGES = load("messages")
# From the list a client must never take from the network.
# fmt: off
FORBIDDEN = [
    "up", "down", "route-up", "ipchange", "tls-verify", "auth-user-pass-verify", "learn-address",
    "plugin", "engine", "providers", "script-security", "config", "log", "log-append", "status",
    "writepid", "cd", "chroot", "tmp-dir", "ca", "cert", "key", "pkcs12", "capath", "crl-verify",
    "extra-certs", "tls-auth", "tls-crypt", "tls-crypt-v2", "secret", "askpass", "auth-user-pass",
    "http-proxy", "socks-proxy", "remote", "proto", "port", "local", "user", "group", "setenv", "dev",
    "dev-type", "management", "tls-version-min", "tls-cipher", "tls-groups", "remote-cert-tls",
    "verify-x509-name", "peer-fingerprint", "auth-nocache", "fragment",
]
# fmt: on


def test_parts_make_one_reply():
    case = MESSAGES["push_reply_continuation"]
    assembler = PushAssembler()
    *parts, last = case["messages"]
    assert [assembler.add(part) for part in parts] == [None, None]
    assert [" ".join((name, *args)) for name, args in assembler.add(last)] == case["merged"]


@pytest.mark.parametrize("message", MESSAGES["real_push_replies"].values(), ids=MESSAGES["real_push_replies"])
def test_real_replies(message):
    options = dict(PushAssembler().add(message))
    assert options["ifconfig"] == ("10.8.0.2", "255.255.255.0")
    assert options["cipher"] == ("AES-256-GCM",)
    assert accept(options.items())[1] == []


@pytest.mark.parametrize("message", ["PUSH_REPLY", "PUSH_REPLY,", "PUSH_REPLY,,"])
def test_an_empty_reply_is_a_reply(message):
    assert PushAssembler().add(message) == []


def test_a_reply_without_end_is_refused():
    assembler = PushAssembler()
    part = "PUSH_REPLY" + ",route 10.0.0.0" * 200 + ",push-continuation 2"
    with pytest.raises(PeerError):
        collections.deque(map(assembler.add, [part] * 1000))


def test_commas_and_blanks_in_quotes():
    message = r'PUSH_REPLY,echo "a, b" c\,d' + ',echo \'x "y\' "",route 1'
    assert list(unpack_options(message)) == [
        ("echo", ("a, b", "c,d")),
        ("echo", ('x "y', "")),
        ("route", ("1",)),
    ]


@given(st.lists(st.text(min_size=1), min_size=1))
def test_quoting_brings_any_words_through(words):
    line = " ".join('"' + w.replace("\\", r"\\").replace('"', r"\"") + '"' for w in words)
    assert split_words(line) == words
    assert split_unquoted(line, ",") == [line]


@given(st.text(st.characters(exclude_characters="\\\"'")))
def test_text_without_quotes_is_split_as_beside_some(text):
    assert split_unquoted(text, ",") == split_unquoted(f'{text},""', ",")[:-1]
    assert split_words(text) == split_words(f'{text} ""')[:-1]


@given(st.text())
def test_any_text_can_be_split(text):
    assert ",".join(split_unquoted(text, ",")) == text
    split_words(text)


def test_dangerous_and_unknown_options_are_refused():
    options = [(name, ("x",)) for name in [*FORBIDDEN, "no-such-option", "route", "verb"]]
    used, refused = accept(options, [PullFilter("accept", "up")])
    assert used == [("route", ("x",))]
    assert set(refused) == {*FORBIDDEN, "no-such-option"}


def test_lists_do_not_overlap():
    assert not ACCEPTED & IGNORED
    assert ROUTE_NOPULL <= ACCEPTED


FORCE = [("route", ("10.1.0.0",)), ("dns", ("server", "0")), ("route", ("10.2.0.0",)), ("ping", ("10",))]


@pytest.mark.parametrize(
    ("message", "left", "about", "unknown"),
    [
        ("PUSH_UPDATE,-route", FORCE[1:2] + FORCE[3:], {"route"}, []),
        ("PUSH_UPDATE,-?route-metric", FORCE, {"route-metric"}, []),
        (
            "PUSH_UPDATE,route 10.3.0.0, route 10.4.0.0",
            [FORCE[1], FORCE[3], ("route", ("10.3.0.0",)), ("route", ("10.4.0.0",))],
            {"route"},
            [],
        ),
        ("PUSH_UPDATE,route 10.3.0.0,-route", FORCE[1:2] + FORCE[3:], {"route"}, []),
        ("PUSH_UPDATE,-route,?route 10.3.0.0", [FORCE[1], FORCE[3], ("route", ("10.3.0.0",))], {"route"}, []),
        ("PUSH_UPDATE,?ping 20,-?cipher,-?-route", FORCE, set(), ["ping", "cipher", "-route"]),
        ("PUSH_UPDATE", FORCE, set(), []),
    ],
)
def test_updates(message, left, about, unknown):
    assert update(FORCE, PushAssembler().add(message)) == (left, about, unknown)


@pytest.mark.parametrize("item", ["ping 20", "-ping", "up /bin/sh", "--route", "?"])
def test_updates_of_what_cannot_change(item):
    with pytest.raises(PeerError, match="new session") if item != "?" else contextlib.nullcontext():
        update(FORCE, PushAssembler().add(f"PUSH_UPDATE,{item}"))


@given(st.text(max_size=200))
def test_any_text_is_an_update_or_an_error(text):
    try:
        options, about, _ = update(FORCE, PushAssembler().add("PUSH_UPDATE," + text) or [])
    except PeerError:
        return
    assert about <= UPDATABLE
    assert [o for o in options if o[0] not in about] == [o for o in FORCE if o[0] not in about]


def test_route_nopull():
    options = [("route", ("10.0.0.0",)), ("dhcp-option", ("DNS", "1.1.1.1")), ("ifconfig", ("a", "b")), ("dns", ())]
    assert accept(options, route_nopull=True)[0] == [("ifconfig", ("a", "b"))]
    kept, _ = accept(options, [PullFilter("accept", "route 10.")], route_nopull=True)
    assert kept == [("route", ("10.0.0.0",)), ("ifconfig", ("a", "b"))]


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("route", True),
        ("rou", True),
        ("route 10.1", True),
        ("route  10.1.0.0   255.", True),
        ('"route" "10.1.0.0"', True),
        ("route 11", False),
        ("rout 10", False),
        ("route 10.1.0.0 255.255.0.0 x", False),
        ("", False),
    ],
)
def test_pull_filter_texts(text, matches):
    used, _ = accept([("route", ("10.1.0.0", "255.255.0.0"))], [PullFilter("ignore", text)])
    assert used == ([] if matches else [("route", ("10.1.0.0", "255.255.0.0"))])


def test_the_first_filter_decides():
    filters = [PullFilter("accept", "route 10."), PullFilter("reject", "route")]
    assert accept([("route", ("10.0.0.0",))], filters)[0]
    with pytest.raises(PullRejected):
        accept([("route", ("11.0.0.0",))], filters)
