"""The command line of a service. Not argparse, which takes 1.3 MB in each process, with what it loads for its help."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NoReturn

WRONG_ARGUMENTS = 2  # exit code

Options = SimpleNamespace


class BadArgument(ValueError):
    """A value that an option can't have. The text tells which ones it can."""


@dataclass(frozen=True)
class _Option:
    """A switch, unless `read` makes something of a value."""

    help: str
    default: object = False
    read: Callable[[str], object] | None = None
    metavar: str = ""


class CommandLine:
    """Options by their long names; `--option value` and `--option=value` are the same."""

    def __init__(self, prog: str, version: str) -> None:
        self.prog, self._version = prog, version
        self._options: dict[str, _Option] = {}
        self._arguments: dict[str, str] = {}

    def switch(self, name: str, help: str) -> None:
        self._options[name] = _Option(help)

    def value(
        self,
        name: str,
        metavar: str,
        help: str,
        *,
        default: object = "",
        read: Callable[[str], object] = str,
    ) -> None:
        """`read` raises ValueError for what it doesn't take, as BadArgument if the text is for the user."""
        self._options[name] = _Option(help, default, read, metavar)

    def argument(self, name: str, help: str) -> None:
        """What has to be there without an option."""
        self._arguments[name] = help

    def parse(self, argv: Sequence[str] | None) -> Options:
        """Of `argv`, else of this process. Ends it when help is asked for or something is wrong."""
        found = Options(prog=self.prog, **{_attribute(name): o.default for name, o in self._options.items()})
        given, rest = list(sys.argv[1:] if argv is None else argv), []
        while given:
            name, equals, value = given.pop(0).partition("=")
            if name in ("--help", "-h"):
                self._end(self._help())
            if name == "--version":
                self._end(f"{self.prog} {self._version}")
            if not name.startswith("-"):
                rest.append(name + equals + value)
                continue
            option = self._options.get(name)
            if option is None:
                self.error(f"there is no option {name}")
            if option.read is None:
                if equals:
                    self.error(f"{name} takes no value")
                setattr(found, _attribute(name), True)
                continue
            if not equals:
                if not given:
                    self.error(f"{name} takes a value, {option.metavar}")
                value = given.pop(0)
            try:
                setattr(found, _attribute(name), option.read(value))
            except BadArgument as e:
                self.error(f"{name}: {e}")
            except ValueError:
                self.error(f"{name} can't be {value!r}")
        if len(rest) != len(self._arguments):
            self.error(f"there must be {' '.join(self._arguments) or 'no argument'}, not {' '.join(rest) or 'nothing'}")
        vars(found).update(zip(self._arguments, rest, strict=True))
        return found

    def error(self, text: str) -> NoReturn:
        print(f"{self.prog}: {text} (--help)", file=sys.stderr)
        raise SystemExit(WRONG_ARGUMENTS)

    def _help(self) -> str:
        lines = [f"usage: {' '.join([self.prog, '[option...]', *self._arguments])}", ""]
        rows = self._arguments | {f"{name} {o.metavar}".rstrip(): o.help for name, o in self._options.items()}
        width = max(map(len, rows))
        return "\n".join(lines + [f"  {row:{width}}  {help}".rstrip() for row, help in rows.items()])

    def _end(self, text: str) -> NoReturn:
        print(text)
        raise SystemExit(0)


def _attribute(name: str) -> str:
    return name.removeprefix("--").replace("-", "_")
