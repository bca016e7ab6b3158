"""openvpn2: a session from a command line as OpenVPN 2 takes it.

Options are the lines of a profile with `--` before them; `--config FILE` stands for the lines of a file. What it makes
is imported for this session only.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ovpn3.cli.command import CommandError
from ovpn3.cli.connect import WEB_AUTHENTICATION, Failed, Interrupted, connect, end, interruptible, outcome
from ovpn3.cli.program import guarded
from ovpn3.cli.prompt import ask
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import many_lines, one_line, statistics_text
from ovpn3.cli.watch import Ended, Event, LogLine, Watch, watching
from ovpn3.cli.weburl import open_url
from ovpn3.constants import OVERRIDES, StatusMajor, StatusMinor
from ovpn3.dbus.bus import Bus
from ovpn3.errors import Ovpn3Error, ProfileError, RemoteError
from ovpn3.profile import decode, inline, parse
from ovpn3.profile.lexer import MAX_PROFILE_BYTES, join_words
from ovpn3.profile.options import table
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager, Status

USAGE = """\
Usage: openvpn2 [--config] FILE [--OPTION [ARGUMENT...] ...]

  --config FILE                Lines of a profile; may be repeated
  --daemon                     Leave the session in the background once it is connected
  --profile-override KEY VALUE Override a setting, as config-manage does
  --verb LEVEL                 How much is logged, 1 to 6; default 2
  -h, --help                   This help

Any other option is one of a profile, with -- before it.
"""
ERROR, NOT_CONNECTED, INTERRUPTED = 2, 3, 8  # exit codes
DEFAULT_VERBOSITY = 2
OWN = ("config", "daemon", "profile-override", "verb", "cd", "help", "persist-tun", "enable-dco")
BOOLEANS = {"1": True, "yes": True, "true": True, "0": False, "no": False, "false": False}


@dataclass
class Wish:
    """What the command line says."""

    name: str = "(command line)"
    lines: list[str] = field(default_factory=list)
    overrides: dict[str, str | bool] = field(default_factory=dict)
    daemon: bool = False
    verbosity: int = DEFAULT_VERBOSITY
    help: bool = False


def understand(argv: Sequence[str]) -> Wish:
    """CommandError or ProfileError for what can't be understood; files are read here, by their names as given."""
    wish, named = Wish(), False
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
                wish.name, named = (wish.name if named else file), True
            case "cd", [folder]:
                os.chdir(folder)
            case "daemon", _:
                wish.daemon = True
            case "persist-tun", []:
                wish.overrides["persist-tun"] = True
            case "enable-dco", []:
                print("kernel data channel offload is not available here: --enable-dco is left out", file=sys.stderr)
            case "verb", [level]:
                wish.verbosity = _number(level)
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
    if value not in BOOLEANS:
        raise CommandError(f"--profile-override {key} takes yes or no, not {one_line(value)!r}")
    return BOOLEANS[value]


async def run(wish: Wish) -> int:
    debug = os.environ.get("OPENVPN3_DEBUG", "")
    text = inline("\n".join(wish.lines) + "\n", lambda name: _read(Path(name)), source=wish.name)
    parse(text, source=wish.name)
    if debug == "DUMP_PARSE":
        print(text, end="")
        return 0
    async with system_bus() as bus:
        profile = await _import(bus, wish, text, keep=bool(debug))
        if debug:
            print(f"Profile path: {profile.path}")
        if debug == "IMPORT_ONLY":
            return 0
        with interruptible():
            session = await SessionManager(bus).new_tunnel(profile.path)
            try:
                await session.set("log_verbosity", "u", wish.verbosity)
                return await (_background(session) if wish.daemon else _foreground(session))
            except (Ovpn3Error, asyncio.CancelledError):
                await end(session)
                raise


async def _import(bus: Bus, wish: Wish, text: str, *, keep: bool) -> Configuration:
    profile = await ConfigurationManager(bus).import_profile(wish.name, text, single_use=not keep)
    for key, value in wish.overrides.items():
        await profile.set_override(key, value)
    return profile


async def _foreground(session: Session) -> int:
    """Until it ends, however that is, or until a signal."""
    async with watching(session) as watch:
        try:
            await connect(session, ask)
            await _first(watch, show)
            while not isinstance(event := await watch.next(), Ended):
                show(event)
        except Failed as e:
            print(one_line(e))
        except asyncio.CancelledError:
            with suppress(RemoteError):
                print(f"\n{statistics_text(await session.statistics())}")
            await end(session)
            return 0
    await end(session)
    return 0


async def _first(watch: Watch, tell: Callable[[Event], None]) -> None:
    """Connected, or at the address where the user has to go on."""
    status = await outcome(watch, ask, tell)
    if status[:2] == WEB_AUTHENTICATION:
        await open_url(status.message)


async def _background(session: Session) -> int:
    await connect(session, ask)
    async with watching(session) as watch:
        dots = asyncio.create_task(_dots())
        try:
            await _first(watch, lambda _: None)
        except Failed as e:
            print(f"\n{one_line(e)}", file=sys.stderr)
            await end(session)
            return NOT_CONNECTED
        finally:
            dots.cancel()
    print(f"\nSession path: {session.path}")
    print(f"To end it: openvpn3 session-manage --path {session.path} --disconnect")
    return 0


async def _dots() -> None:
    while True:
        print(".", end="", flush=True)
        await asyncio.sleep(1)


def show(event: Event) -> None:
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    match event:
        case Status(major, minor, message):
            state = f"({_name(StatusMajor, major)}, {_name(StatusMinor, minor)})"
            print(f"{now} [STATUS] {state} {one_line(message)}".rstrip())
        case LogLine(_, _, text):
            print(f"{now} [LOG] {many_lines(text)}")
    sys.stdout.flush()


def _name(kind: type[StatusMajor] | type[StatusMinor], number: int) -> str:
    try:
        return f"{kind.__name__}.{kind(number).name}"
    except ValueError:
        return f"{kind.__name__}({number})"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _main(arguments), "openvpn2: ", ERROR, INTERRUPTED)


def _main(argv: Sequence[str]) -> int:
    try:
        wish = understand(argv)
        if wish.help or not (wish.lines or wish.overrides):
            print(USAGE, end="")
            return 0 if wish.help else ERROR
        return asyncio.run(run(wish))
    except Interrupted:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (Ovpn3Error, ProfileError, OSError) as e:
        print(f"openvpn2: ** ERROR ** {many_lines(str(e))}", file=sys.stderr)
        return ERROR
