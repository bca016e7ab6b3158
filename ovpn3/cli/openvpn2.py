"""openvpn2: a session from a command line as OpenVPN 2 takes it, with a profile imported for this session only."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from ovpn3.cli.connect import WEB_AUTHENTICATION, Failed, Interrupted, connect, end, interruptible, outcome
from ovpn3.cli.openvpn2args import USAGE, Wish, understand
from ovpn3.cli.program import guarded
from ovpn3.cli.prompt import ask
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import many_lines, one_line, statistics_text
from ovpn3.cli.weburl import open_url
from ovpn3.constants import StatusMajor, StatusMinor
from ovpn3.dbus.bus import Bus
from ovpn3.errors import Ovpn3Error, ProfileError, RemoteError
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager, Status
from ovpn3.proxies.watch import Ended, Event, LogLine, Watch, watching

ERROR, NOT_CONNECTED, INTERRUPTED = 2, 3, 8  # exit codes


async def run(wish: Wish) -> int:
    debug = os.environ.get("OPENVPN3_DEBUG", "")
    if wish.dco:
        print("kernel data channel offload is not available here: --enable-dco is left out", file=sys.stderr)
    text = wish.profile()
    if debug == "DUMP_PARSE":
        print(text, end="")
        return 0
    async with system_bus() as bus:
        profile = await _import(bus, wish, text, keep=bool(debug))
        if debug:
            print(f"Configuration path: {profile.path}")
        if debug == "IMPORT_ONLY":
            return 0
        with interruptible():
            session = await SessionManager(bus).new_tunnel(profile.path)
            try:
                return await (_background(session) if wish.daemon else _foreground(session))
            except BaseException:  # output that nobody reads any more, too
                await end(session)
                raise


async def _import(bus: Bus, wish: Wish, text: str, *, keep: bool) -> Configuration:
    profile = await ConfigurationManager(bus).import_profile(wish.name, text, single_use=not keep)
    for key, value in wish.all_overrides().items():
        await profile.set_override(key, value)
    return profile


async def _foreground(session: Session) -> int:
    """Until it ends, however that is, or until a signal. One that comes while questions are open is the caller's."""
    async with watching(session) as watch:
        answered = False
        try:
            await connect(session, ask)
            answered = True
            await _first(watch, show)
            while not isinstance(event := await watch.next(), Ended):
                show(event)
        except Failed as e:
            print(one_line(e))
        except asyncio.CancelledError:
            if not answered:
                raise
            with suppress(RemoteError):
                print(f"\n{statistics_text(await session.statistics())}")
            await end(session)
            return 0
    await end(session)
    return 0


async def _first(watch: Watch, tell: Callable[[Event], None]) -> bool:
    """Whether it is connected, else it is at the address where the user has to go on."""
    status = await outcome(watch, ask, tell, patient=True)  # as OpenVPN 2 is
    if status[:2] == WEB_AUTHENTICATION:
        await open_url(status.message)
        return False
    return True


async def _background(session: Session) -> int:
    async with watching(session) as watch:  # from before it connects: it may be quick
        await connect(session, ask)
        dots = asyncio.create_task(_dots())
        try:
            connected = await _first(watch, lambda _: None)
        except Failed as e:
            print(f"\n{one_line(e)}", file=sys.stderr)
            await end(session)
            return NOT_CONNECTED
        finally:
            dots.cancel()
    print("\nConnected" if connected else "")
    print(f"Session path: {session.path}")
    print(f"To end it: openvpn3 session-manage --path {session.path} --disconnect")
    return 0


async def _dots() -> None:
    while True:
        print(".", end="", flush=True)
        await asyncio.sleep(1)


def show(event: Event) -> None:
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    match event:
        case Status(major, minor, message):
            state = f"({_name(StatusMajor, major)}, {_name(StatusMinor, minor)})"
            print(f"{now} [STATUS] {state} {one_line(message)}".rstrip())
        case LogLine(_, _, text):
            print(f"{now} [LOG] {many_lines(text)}")
    sys.stdout.flush()


def _name(kind: type[StatusMajor] | type[StatusMinor], number: int) -> str:
    try:
        return f"{kind.__name__}.{kind(number).name}"
    except ValueError:
        return f"{kind.__name__}({number})"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _main(arguments), "openvpn2: ", ERROR, INTERRUPTED)


def _main(argv: Sequence[str]) -> int:
    try:
        wish = understand(argv)
        if wish.help or wish.empty:
            print(USAGE, end="")
            return 0 if wish.help else ERROR
        return asyncio.run(run(wish))
    except Interrupted:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (Ovpn3Error, ProfileError, OSError) as e:
        print(f"openvpn2: ** ERROR ** {many_lines(str(e))}", file=sys.stderr)
        return ERROR
