"""openvpn3-systemd: the session of a profile as a systemd service, openvpn3-session@PROFILE.service.

The service is ready once the tunnel is up, and active for as long as there is a session. Questions are answered from
stored credentials, else by whoever answers systemd-ask-password. How it ends decides whether systemd starts it again:

    0   told to stop, or somebody has ended the session
    1   the session has failed, or the bus or a service is gone: worth another try
    77  the log-in was refused, or there is no answer to a question: trying again would lock the account
    78  there is no such profile, or it can't be used
"""

import asyncio
import errno
import os
import re
import shutil
import string
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from ovpn3.cli import answers
from ovpn3.cli.answers import Answers
from ovpn3.cli.command import BadOption, Command, CommandError, NotFound, Option, Options
from ovpn3.cli.connect import (
    AUTH_FAILED,
    CONNECTED,
    FAILURES,
    LOGIN_REFUSED,
    Failed,
    Interrupted,
    connect,
    end,
    failure_text,
    interruptible,
    login_refused,
    stay,
)
from ovpn3.cli.notify import Notifier
from ovpn3.cli.program import run_alone
from ovpn3.cli.prompt import NoAnswer
from ovpn3.cli.selection import profile_named, system_bus
from ovpn3.cli.text import log_text, one_line, status_text
from ovpn3.cli.verbs.log import event_text
from ovpn3.cli.verbs.session_start import check_usable, new_session
from ovpn3.constants import LogCategory, StatusMajor, StatusMinor
from ovpn3.dbus.bus import Bus
from ovpn3.errors import Ovpn3Error, RemoteError
from ovpn3.proxies.attention import Slot, unanswered
from ovpn3.proxies.config import Configuration
from ovpn3.proxies.session import Session, SessionManager, Status
from ovpn3.proxies.watch import Ended, Event, LogLine, watching

PROGRAM = "openvpn3-systemd"
NO_MODE, TRY_AGAIN, UNUSABLE = 1, 1, 78  # exit codes, beside LOGIN_REFUSED; the last is EX_CONFIG
MODES = ("start", "restart", "stop")
ASK_TIMEOUT_S = 60  # less than systemd waits for a service to be ready

_ENDED_BY_REQUEST = {
    (StatusMajor.CONNECTION, StatusMinor.CONN_DISCONNECTED),
    (StatusMajor.CONNECTION, StatusMinor.CONN_DONE),
    (StatusMajor.SESSION, StatusMinor.PROC_STOPPED),
}
# syslog(3), by log category; others are _INFO.
_INFO, _ERROR = 6, 3
_PRIORITIES: dict[int, int] = {
    **dict.fromkeys((LogCategory.DEBUG, LogCategory.VERB2, LogCategory.VERB1), 7),
    LogCategory.WARN: 4,
    LogCategory.ERROR: _ERROR,
    LogCategory.CRIT: 2,
    LogCategory.FATAL: 1,
}

OPTIONS = (
    Option("start", help="Start a session and stay until it ends"),
    Option("restart", help="Connect the running session anew, and wait until it is connected"),
    Option("stop", help="End the running session, if there is one"),
    Option("log-level", "", "LEVEL", "Have the session log as much as this, 1 to 6", values=tuple("123456")),
    *answers.OPTIONS,
)


async def run(options: Options) -> int:
    mode = options.exclusive(*MODES)
    if not mode or not options.arguments:
        print(f"{PROGRAM}: what is to be done? See --help", file=sys.stderr)
        return NO_MODE
    [name] = options.arguments
    async with system_bus() as bus:
        match mode:
            case "start":
                return await _start(bus, name, options)
            case "restart":
                await _restart(await _only_session(bus, name))
            case "stop":
                for session in await _sessions(bus, name):
                    await end(session)
    return 0


# -- start -----------------------------------------------------------------------------------------
async def _start(bus: Bus, name: str, options: Options) -> int:
    notify = Notifier()
    level = options.log_level(6 if "OPENVPN3_DEBUG" in os.environ else 0)
    answering = Answers(answers.stored(options), _ask)
    try:
        with interruptible():
            session = await _session(bus, name)
            if level:
                await session.set("log_verbosity", "u", level)
            await _serve(session, answering, notify)
    except Interrupted:
        return 0
    except Failed as e:
        if e.status[:2] in _ENDED_BY_REQUEST:
            return 0
        if e.status[:2] == AUTH_FAILED:
            notify(STATUS=status_text(e.status), ERRNO=errno.EACCES)
        raise
    return 0


async def _session(bus: Bus, name: str) -> Session:
    """The connected one of that profile that is ours already, else a new one. No other of ours is left."""
    for session in await _sessions(bus, name):
        if (await session.status())[:2] == CONNECTED:
            return session
        await end(session)
    return await new_session(await _profile(bus, name))


async def _serve(session: Session, answering: Answers, notify: Notifier) -> None:
    """Until the session ends, which is Failed, or until we are cancelled. It has cleaned up on return."""

    def show(event: Event) -> None:
        say(event)
        if isinstance(event, Status):
            ready = {"READY": 1} if event[:2] == CONNECTED else {}
            notify(**ready, STATUS=status_text(event))

    async with watching(session) as watch:
        try:
            async with _watchdog(session, notify):
                status = await session.status()
                if status[:2] == CONNECTED:
                    show(status)
                else:
                    await connect(session, answering)
                await stay(watch, answering, show)
        finally:
            notify(STOPPING=1)
            await end(session)


