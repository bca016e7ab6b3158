"""`run`: profiles in the foreground, on a bus of its own. No installed service is needed; it may be process 1.

Events with --json are objects, one a line. Each has `time` (seconds since 1970), `profile` (as given) and `event`:

    status  major, minor: numbers of the D-Bus interface; text: both in words; message
    log     group, category: numbers of the D-Bus interface; message
    end     reason; the last event of a profile
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ovpn3.cli import answers
from ovpn3.cli.answers import Answers
from ovpn3.cli.command import Command, CommandError, Option, Options
from ovpn3.cli.connect import (
    CONNECTED,
    WEB_AUTHENTICATION,
    Interrupted,
    LoginRefused,
    connect,
    end,
    interruptible,
    login_refused,
    stay,
)
from ovpn3.cli.environment import check_account_name, check_programs, check_rights, check_usable_by
from ovpn3.cli.notify import Notifier
from ovpn3.cli.privatebus import addresses, private_bus, reap, service_account, start_services
from ovpn3.cli.prompt import ask
from ovpn3.cli.selection import profile_named, system_bus
from ovpn3.cli.source import usable_profile
from ovpn3.cli.text import one_line, status_text
from ovpn3.cli.verbs.config_manage import override_option, override_value
from ovpn3.cli.verbs.log import event_content, event_text
from ovpn3.constants import OVERRIDES, SERVICE_ACCOUNT
from ovpn3.dbus.bus import Bus
from ovpn3.errors import NetworkError, Ovpn3Error, RemoteError
from ovpn3.profile import build, parse
from ovpn3.profile.override import Overrides
from ovpn3.proxies.config import ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager, Status
from ovpn3.proxies.watch import Ended, Event, watching

NOT_HEALTHY = 1  # exit code of --check
CHECK_TIMEOUT_S = 10.0

# What root asks for here is allowed by that, and so are marks of the profiles. The first two are arguments of netcfg as
# well, which knows what it may do.
_ALLOWED = {"netns": "--netns-allowed", "route-table": "--route-tables-allowed"}
PLACES = (*_ALLOWED, "route-fwmark", "route-uids", "route-cgroups")
OPTIONS = (
    *answers.OPTIONS,
    Option("json", help="Events as JSON, one a line"),
    Option("check", help="Only say whether the tunnels of a run that goes on are connected; exit code 1 if not"),
    Option("log-level", "", "LEVEL", "Have the session log as much as this, 1 to 6", values=tuple("123456")),
    *map(override_option, PLACES),
    Option("user", "", "ACCOUNT", f"Account to run the services as; default {SERVICE_ACCOUNT}", values="users"),
)


@dataclass(frozen=True)
class Wanted:
    """A profile by the name or file it was given as; `label` is what a session of it is called."""

    name: str
    text: str
    overrides: dict[str, str | bool]

    @property
    def label(self) -> str:
        return Path(self.name).name


Show = Callable[[str, Event], None]


async def run(options: Options) -> int:
    if os.geteuid() != 0:
        raise CommandError("only root can do this: network interfaces are made")
    if options.has("check"):
        return await _check({Path(name).name for name in options.arguments})
    if not options.arguments:
        raise CommandError("which profile? Give a file or a name")
    if len(set(options.arguments)) < len(options.arguments):
        raise CommandError("a profile is named twice")
    level = options.log_level()
    values = answers.stored(options)
    place = {option: override_value(options, option) for option in PLACES if options.has(option)}
    wanted = [await _profile(name, place) for name in options.arguments]
    account = _account(options)
    show = _notifying(
        _show_json if options.has("json") else partial(_show_text, several=len(wanted) > 1),
        {profile.name for profile in wanted},
    )
    allowed = " ".join(f"{argument} {place[option]}" for option, argument in _ALLOWED.items() if place.get(option))
    if marks := {build(parse(profile.text)).mark for profile in wanted} - {0}:
        allowed += f" --marks-allowed {','.join(map(str, marks))}"
    with private_bus(account, allowed) as address:
        bus = await Bus.connect(address)
        try:
            with interruptible(), _signals(bus):
                await start_services(bus)
                await _all([_one(bus, profile, level, Answers(values, _ask), show) for profile in wanted])
        except Interrupted:
            pass
        except CommandError as e:
            raise (LoginRefused(str(e)) if login_refused(e) else e) from None
        finally:
            bus.close()
            await bus.lost()
    return 0


def _account(options: Options) -> str:
    """The one the services can run as. CommandError if they can't run at all."""
    wanted = check_account_name(options.get("user", SERVICE_ACCOUNT))
    account = service_account(wanted)
    if account != wanted:
        print(f"there is no account {wanted}: the services run as {account}", file=sys.stderr)
    check_rights()
    check_programs()
    check_usable_by(account)
    return account


_ask = partial(ask, to=sys.stderr)


async def _profile(name: str, place: Overrides) -> Wanted:
    """The profile in a file, else the imported one of that name."""
    if source := usable_profile(name):
        return Wanted(name, source.text, {**({"persist-tun": True} if source.persist_tun else {}), **place})
    try:
        async with system_bus() as bus:
            if profile := await profile_named(bus, name):
                return Wanted(name, await profile.fetch(), {**await profile.get("overrides"), **place})
    except NetworkError:
        raise CommandError(f"there is no file {name!r}, and no system bus to ask for a profile of that name") from None
    raise CommandError(f"there is no file and no profile of the name {name!r}")


