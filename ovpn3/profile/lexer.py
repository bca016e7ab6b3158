"""Profile text to directives: quoting, inline blocks, Access Server comments, size limits.

Quoting is that of OpenVPN 3: a quote may open and close in the middle of a word, a backslash takes the
next character literally everywhere, an unquoted `#` or `;` starts a comment.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ovpn3.errors import ProfileError

MAX_PROFILE_BYTES = 262144
MAX_LINE_BYTES = 512
MAX_NAME_CHARS = 64
OPTION_OVERHEAD_BYTES = 64
WORD_OVERHEAD_BYTES = 16
META_PREFIX = "# OVPN_ACCESS_SERVER_"

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._+-]{{0,{MAX_NAME_CHARS - 1}}}")
_META_KEY = re.compile(rf"[A-Z][A-Z0-9_]{{0,{MAX_NAME_CHARS - 1}}}")
_PLAIN = re.compile(r"[^\s\"'\\#;]+")
_NEEDS_ESCAPE = re.compile(r'["\\]')
_ESCAPED = r"\\\g<0>"
UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Directive:
    """One option as written. Arguments and block stay out of `repr`: they may be keys or passwords.

    `block` is the text of an inline block, every line ended by LF, never empty; such a directive has no
    arguments. `line` is where it starts, 0 when it has no place in a text. `meta`: from an Access Server comment.
    """

    name: str
    args: tuple[str, ...] = field(default=(), repr=False)
    line: int = field(default=0, compare=False)
    block: str | None = field(default=None, repr=False)
    meta: bool = False


def decode(data: bytes, source: str = "") -> str:
    """Text of a profile or of a file it names: UTF-8, a byte-order mark is dropped. ProfileError if it is none."""
    if len(data) >= MAX_PROFILE_BYTES:
        raise _too_large(source)
    nul = data.find(b"\0")
    if nul >= 0:
        raise _not_text("a NUL octet", data, nul, source)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise _not_text("an octet that is not UTF-8", data, e.start, source) from None


def _not_text(what: str, data: bytes, position: int, source: str) -> ProfileError:
    hint = "profiles, keys and certificates are PEM or UTF-8 text"
    line = data.count(b"\n", 0, position) + 1
    return ProfileError(f"not a text file: {what}", line=line, source=source, hint=hint)


def parse(text: str, *, source: str = "") -> tuple[Directive, ...]:
    """Directives of a profile in their order. ProfileError names the line."""
    found: list[Directive] = []
    account = len(text.encode(errors="replace"))
    if account >= MAX_PROFILE_BYTES:
        raise _too_large(source)
    lines = numbered_lines(text, source)
    for number, line in lines:
        directive = _read(number, line, lines, source)
        if directive is None:
            continue
        words = 1 + len(directive.args) + (directive.block is not None)
        account += OPTION_OVERHEAD_BYTES + WORD_OVERHEAD_BYTES * words
        found.append(directive)
    if account >= MAX_PROFILE_BYTES:
        raise _too_large(source)
    return tuple(found)


def numbered_lines(text: str, source: str = "") -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of a text; ProfileError at a long line or a control character."""
    lines = text.removeprefix("\ufeff").split("\n")
    if not lines[-1]:
        lines.pop()
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r")
        if UNPRINTABLE.search(line):
            raise ProfileError("control character", line=number, source=source, hint="profiles are plain text")
        if len(raw.encode()) >= MAX_LINE_BYTES:
            raise _too_long(number, source)
        yield number, line


