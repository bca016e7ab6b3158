"""`session-auth`: sessions that wait for their user, and going on with one."""

from functools import partial
from typing import Any

from ovpn3.cli import answers
from ovpn3.cli.answers import Answers
from ovpn3.cli.command import Command, CommandError, Option, Options
from ovpn3.cli.connect import REQUIRE_USER, WEB_AUTHENTICATION, Failed, bring_up, connect, interruptible, report
from ovpn3.cli.prompt import ask
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import local_time, one_line, status_text, to_json
from ovpn3.cli.weburl import open_url
from ovpn3.constants import MINOR_TEXT
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import Session, SessionManager, Status

RULE = "-" * 77


class NotContinued(CommandError):
    """The session could not be connected."""

    exit_code = 2


async def run(options: Options) -> int:
    async with system_bus() as bus:
        waiting = await waiting_sessions(bus)
        if options.has("auth-req"):
            wanted = options.number("auth-req", 0)
            answering = Answers(answers.stored(options), ask)
            for session, values in waiting:
                if values["backend_pid"] == wanted:
                    await _continue(session, Status(*values["status"]), answering)
                    return 0
            raise CommandError(f"no session waits for authentication as request {wanted}")
    if options.has("json"):
        print(to_json({session.path: _to_json(values) for session, values in waiting}))
        return 0
    if not waiting:
        print("No sessions wait for authentication")
        return 0
    for session, values in waiting:
        print("\n".join([RULE, *_block(session.path, values)]))
    print(RULE)
    return 0


async def waiting_sessions(bus: Bus) -> list[tuple[Session, dict[str, Any]]]:
    """Sessions that wait for their user, and their properties."""
    found = []
    for session in await SessionManager(bus).available():
        try:
            values = await session.get_all()
        except RemoteError:
            continue  # ended meanwhile
        if tuple(values.get("status", ())[:2]) in (REQUIRE_USER, WEB_AUTHENTICATION):
            found.append((session, values))
    return found


def _block(path: str, values: dict[str, Any]) -> list[str]:
    major, minor, message = values["status"]
    lines = [
        f"        Path: {path}",
        f"Auth Request: {values['backend_pid']}",
        f"     Created: {local_time(values['session_created'])}",
        f" Config name: {one_line(values['config_name'])}",
    ]
    if (major, minor) == WEB_AUTHENTICATION:
        return [*lines, " Auth status: Web authentication", f"    Auth URL: {one_line(message)}"]
    return [*lines, f" Auth status: {MINOR_TEXT[minor]}"]


def _to_json(values: dict[str, Any]) -> dict[str, object]:
    major, minor, message = values["status"]
    result: dict[str, object] = {
        "auth_request": values["backend_pid"],
        "config_name": values["config_name"],
        "created_tstamp": values["session_created"],
        "status": {"major": major, "minor": minor, "message": message, "text": status_text(values["status"])},
    }
    return result | ({"auth_url": message} if (major, minor) == WEB_AUTHENTICATION else {})


async def _continue(session: Session, status: Status, answering: Answers) -> None:
    if status[:2] == WEB_AUTHENTICATION:
        await open_url(status.message)
        return
    try:
        with interruptible():
            await report(session, await bring_up(session, partial(connect, session, answering), answering, None))
    except (Failed, RemoteError) as e:
        raise NotContinued(str(e)) from None


OPTIONS = (
    Option("auth-req", "", "ID", "Go on with this session", last=True, values="auth-requests"),
    Option("json", help="As JSON; for the list"),
    *answers.OPTIONS,
)
ABOUT = """\
Without an option it lists the sessions that wait for their user: for credentials, or for a log-in at a web page. The
number called Auth Request is what `--auth-req` takes to go on with one. The exit code is 2 if the session can't be
connected.
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