async def _all(tunnels: list[Awaitable[None]]) -> None:
    """Until one has ended, which ends the others: what started us is to see it."""
    tasks = [asyncio.ensure_future(tunnel) for tunnel in tunnels]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _one(bus: Bus, wanted: Wanted, level: int, answering: Answers, show: Show) -> None:
    """Connect and stay until the session ends, which is Failed, or until we are cancelled."""
    tell = partial(show, wanted.name)
    try:
        session = await _start(bus, wanted, level)
        async with watching(session) as watch:
            try:
                await connect(session, answering)
                await stay(watch, answering, tell)
            finally:
                await end(session)
    except asyncio.CancelledError:
        tell(Ended("stopped"))
        raise
    except Ovpn3Error as e:
        tell(Ended(str(e)))
        raise


async def _start(bus: Bus, wanted: Wanted, level: int) -> Session:
    profile = await ConfigurationManager(bus).import_profile(wanted.label, wanted.text, single_use=True)
    for override, value in wanted.overrides.items():
        if override in OVERRIDES:
            await profile.set_override(override, value)
    session = await SessionManager(bus).new_tunnel(profile.path)
    if level:
        await session.set("log_verbosity", "u", level)
    return session


@contextmanager
def _signals(bus: Bus) -> Iterator[None]:
    """For a block, processes that ended are forgotten at once, and SIGUSR1 has every tunnel connect anew."""
    loop = asyncio.get_running_loop()
    restarts: set[asyncio.Task[None]] = set()

    def restart() -> None:
        task = loop.create_task(_restart(bus))
        restarts.add(task)
        task.add_done_callback(restarts.discard)

    loop.add_signal_handler(signal.SIGCHLD, reap)
    loop.add_signal_handler(signal.SIGUSR1, restart)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)
        loop.remove_signal_handler(signal.SIGUSR1)


async def _restart(bus: Bus) -> None:
    for session in await SessionManager(bus).available():
        with suppress(RemoteError):  # it isn't connecting yet, or any more
            await session.restart()


async def _check(labels: set[str]) -> int:
    """Whether each of these tunnels, or all if none is named, is connected."""
    found: dict[str, Status] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            for address in addresses():
                found |= await _statuses(address)
    wanted = labels or set(found)
    for label in sorted(wanted):
        print(f"{one_line(label)}: {status_text(found[label]) if label in found else 'not running'}")
    if not wanted:
        print("no tunnel is running")
    healthy = wanted and all(label in found and found[label][:2] == CONNECTED for label in wanted)
    return 0 if healthy else NOT_HEALTHY


async def _statuses(address: str) -> dict[str, Status]:
    """Of the sessions on a private bus, by label; none if it is going down, or belongs to a process that was killed."""
    try:
        bus = await Bus.connect(address)
    except NetworkError:
        return {}
    try:
        sessions = await SessionManager(bus).available()
        return {await session.get("config_name"): await session.status() for session in sessions}
    except RemoteError:
        return {}
    finally:
        bus.close()
        await bus.lost()


def _notifying(show: Show, unconnected: set[str]) -> Show:
    """`show`, and tell a systemd that has started us; we are ready when all have been connected."""
    notify = Notifier()

    def shown(profile: str, event: Event) -> None:
        show(profile, event)
        if isinstance(event, Status):
            if event[:2] == CONNECTED:
                unconnected.discard(profile)
            ready = {} if unconnected else {"READY": 1}
            notify(**ready, STATUS=f"{one_line(profile)}: {status_text(event)}")

    return shown


def _show_text(profile: str, event: Event, *, several: bool) -> None:
    text = event_text(event)
    print(f"{one_line(profile)}: {text}" if several else text, flush=True)
    if isinstance(event, Status) and event[:2] == WEB_AUTHENTICATION:
        print(f"Open this address to authenticate: {one_line(event.message)}", file=sys.stderr)


def _show_json(profile: str, event: Event) -> None:
    print(json.dumps({"time": round(time.time(), 3), "profile": profile, **event_content(event)}), flush=True)


ABOUT = """\
Runs tunnels without any installed service, on a message bus of its own: for containers, and to try a profile. Each
PROFILE is a file, or the name of an imported profile. It goes on until it is interrupted or a tunnel ends for good;
what it has changed of the network is undone then.

Questions are answered from `--auth-user-pass`, from the files of `--credentials`, from the credentials of a systemd
unit, or from variables such as `OPENVPN3_USERNAME` and `OPENVPN3_PASSWORD`; else they are asked. With `--check` it
only says whether all tunnels of another run on this machine are connected. Only root can do this.

    openvpn3 run client.ovpn
    openvpn3 run --credentials secrets office.ovpn lab.ovpn
    openvpn3 run --check
"""
COMMAND = Command(run, OPTIONS, "PROFILE...", "config-names profile-files", about=ABOUT)
