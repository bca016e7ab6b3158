"""What may come next on a command line: the same for bash, zsh and fish, which only show it.

Candidates are words with their descriptions. The words PROFILES, FILES and FOLDERS stand for names of files, which the
shell finds itself: it knows how to quote them and where it is.
"""

import pwd
import shlex
from collections.abc import Awaitable, Callable, Sequence

from ovpn3.cli.admin import ADMIN
from ovpn3.cli.command import HELP, Command, Option
from ovpn3.cli.openvpn3 import OPENVPN3
from ovpn3.cli.program import ALONE, Program, alone
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import one_line
from ovpn3.dbus.bus import Bus
from ovpn3.errors import NetworkError, RemoteError
from ovpn3.proxies.config import ConfigurationManager
from ovpn3.proxies.proxy import Proxy
from ovpn3.proxies.session import SessionManager

NAME = "shell-completion"  # a command, but not for people
PROFILES, FILES, FOLDERS = ":profiles", ":files", ":folders"
FOR_SHELL = (PROFILES, FILES, FOLDERS)
_SHELLS = {"profile-files": PROFILES, "files": FILES, "folders": FOLDERS}

Candidates = dict[str, str]


def words_of(line: str) -> list[str]:
    """Words of a command line as far as it is written, without their quotes; the last one may be empty."""
    for end in ("x", "x'", 'x"'):
        try:
            *words, last = shlex.split(line + end)
        except ValueError:
            continue  # in the middle of a quoted word
        return [*words, last[:-1]]
    return [""]


async def candidates(line: str) -> tuple[str, Candidates]:
    """The word that the line ends with, and what may stand in its place. They need not go on from it."""
    program, *words = words_of(line)
    if not words:
        return "", {}
    *before, last = words
    name = program.rpartition("/")[2]
    if name == "openvpn2":
        return last, _of_openvpn2(before, last)
    if name in ALONE:
        return last, await _of_command(alone(name), before, last)
    return last, await _of_program(ADMIN if name == ADMIN.name else OPENVPN3, before, last)


async def _of_program(program: Program, before: Sequence[str], last: str) -> Candidates:
    if not before:
        return {name: text for name, text in program.commands.items() if name != NAME}
    if before[0] not in program.commands:
        return {}
    return await _of_command(program.command(before[0]), before[1:], last)


async def _of_command(command: Command, before: Sequence[str], last: str) -> Candidates:
    options = (*command.options, HELP)
    by_spelling = {spelling: option for option in options for spelling in option.spellings}
    name, attached, _ = last.partition("=")
    if attached and name in by_spelling:
        found = await values(by_spelling[name].values)
        return {word if word in FOR_SHELL else f"{name}={word}": text for word, text in found.items()}
    previous = by_spelling.get(before[-1]) if before else None
    if previous and previous.argument and not previous.optional:
        return await values(previous.values)
    positional = {} if last.startswith("-") else await values(command.values)
    return positional | {word: option.help for option in options for word in _spellings(option, last)}


def _spellings(option: Option, last: str) -> list[str]:
    short = [f"-{option.short}"] if option.short and last == "-" else []
    attached = [f"--{option.name}="] if option.optional else []
    return [*short, f"--{option.name}", *attached]


async def values(what: str | tuple[str, ...]) -> Candidates:
    """What `values` of an option or a command stands for; of the services there is nothing if they can't be asked."""
    if isinstance(what, tuple):
        return dict.fromkeys(what, "")
    sources = what.split()
    found = {_SHELLS[source]: "" for source in sources if source in _SHELLS}
    if "users" in sources:
        found |= {entry.pw_name: "" for entry in pwd.getpwall()}
    if asked := [_SOURCES[source] for source in sources if source in _SOURCES]:
        found |= await _from_bus(asked)
    return found


_Source = Callable[[Bus], Awaitable[Candidates]]


async def _from_bus(sources: list[_Source]) -> Candidates:
    found: Candidates = {}
    try:
        async with system_bus() as bus:
            for source in sources:
                found |= await source(bus)
    except (NetworkError, RemoteError):
        return {}
    return {one_line(value): one_line(text) for value, text in sorted(found.items()) if value}


async def _config_paths(bus: Bus) -> Candidates:
    return await _each(await ConfigurationManager(bus).available(), "name")


async def _session_paths(bus: Bus) -> Candidates:
    return await _each(await SessionManager(bus).available(), "config_name")


async def _config_names(bus: Bus) -> Candidates:
    return dict.fromkeys((await _config_paths(bus)).values(), "Profile")


async def _session_names(bus: Bus) -> Candidates:
    return dict.fromkeys((await _session_paths(bus)).values(), "Session")


async def _all_names(bus: Bus) -> Candidates:
    return await _config_names(bus) | await _session_names(bus)


async def _interfaces(bus: Bus) -> Candidates:
    return dict.fromkeys(await SessionManager(bus).managed_interfaces(), "Interface")


async def _requests(bus: Bus) -> Candidates:
    from ovpn3.cli.verbs.session_auth import waiting_sessions  # not for every completion: loading takes time

    return {str(values["backend_pid"]): values["config_name"] for _, values in await waiting_sessions(bus)}


async def _subscribers(bus: Bus) -> Candidates:
    from ovpn3.proxies.netcfg import NetworkConfiguration

    return dict.fromkeys([name for name, _ in await NetworkConfiguration(bus).subscribers()], "Subscriber")


async def _each(objects: Sequence[Proxy], name: str) -> Candidates:
    """That property of each, by path."""
    return {each.path: str(await each.get(name)) for each in objects}


_SOURCES: dict[str, _Source] = {
    "config-paths": _config_paths,
    "config-names": _config_names,
    "session-paths": _session_paths,
    "session-names": _session_names,
    "all-names": _all_names,
    "interfaces": _interfaces,
    "auth-requests": _requests,
    "subscribers": _subscribers,
}

# Arguments of openvpn2's options that the shell finds.
_FOUND = {"config": PROFILES, "cd": FOLDERS, "auth-user-pass": FILES}


def _of_openvpn2(before: Sequence[str], last: str) -> Candidates:
    from ovpn3.cli.openvpn2args import offered, option_names, syntax_word
    from ovpn3.profile.options import table

    known = table()
    if last.startswith("-"):
        return {f"--{name}": known[name].syntax if name in known else "" for name in option_names()}
    given = next((i for i in reversed(range(len(before))) if before[i].startswith("--")), None)
    if given is None:
        return {PROFILES: ""}
    name, position = before[given][2:], len(before) - given - 1
    if position == 0 and name in _FOUND:
        return {_FOUND[name]: ""}
    return {FILES: ""} if syntax_word(name, position) == "file" else dict.fromkeys(offered(name, position), "")
