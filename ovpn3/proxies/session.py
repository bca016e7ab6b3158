"""Clients of net.openvpn.v3.sessions and of its sessions."""

import xml.etree.ElementTree as ET
from typing import NamedTuple

from ovpn3.constants import SESSIONS_INTERFACE, SESSIONS_NAME, SESSIONS_PATH
from ovpn3.dbus.bus import NO_REPLY, Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.proxy import Proxy
from ovpn3.proxies.tunnel import Tunnel

INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"


class Status(NamedTuple):
    """Values of StatusMajor and StatusMinor, or numbers that a newer service knows."""

    major: int
    minor: int
    message: str = ""


class Session(Tunnel):
    """One tunnel, as its users see it."""

    service, interface = SESSIONS_NAME, SESSIONS_INTERFACE

    async def disconnect(self) -> None:
        """End the tunnel; its network settings are gone when this returns.

        Also where the session manager is lost over it: its successor knows whether the session has ended.
        """
        try:
            await super().disconnect()
        except RemoteError as e:
            if e.name != NO_REPLY:
                raise
            if any(session.path == self.path for session in await SessionManager(self.bus).available()):
                await super().disconnect()

    async def log_forward(self, enable: bool) -> None:
        """Have the log service send us, or no longer, the session's Log and StatusChange signals."""
        await self.ask("LogForward", "b", enable)

    async def log_history(self) -> list[tuple[int, bool, int, int, str]]:
        """The last lines and status changes, oldest first; only our session manager has them. Unix time, whether it is
        a status, major and minor code or log group and category, text."""
        return [(when, is_status, *rest) for when, is_status, *rest in (await self.ask("LogHistory"))[0]]

    async def grant(self, uid: int) -> None:
        """Let a user see and manage it."""
        await self.call("AccessGrant", "u", uid)

    async def revoke(self, uid: int) -> None:
        """Take back what `grant` gave."""
        await self.call("AccessRevoke", "u", uid)

    async def status(self) -> Status:
        """The last one."""
        return Status(*await self.get("status"))


class SessionManager(Proxy):
    """All sessions."""

    service, interface = SESSIONS_NAME, SESSIONS_INTERFACE
    is_root = True

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, SESSIONS_PATH)

    async def new_tunnel(self, config_path: str) -> Session:
        """A session with that profile, not yet connecting. RemoteError has the reason if the profile can't be used."""
        return Session(self.bus, (await self.call("NewTunnel", "o", config_path))[0])

    async def available(self) -> list[Session]:
        """Those the caller owns or has access to."""
        return [Session(self.bus, path) for path in (await self.ask("FetchAvailableSessions"))[0]]

    async def everybodys(self) -> list[Session]:
        """Sessions of all users: root may see which objects there are, and read their properties."""
        (text,) = await self.ask("Introspect", interface=INTROSPECTABLE)
        names = [node.get("name", "") for node in ET.fromstring(text).findall("node")]
        return [Session(self.bus, f"{SESSIONS_PATH}/{name}") for name in names if name]

    async def managed_interfaces(self) -> list[str]:
        """Interface names; empty for a session that has none yet."""
        return list((await self.ask("FetchManagedInterfaces"))[0])

    async def by_config_name(self, name: str) -> list[Session]:
        """Sessions whose profile had this name when they were started."""
        return [Session(self.bus, path) for path in (await self.ask("LookupConfigName", "s", name))[0]]

    async def by_interface(self, name: str) -> Session:
        """RemoteError if no session has this interface."""
        return Session(self.bus, (await self.ask("LookupInterface", "s", name))[0])
