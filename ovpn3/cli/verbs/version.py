"""`version`: which product this is, on what; and which the services are."""

import platform
from importlib.metadata import version
from pathlib import Path

from ovpn3.cli.command import Command, CommandError, Option, Options
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import one_line
from ovpn3.constants import (
    API_VERSION,
    BACKENDS_NAME,
    BACKENDS_PATH,
    CONFIG_NAME,
    CONFIG_PATH,
    LOG_NAME,
    LOG_PATH,
    NETCFG_NAME,
    NETCFG_PATH,
    PRODUCT,
    SESSIONS_NAME,
    SESSIONS_PATH,
)
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError

OPTIONS = (Option("services", help="Show the versions of the services too; openvpn3-admin only"),)
SERVICES = (
    ("Backend starter", BACKENDS_NAME, BACKENDS_PATH),
    ("Configuration manager", CONFIG_NAME, CONFIG_PATH),
    ("Log service", LOG_NAME, LOG_PATH),
    ("Network configuration", NETCFG_NAME, NETCFG_PATH),
    ("Session manager", SESSIONS_NAME, SESSIONS_PATH),
)
UNREACHABLE = 2  # exit code


async def run(options: Options) -> int:
    if options.has("services") and options.program != "openvpn3-admin":
        raise CommandError("--services is for openvpn3-admin")
    print(f"{PRODUCT} {API_VERSION} (openvpn3)")
    print(f"ovpn3 {version('ovpn3')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("Copyright (c) 2026 The ovpn3 authors, MIT license")
    if not options.has("services"):
        return 0
    async with system_bus() as bus:
        answers = [await _ask(bus, *service) for service in SERVICES]
    return 0 if all(answers) else UNREACHABLE


async def _ask(bus: Bus, label: str, name: str, path: str) -> bool:
    """Show one; whether it could be reached."""
    print(f"\n{label} ({name})")
    try:
        found = one_line(await bus.get_property(name, path, name, "version"))  # the interface has the bus name's
    except RemoteError as e:
        print(f"    not available: {one_line(e)}")
        return False
    print(f"    {_program(await bus.pid_of(name))}: {found}")
    return True


def _program(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "(unknown)"
    names = [Path(word.decode(errors="replace")).name for word in words]
    return one_line(next((n for n in names if n.startswith("openvpn3-service-")), names[0]))


COMMAND = Command(run, OPTIONS)