def split_words(line: str, *, comment_inside_word: bool = True) -> tuple[str, ...]:
    """Words of a line, unquoted. An open quote ends with the line.

    With `comment_inside_word` off, a comment starts at the beginning of a word only.
    """
    words: list[str] = []
    word: list[str] = []
    inside = False  # also true within an empty quoted word
    quote = ""
    characters = iter(line)
    for c in characters:
        if c == "\\":
            word.append(next(characters, ""))
            inside = True
        elif c == quote:
            quote = ""
        elif quote:
            word.append(c)
        elif c in "\"'":
            quote, inside = c, True
        elif c in "#;" and (comment_inside_word or not inside):
            break
        elif c in " \t":
            if inside:
                words.append("".join(word))
            word, inside = [], False
        else:
            word.append(c)
            inside = True
    if inside:
        words.append("".join(word))
    return tuple(words)


def join_words(words: Iterable[str]) -> str:
    """A line that splits into these words; those that can't stand alone are put in double quotes."""
    return " ".join(word if _PLAIN.fullmatch(word) else f'"{_NEEDS_ESCAPE.sub(_ESCAPED, word)}"' for word in words)


def check_option_name(name: str, *, line: int = 0, source: str = "") -> str:
    """The name, if a directive can be called that."""
    if not _NAME.fullmatch(name):
        hint = "write options without leading dashes" if name.startswith("-") else "a line starts with an option's name"
        raise ProfileError("not an option name", line=line, source=source, hint=hint)
    return name


def is_meta_key(name: str) -> bool:
    return _META_KEY.fullmatch(name) is not None


def _read(number: int, line: str, lines: Iterator[tuple[int, str]], source: str) -> Directive | None:
    """The directive starting at a line; a block takes its further lines from `lines`."""
    if line.startswith(META_PREFIX):
        return _read_meta(number, line.removeprefix(META_PREFIX), lines, source)
    words = split_words(line)
    if not words:
        return None
    first = words[0]
    if not (first.startswith("<") and first.endswith(">")):
        check_option_name(first, line=number, source=source)
        return Directive(first, _fits(words, number, source)[1:], number)
    if first.startswith("</"):
        raise ProfileError("closes a block that isn't open", option=first, line=number, source=source)
    name = check_option_name(first[1:-1], line=number, source=source)
    if len(words) > 1:
        raise ProfileError(
            "text after the tag", option=first, line=number, source=source, hint="start the block on the next line"
        )
    return Directive(name, (), number, block=_read_until(f"</{name}>", first, number, lines, source))


def _read_meta(number: int, body: str, lines: Iterator[tuple[int, str]], source: str) -> Directive | None:
    key, equals, value = body.partition("=")
    if equals:
        if not is_meta_key(key):
            return None
        _fits(("setenv", "opt", key, value), number, source)
        return Directive(key, (value,), number, meta=True)
    name = key.strip().removesuffix("_START")
    if name == key.strip() or not is_meta_key(name):
        return None
    opening, closing = f"{META_PREFIX}{name}_START", f"{META_PREFIX}{name}_STOP"
    return Directive(
        name, (), number, meta=True, block=_read_until(closing, opening, number, lines, source, prefix="# ")
    )


def _read_until(
    closing: str, opening: str, number: int, lines: Iterator[tuple[int, str]], source: str, prefix: str = ""
) -> str:
    body: list[str] = []
    for _, line in lines:
        if line.strip() == closing:
            return "\n".join(body) + "\n"
        body.append(line.removeprefix(prefix))
    raise ProfileError("never closed", option=opening, line=number, source=source, hint=f"add a line {closing}")


def _fits(words: tuple[str, ...], number: int, source: str) -> tuple[str, ...]:
    """The words, if the line they make when the profile is written out is not too long either."""
    if len(join_words(words).encode()) >= MAX_LINE_BYTES:
        raise _too_long(number, source)
    return words


def _too_long(number: int, source: str) -> ProfileError:
    return ProfileError(f"line is longer than {MAX_LINE_BYTES} bytes", line=number, source=source, hint="break it up")


def _too_large(source: str) -> ProfileError:
    return ProfileError(
        f"larger than {MAX_PROFILE_BYTES} bytes", source=source, hint="the limit counts all files and options it holds"
    )
