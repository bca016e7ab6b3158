"""The parser is total; text and JSON carry a profile unchanged."""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from ovpn3.errors import ProfileError
from ovpn3.profile import Directive, build, check_name, decode, from_json, inline, missing, parse, to_json, to_text
from ovpn3.profile.dump import render
from ovpn3.profile.lexer import join_words, split_words
from ovpn3.profile.options import table

T = TypeVar("T")
BASE = "client\ndev tun\nremote a\nauth-user-pass\n<ca>\n-----BEGIN X\n</ca>\n"

options = st.sampled_from(sorted(table()))
word = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(" \"'\\#;<>/"), max_size=20)
directive = st.builds(Directive, options, st.lists(word, max_size=4).map(tuple)).filter(
    lambda d: d.args[:1] != ("[inline]",)
)
block = st.builds(
    lambda name, lines: Directive(name, block="\n".join(lines) + "\n"),
    options,
    st.lists(word.filter(lambda line: "</" not in line), max_size=4),
)
comment = st.builds(
    lambda name, value: Directive(name, (value,), meta=True),
    st.sampled_from(["USERNAME", "AUTOLOGIN", "NOVELTY"]),
    word,
)
profile = st.lists(directive | block | comment, max_size=8).map(tuple)

# Text that looks enough like a profile to get past the first line.
line = st.one_of(
    st.text(max_size=30),
    st.builds(lambda name, words: " ".join([name, *words]), options, st.lists(word, max_size=4)),
    st.builds("{} {} {}".format, options, st.integers(0, 2000), st.sampled_from(["", "1", "udp", "auto", "mtu"])),
    st.builds("<{}>".format, options),
    st.builds("</{}>".format, options),
    st.builds("# OVPN_ACCESS_SERVER_{}".format, word),
    st.sampled_from(["client", "dev tun", "remote a.example 1194 udp", "<ca>\n-----BEGIN X\n</ca>", "auth-user-pass"]),
)
text = st.lists(line, max_size=12).map("\n".join) | st.text()
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | word,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(options | st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def attempt(call: Callable[[], T]) -> T | None:
    """The result, None for a refusal; anything else that is raised fails the test."""
    try:
        return call()
    except ProfileError:
        return None


@given(text)
def test_parser_is_total(text: str) -> None:
    directives = attempt(lambda: parse(text))
    if directives is not None:
        assert parse(to_text(directives)) == tuple(
            Directive("setenv", ("opt", d.name, *d.args)) if d.meta else d
            for d in directives
            if not d.meta or d.name in ("AUTOLOGIN", "FRIENDLY_NAME", "PROFILE", "USERNAME")
        )


@given(text)
def test_check_is_total(text: str) -> None:
    attempt(lambda: missing(parse(text)))
    profile = attempt(lambda: build(parse(BASE + text)))
    assert profile is None or profile.remotes


@given(st.binary())
def test_decoder_is_total(data: bytes) -> None:
    assert "\0" not in (attempt(lambda: decode(data)) or "")


@given(text, st.binary(max_size=200))
def test_merge_is_total_and_stable(text: str, data: bytes) -> None:
    merged = attempt(lambda: inline(text, lambda _: data))
    if merged is not None:
        assert inline(merged, lambda _: data) == merged


@given(st.lists(word))
def test_words_survive_quoting(words: list[str]) -> None:
    assert split_words(join_words(["name", *words])) == ("name", *words)


@given(profile)
def test_text_carries_a_profile(directives: tuple[Directive, ...]) -> None:
    assert parse("".join(map(render, directives))) == directives


@given(profile)
def test_json_carries_a_profile(directives: tuple[Directive, ...]) -> None:
    form = to_json(directives)
    again = from_json(form)
    assert to_json(again) == form
    for name in {d.name for d in directives}:
        before = [d for d in directives if d.name == name]
        after = [d for d in again if d.name == name]
        repeatable = name in table() and table()[name].repeat
        assert after == (before if repeatable else before[-1:])


@given(json_value | st.dictionaries(options, json_value, max_size=4))
def test_json_reader_is_total(document: object) -> None:
    directives = attempt(lambda: from_json(document))
    assert directives is None or parse("".join(map(render, directives))) == directives


@given(st.text())
def test_names(name: str) -> None:
    assert attempt(lambda: check_name(name)) in (None, name)
    if attempt(lambda: check_name(name)):
        assert 1 <= len(name) <= 200
        assert name.isprintable()
