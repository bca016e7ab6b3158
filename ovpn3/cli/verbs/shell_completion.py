"""`shell-completion`: what the shell may offer next."""

from collections.abc import Awaitable, Callable, Sequence

from ovpn3.cli.admin import ADMIN
from ovpn3.cli.command import HELP, Command, CommandError, Option, Options
from ovpn3.cli.openvpn3 import OPENVPN3
from ovpn3.cli.program import Program
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import one_line
from ovpn3.dbus.bus import Bus
from ovpn3.errors import NetworkError, RemoteError
from ovpn3.proxies.config import ConfigurationManager
from ovpn3.proxies.proxy import Proxy
from ovpn3.proxies.session import SessionManager

NAME = "shell-completion"
OPTIONS = (
    Option("list-commands", help="All commands"),
    Option("list-options", "", "COMMAND", "The options of a command"),
    Option("arg-helper", "", "OPTION", "Values for an option of that command"),
)


async def run(options: Options) -> int:
    program = ADMIN if options.program == ADMIN.name else OPENVPN3
    if options.has("list-commands") == options.has("list-options") or len(options.all("list-options")) > 1:
        raise CommandError("give one of --list-commands and --list-options, once")
    if options.has("list-commands"):
        if options.has("arg-helper"):
            raise CommandError("--arg-helper goes with --list-options")
        print(" ".join(name for name in program.commands if name != NAME))
        return 0
    known = _options(program, options.get("list-options"))
    if options.has("arg-helper"):
        print(" ".join(await _values(known, options.get("arg-helper"))))
    else:
        print(" ".join(word for option in known for word in _spellings(option)))
    return 0


def _options(program: Program, command: str) -> tuple[Option, ...]:
    if command not in program.commands:
        raise CommandError(f"there is no command {command!r}")
    return (*program.command(command).options, HELP)


def _spellings(option: Option) -> list[str]:
    short = [f"-{option.short}"] if option.short else []
    attached = [f"--{option.name}="] if option.optional else []
    return [*short, f"--{option.name}", *attached, *([f"--{option.alias}"] if option.alias else [])]


async def _values(known: tuple[Option, ...], spelling: str) -> list[str]:
    name = spelling.lstrip("-").removesuffix("=")
    for option in known:
        if name in (*option.names, option.short):
            if option.optional and not spelling.endswith("="):
                return []
            return await _from_bus(option.values) if isinstance(option.values, str) else list(option.values)
    return []


async def _from_bus(what: str) -> list[str]:
    """The values of that kind there are now; none if they can't be had."""
    try:
        async with system_bus() as bus:
            found = [value for source in _SOURCES[what] for value in await source(bus)]
    except (NetworkError, RemoteError):
        return []
    return sorted({one_line(value) for value in found if value})


async def _config_paths(bus: Bus) -> list[str]:
    return [profile.path for profile in await ConfigurationManager(bus).available()]


async def _session_paths(bus: Bus) -> list[str]:
    return [session.path for session in await SessionManager(bus).available()]


async def _config_names(bus: Bus) -> list[str]:
    return await _each(await ConfigurationManager(bus).available(), "name")


async def _session_names(bus: Bus) -> list[str]:
    return await _each(await SessionManager(bus).available(), "config_name")


async def _interfaces(bus: Bus) -> list[str]:
    return await SessionManager(bus).managed_interfaces()


async def _requests(bus: Bus) -> list[str]:
    from ovpn3.cli.verbs.session_auth import waiting_sessions  # not for every completion: loading takes time

    return [str(values["backend_pid"]) for _, values in await waiting_sessions(bus)]


async def _subscribers(bus: Bus) -> list[str]:
    from ovpn3.proxies.netcfg import NetworkConfiguration

    return [name for name, _ in await NetworkConfiguration(bus).subscribers()]


async def _each(objects: Sequence[Proxy], name: str) -> list[str]:
    return [str(await each.get(name)) for each in objects]


_SOURCES: dict[str, tuple[Callable[[Bus], Awaitable[list[str]]], ...]] = {
    "config-paths": (_config_paths,),
    "config-names": (_config_names,),
    "session-paths": (_session_paths,),
    "session-names": (_session_names,),
    "all-names": (_config_names, _session_names),
    "interfaces": (_interfaces,),
    "auth-requests": (_requests,),
    "subscribers": (_subscribers,),
}

COMMAND = Command(run, OPTIONS)
