"""Which profile or session a command is about, from its options."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ovpn3.cli.accounts import acting_as
from ovpn3.cli.command import CommandError, NotFound, Option, Options
from ovpn3.dbus.bus import Bus
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager

PROFILE_OPTIONS = (
    Option("path", "o", "PATH", "D-Bus path of the profile", alias="config-path", values="config-paths"),
    Option("config", "c", "NAME", "Name of the profile", values="config-names"),
)
SESSION_OPTIONS = (
    Option("path", "o", "PATH", "D-Bus path of the session", alias="session-path", values="session-paths"),
    Option("config", "c", "NAME", "Name the profile had when the session was started", values="session-names"),
    Option("interface", "I", "IFNAME", "Network interface of the session", values="interfaces"),
)
_OBJECT_PATH = re.compile(r"(/[A-Za-z0-9_]+)+")


@asynccontextmanager
async def system_bus(uid: int | None = None) -> AsyncIterator[Bus]:
    """A connection to the system bus for a block; root can have one of another user's."""
    with acting_as(os.geteuid() if uid is None else uid):
        bus = await Bus.connect()
    async with bus:
        yield bus


def object_path(text: str) -> str:
    if not _OBJECT_PATH.fullmatch(text):
        raise CommandError(f"not a D-Bus path: {text!r}")
    return text


async def profile_named(bus: Bus, name: str) -> Configuration | None:
    """The one profile of that name that we may see; None if there is none."""
    found = await ConfigurationManager(bus).by_name(name)
    if len(found) > 1:
        raise CommandError(f"more than one profile has the name {name!r}: select it with --path")
    return found[0] if found else None


async def chosen_profile(bus: Bus, options: Options) -> Configuration:
    """The profile that PROFILE_OPTIONS select; a name wins over a path."""
    if options.has("config"):
        found = await profile_named(bus, options.get("config"))
        if found is None:
            raise NotFound(f"no profile has the name {options.get('config')!r}")
        return found
    if options.has("path"):
        return Configuration(bus, object_path(options.get("path")))
    raise CommandError("which profile? Give --config or --path")


async def visible_sessions(bus: Bus) -> list[Session]:
    """Those whose properties we may read: root everybody's, others their own and those they were granted."""
    manager = SessionManager(bus)
    return await (manager.everybodys() if os.geteuid() == 0 else manager.available())


async def session_of(bus: Bus, name: str) -> Session:
    """The one session whose profile had that name when it was started."""
    found = await SessionManager(bus).by_config_name(name)
    if not found:
        raise CommandError(f"no session has a profile of the name {name!r}")
    if len(found) > 1:
        raise CommandError(f"more than one session has a profile of the name {name!r}: select it with --path")
    return found[0]


async def chosen_session(bus: Bus, options: Options) -> Session:
    """The session that SESSION_OPTIONS select; first of name, interface and path."""
    if options.has("config"):
        return await session_of(bus, options.get("config"))
    if options.has("interface"):
        return await session_with_interface(bus, options.get("interface"))
    if options.has("path"):
        return Session(bus, object_path(options.get("path")))
    raise CommandError("which session? Give --config, --interface or --path")


async def session_with_interface(bus: Bus, interface: str) -> Session:
    if interface not in await SessionManager(bus).managed_interfaces():
        raise CommandError(f"no session has the interface {interface!r}")
    return await SessionManager(bus).by_interface(interface)
