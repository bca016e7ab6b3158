"""Who logs through us, and to whom of the users what they say is passed on.

We listen once to each interface, not once to each sender: a connection may have 512 match rules on a system bus.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ovpn3.constants import DOMAIN_LOG, LOG_PATH, SESSIONS_PATH
from ovpn3.dbus.bus import DAEMON_NAME, Bus, Match
from ovpn3.dbus.dispatch import Dispatcher
from ovpn3.dbus.peers import Peer
from ovpn3.dbus.wire import Message, is_interface_name_valid
from ovpn3.errors import Ovpn3Error, ServiceError
from ovpn3.proxies.log import tag_of
from ovpn3_services.common.log import clean
from ovpn3_services.common.text import random_uuid
from ovpn3_services.log.event import MAX_CHARS, Event, category, group
from ovpn3_services.log.objects import ProxyObject
from ovpn3_services.log.output import Output

MAX_INTERFACES = 64  # that we listen to; ours are seven
# What one sender may say: at once, and all the time. A unit is a line of up to 1 KiB.
BURST = 5000
PER_SECOND = 1000
MAX_TOKEN_CHARS = 200
REPORT_S = 1.0  # between two lines on what was left out of a sender's

_SIGNALS = {("Log", "uus"), ("Log", "uuss"), ("StatusChange", "uus")}


def refused(text: str) -> ServiceError:
    return ServiceError(DOMAIN_LOG, text)


class Allowance:
    """How much a sender may still say: BURST units, renewed by PER_SECOND."""

    def __init__(self, now: float) -> None:
        self._left, self._at = float(BURST), now

    def take(self, units: int, now: float) -> bool:
        self._left = min(self._left + (now - self._at) * PER_SECOND, BURST)
        self._at = now
        enough = self._left >= units
        if enough:
            self._left -= units
        return enough


@dataclass
class Sender:
    """An interface of a bus connection that has attached itself."""

    peer: Peer
    interface: str
    tag: int
    session_path: str = ""  # a client process's, once assigned
    allowance: Allowance = field(default_factory=lambda: Allowance(time.monotonic()))
    left_out: int = 0  # signals, since it was last said


class Senders:
    def __init__(self, bus: Bus, dispatcher: Dispatcher, log: Output) -> None:
        self.bus, self._dispatcher, self._log = bus, dispatcher, log
        self.attached: dict[tuple[str, str], Sender] = {}  # by unique name and interface
        self.proxies: dict[str, ProxyObject] = {}  # by object path
        self._interfaces: set[str] = set()

    async def watch(self) -> None:
        """Begin to notice who leaves the bus."""
        gone = Match(DAEMON_NAME, "NameOwnerChanged", DAEMON_NAME, arg2="")
        await self.bus.subscribe(gone, lambda m: self._on_gone(m.body[0]))

    async def attach(self, peer: Peer, interface: str) -> None:
        if not is_interface_name_valid(interface):
            raise refused("not the name of an interface")
        key = (peer.name, interface)
        if key in self.attached:
            raise refused(f"{interface} of {peer.name} is attached already")
        sender = self.attached[key] = Sender(peer, interface, tag_of(*key))
        try:
            await self._listen(interface)
        except Ovpn3Error:
            self.attached.pop(key, None)
            raise
        self._log.verb2(f"attached: {interface} of {peer.name}, tag {sender.tag}")

    async def _listen(self, interface: str) -> None:
        if interface in self._interfaces:
            return
        if len(self._interfaces) >= MAX_INTERFACES:
            raise refused(f"{MAX_INTERFACES} interfaces are listened to already")
        self._interfaces.add(interface)
        await self.bus.subscribe(Match(interface), self._on_signal)

    def detach(self, name: str, interface: str) -> None:
        self._drop(self._attached(name, interface))

    def assign(self, name: str, session_path: str, interface: str) -> None:
        """From now on lines of this sender belong to a session, which is nobody else's."""
        sender = self._attached(name, interface)
        if not session_path.startswith(f"{SESSIONS_PATH}/"):
            raise refused(f"{session_path} is no session")
        if any(other.session_path == session_path for other in self.attached.values() if other is not sender):
            raise refused(f"{session_path} is assigned to another client")
        sender.session_path = session_path

    def _attached(self, name: str, interface: str) -> Sender:
        sender = self.attached.get((name, interface))
        if sender is None:
            raise refused(f"{clean(interface[:MAX_CHARS])} of {name} is not attached")
        return sender

    def _drop(self, sender: Sender) -> None:
        del self.attached[sender.peer.name, sender.interface]
        self._log.verb2(f"detached: {sender.interface} of {sender.peer.name}, tag {sender.tag}")

    def _on_gone(self, name: str) -> None:
        """A bus name has no owner any more."""
        for sender in [s for s in self.attached.values() if s.peer.name == name]:
            self._drop(sender)
        for proxy in [p for p in self.proxies.values() if name in (p.target.name, p.asker)]:
            self.remove_proxy(proxy)

    # -- forwarding -------------------------------------------------------------------------------
    def forward(self, session_path: str, target: Peer, asker: str) -> str:
        """Pass on what is said of a session; path of the object that stands for this.

        It lasts until that is removed, or the receiver or the session manager, which is `asker`, leaves the bus.
        The client may leave first: how it ended is told by the session manager.
        """
        if not target.name.startswith(":"):
            raise refused("the receiver must be given by its unique name")
        if all(sender.session_path != session_path for sender in self.attached.values()):
            raise refused(f"no session is known at {session_path}")
        path = f"{LOG_PATH}/proxy/{random_uuid('l')}"
        proxy = self.proxies[path] = ProxyObject(self, path, session_path, target, asker)
        self._dispatcher.export(path, proxy)
        return path

    def remove_proxy(self, proxy: ProxyObject) -> None:
        self.proxies.pop(proxy.path, None)
        self._dispatcher.unexport(proxy.path)

    # -- what comes in ----------------------------------------------------------------------------
    def _on_signal(self, m: Message) -> None:
        sender = self.attached.get((m.sender or "", m.interface or ""))
        if sender is None or (m.member, m.signature) not in _SIGNALS:
            return
        first, second, *token, text = m.body
        if not sender.allowance.take(1 + len(text) // 1024, time.monotonic()):
            self._leave_out(sender)
        elif m.member == "Log":
            self._on_log(sender, m.path or "", first, second, text, *token)
        else:
            for proxy in self._status_proxies(sender, m.path or ""):
                proxy.pass_on("StatusChange", first, second, clean(text[:MAX_CHARS]))

    def _leave_out(self, sender: Sender) -> None:
        """One that says too much is not to keep us from the others, nor to fill the disk."""
        if not sender.left_out:
            asyncio.get_running_loop().call_later(REPORT_S, self._report, sender)
        sender.left_out += 1

    def _report(self, sender: Sender) -> None:
        who = f"{sender.interface} of {sender.peer.name}, tag {sender.tag}"
        self._log.warn(f"{sender.left_out} lines left out, more than {PER_SECOND} a second: {who}")
        sender.left_out = 0

    def _on_log(
        self, sender: Sender, path: str, group_number: int, category_number: int, text: str, token: str = ""
    ) -> None:
        event = Event(
            group(group_number),
            category(category_number),
            clean(text[:MAX_CHARS].rstrip("\n")),
            sender.tag,
            self._metadata(sender, path),
            clean(token[:MAX_TOKEN_CHARS]),
        )
        self._log.write(event)
        for proxy in self._proxies_of(sender.session_path):
            if event.category.level <= proxy.log_level_now:
                proxy.pass_on("Log", int(event.group), int(event.category), event.text)

    def _proxies_of(self, session_path: str) -> Iterator[ProxyObject]:
        return (proxy for proxy in self.proxies.values() if proxy.session == session_path)

    def _status_proxies(self, sender: Sender, path: str) -> Iterator[ProxyObject]:
        """For what a client says of itself, or the session manager says from the path of a session."""
        if sender.session_path:
            return self._proxies_of(sender.session_path)
        return (proxy for proxy in self._proxies_of(path) if proxy.asker == sender.peer.name)

    @staticmethod
    def _metadata(sender: Sender, path: str) -> dict[str, str]:
        own = {"object_path": path}
        if sender.session_path:
            own = {"object_path": sender.session_path, "sender_object_path": path}
        return {"sender": sender.peer.name, **own, "interface": sender.interface, "sender_pid": str(sender.peer.pid)}
