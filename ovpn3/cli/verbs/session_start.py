"""`session-start`: a new session, connected."""

import asyncio
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from ovpn3.cli import answers
from ovpn3.cli.answers import Answers
from ovpn3.cli.command import Command, CommandError, Option, Options
from ovpn3.cli.connect import bring_up, connect, end, interruptible, report, timeout
from ovpn3.cli.prompt import ask
from ovpn3.cli.selection import object_path, profile_named, system_bus
from ovpn3.cli.text import one_line
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager

if TYPE_CHECKING:
    from ovpn3.cli.source import Source

NAME_OR_FILE = "config-names profile-files"  # for completion
OPTIONS = (
    Option("config", "c", "NAME|CONFIG-FILE", "Name of a profile, or its file, for this once", values=NAME_OR_FILE),
    Option("config-path", "p", "PATH", "D-Bus path of a profile", values="config-paths"),
    Option("persist-tun", help="Keep the interface while reconnecting; with --config"),
    Option("timeout", "", "SECS", "Give up when not connected by then"),
    Option("background", help="Don't wait for the connection"),
    Option("dco", "", "BOOL", "Kernel data channel offload; without effect here", values=("false", "true")),
    *answers.OPTIONS,
)


async def run(options: Options) -> int:
    if not options.exclusive("config", "config-path"):
        raise CommandError("which profile? Give --config or --config-path")
    if options.has("persist-tun") and not options.has("config"):
        raise CommandError("--persist-tun is for --config only")
    timeout_s = timeout(options)
    if options.has("dco") and options.flag("dco"):
        print("kernel data channel offload is not available here: --dco is left out", file=sys.stderr)
    answering = Answers(answers.stored(options), ask)
    async with system_bus() as bus:
        with interruptible():
            await _start(await _profile(bus, options), options, answering, timeout_s)
    return 0


async def _start(profile: Configuration, options: Options, answering: Answers, timeout_s: float | None) -> None:
    """A session of the profile, connected as the options say; there is none if that fails or is interrupted."""
    session = await new_session(profile)
    print(f"Session path: {session.path}")
    try:
        if options.has("background"):
            await connect(session, answering)
            print("Session is running in the background")
        else:
            begin = partial(connect, session, answering)
            await report(session, await bring_up(session, begin, answering, timeout_s))
    except BaseException:  # output that nobody reads any more, too
        await end(session)
        raise


async def _profile(bus: Bus, options: Options) -> Configuration:
    from ovpn3.cli.source import usable_profile  # to read profiles takes a good deal more of us to be loaded

    name = options.get("config")
    if not name:
        profile = Configuration(bus, object_path(options.get("config-path")))
    elif found := await profile_named(bus, name):
        profile = found
    elif source := usable_profile(name):
        return await _from_file(bus, name, source, options.has("persist-tun"))
    else:
        raise CommandError(f"there is no profile and no file of the name {name!r}")
    print("Using a pre-loaded profile")
    await check_usable(profile)
    if options.has("persist-tun"):
        await profile.set_override("persist-tun", True)
    return profile


async def check_usable(profile: Configuration) -> None:
    """CommandError unless a session can be made of it."""
    try:
        await profile.validate()
    except RemoteError as e:
        raise CommandError(f"the profile can't be used: {one_line(e)}") from None


async def _from_file(bus: Bus, file: str, source: "Source", persist_tun: bool) -> Configuration:
    print(f"Using the file {one_line(file)}")
    profile = await ConfigurationManager(bus).import_profile(file, source.text, single_use=True)
    if persist_tun or source.persist_tun:
        await profile.set_override("persist-tun", True)
    return profile


async def new_session(profile: Configuration) -> Session:
    """A session of the profile, not yet connecting; interrupted, there is none."""
    starting = asyncio.create_task(SessionManager(profile.bus).new_tunnel(profile.path))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await end(await starting)  # what has been asked for comes into being: see that it doesn't stay
        raise
    except RemoteError:
        with suppress(RemoteError):
            if await profile.get("single_use"):
                await profile.remove()
        raise


ABOUT = """\
Starts a session and waits until it is connected. `--config` takes the name of an imported profile, or a file, which is
then used for this session only.

What the server wants to know is asked for, a line each on standard input; a pipe will do. If the server wants the user
to log in at a web page, its address is opened or shown, and the session goes on when that is done: see `session-auth`.

If the connection fails, the session is ended and the exit code is 8. `--background` does not wait: `sessions-list` and
`log` tell how it went on.

    openvpn3 session-start --config office
    openvpn3 session-start --config client.ovpn --timeout 30
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
