"""openvpn3-autoload: import, and start, the profiles of a directory that have a .autoload file beside them.

The original keeps it for old set-ups only, and so do we: what is new is better a systemd unit for each profile.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ovpn3.cli.answers import Answers
from ovpn3.cli.command import Command, CommandError, Option, Options
from ovpn3.cli.connect import Interrupted, Unreached, connect, end, interruptible, outcome
from ovpn3.cli.program import run_alone
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import many_lines
from ovpn3.cli.verbs.session_start import new_session
from ovpn3.dbus.bus import Bus
from ovpn3.errors import Ovpn3Error, ProfileError
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.watch import watching
from ovpn3.secret import hide_memory

if TYPE_CHECKING:
    from ovpn3.cli.autoloadfile import Autoload

PROGRAM = "openvpn3-autoload"
NOT_STARTED, ERROR, INTERRUPTED = 1, 2, 8  # exit codes
SUFFIXES = (".conf", ".ovpn")
TIMEOUT_S = 30.0  # for a session to be connected; it is left connecting then
NOTICE = f"{PROGRAM} is for old set-ups; better is a systemd unit for each profile: openvpn3-session@PROFILE.service"

OPTIONS = (
    Option("directory", "", "DIR", "Where the profiles are, with a .autoload file beside each", values="folders"),
    Option("ignore-autostart", help="Only import them"),
)


async def run(options: Options) -> int:
    say(NOTICE)
    try:
        return await _load(options)
    except Interrupted:
        return INTERRUPTED


async def _load(options: Options) -> int:
    found = _profiles(options.get("directory"))
    hide_memory()
    failed, starts = 0, []
    # Buses first, one after the other: for that we are other users.
    async with AsyncExitStack() as stack:
        with interruptible():
            for file, settings in found:
                try:
                    wanted = _read(settings)
                except CommandError as e:
                    say(f"{file.name} is left out: {e}")
                    continue
                try:
                    bus = await stack.enter_async_context(system_bus(wanted.owner))
                    profile = await _import(bus, file, wanted)
                except (Ovpn3Error, ProfileError) as e:
                    say(f"{file.name} is not imported: {e}")
                    failed = ERROR
                    continue
                if profile and wanted.autostart and not options.has("ignore-autostart"):
                    starts.append(_start(file.name, profile, wanted))
            started = await asyncio.gather(*starts)
    return failed or (0 if all(started) else NOT_STARTED)


def _profiles(folder: str) -> list[tuple[Path, Path]]:
    """Files of profiles, each with its .autoload."""
    if not folder or not Path(folder).is_dir():
        raise CommandError("which directory? Give --directory, one that exists")
    files = sorted(f for f in Path(folder).iterdir() if f.suffix in SUFFIXES)
    return [(file, beside) for file in files if (beside := file.with_suffix(".autoload")).exists()]


def _read(file: Path) -> "Autoload":
    from ovpn3.cli.autoloadfile import read  # not for completion and help, like what reads profiles: loading takes time

    wanted = read(file)
    for note in wanted.notes:
        say(f"{file.name}: {note}")
    if wanted.answers and file.stat().st_mode & 0o077:
        say(f"{file.name} has answers in it that others may read or change: chmod 600 {file}")
    return wanted


async def _import(bus: Bus, file: Path, wanted: "Autoload") -> Configuration | None:
    """None if that has been done before."""
    from ovpn3.cli.source import read_profile

    name, manager = wanted.name or file.name, ConfigurationManager(bus)
    if await manager.by_name(name):
        say(f"{file.name} is left out: there is a profile of the name {name!r}")
        return None
    source = read_profile(str(file))
    profile = await manager.import_profile(name, source.text)
    overrides = ({"persist-tun": True} if source.persist_tun else {}) | wanted.overrides
    for key, value in overrides.items():
        await profile.set_override(key, value)
    if wanted.public:
        await profile.set("public_access", "b", True)
    if wanted.locked_down:
        await profile.set("locked_down", "b", True)
    print(f"{file.name}: imported as {name!r}, {profile.path}", flush=True)
    return profile


async def _start(file: str, profile: Configuration, wanted: "Autoload") -> bool:
    """Whether there is a session, which may still be connecting."""
    try:
        answering = Answers(wanted.answers)
        session = await new_session(profile)
    except Ovpn3Error as e:
        say(f"{file} is not started: {e}")
        return False
    try:
        async with watching(session) as watch:
            await connect(session, answering)
            async with asyncio.timeout(wanted.timeout_s or TIMEOUT_S):
                await outcome(watch, answering)
    except (TimeoutError, Unreached):
        say(f"{file}: not connected yet; it goes on trying. Session {session.path}")
    except (Ovpn3Error, asyncio.CancelledError) as e:
        await end(session)
        if not isinstance(e, Ovpn3Error):
            raise
        say(f"{file} is not started: {e}")
        return False
    else:
        print(f"{file}: connected. Session {session.path}", flush=True)
    return True


def say(text: str) -> None:
    print(f"{PROGRAM}: {many_lines(text)}", file=sys.stderr, flush=True)


COMMAND = Command(run, OPTIONS)


def main(argv: Sequence[str] | None = None) -> int:
    return run_alone(PROGRAM, COMMAND, argv, lambda _: ERROR, unwritable=ERROR, interrupted=INTERRUPTED)
