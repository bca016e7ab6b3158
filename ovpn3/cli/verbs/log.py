"""`log`: what a session says, live, and what it said before."""

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import datetime

from ovpn3.cli import history
from ovpn3.cli.command import BadValue, Command, CommandError, Option, Options
from ovpn3.cli.connect import Interrupted, interruptible
from ovpn3.cli.selection import object_path, session_with_interface, system_bus, visible_sessions
from ovpn3.cli.text import TIME_WIDTH, log_text, one_line, status_text, user_name
from ovpn3.constants import SessionEvent
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.wire import Message
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import Session, SessionManager, Status
from ovpn3.proxies.watch import MANAGER_EVENTS, Ended, Event, LogLine, watching

OPTIONS = (
    Option("session-path", "", "PATH", "D-Bus path of the session", values="session-paths"),
    Option("config", "c", "NAME", "Name of the profile; a session of it is waited for", values="all-names"),
    Option("interface", "I", "IFNAME", "Network interface of the session", values="interfaces"),
    Option("log-level", "", "LEVEL", "Have the session log as much as this, 1 to 6", values=tuple("0123456")),
    Option("history", help="First what was logged before, of ended sessions too, from the journal or log file"),
    Option("no-follow", help="With --history: end after that"),
)


async def run(options: Options) -> int:
    chosen = options.exclusive("session-path", "config", "interface", error=BadValue)
    if not chosen:
        raise CommandError("which session? Give --session-path, --config or --interface")
    level = options.log_level()
    if options.has("no-follow") and not options.has("history"):
        raise CommandError("--no-follow goes with --history")
    async with system_bus() as bus:
        try:
            with interruptible():
                live = not options.has("history") or await _tell(bus, chosen, options.get(chosen))
                if options.has("no-follow") or not live:
                    return 0
                await _follow(await _session(bus, chosen, options.get(chosen)), level)
        except Interrupted:
            return 0
    return 0


async def _tell(bus: Bus, chosen: str, value: str) -> bool:
    """Print what was logged of the session, or of all that had the profile; whether there is one now."""
    found, uid = history.sessions(await history.logged(bus)), os.geteuid()
    if chosen == "config":
        found = [past for past in found if past.profile == value and uid in (0, past.owner)]
        live = bool(await SessionManager(bus).by_config_name(value))
    else:
        path = (await _session(bus, chosen, value)).path
        found = [past for past in found if past.path == path]
        live = any(session.path == path for session in await visible_sessions(bus))
    colour = wants_colour(os.environ)
    for past in found:
        print(f"Session {past.path} of {user_name(past.owner)}, profile {one_line(past.profile)}")
        for line in past.lines:
            print(f"{line.time or '-':<{TIME_WIDTH}} {log_text(line.group, line.category, line.text, colour)}")
    if not found:
        print(f"Nothing was logged of it{'' if uid == 0 else ', or nothing that you may read'}")
    sys.stdout.flush()
    return live


async def _session(bus: Bus, chosen: str, value: str) -> Session:
    match chosen:
        case "session-path":
            return Session(bus, object_path(value))
        case "interface":
            return await session_with_interface(bus, value)
    return await _awaited(bus, value)


async def _awaited(bus: Bus, name: str) -> Session:
    """The session of a profile of that name, now or when it comes."""
    created: asyncio.Queue[str] = asyncio.Queue()

    def on_event(m: Message) -> None:
        if m.signature == "oqu" and m.body[1] == SessionEvent.SESS_CREATED:
            created.put_nowait(m.body[0])

    subscription = await bus.subscribe(MANAGER_EVENTS, on_event)
    try:
        while not (found := await SessionManager(bus).by_config_name(name)):
            print(f"Waiting for a session of {one_line(name)!r} ...", flush=True)
            await created.get()
    finally:
        subscription.cancel()
    if len(found) > 1:
        raise CommandError(f"more than one session has a profile of the name {name!r}")
    return found[0]


async def _follow(session: Session, level: int) -> None:
    async with watching(session) as watch:
        print(f"Attached to session {session.path}", flush=True)
        if level:
            try:
                await session.set("log_verbosity", "u", level)
            except RemoteError as e:
                print(f"log level not set: {one_line(e)}", file=sys.stderr)
        colour = wants_colour(os.environ)
        event: Event | None = None
        while not isinstance(event, Ended):
            event = await watch.next()
            print(event_text(event, colour), flush=True)


def wants_colour(environment: Mapping[str, str]) -> bool:
    terminal = sys.stdout.isatty() and sys.stderr.isatty() and environment.get("TERM", "dumb") != "dumb"
    return terminal and "COLORTERM" in environment and "NO_COLOR" not in environment


def event_text(event: Event, colour: bool = False) -> str:
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    match event:
        case Status():
            return f"{now} [STATUS] {status_text(event)}"
        case LogLine():
            return f"{now} {log_text(*event, colour)}"
        case Ended():
            return f"{now} {event.reason[0].upper()}{event.reason[1:]}"


ABOUT = """\
Shows what a session says from now on, until it ends or the command is interrupted. With `--config` it waits for a
session that isn't there yet. `--history` first shows what was logged before, where the log service writes to the
journal or to a file. Lines have colours in a terminal that `COLORTERM` is set for, unless `NO_COLOR` is.

    openvpn3 log --config office --log-level 5
    openvpn3 log --config office --history --no-follow
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
