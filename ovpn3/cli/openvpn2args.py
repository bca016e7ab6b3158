"""The arguments of OpenVPN 2: options are the lines of a profile with `--` before them, and some are our own."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ovpn3.cli.command import HELP, CommandError, Option, lines_of
from ovpn3.cli.text import one_line
from ovpn3.constants import OVERRIDES
from ovpn3.profile import decode, inline, parse
from ovpn3.profile.lexer import MAX_PROFILE_BYTES, join_words
from ovpn3.profile.options import Status, table

OPTIONS = (
    Option("config", "", "FILE", "Lines of a profile; may be repeated"),
    Option("daemon", help="Leave the session in the background once it is connected"),
    Option("profile-override", "", "KEY VALUE", "Override a setting, as config-manage does"),
    Option("verb", "", "LEVEL", "How much is logged, 1 to 6"),
    HELP,
)
USAGE = f"""\
Usage: openvpn2 [--config] FILE [--OPTION [ARGUMENT...] ...]

{lines_of(OPTIONS)}

Any other option is one of a profile, with -- before it.
"""
OWN = ("config", "daemon", "profile-override", "verb", "cd", "help", "enable-dco", "disable-dco")
# Arguments of options for which the table of options has no list.
_SUGGESTED = {
    "proto": ("udp", "tcp", "udp4", "tcp4", "udp6", "tcp6"),
    "dev": ("tun",),
    "cipher": ("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"),
    "auth": ("SHA1", "SHA256", "SHA384", "SHA512"),
    "comp-lzo": ("no",),
    "compress": ("stub", "stub-v2"),
    "verb": tuple("123456"),
    "profile-override": tuple(OVERRIDES),
}
BOOLEANS = {"1": True, "yes": True, "true": True, "0": False, "no": False, "false": False}


@dataclass
class Wish:
    """What the command line says. `file` is the first --config."""

    file: str = ""
    lines: list[str] = field(default_factory=list)
    overrides: dict[str, str | bool] = field(default_factory=dict)
    daemon: bool = False
    dco: bool = False
    help: bool = False

    @property
    def name(self) -> str:
        return self.file or "(command line)"

    @property
    def empty(self) -> bool:
        return not (self.lines or self.overrides)

    def profile(self) -> str:
        """One that needs no file. ProfileError for what can't be read, or is no profile."""
        text = inline("\n".join(self.lines) + "\n", lambda name: _read(Path(name)), source=self.name)
        parse(text, source=self.name)
        return text

    def all_overrides(self) -> dict[str, str | bool]:
        """With persist-tun, which is one, if the profile has that line."""
        kept = any(directive.name == "persist-tun" for directive in parse(self.profile()))
        return ({"persist-tun": True} if kept else {}) | self.overrides


def option_names() -> list[str]:
    """Those that make sense here."""
    usable = [name for name, row in table().items() if row.status is not Status.REFUSED and not row.inline_only]
    return sorted({*usable, *OWN})


def offered(name: str, position: int) -> tuple[str, ...]:
    """What may be the argument of an option at that position; empty if it can be much."""
    if position == 0 and name in _SUGGESTED:
        return _SUGGESTED[name]
    word = syntax_word(name, position)
    return tuple(word.split("|")) if "|" in word else ()


def syntax_word(name: str, position: int) -> str:
    """How the table of options writes an argument; empty if it knows none."""
    syntax = table()[name].syntax.split() if name in table() else []
    return syntax[position].strip("[].") if position < len(syntax) else ""


def understand(argv: Sequence[str]) -> Wish:
    """CommandError or ProfileError for what can't be understood; files are read here, by their names as given."""
    wish = Wish()
    if "-h" in argv[:1]:
        argv = ["--help"]
    elif len(argv) == 1 and not argv[0].startswith("--"):
        argv = ["--config", *argv]
    for name, arguments in _options(argv):
        match name, arguments:
            case "help", _:
                wish.help = True
            case "config", [file]:
                wish.lines.append(_file(file))
                wish.file = wish.file or file
            case "cd", [folder]:
                os.chdir(folder)
            case "daemon", _:
                wish.daemon = True
            case (("enable-dco" | "disable-dco"), []):
                wish.dco = name == "enable-dco"
            case "verb", [level]:
                wish.lines.append(f"verb {_number(level)}")
            case "profile-override", [key, value]:
                wish.overrides[key] = _override(key, value)
            case (("config" | "cd" | "verb" | "profile-override"), _):
                raise CommandError(f"--{name}: wrong number of arguments")
            case _:
                wish.lines.append(join_words((name, *arguments)))
    return wish


def _options(argv: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Options with the words behind them. A beginning that fits one option only is enough of its name."""
    found: list[tuple[str, list[str]]] = []
    for word in argv:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            found.append((_full_name(name), [value] if equals else []))
        elif not found:
            raise CommandError(f"unexpected argument {one_line(word)!r}: options begin with --")
        else:
            found[-1][1].append(word)
    return found


def _full_name(name: str) -> str:
    names = {*table(), *OWN}
    fitting = [known for known in names if known.startswith(name)]
    if name in names or len(fitting) != 1:
        return name
    return fitting[0]


def _file(file: str) -> str:
    """A profile's text with what it names put in, since that is looked up beside it."""
    folder = Path(file).parent
    try:
        text = decode(_read(Path(file)), file)
    except OSError as e:
        raise CommandError(f"can't read {file}: {e.strerror or e}") from None
    return inline(text, lambda name: _read(folder / name), source=file)


def _read(path: Path) -> bytes:
    with path.open("rb") as f:
        return f.read(MAX_PROFILE_BYTES + 1)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:3]) <= 6):
        raise CommandError(f"--verb takes a number from 1 to 6, not {one_line(text)!r}")
    return int(text)


def _override(key: str, value: str) -> str | bool:
    if key not in OVERRIDES:
        raise CommandError(f"there is no override {one_line(key)!r}")
    if OVERRIDES[key] == "s":
        return value
    if value.lower() not in BOOLEANS:
        raise CommandError(f"--profile-override {key} takes yes or no, not {one_line(value)!r}")
    return BOOLEANS[value.lower()]
