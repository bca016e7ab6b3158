"""The log service's objects: /net/openvpn/v3/log, and one below it for each forwarding of a session's log."""

import os
from typing import TYPE_CHECKING, Any

from ovpn3.constants import (
    API_VERSION,
    BACKENDS_INTERFACE,
    DOMAIN_LOG,
    LOG_INTERFACE,
    MAX_LOG_LEVEL,
    SESSIONS_NAME,
)
from ovpn3.dbus.access import administrator, refusal, root, same_uid, service_uid
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.dispatch import Call, DBusObject, anyone, method, prop
from ovpn3.dbus.peers import Peer
from ovpn3.errors import ConfigurationRefused
from ovpn3_services.common.text import stripped

if TYPE_CHECKING:
    from ovpn3_services.log.senders import Senders
    from ovpn3_services.log.service import LogService


async def _is_session_manager(bus: Bus, call: Call) -> bool:
    return await call.uid() == service_uid() and await bus.owner(SESSIONS_NAME) == call.sender


async def session_manager(obj: "Root", call: Call) -> None:
    """The session manager."""
    if not await _is_session_manager(obj.service.bus, call):
        raise refusal(call, "log forwarding is for the session manager to ask for")


async def client_process(obj: "Root", call: Call) -> None:
    """Client processes."""
    if not await obj.service.clients.include(await call.peer()):
        raise refusal(call, "only client processes have a session to be assigned to")


async def receiver_or_session_manager(proxy: "ProxyObject", call: Call) -> None:
    """The receiver's user, and the session manager."""
    if await call.uid() != proxy.target.uid and not await _is_session_manager(proxy.senders.bus, call):
        raise refusal(call, "this forwarding is somebody else's")


def checked_level(level: int) -> int:
    if level > MAX_LOG_LEVEL:
        raise ConfigurationRefused(f"a log level is 0 to {MAX_LOG_LEVEL}")
    return level


class Root(DBusObject):
    """The root object."""

    interface = LOG_INTERFACE
    domain = DOMAIN_LOG

    def __init__(self, service: "LogService") -> None:
        self.service = service

    @method("Attach", "interface:s", rule=same_uid)
    async def attach(self, call: Call, interface: str) -> None:
        """Have Log and StatusChange signals of the caller's on that interface listened to, from whatever path."""
        await self.service.senders.attach(await call.peer(), stripped(interface))

    @method("AssignSession", "session_path:o interface:s", rule=client_process)
    async def assign_session(self, call: Call, session_path: str, interface: str) -> None:
        """Say that what the caller logs on that interface, attached before, is of that session."""
        self.service.senders.assign(call.sender, session_path, interface)

    @method("Detach", "interface:s", rule=same_uid)
    async def detach(self, call: Call, interface: str) -> None:
        """End an attachment of the caller's own."""
        self.service.senders.detach(call.sender, stripped(interface))

    @method("GetSubscriberList", "", "subscribers:a(ssss)", rule=root)
    async def subscribers(self, call: Call) -> list[list[str]]:
        """Who is attached: tag as decimal text, unique bus name, interface, and an empty text."""
        return [[str(s.tag), s.peer.name, s.interface, ""] for s in self.service.senders.attached.values()]

    @method("ProxyLogEvents", "target_address:s session_path:o", "proxy_path:o", rule=session_manager)
    async def proxy_log_events(self, call: Call, target: str, session_path: str) -> str:
        """Pass on what is said of a session to a receiver's unique bus name; gives the object that stands for it."""
        receiver = await self.service.dispatcher.peers.peer(stripped(target))
        return self.service.senders.forward(session_path, receiver, call.sender)

    @prop("version", "s", read=anyone)
    def version(self, call: Call) -> str:
        """What these services are compatible with, as v<number>, and whose they are."""
        return API_VERSION

    @prop("log_method", "s", read=anyone)
    def log_method(self, call: Call) -> str:
        """Where lines go: syslog, journald, logfile or stdout:."""
        return self.service.output.writer.method

    @prop("log_level", "u", read=anyone, write=administrator)
    def log_level(self, call: Call) -> int:
        """Lines above it aren't written: 0 (fatal and critical only) to 6 (debug). Kept in the settings file."""
        return self.service.output.level

    @log_level.setter
    def set_log_level(self, call: Call, value: int) -> None:
        self.service.output.level = checked_level(value)
        self.service.change("log_level", value)

    @prop("log_dbus_details", "b", read=anyone, write=administrator)
    def log_dbus_details(self, call: Call) -> bool:
        """Whether each line is preceded by who sent it from where."""
        return bool(self.service.options.service_log_dbus_details)

    @log_dbus_details.setter
    def set_log_dbus_details(self, call: Call, value: bool) -> None:
        self.service.change("service_log_dbus_details", value)

    @prop("log_prefix_logtag", "b", read=anyone, write=administrator)
    def log_prefix_logtag(self, call: Call) -> bool:
        """Whether a line begins with its sender's tag."""
        return not self.service.options.no_logtag_prefix

    @log_prefix_logtag.setter
    def set_log_prefix_logtag(self, call: Call, value: bool) -> None:
        self.service.change("no_logtag_prefix", not value)

    @prop("timestamp", "b", read=anyone, write=administrator)
    def timestamp(self, call: Call) -> bool:
        """The journal and syslog have their own time stamps, always."""
        return bool(self.service.options.timestamp) or self.service.output.writer.method in ("journald", "syslog")

    @timestamp.setter
    def set_timestamp(self, call: Call, value: bool) -> None:
        self.service.change("timestamp", value)

    @prop("config_file", "s", read=anyone)
    def config_file(self, call: Call) -> str:
        """The settings file; empty without a state directory."""
        return os.fspath(self.service.config_file or "")

    @prop("num_attached", "u", read=anyone)
    def num_attached(self, call: Call) -> int:
        """How many interfaces of bus connections are attached."""
        return len(self.service.senders.attached)


class ProxyObject(DBusObject):
    """Passes on what a session's client says, as signals of ours from the session's path."""

    interface = LOG_INTERFACE
    domain = DOMAIN_LOG

    def __init__(self, senders: "Senders", path: str, session: str, target: Peer, asker: str) -> None:
        """`asker` is the session manager's unique name."""
        self.senders, self.path, self.session, self.target, self.asker = senders, path, session, target, asker
        self.log_level_now = MAX_LOG_LEVEL

    def pass_on(self, member: str, *args: Any) -> None:
        self.senders.bus.emit(self.session, BACKENDS_INTERFACE, member, "uus", *args, destination=self.target.name)

    async def visible(self, call: Call) -> bool:
        return await call.uid() in (0, self.target.uid, service_uid())

    @method("Remove", rule=receiver_or_session_manager)
    async def remove(self, call: Call) -> None:
        """End the forwarding."""
        self.senders.remove_proxy(self)

    @prop("log_level", "u", read=receiver_or_session_manager, write=receiver_or_session_manager)
    def log_level(self, call: Call) -> int:
        """Lines above it aren't passed on: 0 to 6."""
        return self.log_level_now

    @log_level.setter
    def set_log_level(self, call: Call, value: int) -> None:
        self.log_level_now = checked_level(value)

    @prop("session_path", "o", read=receiver_or_session_manager)
    def session_path(self, call: Call) -> str:
        """The session whose log it is."""
        return self.session

    @prop("target", "o", read=receiver_or_session_manager, wire="s")
    def target_name(self, call: Call) -> str:
        """Unique bus name of the receiver."""
        return self.target.name
