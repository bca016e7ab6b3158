"""What the typed clients share: an object of a service, seen from the other end of the bus."""

from typing import Any, ClassVar

from dbus_fast import Variant

from ovpn3.dbus.bus import Bus

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

    async def get(self, name: str) -> Any:
        body = await self.bus.call(self.service, self.path, PROPERTIES, "Get", "ss", self.interface, name)
        return unwrap(body[0])

    async def get_all(self) -> dict[str, Any]:
        body = await self.bus.call(self.service, self.path, PROPERTIES, "GetAll", "s", self.interface)
        values: dict[str, Any] = unwrap(body[0])
        return values

    async def set(self, name: str, signature: str, value: Any) -> None:
        wrapped = Variant(signature, value)
        await self.bus.call(self.service, self.path, PROPERTIES, "Set", "ssv", self.interface, name, wrapped)
