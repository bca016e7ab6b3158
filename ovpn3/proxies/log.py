"""Client of net.openvpn.v3.log, and what is found in the log again."""

import re
from _blake2 import blake2b  # by way of hashlib it brings libcrypto along
from dataclasses import dataclass
from typing import Self

from ovpn3.constants import LOG_INTERFACE, LOG_NAME, LOG_PATH
from ovpn3.dbus.bus import Bus
from ovpn3.proxies.proxy import Proxy


def tag_of(sender: str, interface: str) -> int:
    """The number by which lines of a bus connection's interface can be told from others'."""
    digest = blake2b(f"[{sender}/{interface}]".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


@dataclass(frozen=True)
class SessionLine:
    """A line of the session manager's, by which the lines of a session's client are found. `owner` is a user id."""

    path: str
    tag: int
    owner: int
    profile: str

    def text(self) -> str:
        return f"session {self.path} has a client, tag {self.tag}; user id {self.owner}, profile {self.profile}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None if it is another line. The name, which anybody chooses, comes last."""
        found = _SESSION_LINE.fullmatch(text)
        return cls(found[1], int(found[2]), int(found[3]), found[4]) if found else None


_SESSION_LINE = re.compile(r"session (/[A-Za-z0-9_/]+) has a client, tag (\d{1,20}); user id (\d{1,10}), profile (.*)")


class LogProxy(Proxy):
    """One forwarding of a session's log to a receiver."""

    service, interface = LOG_NAME, LOG_INTERFACE

    async def remove(self) -> None:
        await self.call("Remove")


class Log(Proxy):
    service, interface = LOG_NAME, LOG_INTERFACE
    is_root = True

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, LOG_PATH)

    async def attach(self, interface: str) -> str:
        """Have the log service listen to our Log and StatusChange signals on `interface`; its unique name."""
        return (await self.ask_for_reply("Attach", "s", interface)).sender or ""

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
