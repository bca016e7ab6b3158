"""Words, blocks, comments and limits of profile text."""

import pytest

from ovpn3.errors import ProfileError
from ovpn3.profile.lexer import (
    MAX_LINE_BYTES,
    MAX_PROFILE_BYTES,
    Directive,
    decode,
    join_words,
    parse,
    split_words,
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ()),
        ("  \t ", ()),
        ("# comment", ()),
        (" ; comment", ()),
        ("dev\ttun  ", ("dev", "tun")),
        ("a b#c d", ("a", "b")),
        (r"a b\#c", ("a", "b#c")),
        ('a "b # ; c"', ("a", "b # ; c")),
        (r'a "b \" \\ c"', ("a", 'b " \\ c')),
        (r"a 'b \' c'", ("a", "b ' c")),
        ("""a 'b "c" d'""", ("a", 'b "c" d')),
        ('pre"mid dle"post', ("premid dlepost",)),
        ("a ''", ("a", "")),
        ('a ""b', ("a", "b")),
        (r"a b\ c", ("a", "b c")),
        ('a "open to the end', ("a", "open to the end")),
        ("a \\", ("a", "")),
        ("a\u00a0b", ("a\u00a0b",)),
    ],
)
def test_words(line: str, words: tuple[str, ...]) -> None:
    assert split_words(line) == words


def test_comment_at_word_start_only() -> None:
    assert split_words("token a#b;c # rest", comment_inside_word=False) == ("token", "a#b;c")


@pytest.mark.parametrize("word", ["", "a b", 'a"b', "a'b", "\\", "#", "x;y", "\t", "<ca>", "plain"])
def test_joined_words_split_again(word: str) -> None:
    assert split_words(join_words(["name", word, "end"])) == ("name", word, "end")


def test_plain_words_are_not_quoted() -> None:
    assert join_words(["remote", "vpn.example.com", "1194"]) == "remote vpn.example.com 1194"


def test_directives_know_their_lines() -> None:
    found = parse("\ufeff# first\r\n\r\ndev tun\r\n<ca>\r\nA\r\n\r\n  # B ;\r\n</ca>  \r\nnobind")
    assert found == (
        Directive("dev", ("tun",)),
        Directive("ca", block="A\n\n  # B ;\n"),
        Directive("nobind"),
    )
    assert [d.line for d in found] == [3, 4, 9]


def test_empty_block_is_an_empty_line() -> None:
    assert parse("<ca>\n</ca>\n") == (Directive("ca", block="\n"),)


def test_arguments_and_blocks_stay_out_of_repr() -> None:
    found = parse("auth-token hunter2\n<key>\nhunter2\n</key>\n")
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("dev tun\n<ca>\nA\n</cert>\n", 2, "never closed"),
        ("<ca> x\n</ca>\n", 1, "text after the tag"),
        ("\n</ca>\n", 2, "isn't open"),
        ("dev tun\n--client\n", 2, "not an option name"),
        ("a/b\n", 1, "not an option name"),
        ("<>\n", 1, "not an option name"),
        (f"{'n' * 65}\n", 1, "not an option name"),
        ("dev\x00tun\n", 1, "control character"),
        ("dev tun\n<ca>\n\x1b[2J\n</ca>", 3, "control character"),
        ("dev \x9b2J\n", 1, "control character"),
        ("dev t\run\n", 1, "control character"),
        ("dev \ud800\n", 1, "control character"),
        ("# OVPN_ACCESS_SERVER_HOST_LIST_START\n# a\n", 1, "never closed"),
    ],
)
def test_refused_text(text: str, line: int, problem: str) -> None:
    with pytest.raises(ProfileError, match=problem) as refusal:
        parse(text, source="office.ovpn")
    assert (refusal.value.line, refusal.value.source) == (line, "office.ovpn")


def test_hint_for_leading_dashes() -> None:
    with pytest.raises(ProfileError, match="without leading dashes"):
        parse("--client\n")


def test_longest_line() -> None:
    longest = "x " + "é" * ((MAX_LINE_BYTES - 4) // 2) + "e"
    assert len(f"{longest}\n".encode()) == MAX_LINE_BYTES
    assert len(parse(f"{longest}\n<ca>\n{longest}\n</ca>\n")) == 2
    for text in (f"{longest}e\n", f"<ca>\n{longest}e\n</ca>\n", f"#{longest}\n", f"{longest}\r\n"):
        with pytest.raises(ProfileError, match="longer than 512"):
            parse(text)


def test_line_that_grows_when_written_out() -> None:
    with pytest.raises(ProfileError, match="longer than 512"):
        parse("x '" + '"' * 300 + "'\n")


def test_size_counts_text_options_and_words() -> None:
    comment = "#" * 510 + "\n"
    room = MAX_PROFILE_BYTES - 1 - len("dev tun\n") - 64 - 2 * 16
    filler = comment * (room // len(comment)) + "#" * (room % len(comment))
    assert len(parse("dev tun\n" + filler)) == 1
    with pytest.raises(ProfileError, match="larger than"):
        parse("dev tun\n" + filler + "#")


def test_access_server_comments() -> None:
    found = parse(
        "# OVPN_ACCESS_SERVER_PROFILE=a=b #c\n"
        "# OVPN_ACCESS_SERVER_HOST_LIST_START\n# one\n# two\nthree\n# OVPN_ACCESS_SERVER_HOST_LIST_STOP\n"
        "# OVPN_ACCESS_SERVER_client=1\n# OVPN_ACCESS_SERVER_NOTHING\n#OVPN_ACCESS_SERVER_X=1\n"
    )
    assert found == (
        Directive("PROFILE", ("a=b #c",), meta=True),
        Directive("HOST_LIST", block="one\ntwo\nthree\n", meta=True),
    )


def test_decoded_text() -> None:
    assert decode(b"\xef\xbb\xbfdev tun\n") == "dev tun\n"
    assert decode("# für".encode()) == "# für"


@pytest.mark.parametrize(("data", "line"), [(b"dev\0tun", 1), (b"\xff\xfe", 1), (b"# one\ndev tun\n\x80", 3)])
def test_binary_is_refused(data: bytes, line: int) -> None:
    with pytest.raises(ProfileError, match=rf"key\.der, line {line}: not a text file"):
        decode(data, "key.der")


def test_huge_file_is_refused() -> None:
    with pytest.raises(ProfileError, match="larger than"):
        decode(b"#" * MAX_PROFILE_BYTES)
