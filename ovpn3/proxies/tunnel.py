"""What can be asked of a tunnel: of its session, and by the session manager of its client process."""

from typing import Any

from ovpn3.proxies.proxy import Proxy


class Tunnel(Proxy):
    async def ready(self) -> None:
        """RemoteError named net.openvpn.v3.error.ready while something is missing."""
        await self.ask("Ready")

    async def connect(self) -> None:
        """Start to connect; how it goes is told by status changes."""
        await self.ask("Connect")

    async def pause(self, reason: str) -> None:
        """Close the connection; `reason` is part of the status."""
        await self.call("Pause", "s", reason)

    async def resume(self) -> None:
        """Connect again after `pause`."""
        await self.call("Resume")

    async def restart(self) -> None:
        """Connect anew."""
        await self.call("Restart")

    async def disconnect(self) -> None:
        """End the tunnel; its network settings are gone when this returns."""
        await self.call("Disconnect")

    # User input: slots are numbered within (type, group).

    async def type_groups(self) -> list[Any]:
        """(type, group) with unanswered slots, in the order in which they were asked."""
        return list((await self.ask("UserInputQueueGetTypeGroup"))[0])

    async def check(self, type_: int, group: int) -> list[int]:
        """Numbers of the unanswered slots."""
        return list((await self.ask("UserInputQueueCheck", "uu", type_, group))[0])

    async def fetch(self, type_: int, group: int, number: int) -> list[Any]:
        """Type, group, number, name, label, whether the answer is to be hidden."""
        return await self.ask("UserInputQueueFetch", "uuu", type_, group, number)

    async def provide(self, type_: int, group: int, number: int, value: str) -> None:
        await self.call("UserInputProvide", "uuus", type_, group, number, value)

    async def statistics(self) -> dict[str, int]:
        """Counters by name, those that are not zero."""
        values: dict[str, int] = await self.get("statistics")
        return values
