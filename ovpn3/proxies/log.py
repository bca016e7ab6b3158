"""Client of net.openvpn.v3.log."""

from ovpn3.constants import LOG_INTERFACE, LOG_NAME, LOG_PATH
from ovpn3.dbus.bus import Bus
from ovpn3.proxies.proxy import Proxy


class LogProxy(Proxy):
    """One forwarding of a session's log to a receiver."""

    service, interface = LOG_NAME, LOG_INTERFACE

    async def remove(self) -> None:
        await self.call("Remove")


class Log(Proxy):
    service, interface = LOG_NAME, LOG_INTERFACE

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, LOG_PATH)

    async def attach(self, interface: str) -> None:
        """Have the log service listen to our Log and StatusChange signals on `interface`."""
        await self.ask("Attach", "s", interface)

    async def detach(self, interface: str) -> None:
        await self.call("Detach", "s", interface)

    async def assign_session(self, session_path: str, interface: str) -> None:
        await self.call("AssignSession", "os", session_path, interface)

    async def subscribers(self) -> list[tuple[str, str, str, str]]:
        """Who is attached: tag, unique bus name, interface, and a text for an object path."""
        return [
            (tag, name, interface, path) for tag, name, interface, path in (await self.call("GetSubscriberList"))[0]
        ]

    async def proxy_log_events(self, target: str, session_path: str) -> LogProxy:
        body = await self.call("ProxyLogEvents", "so", target, session_path)
        return LogProxy(self.bus, body[0])
