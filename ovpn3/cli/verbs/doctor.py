"""`doctor`: what on this machine stands in the way of tunnels, and what to do about it."""

import json
import textwrap
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from ovpn3.cli import terminal
from ovpn3.cli.checks import Finding, Level, kernel, machine, profiles, services
from ovpn3.cli.checks.finding import problem
from ovpn3.cli.command import Command, Option, Options
from ovpn3.cli.install import CONFIGS, STATE
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import one_line
from ovpn3.cli.verbs.install import check_root
from ovpn3.dbus.bus import Bus
from ovpn3.errors import NetworkError

SICK = 1  # exit code
LEVEL_WIDTH, SUBJECT_WIDTH = max(map(len, Level)) + 1, 14
INDENT = "  "
COLOURS = {Level.OK: terminal.GREEN, Level.WARNING: terminal.YELLOW, Level.PROBLEM: f"{terminal.BOLD};{terminal.RED}"}


async def run(options: Options) -> int:
    check_root()
    as_json = options.has("json")
    found: list[tuple[str, Finding]] = []
    section, on, columns = "", terminal.colours(), min(terminal.width(), 120)
    async for area, finding in _checks():
        if not as_json:
            if area != section:
                print(f"{chr(10) if section else ''}{terminal.painted(area, terminal.BOLD, on)}", flush=True)
            print(_lines(finding, columns, on), flush=True)
        section = area
        found.append((area, finding))
    problems, warnings = (sum(f.level is level for _, f in found) for level in (Level.PROBLEM, Level.WARNING))
    if as_json:
        print(
            json.dumps({"problems": problems, "warnings": warnings, "checks": [_to_json(*f) for f in found]}, indent=1)
        )
    else:
        print(f"\n{_summary(problems, warnings)}")
    return SICK if problems else 0


async def _checks() -> AsyncIterator[tuple[str, Finding]]:
    for finding in kernel.check():
        yield "Kernel", finding
    try:
        async with system_bus() as bus:
            async for area, finding in _with_bus(bus):
                yield area, finding
            return
    except NetworkError as e:
        lost = problem("bus", one_line(e), "start dbus: apt-get install dbus, systemctl start dbus")
    async for area, finding in _with_bus(None):
        yield area, finding
    yield "Services", lost


async def _with_bus(bus: Bus | None) -> AsyncIterator[tuple[str, Finding]]:
    for finding in (*machine.network(), await machine.resolver(bus), machine.clock()):
        yield "Machine", finding
    for finding in services.installed():
        yield "Services", finding
    if bus and services.account():
        async for finding in services.running(bus):
            yield "Services", finding
    if services.account():
        for finding in profiles.check(Path("/", STATE, CONFIGS), datetime.now(UTC)):
            yield "Profiles", finding
        if bus:
            async for finding in services.sessions(bus):
                yield "Sessions", finding


def _lines(finding: Finding, columns: int, on: bool) -> str:
    level = terminal.painted(f"{finding.level:<{LEVEL_WIDTH}}", COLOURS[finding.level], on)
    margin = " " * (len(INDENT) + LEVEL_WIDTH + SUBJECT_WIDTH)
    text = textwrap.fill(finding.text, columns, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)
    lines = [f"{INDENT}{level}{finding.subject:<{SUBJECT_WIDTH}}{text.removeprefix(margin)}"]
    if finding.advice:
        lines.append(
            textwrap.fill(f"-> {finding.advice}", columns, initial_indent=margin, subsequent_indent=margin + "   ")
        )
    return "\n".join(lines)


def _summary(problems: int, warnings: int) -> str:
    counted = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((problems, "problem"), (warnings, "warning")) if n]
    return f"{' and '.join(counted)}." if counted else "All is well."


def _to_json(area: str, finding: Finding) -> dict[str, str]:
    return {
        "area": area.lower(),
        "subject": finding.subject,
        "level": finding.level.lower(),
        "text": finding.text,
        "advice": finding.advice,
    }


ABOUT = """\
Looks at what tunnels need of this machine: the kernel, the network and its name servers, the services, the profiles of
all users with their certificates, and the sessions. It says what to do about what it finds. The exit code is 1 if
something doesn't work. Only root can do this.

    openvpn3-admin doctor --json
"""
COMMAND = Command(run, (Option("json", help="As JSON"),), about=ABOUT)
