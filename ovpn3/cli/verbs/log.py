"""`log`: what a session says, live, and what it said before."""

import asyncio
import json
import os
import sys
import time
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

NOW = -1.0
OPTIONS = (
    Option("session-path", "", "PATH", "D-Bus path of the session", values="session-paths"),
    Option("config", "c", "NAME", "Name of the profile; a session of it is waited for", values="all-names"),
    Option("interface", "I", "IFNAME", "Network interface of the session", values="interfaces"),
    Option("log-level", "", "LEVEL", "Have the session log as much as this, 1 to 6", values=tuple("0123456")),
    Option("history", help="First what was logged before, of ended sessions too, from the journal or log file"),
    Option("no-follow", help="With --history: end after that"),
    Option("json", help="As JSON, one event a line"),
)


class Show:
    """What is printed, as text or JSON, line by line."""

    def __init__(self, *, as_json: bool) -> None:
        self._json, self._colour = as_json, wants_colour(os.environ)

    def heading(self, text: str) -> None:
        """For people only."""
        if not self._json:
            print(text, flush=True)

    def event(self, path: str, event: Event, when: float | None) -> None:
        """`when` is its Unix time, None if that isn't known."""
        if self._json:
            print(json.dumps({"time": when and round(when, 3), "session": path, **event_content(event)}), flush=True)
        else:
            print(event_text(event, self._colour, when), flush=True)


async def run(options: Options) -> int:
    chosen = options.exclusive("session-path", "config", "interface", error=BadValue)
    if not chosen:
        raise CommandError("which session? Give --session-path, --config or --interface")
    level, show = options.log_level(), Show(as_json=options.has("json"))
    if options.has("no-follow") and not options.has("history"):
        raise CommandError("--no-follow goes with --history")
    async with system_bus() as bus:
        try:
            with interruptible():
                live = not options.has("history") or await _tell(bus, chosen, options.get(chosen), show)
                if options.has("no-follow") or not live:
                    return 0
                await _follow(await _session(bus, chosen, options.get(chosen), show), level, show)
        except Interrupted:
            return 0
    return 0


async def _tell(bus: Bus, chosen: str, value: str, show: Show) -> bool:
    """Print what was logged of the session, or of all that had the profile; whether there is one now."""
    if chosen == "config":
        present = await SessionManager(bus).by_config_name(value)
    else:
        path = object_path(value) if chosen == "session-path" else (await session_with_interface(bus, value)).path
        present = [session for session in await visible_sessions(bus) if session.path == path]
    uid, shown = os.geteuid(), False
    try:
        for past in history.sessions(await history.logged(bus)):
            if past.profile == value and uid in (0, past.owner) if chosen == "config" else past.path == path:
                show.heading(f"Session {past.path} of {user_name(past.owner)}, profile {one_line(past.profile)}")
                for line in past.lines:
                    show.event(past.path, LogLine(line.group, line.category, line.text), line.time)
                shown = True
    except CommandError:
        if not present or uid == 0:
            raise
    if not shown and uid != 0:
        for session in present:
            show.heading(f"Session {session.path}, as far as the session manager remembers")
            for when, is_status, first, second, text in await session.log_history():
                event = Status(first, second, text) if is_status else LogLine(first, second, text)
                show.event(session.path, event, when)
    return bool(present)


async def _session(bus: Bus, chosen: str, value: str, show: Show) -> Session:
    match chosen:
        case "session-path":
            return Session(bus, object_path(value))
        case "interface":
            return await session_with_interface(bus, value)
    return await _awaited(bus, value, show)


async def _awaited(bus: Bus, name: str, show: Show) -> Session:
    """The session of a profile of that name, now or when it comes."""
    created: asyncio.Queue[str] = asyncio.Queue()

    def on_event(m: Message) -> None:
        if m.signature == "oqu" and m.body[1] == SessionEvent.SESS_CREATED:
            created.put_nowait(m.body[0])

    subscription = await bus.subscribe(MANAGER_EVENTS, on_event)
    try:
        while not (found := await SessionManager(bus).by_config_name(name)):
            show.heading(f"Waiting for a session of {one_line(name)!r} ...")
            await created.get()
    finally:
        subscription.cancel()
    if len(found) > 1:
        raise CommandError(f"more than one session has a profile of the name {name!r}")
    return found[0]


async def _follow(session: Session, level: int, show: Show) -> None:
    async with watching(session) as watch:
        show.heading(f"Attached to session {session.path}")
        if level:
            try:
                await session.set("log_verbosity", "u", level)
            except RemoteError as e:
                print(f"log level not set: {one_line(e)}", file=sys.stderr)
        event: Event | None = None
        while not isinstance(event, Ended):
            event = await watch.next()
            show.event(session.path, event, time.time())


def wants_colour(environment: Mapping[str, str]) -> bool:
    terminal = sys.stdout.isatty() and sys.stderr.isatty() and environment.get("TERM", "dumb") != "dumb"
    return terminal and "COLORTERM" in environment and "NO_COLOR" not in environment


def event_text(event: Event, colour: bool = False, when: float | None = NOW) -> str:
    """`when` is its Unix time, None if that isn't known."""
    clock = time.time() if when == NOW else when
    now = "-" * TIME_WIDTH if clock is None else datetime.fromtimestamp(clock).strftime("%Y-%m-%d %H:%M:%S")
    match event:
        case Status():
            return f"{now}  [STATUS] {status_text(event)}"
        case LogLine():
            return f"{now}  {log_text(*event, colour)}"
        case Ended():
            return f"{now} {event.reason[0].upper()}{event.reason[1:]}"


def event_content(event: Event) -> dict[str, object]:
    """The fields of an event, for JSON."""
    match event:
        case Status(major, minor, message):
            text = status_text(event)
            return {"event": "status", "major": major, "minor": minor, "message": message, "text": text}
        case LogLine(group, category, text):
            return {"event": "log", "group": group, "category": category, "message": text}
        case Ended(reason):
            return {"event": "end", "reason": reason}


ABOUT = """\
Shows what a session says from now on, until it ends or the command is interrupted. With `--config` it waits for a
session that isn't there yet. `--history` first shows what was logged before, where the log service writes to the
journal or to a file. Lines have colours in a terminal that `COLORTERM` is set for, unless `NO_COLOR` is.

With `--history` it begins with what was said before: of a session that there is, as far as the session manager
remembers; for root, of ended sessions too, as far as the journal or the log file goes back.

    openvpn3 log --config office --log-level 5
    openvpn3 log --config office --history --no-follow
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
