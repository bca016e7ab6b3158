"""What the typed clients share: an object of a service, seen from the other end of the bus."""

from typing import Any, ClassVar

from ovpn3.dbus.bus import NO_REPLY, Bus
from ovpn3.dbus.connection import close_all
from ovpn3.dbus.wire import Message, Variant
from ovpn3.errors import RemoteError

PROPERTIES = "org.freedesktop.DBus.Properties"


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

    def __init__(self, bus: Bus, path: str) -> None:
        self.bus, self.path = bus, path

    async def call(self, member: str, signature: str = "", *args: Any, **how: Any) -> list[Any]:
        return await self.bus.call(self.service, self.path, self.interface, member, signature, *args, **how)

    async def ask(self, member: str, signature: str = "", *args: Any, interface: str = "") -> list[Any]:
        """`call` for what may be asked twice: of a service that is killed over it, the successor is asked."""
        return (await self.ask_for_reply(member, signature, *args, interface=interface)).body

    async def ask_for_reply(self, member: str, signature: str = "", *args: Any, interface: str = "") -> Message:
        """As `ask`; the whole reply, of which no descriptor is left."""
        call = (self.service, self.path, interface or self.interface, member, signature, *args)
        try:
            reply = await self.bus.request(*call)
        except RemoteError as e:
            if e.name != NO_REPLY:
                raise
            reply = await self.bus.request(*call)
        close_all(reply.unix_fds)
        return reply

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
