"""What a command is: its options, declared once, and what to do with them. Arguments are read as getopt_long does."""

import getopt
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ovpn3.cli.text import one_line
from ovpn3.constants import MAX_LOG_LEVEL
from ovpn3.errors import Ovpn3Error

_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


class CommandError(Ovpn3Error):
    """The command can't do what was asked."""

    exit_code: ClassVar[int] = 8


class NotFound(CommandError):
    """What the command is about isn't there, or not for us."""


class BadValue(CommandError):
    """An option's value, or a combination of options, makes no sense."""

    exit_code = 9


class AccessFailed(CommandError):
    """Granting or revoking access was refused."""

    exit_code = 3


class BadOption(Exception):
    """The arguments can't be read; the text is getopt's."""


@dataclass(frozen=True)
class Option:
    """`argument` names the value in the help; empty for a flag.

    `values` are for completion: a list, or names of lists with blanks between them, which `completion` knows.
    """

    name: str
    short: str = ""
    argument: str = ""
    help: str = ""
    alias: str = ""
    optional: bool = False  # a value is attached with = or left out
    last: bool = False  # given repeatedly, the last counts, not the first
    values: str | tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.alias) if self.alias else (self.name,)

    @property
    def spellings(self) -> tuple[str, ...]:
        """With their dashes, the short one first."""
        return (*((f"-{self.short}",) if self.short else ()), *(f"--{name}" for name in self.names))

    def usage(self) -> str:
        value = f"[={self.argument}]" if self.optional else f" {self.argument}" if self.argument else ""
        return (f"-{self.short}, " if self.short else "    ") + f"--{self.name}{value}"


HELP = Option("help", "h", help="This help")
JSON = Option("json", help="As JSON")


@dataclass
class Options:
    """What was given: values of options by name, in order, cleaned of control characters, to which program."""

    given: dict[str, list[str]] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    last: frozenset[str] = frozenset()
    program: str = ""

    def has(self, name: str) -> bool:
        return name in self.given

    def get(self, name: str, default: str = "") -> str:
        values = self.given.get(name)
        return values[-1 if name in self.last else 0] if values else default

    def all(self, name: str) -> list[str]:
        return self.given.get(name, [])

    def flag(self, name: str) -> bool:
        """The value of an option that takes a boolean, which is given."""
        value = self.get(name)
        if value not in _BOOLEANS:
            raise BadValue(f"--{name} takes true or false, not {value!r}")
        return _BOOLEANS[value]

    def number(self, name: str, default: int) -> int:
        value = self.get(name)
        if not self.has(name):
            return default
        if not re.fullmatch("-?[0-9]{1,9}", value):
            raise BadValue(f"--{name} takes a number, not {value!r}")
        return int(value)

    def log_level(self, default: int = 0) -> int:
        """The value of --log-level, an option of several commands."""
        level = self.number("log-level", default)
        if not 0 <= level <= MAX_LOG_LEVEL:
            raise BadValue(f"a log level is 0 to {MAX_LOG_LEVEL}, not {level}")
        return level

    def json_of_show(self, operations: Sequence[str]) -> bool:
        """Whether --json is given, which of these `operations` goes with --show alone: others would write beside it."""
        if self.has("json") and [name for name in operations if self.has(name)] != ["show"]:
            raise BadValue("--json goes with --show, and with nothing that changes something")
        return self.has("json")

    def exclusive(self, *names: str, error: type[CommandError] = CommandError) -> str:
        """The one of these options that is given, empty if none."""
        given = [name for name in names if self.has(name)]
        if len(given) > 1:
            raise error(" and ".join(f"--{name}" for name in given) + " exclude each other")
        return given[0] if given else ""


@dataclass(frozen=True)
class Command:
    """`run` returns the exit code. `argument` is the name of a positional argument; empty: there is none.

    Ending in `...` it may be given repeatedly. `values` are for its completion, as those of an option. `about` is for
    the manual: paragraphs with `words to type`, and examples, which are indented by four. `refused` is the exit code
    when a service says no; the original hasn't the same for all.
    """

    run: Callable[[Options], Coroutine[None, None, int]]
    options: tuple[Option, ...] = ()
    argument: str = ""
    values: str | tuple[str, ...] = ()
    about: str = ""
    refused: int = 8

    def parse(self, argv: Sequence[str]) -> Options:
        options = (*self.options, HELP)
        long_names = [name + ("=" if o.argument else "") for o in options for name in o.names]
        short_names = "".join(o.short + (":" if o.argument else "") for o in options if o.short)
        # getopt knows no optional values: an empty one stands for none.
        optional = {name for o in options if o.optional for name in o.names}
        names = [name for o in options for name in o.names]
        given = [f"{word}=" if _full_name(word, names) in optional else word for word in argv]
        try:
            pairs, arguments = getopt.gnu_getopt(given, short_names, long_names)
        except getopt.GetoptError as e:
            raise BadOption(e.msg) from None
        by_spelling = {spelling: o.name for o in options for spelling in o.spellings}
        found = Options(arguments=[_strip(a) for a in arguments], last=frozenset(o.name for o in options if o.last))
        for spelling, value in pairs:
            found.given.setdefault(by_spelling[spelling], []).append(_strip(value))
        most = len(arguments) if self.argument.endswith("...") else bool(self.argument)
        if len(arguments) > most and not found.has("help"):
            raise BadOption(f"unexpected argument {one_line(arguments[-1])}")
        return found

    def help(self, program: str, name: str = "") -> str:
        usage = " ".join(filter(None, ("Usage:", program, name, "[OPTIONS]", self.argument)))
        return f"{usage}\n\n{lines_of((*self.options, HELP))}"


def lines_of(options: Sequence[Option]) -> str:
    """Options as --help lists them."""
    width = max(len(o.usage()) for o in options)
    return "\n".join(f"  {o.usage():<{width}}  {o.help}" for o in options)


def _full_name(word: str, names: Sequence[str]) -> str:
    """The option whose name, or the beginning of it, is given as a whole word; empty if that is none, or several."""
    found = [name for name in names if word.startswith("--") and name.startswith(word[2:])] if len(word) > 2 else []
    return word[2:] if word[2:] in found else found[0] if len(found) == 1 else ""


def _strip(value: str) -> str:
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise BadValue("an argument is not UTF-8 text")
    return "".join(c for c in value if ord(c) >= 0x20 and c != "\x7f")
