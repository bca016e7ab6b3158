"""`version`: which product this is, on what; and which the services are."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ovpn3.cli.command import JSON, Command, CommandError, Option, Options
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import one_line, to_json
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

OPTIONS = (
    Option("services", help="Show the versions of the services too; openvpn3-admin only"),
    JSON,
)
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
    services = await _services() if options.has("services") else []
    print(to_json(_to_json(services)) if options.has("json") else "\n".join(_lines(services)))
    return 0 if all(service.version for service in services) else UNREACHABLE


@dataclass
class _Service:
    """As it answers now; `version` is empty if it doesn't, and `problem` says why."""

    label: str
    name: str
    program: str = ""
    version: str = ""
    problem: str = ""


async def _services() -> list[_Service]:
    async with system_bus() as bus:
        return [await _ask(bus, *service) for service in SERVICES]


async def _ask(bus: Bus, label: str, name: str, path: str) -> _Service:
    try:
        found = str(await bus.get_property(name, path, name, "version"))  # the interface has the bus name's
    except RemoteError as e:
        return _Service(label, name, problem=str(e))
    return _Service(label, name, _program(await bus.pid_of(name)), found)


def _lines(services: list[_Service]) -> Iterator[str]:
    yield f"OpenVPN3/Linux {API_VERSION} (openvpn3)"  # the name of what we stand in for: scripts look for it
    yield f"ovpn3 {version('ovpn3')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield "Copyright (c) 2026 The ovpn3 authors, MIT license"
    for s in services:
        yield f"\n{s.label} ({s.name})"
        yield f"    {s.program}: {one_line(s.version)}" if s.version else f"    not available: {one_line(s.problem)}"


def _to_json(services: list[_Service]) -> dict[str, object]:
    result: dict[str, object] = {
        "product": PRODUCT,
        "api_version": API_VERSION,
        "version": version("ovpn3"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    if services:
        result["services"] = {s.name: {"program": s.program, "version": s.version} for s in services}
    return result


def _program(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "(unknown)"
    names = [Path(word.decode(errors="replace")).name for word in words]
    return one_line(next((n for n in names if n.startswith("openvpn3-service-")), names[0]))


ABOUT = """\
Shows which product this is, its version, and on which Python and machine it runs.

`openvpn3-admin version --services` also asks each service for its own; it starts those that don't run. The exit code
is 2 if one doesn't answer.
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
