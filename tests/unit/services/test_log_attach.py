"""A service finds the log service, and each that comes after it, once."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from ovpn3.constants import CONFIG_INTERFACE, CONFIG_PATH, LogGroup
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.wire import Message, MessageType
from ovpn3_services.common.log import Log


class BusWithLog:
    """As a `Bus` on which a call starts the log service."""

    def __init__(self) -> None:
        self.owner = ""
        self.attached: list[str] = []
        self.die_at = 0  # number of the attachment that a log service doesn't outlive

    async def watch_name(self, name: str, changed: Callable[[str], None]) -> None:
        self.changed = changed

    async def restart_log(self, owner: str) -> None:
        self.owner = owner
        self.changed(owner)
        await asyncio.sleep(0)

    async def request(self, *call: Any) -> Message:
        if not self.owner:
            await self.restart_log(f":1.{len(self.attached) + 1}")
        self.attached.append(self.owner)
        reply = Message(message_type=MessageType.METHOD_RETURN, reply_serial=1, sender=self.owner)
        if len(self.attached) == self.die_at:
            await self.restart_log("")
        return reply


def log(bus: BusWithLog) -> Log:
    return Log(cast(Bus, bus), LogGroup.CONFIGMGR, CONFIG_PATH, CONFIG_INTERFACE, 3)


async def test_attached_once_to_each() -> None:
    bus = BusWithLog()
    voice = log(bus)
    await voice.attach()
    assert (bus.attached, voice.receiver) == ([":1.1"], ":1.1")
    await bus.restart_log(":1.2")
    assert (bus.attached, voice.receiver) == ([":1.1", ":1.2"], ":1.2")


async def test_a_log_service_that_is_lost_with_its_answer() -> None:
    """The news of its end may be there before the answer is looked at."""
    bus = BusWithLog()
    bus.die_at = 1
    voice = log(bus)
    await voice.attach()
    assert (bus.attached, voice.receiver) == ([":1.1", ":1.2"], ":1.2")
