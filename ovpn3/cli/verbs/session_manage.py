"""`session-manage`: pause, resume, restart or end a session."""

from ovpn3.cli.command import BadValue, Command, CommandError, Option, Options
from ovpn3.cli.connect import bring_up, interruptible, report, timeout
from ovpn3.cli.prompt import ask
from ovpn3.cli.selection import SESSION_OPTIONS, chosen_session, system_bus
from ovpn3.cli.text import one_line, statistics_text
from ovpn3.constants import StatusMajor, StatusMinor
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import Session, SessionManager

LEVELS = tuple("0123456")
OPTIONS = (
    Option("pause", "P", help="Pause the session"),
    Option("resume", "R", help="Resume a paused session"),
    Option("restart", help="Disconnect and connect again"),
    Option("disconnect", "D", help="End the session"),
    Option("cleanup", help="End sessions whose client process doesn't answer"),
    Option("log-level", "", "LEVEL", "Show the log level, or set it", optional=True, last=True, values=LEVELS),
    Option("timeout", "", "SECS", "Wait that long for the connection, with --resume and --restart"),
)
PAUSED = [(StatusMajor.CONNECTION, minor) for minor in (StatusMinor.CONN_PAUSING, StatusMinor.CONN_PAUSED)]
PAUSE_REASON = "Paused by the user"


async def run(options: Options) -> int:
    mode = options.exclusive("pause", "resume", "restart", "disconnect", "cleanup", "log-level")
    if not mode:
        raise CommandError("what is to be done? See --help")
    timeout_s = timeout(options)
    async with system_bus() as bus:
        if mode == "cleanup":
            return await _clean_up(bus)
        session = await chosen_session(bus, options)
        match mode:
            case "pause":
                await session.pause(PAUSE_REASON)
                print(f"Session paused: {session.path}")
            case "resume" | "restart":
                await _reconnect(session, mode, timeout_s)
            case "disconnect":
                await _disconnect(session)
            case "log-level":
                await _log_level(session, options)
    return 0


async def _reconnect(session: Session, mode: str, timeout_s: float | None) -> None:
    if mode == "resume" and (await session.status())[:2] not in PAUSED:
        return print(f"Session is not paused: {session.path}")  # no error, as with the original
    begin = session.resume if mode == "resume" else session.restart
    done = "resumed" if mode == "resume" else "restarted"
    if timeout_s is None:
        await begin()
        print(f"Session {done}: {session.path}")
    else:
        with interruptible():
            await report(session, await bring_up(session, begin, ask, timeout_s))


async def _disconnect(session: Session) -> None:
    try:
        text = statistics_text(await session.statistics())
    except RemoteError:
        text = "Statistics are not available."
    await session.disconnect()
    print(f"Initiated session shutdown: {session.path}")
    if text:
        print(f"\n{text}")


async def _log_level(session: Session, options: Options) -> None:
    present = await session.get("log_verbosity")
    print(f"Current log level: {present}")
    if options.get("log-level"):
        wanted = options.number("log-level", present)
        if wanted < 0:
            raise BadValue("a log level isn't negative")  # how high it may be says the session manager
        if wanted != present:
            await session.set("log_verbosity", "u", wanted)
            print(f"New log level: {wanted}")


async def _clean_up(bus: Bus) -> int:
    removed = 0
    for session in await SessionManager(bus).available():
        try:
            name, dead = one_line(await session.get("config_name")), not any(await session.status())
        except RemoteError:
            name, dead = "(unknown)", True
        print(f"{'Removing' if dead else 'Keeping'} {name} - {session.path}")
        if dead:
            await session.disconnect()
            removed += 1
    print(f"{removed} session{'' if removed == 1 else 's'} removed")
    return 0


ABOUT = """\
Does one thing with a session. `--resume` and `--restart` return at once, unless `--timeout` says how long to wait for
the connection; then what the server wants to know is asked for too. `--disconnect` ends the session and shows its
counters.

`--log-level` alone shows how much the session logs, `--log-level=5` sets it. `--cleanup` ends those sessions of the
user that have no status or don't answer.

    openvpn3 session-manage --config office --disconnect
    openvpn3 session-manage --interface tun0 --restart --timeout 30
"""
COMMAND = Command(run, (*SESSION_OPTIONS, *OPTIONS), about=ABOUT)
