"""What the typed clients share: an object of a service, seen from the other end of the bus."""

import asyncio
from typing import Any, ClassVar

from ovpn3.dbus.bus import NO_REPLY, Bus
from ovpn3.dbus.connection import close_all
from ovpn3.dbus.errors import UNKNOWN_METHOD
from ovpn3.dbus.wire import Message, Variant
from ovpn3.errors import RemoteError

PROPERTIES = "org.freedesktop.DBus.Properties"
# The original's services have their name a moment before their objects; nothing tells when. Ours don't.
STARTING_S = (0.05, 0.1, 0.2, 0.4, 0.8)
NO_OBJECT = "Object does not exist"


def unwrap(value: Any) -> Any:
    """Plain Python for a value with variants in it."""
    if isinstance(value, Variant):
        return unwrap(value.value)
    if isinstance(value, dict):
        return {k: unwrap(v) for k, v in value.items()}
    if isinstance(value, list):
        return [unwrap(v) for v in value]
    return value


class Proxy:
    """Methods and properties of one remote object. Errors are RemoteError, its name the error's domain."""

    service: str  # bus name
    interface: ClassVar[str]
    is_root: ClassVar[bool] = False  # whether the service has this object from its start on

    def __init__(self, bus: Bus, path: str) -> None:
        self.bus, self.path = bus, path

    async def call(self, member: str, signature: str = "", *args: Any, **how: Any) -> list[Any]:
        reply = await self._request(self.interface, member, signature, *args, **how)
        close_all(reply.unix_fds)
        return reply.body

    async def ask(self, member: str, signature: str = "", *args: Any, interface: str = "") -> list[Any]:
        """`call` for what may be asked twice: of a service that is killed over it, the successor is asked."""
        return (await self.ask_for_reply(member, signature, *args, interface=interface)).body

    async def ask_for_reply(self, member: str, signature: str = "", *args: Any, interface: str = "") -> Message:
        """As `ask`; the whole reply, of which no descriptor is left."""
        call = (interface or self.interface, member, signature, *args)
        try:
            reply = await self._request(*call)
        except RemoteError as e:
            if e.name != NO_REPLY:
                raise
            reply = await self._request(*call)
        close_all(reply.unix_fds)
        return reply

    async def _request(self, interface: str, member: str, signature: str, *args: Any, **how: Any) -> Message:
        call = (self.service, self.path, interface, member, signature, *args)
        for delay in STARTING_S if self.is_root else ():
            try:
                return await self.bus.request(*call, **how)
            except RemoteError as e:
                if e.name != UNKNOWN_METHOD or NO_OBJECT not in str(e):
                    raise
            await asyncio.sleep(delay)
        return await self.bus.request(*call, **how)

    async def get(self, name: str) -> Any:
        """A property."""
        return unwrap((await self.ask("Get", "ss", self.interface, name, interface=PROPERTIES))[0])

    async def get_all(self) -> dict[str, Any]:
        """All properties the caller may read."""
        values: dict[str, Any] = unwrap((await self.ask("GetAll", "s", self.interface, interface=PROPERTIES))[0])
        return values

    async def set(self, name: str, signature: str, value: Any) -> None:
        """Change a property; `signature` is its D-Bus type."""
        wrapped = Variant(signature, value)
        await self.bus.call(self.service, self.path, PROPERTIES, "Set", "ssv", self.interface, name, wrapped)
