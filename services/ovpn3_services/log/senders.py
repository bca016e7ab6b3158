"""Who logs through us, and to whom of the users what they say is passed on."""

import hashlib
import uuid
from dataclasses import dataclass, field

from dbus_fast import Message

from ovpn3.constants import DOMAIN_LOG, LOG_PATH
from ovpn3.dbus.bus import Bus, Match, Subscription
from ovpn3.dbus.dispatch import Dispatcher
from ovpn3.dbus.peers import Peer
from ovpn3.errors import ServiceError
from ovpn3_services.common.log import clean
from ovpn3_services.log.event import MAX_CHARS, Event, category, group
from ovpn3_services.log.objects import ProxyObject
from ovpn3_services.log.output import Output


def refused(text: str) -> ServiceError:
    return ServiceError(DOMAIN_LOG, text)


def tag_of(sender: str, interface: str) -> int:
    """A stable 64-bit number for a sender's interface."""
    digest = hashlib.blake2b(f"[{sender}/{interface}]".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


@dataclass
class Sender:
    """An interface of a bus connection that has attached itself."""

    peer: Peer
    interface: str
    subscriptions: list[Subscription] = field(default_factory=list)
    session_path: str = ""  # a client process's, once assigned
    proxies: dict[str, ProxyObject] = field(default_factory=dict)  # by object path

    @property
    def tag(self) -> int:
        return tag_of(self.peer.name, self.interface)


class Senders:
    def __init__(self, bus: Bus, dispatcher: Dispatcher, log: Output) -> None:
        self.bus, self._dispatcher, self._log = bus, dispatcher, log
        self.attached: dict[tuple[str, str], Sender] = {}  # by unique name and interface

    async def attach(self, peer: Peer, interface: str) -> None:
        key = (peer.name, interface)
        if key in self.attached:
            raise refused(f"{interface} of {peer.name} is attached already")
        sender = self.attached[key] = Sender(peer, interface)
        for member in ("Log", "StatusChange"):
            match = Match(interface, member, peer.name)
            sender.subscriptions.append(await self.bus.subscribe(match, lambda m: self._on_signal(sender, m)))
        gone = await self.bus.watch_name(peer.name, lambda owner: None if owner else self._drop(sender))
        sender.subscriptions.append(gone)
        if not await self.bus.name_owner(peer.name):
            self._drop(sender)
        self._log.verb2(f"attached: {interface} of {peer.name}, tag {sender.tag}")

    def detach(self, name: str, interface: str) -> None:
        sender = self.attached.get((name, interface))
        if sender is None:
            raise refused(f"{interface} of {name} is not attached")
        self._drop(sender)

    def _drop(self, sender: Sender) -> None:
        if self.attached.pop((sender.peer.name, sender.interface), None) is None:
            return
        for subscription in sender.subscriptions:
            subscription.cancel()
        for proxy in list(sender.proxies.values()):
            self.remove_proxy(proxy)
        self._log.verb2(f"detached: {sender.interface} of {sender.peer.name}, tag {sender.tag}")

    def assign(self, name: str, session_path: str, interface: str) -> None:
        """From now on lines of this sender belong to a session."""
        sender = self.attached.get((name, interface))
        if sender is None:
            raise refused(f"{interface} of {name} is not attached")
        sender.session_path = session_path

    # -- forwarding -------------------------------------------------------------------------------
    async def forward(self, session_path: str, target: Peer) -> str:
        """Pass on what the session's client says; path of the object that stands for this."""
        sender = next((s for s in self.attached.values() if s.session_path == session_path), None)
        if sender is None:
            raise refused(f"no session is known at {session_path}")
        path = f"{LOG_PATH}/proxy/{str(uuid.uuid4()).replace('-', 'l')}"
        proxy = sender.proxies[path] = ProxyObject(self, path, sender.session_path, target)
        self._dispatcher.export(path, proxy)
        proxy.watch = await self.bus.watch_name(target.name, lambda owner: None if owner else self.remove_proxy(proxy))
        return path

    def remove_proxy(self, proxy: ProxyObject) -> None:
        for sender in self.attached.values():
            sender.proxies.pop(proxy.path, None)
        self._dispatcher.unexport(proxy.path)
        if proxy.watch:
            proxy.watch.cancel()

    # -- what comes in ----------------------------------------------------------------------------
    def _on_signal(self, sender: Sender, m: Message) -> None:
        match m.member, m.signature:
            case "Log", "uus":
                self._on_log(sender, m.path or "", "", *m.body)
            case "Log", "uuss":
                group_number, category_number, token, text = m.body
                self._on_log(sender, m.path or "", token, group_number, category_number, text)
            case "StatusChange", "uus":
                self._on_status(sender, m)

    def _on_log(
        self, sender: Sender, path: str, token: str, group_number: int, category_number: int, text: str
    ) -> None:
        text = clean(text[:MAX_CHARS])
        event = Event(
            group(group_number),
            category(category_number),
            text,
            sender.tag,
            self._metadata(sender, path),
            clean(token[:MAX_CHARS]),
        )
        self._log.write(event)
        for proxy in sender.proxies.values():
            if event.category.level <= proxy.log_level_now:
                proxy.pass_on("Log", int(event.group), int(event.category), text)

    def _on_status(self, sender: Sender, m: Message) -> None:
        major, minor, text = m.body
        text = clean(text[:MAX_CHARS])
        for other in self.attached.values():
            # A client's own, and what the session manager says of that session.
            if other is sender or other.session_path == m.path:
                for proxy in other.proxies.values():
                    proxy.pass_on("StatusChange", major, minor, text)

    @staticmethod
    def _metadata(sender: Sender, path: str) -> dict[str, str]:
        own = {"object_path": path}
        if sender.session_path:
            own = {"object_path": sender.session_path, "sender_object_path": path}
        return {"sender": sender.peer.name, **own, "interface": sender.interface, "sender_pid": str(sender.peer.pid)}