@asynccontextmanager
async def _watchdog(session: Session, notify: Notifier) -> AsyncIterator[None]:
    """For a block, tell systemd that all is well for as long as the session manager and the client answer."""
    task = asyncio.create_task(_watch(session, notify)) if notify.watchdog_s else None
    try:
        yield
    finally:
        if task:
            task.cancel()


async def _watch(session: Session, notify: Notifier) -> None:
    interval = notify.watchdog_s / 3
    while True:
        try:
            async with asyncio.timeout(interval):
                await unanswered(session)  # this the session manager has to ask the client
        except TimeoutError:
            say(LogLine(0, LogCategory.WARN, "the session's client process does not answer"))
        except RemoteError:
            pass  # it is ending, which we are told, or its manager changes
        else:
            notify(WATCHDOG=1)
        await asyncio.sleep(interval)


async def _ask(slot: Slot) -> str:
    """The answer of a person at the console, or at another agent of systemd's."""
    program = shutil.which("systemd-ask-password")
    if not program:
        raise NoAnswer(f"the session asks for {slot.name} ({one_line(slot.label)}), and none is stored")
    arguments = ["--no-tty", "--icon=network-vpn", f"--timeout={ASK_TIMEOUT_S}", *([] if slot.hidden else ["--echo"])]
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        "--",
        f"{one_line(slot.label)}:",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    answer = output.decode(errors="replace").rstrip("\n")
    if process.returncode or not answer:
        raise NoAnswer(f"nobody has answered the question for {slot.name} ({one_line(slot.label)})")
    return answer


# -- the others ------------------------------------------------------------------------------------
async def _restart(session: Session) -> None:
    async with watching(session) as watch:
        await session.restart()
        begun = False
        while True:
            match await watch.next():
                case Ended(reason):
                    raise Failed(reason)
                case Status() as status if status[:2] in FAILURES:
                    raise Failed(failure_text(status), status)
                case Status() as status if status[:2] == CONNECTED and begun:
                    return
                case Status():
                    begun = True


async def _only_session(bus: Bus, name: str) -> Session:
    found = await _sessions(bus, name)
    if len(found) != 1:
        raise CommandError(f"{len(found) or 'no'} sessions of the profile {name!r} are running")
    return found[0]


async def _sessions(bus: Bus, name: str) -> list[Session]:
    """Ours of that profile; those of other users, which they let us use, are none of our business."""
    found = [s for spelling in _spellings(name) for s in await SessionManager(bus).by_config_name(spelling)]
    return [session for session in found if await session.get("owner") == os.geteuid()]


async def _profile(bus: Bus, name: str) -> Configuration:
    for spelling in _spellings(name):
        if profile := await profile_named(bus, spelling):
            await check_usable(profile)
            return profile
    raise NotFound(f"no profile has the name {name!r}; one that is there after a boot is imported with --persistent")


def _spellings(name: str) -> list[str]:
    """As it is; and as it was before systemd-escape, should it be the instance of a unit."""
    escaped = name.encode().replace(b"-", b"/")
    plain = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), escaped).decode(errors="replace")
    return [name] if plain == name else [name, plain]


def unit_of(profile: str) -> str:
    """The unit of the profile; what can't stand in its name is spelt as systemd-escape does."""
    if not re.fullmatch("[A-Za-z0-9:_.-]+", profile):
        octets = profile.encode()
        kept = b":_." + string.ascii_letters.encode() + string.digits.encode()
        profile = "".join(chr(o) if o in kept else "-" if o == ord("/") else f"\\x{o:02x}" for o in octets)
    return f"openvpn3-session@{profile}.service"


# -- output ----------------------------------------------------------------------------------------
def say(event: Event) -> None:
    """With the time; to the journal, which has that itself, with the priority instead."""
    if "JOURNAL_STREAM" not in os.environ:
        return print(event_text(event), flush=True)
    match event:
        case Status():
            priority, text = _INFO, status_text(event)
        case LogLine(group, category, message):
            priority, text = _PRIORITIES.get(category, _INFO), log_text(group, category, message)
        case Ended(reason):
            priority, text = _INFO, reason
    print("\n".join(f"<{priority}>{line}" for line in text.split("\n")), flush=True)


def exit_code(error: BadOption | Ovpn3Error) -> int:
    if isinstance(error, BadOption):
        return UNUSABLE
    if login_refused(error):
        return LOGIN_REFUSED
    return UNUSABLE if isinstance(error, CommandError) and not isinstance(error, Failed) else TRY_AGAIN


COMMAND = Command(run, OPTIONS, "CONFIG_PROFILE", "config-names")


def main(argv: Sequence[str] | None = None) -> int:
    mark = f"<{_ERROR}>" if "JOURNAL_STREAM" in os.environ else ""
    return run_alone(PROGRAM, COMMAND, argv, exit_code, unwritable=TRY_AGAIN, mark=mark)
