"""Clients of net.openvpn.v3.configuration and of its profiles."""

from typing import Any, NamedTuple

from ovpn3.constants import CONFIG_INTERFACE, CONFIG_NAME, CONFIG_PATH, OVERRIDES
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.wire import Variant
from ovpn3.proxies.proxy import Proxy, unwrap


class SessionTerms(NamedTuple):
    """What a session manager has to know of a profile that a user wants to start a session with."""

    allowed: bool
    owner: int
    transfer_owner_session: bool
    automatic_restart: str  # the override; empty without


class Configuration(Proxy):
    """One imported profile."""

    service, interface = CONFIG_NAME, CONFIG_INTERFACE

    async def session_terms(self, uid: int) -> SessionTerms:
        """Answered to the service account only, and by our service only."""
        return SessionTerms(*await self.ask("SessionTerms", "u", uid))

    async def fetch_for_client(self) -> tuple[str, dict[str, Any], str]:
        """Name, overrides and text. Answered to a client process only, and by our service only: it is a use."""
        name, overrides, text = await self.ask("FetchForClient")
        return name, unwrap(overrides), text

    async def validate(self) -> None:
        """RemoteError says what is missing."""
        await self.ask("Validate")

    async def fetch(self) -> str:
        """The profile's text."""
        return str((await self.ask("Fetch"))[0])

    async def fetch_json(self) -> str:
        """The profile and what is known of it, as `openvpn3 config-dump --json` shows them."""
        return str((await self.ask("FetchJSON"))[0])

    async def set_override(self, name: str, value: str | bool) -> None:
        """`name` is one of OVERRIDES, which has its type."""
        await self.call("SetOverride", "sv", name, Variant(OVERRIDES[name], value))

    async def unset_override(self, name: str) -> None:
        """RemoteError if it is not set."""
        await self.call("UnsetOverride", "s", name)

    async def add_tag(self, tag: str) -> None:
        """RemoteError if it has it already."""
        await self.call("AddTag", "s", tag)

    async def remove_tag(self, tag: str) -> None:
        """RemoteError if it has no such tag."""
        await self.call("RemoveTag", "s", tag)

    async def grant(self, uid: int) -> None:
        """Let a user see it and start sessions with it."""
        await self.call("AccessGrant", "u", uid)

    async def revoke(self, uid: int) -> None:
        """Take back what `grant` gave."""
        await self.call("AccessRevoke", "u", uid)

    async def seal(self) -> None:
        """Make it read-only for good."""
        await self.call("Seal")

    async def remove(self) -> None:
        """Forget it. Sessions that run with it go on."""
        await self.call("Remove")


class ConfigurationManager(Proxy):
    """All profiles."""

    service, interface = CONFIG_NAME, CONFIG_INTERFACE
    is_root = True

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, CONFIG_PATH)

    async def import_profile(
        self, name: str, text: str, *, single_use: bool = False, persistent: bool = False
    ) -> Configuration:
        """Store a profile that needs no file, until the service ends; `persistent` for good, `single_use` for once."""
        body = await self.call("Import", "ssbb", name, text, single_use, persistent)
        return Configuration(self.bus, body[0])

    async def available(self) -> list[Configuration]:
        """Those the caller owns or has access to."""
        return await self._profiles("FetchAvailableConfigs")

    async def by_name(self, name: str) -> list[Configuration]:
        """Those of `available` with this name: several may have it."""
        return await self._profiles("LookupConfigName", "s", name)

    async def by_tag(self, tag: str) -> list[Configuration]:
        """Those of `available` with this tag."""
        return await self._profiles("SearchByTag", "s", tag)

    async def by_owner(self, owner: str) -> list[Configuration]:
        """Those of `available` that belong to this user, a name or a uid in digits."""
        return await self._profiles("SearchByOwner", "s", owner)

    async def transfer_ownership(self, path: str, uid: int) -> None:
        """For root only."""
        await self.call("TransferOwnership", "ou", path, uid)

    async def _profiles(self, member: str, signature: str = "", *args: str) -> list[Configuration]:
        body = await self.ask(member, signature, *args)
        return [Configuration(self.bus, path) for path in body[0]]
