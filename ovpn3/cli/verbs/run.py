"""`run`: one profile, in the foreground, on a bus of its own. No installed service is needed."""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ovpn3.cli.command import Command, CommandError, Option, Options
from ovpn3.cli.connect import WEB_AUTHENTICATION, Interrupted, connect, end, interruptible, outcome
from ovpn3.cli.environment import check_account_name, check_programs, check_usable_by
from ovpn3.cli.privatebus import private_bus, service_account, start_services
from ovpn3.cli.prompt import Ask, ask
from ovpn3.cli.selection import profile_named, system_bus
from ovpn3.cli.source import usable_profile
from ovpn3.cli.text import one_line, status_text
from ovpn3.cli.verbs.log import event_text
from ovpn3.cli.watch import Ended, Event, LogLine, watching
from ovpn3.constants import OVERRIDES, SERVICE_ACCOUNT
from ovpn3.dbus.bus import Bus
from ovpn3.errors import NetworkError, Ovpn3Error
from ovpn3.proxies.attention import Slot
from ovpn3.proxies.config import ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager, Status

OPTIONS = (
    Option("auth-user-pass", "", "FILE", "User name and password, a line each"),
    Option("json", help="Events as JSON, one a line"),
    Option("log-level", "", "LEVEL", "Have the session log as much as this, 1 to 6", values=tuple("123456")),
    Option("user", "", "ACCOUNT", f"Account to run the services as; default {SERVICE_ACCOUNT}"),
)


async def run(options: Options) -> int:
    if os.geteuid() != 0:
        raise CommandError("only root can do this: network interfaces are made")
    if not options.arguments:
        raise CommandError("which profile? Give a file or a name")
    name = options.arguments[0]
    level = options.log_level()
    asking = _asking(options.get("auth-user-pass"))
    profile, overrides = await _profile(name)
    wanted = check_account_name(options.get("user", SERVICE_ACCOUNT))
    account = service_account(wanted)
    if account != wanted:
        print(f"there is no account {wanted}: the services run as {account}", file=sys.stderr)
    check_programs()
    check_usable_by(account)
    show = _show_json if options.has("json") else _show_text
    with private_bus(account) as address:
        bus = await Bus.connect(address)
        try:
            with interruptible():
                await start_services(bus)
                session = await _start(bus, name, profile, overrides, level)
                await _follow(session, asking, show)
        except Interrupted:
            show(Ended("stopped"))
        except Ovpn3Error as e:
            show(Ended(str(e)))
            raise
        finally:
            bus.close()
            await bus.lost()
    return 0


def _asking(file: str) -> Ask:
    """Answers from the file for the questions it is about, from standard input for others."""
    from_terminal = partial(ask, to=sys.stderr)
    if not file:
        return from_terminal
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise CommandError(f"can't read {file}: {getattr(e, 'strerror', None) or 'not a text file'}") from None
    answers = dict(zip(("username", "password"), filter(None, lines), strict=False))

    async def answer(slot: Slot) -> str:
        return answers.get(slot.name) or await from_terminal(slot)

    return answer


async def _profile(name: str) -> tuple[str, dict[str, str | bool]]:
    """Text and overrides of the profile in a file, else of the imported one of that name."""
    if source := usable_profile(name):
        return source.text, {"persist-tun": True} if source.persist_tun else {}
    try:
        async with system_bus() as bus:
            if profile := await profile_named(bus, name):
                return await profile.fetch(), await profile.get("overrides")
    except NetworkError:
        raise CommandError(f"there is no file {name!r}, and no system bus to ask for a profile of that name") from None
    raise CommandError(f"there is no file and no profile of the name {name!r}")


async def _start(bus: Bus, name: str, text: str, overrides: dict[str, str | bool], level: int) -> Session:
    profile = await ConfigurationManager(bus).import_profile(Path(name).name, text, single_use=True)
    for override, value in overrides.items():
        if override in OVERRIDES:
            await profile.set_override(override, value)
    session = await SessionManager(bus).new_tunnel(profile.path)
    if level:
        await session.set("log_verbosity", "u", level)
    return session


async def _follow(session: Session, asking: Ask, show: Callable[[Event], None]) -> None:
    """Connect and stay until the session ends, which is Failed, or until we are cancelled."""
    async with watching(session) as watch:
        try:
            await connect(session, asking)
            while True:
                status = await outcome(watch, asking, show)
                if status[:2] == WEB_AUTHENTICATION:
                    print(f"Open this address to authenticate: {one_line(status.message)}", file=sys.stderr)
        finally:
            await end(session)


def _show_text(event: Event) -> None:
    print(event_text(event), flush=True)


def _show_json(event: Event) -> None:
    match event:
        case Status(major, minor, message):
            content: dict[str, object] = {"event": "status", "major": major, "minor": minor, "message": message}
            content["text"] = status_text(event)
        case LogLine(group, category, text):
            content = {"event": "log", "group": group, "category": category, "message": text}
        case Ended(reason):
            content = {"event": "end", "reason": reason}
    print(json.dumps({"time": round(time.time(), 3), **content}), flush=True)


COMMAND = Command(run, OPTIONS, argument="PROFILE")
