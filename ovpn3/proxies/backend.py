"""Clients of net.openvpn.v3.backends and of a client process, net.openvpn.v3.backends.be<pid>."""

from typing import Any

from ovpn3.constants import BACKENDS_INTERFACE, BACKENDS_NAME, BACKENDS_PATH, CLIENT_PATH
from ovpn3.dbus.bus import Bus
from ovpn3.proxies.proxy import Proxy


class BackendStarter(Proxy):
    service, interface = BACKENDS_NAME, BACKENDS_INTERFACE

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, BACKENDS_PATH)

    async def start_client(self, token: str) -> int:
        """Start a client process, which will register with the session manager by `token`; its pid."""
        return int((await self.call("StartClient", "s", token))[0])


class BackendClient(Proxy):
    """One client process, addressed by its unique bus name."""

    interface = BACKENDS_INTERFACE

    def __init__(self, bus: Bus, unique_name: str) -> None:
        super().__init__(bus, CLIENT_PATH)
        self.service = unique_name

    async def confirm(self, token: str, session_path: str, config_path: str) -> str:
        """Tell the client what it is for; the name of its profile."""
        body = await self.call("RegistrationConfirmation", "soo", token, session_path, config_path)
        return str(body[0])

    async def ready(self) -> None:
        await self.call("Ready")

    async def connect(self) -> None:
        await self.call("Connect")

    async def pause(self, reason: str) -> None:
        await self.call("Pause", "s", reason)

    async def resume(self) -> None:
        await self.call("Resume")

    async def restart(self) -> None:
        await self.call("Restart")

    async def disconnect(self) -> None:
        await self.call("Disconnect")

    async def force_shutdown(self) -> None:
        await self.call("ForceShutdown")

    async def type_groups(self) -> list[Any]:
        return list((await self.call("UserInputQueueGetTypeGroup"))[0])

    async def fetch(self, type_: int, group: int, number: int) -> list[Any]:
        return await self.call("UserInputQueueFetch", "uuu", type_, group, number)

    async def check(self, type_: int, group: int) -> list[int]:
        return list((await self.call("UserInputQueueCheck", "uu", type_, group))[0])

    async def provide(self, type_: int, group: int, number: int, value: str) -> None:
        await self.call("UserInputProvide", "uuus", type_, group, number, value)
