"""The stored form: ours, the older ones, and hostile ones."""

import json
from pathlib import Path

import pytest

from ovpn3.errors import ProfileError
from ovpn3.profile import Directive, build, from_json, parse, to_json
from ovpn3.profile.dump import render

DATA = Path(__file__).parents[2] / "data" / "profiles"


def test_form() -> None:
    text = (
        "client\nremote a 1\nremote b\ndev tun\n<ca>\nA\n</ca>\n<connection>\nremote c\n</connection>\n"
        "verb 1\nverb 2\ndhcp-option DNS 10.0.0.1\n"
        "# OVPN_ACCESS_SERVER_USERNAME=al ice\n# OVPN_ACCESS_SERVER_WSHOST=x:1\n# OVPN_ACCESS_SERVER_NO_WEB=1\n"
    )
    assert to_json(parse(text)) == {
        "client": None,
        "remote": [["a", "1"], ["b"]],
        "dev": ["tun"],
        "ca": ["A\n"],
        "connection": [["remote c\n"]],
        "verb": ["2"],
        "dhcp-option": [["DNS", "10.0.0.1"]],
        "USERNAME": ["al ice"],
    }


def test_repeated_options_that_add_up_are_all_kept() -> None:
    directives = parse("dhcp-option DNS 10.0.0.1\ndhcp-option DNS 10.0.0.2\n<ca>\nA\n</ca>\n<ca>\nB\n</ca>\n")
    form = to_json(directives)
    assert form == {"dhcp-option": [["DNS", "10.0.0.1"], ["DNS", "10.0.0.2"]], "ca": [["A\n"], ["B\n"]]}
    assert from_json(form) == directives


def test_direction_of_an_announced_block_is_kept() -> None:
    form = to_json(parse("tls-auth [inline] 1\n<tls-auth>\nA\n</tls-auth>\n"))
    assert form == {"key-direction": ["1"], "tls-auth": ["A\n"]}


def test_older_forms() -> None:
    document = {
        "client": "",
        "dev": "tun",
        "verify-x509-name": '"C=CH, CN=vpn" subject',
        "remote": ["a.example 1194 udp", "b.example"],
        "pull-filter": ['ignore "dhcp-option DNS"'],
        "connection": ["remote c.example\n"],
        "ca": "A\nB",
        "USERNAME": "al ice",
    }
    assert from_json(document) == (
        Directive("client"),
        Directive("dev", ("tun",)),
        Directive("verify-x509-name", ("C=CH, CN=vpn", "subject")),
        Directive("remote", ("a.example", "1194", "udp")),
        Directive("remote", ("b.example",)),
        Directive("pull-filter", ("ignore", "dhcp-option DNS")),
        Directive("connection", block="remote c.example\n"),
        Directive("ca", block="A\nB\n"),
        Directive("USERNAME", ("al ice",), meta=True),
    )


def test_an_option_without_what_might_stand_in_its_block() -> None:
    """The original stores it as an array of one empty text."""
    directives = parse("client\nauth-user-pass\nnobind\n")
    assert to_json(directives) == {"client": None, "auth-user-pass": [""], "nobind": None}
    assert from_json(to_json(directives)) == directives
    assert from_json({"auth-user-pass": None}) == parse("auth-user-pass\n")


def test_options_that_are_always_a_list_of_lists() -> None:
    assert to_json(parse("dhcp-option DNS 10.0.0.1\n")) == {"dhcp-option": [["DNS", "10.0.0.1"]]}
    assert to_json(parse("dns search-domains a.example\n")) == {"dns": [["search-domains", "a.example"]]}
    assert from_json({"dhcp-option": ["DNS", "10.0.0.1"]}) == parse("dhcp-option DNS 10.0.0.1\n")  # as we had it


def test_comment_cannot_be_left() -> None:
    document = {"OTHER_LIST": ["a\n# OVPN_ACCESS_SERVER_OTHER_LIST_STOP\nclient\n"]}
    (comment,) = from_json(document)
    assert parse(render(comment)) == (comment,)


@pytest.mark.parametrize("name", ["full.ovpn", "access-server.ovpn"])
def test_stored_profile_means_the_same(name: str) -> None:
    directives = parse((DATA / name).read_text())
    stored = json.loads(json.dumps(to_json(directives)))
    again = from_json(stored)
    assert to_json(again) == stored
    before, after = build(directives), build(again)
    for field in ("remotes", "ca", "routes", "pull_filters", "setenv", "key_direction", "locked_username"):
        assert getattr(before, field) == getattr(after, field)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "client",
        7,
        {"": None},
        {1: None},
        {"a b": None},
        {"<ca>": None},
        {"dev\nup": ["x"]},
        {"dev": 7},
        {"dev": {"a": "b"}},
        {"dev": [7]},
        {"dev": True},
        {"remote": [["a"], 0]},
        {"remote": [["a"], ""]},
        {"remote": [["a"], "b"]},
        {"remote": [[["a"]]]},
        {"dev": ["tun\n", "up /bin/sh"]},
        {"dev": ["tun", "a\nb"]},
        {"ca": ["A\n</ca>\nup /bin/sh\n"]},
        {"ca": ["A\n </ca>\nup /bin/sh\n"]},
        {"ca": ["\x1b[2J\n"]},
        {"ca": ["a\r\n"]},
        {"dev": ["\ud800"]},
        {"dev": ["x" * 512]},
        {"ca": ["x" * 512 + "\n"]},
        {"x" * 65: None},
        {"USERNAME": ["a\tb\x00"]},
        {"route": [["10.0.0.0"]] * 5000},
    ],
    ids=lambda document: repr(document)[:40],
)
def test_hostile_documents(document: object) -> None:
    with pytest.raises(ProfileError):
        from_json(document)
