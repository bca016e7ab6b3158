"""A service finds the log service, and each that comes after it, once."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from ovpn3.constants import CONFIG_INTERFACE, CONFIG_PATH, LogGroup
from ovpn3.dbus.bus import Bus
from ovpn3_services.common.log import Log


class BusWithLog:
    """As a `Bus` on which the log service appears while we begin to watch for it."""

    def __init__(self) -> None:
        self.owner = ""
        self.attached: list[str] = []

    async def watch_name(self, name: str, changed: Callable[[str], None]) -> None:
        self.changed = changed
        await self.restart_log(":1.1")

    async def restart_log(self, owner: str) -> None:
        self.owner = owner
        self.changed(owner)
        await asyncio.sleep(0)

    async def call(self, *call: Any) -> list[Any]:
        self.attached.append(self.owner)
        return []

    async def name_owner(self, name: str) -> str:
        return self.owner


async def test_attached_once_to_each() -> None:
    bus = BusWithLog()
    log = Log(cast(Bus, bus), LogGroup.CONFIGMGR, CONFIG_PATH, CONFIG_INTERFACE, 3)
    await log.attach()
    assert (bus.attached, log.receiver) == ([":1.1"], ":1.1")
    await bus.restart_log(":1.2")
    assert (bus.attached, log.receiver) == ([":1.1", ":1.2"], ":1.2")
