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
from ovpn3.dbus.access import service_uid
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.dispatch import Call, DBusObject, anyone, method, prop
from ovpn3.dbus.peers import Peer
from ovpn3.errors import AccessDenied, ConfigurationRefused
from ovpn3_services.common.clients import is_client

if TYPE_CHECKING:
    from ovpn3_services.log.senders import Senders
    from ovpn3_services.log.service import LogService


async def administrator(obj: object, call: Call) -> None:
    """Root and the service account; the bus policy lets nobody else call these either."""
    if await call.uid() not in (0, service_uid()):
        raise AccessDenied(f"{call.sender} may not use {call.member} on {call.path}")


async def _is_session_manager(bus: Bus, call: Call) -> bool:
    return await call.uid() == service_uid() and await bus.name_owner(SESSIONS_NAME) == call.sender


async def session_manager(root: "Root", call: Call) -> None:
    if not await _is_session_manager(root.service.bus, call):
        raise AccessDenied("log forwarding is for the session manager to ask for")


async def client_process(root: "Root", call: Call) -> None:
    if not await is_client(root.service.bus, await call.peer()):
        raise AccessDenied("only client processes have a session to be assigned to")


async def receiver_or_session_manager(proxy: "ProxyObject", call: Call) -> None:
    if await call.uid() != proxy.target.uid and not await _is_session_manager(proxy.senders.bus, call):
        raise AccessDenied("this forwarding is somebody else's")


def checked_level(level: int) -> int:
    if level > MAX_LOG_LEVEL:
        raise ConfigurationRefused(f"a log level is 0 to {MAX_LOG_LEVEL}")
    return level


class Root(DBusObject):
    interface = LOG_INTERFACE
    domain = DOMAIN_LOG

    def __init__(self, service: "LogService") -> None:
        self.service = service

    @method("Attach", "interface:s", rule=administrator)
    async def attach(self, call: Call, interface: str) -> None:
        await self.service.senders.attach(await call.peer(), interface)

    @method("AssignSession", "session_path:o interface:s", rule=client_process)
    async def assign_session(self, call: Call, session_path: str, interface: str) -> None:
        self.service.senders.assign(call.sender, session_path, interface)

    @method("Detach", "interface:s", rule=anyone)
    async def detach(self, call: Call, interface: str) -> None:
        self.service.senders.detach(call.sender, interface)

    @method("GetSubscriberList", "", "subscribers:a(ssss)", rule=administrator)
    async def subscribers(self, call: Call) -> list[list[str]]:
        return [[str(s.tag), s.peer.name, s.interface, ""] for s in self.service.senders.attached.values()]

    @method("ProxyLogEvents", "target_address:s session_path:o", "proxy_path:o", rule=session_manager)
    async def proxy_log_events(self, call: Call, target: str, session_path: str) -> str:
        receiver = await self.service.dispatcher.peers.peer(target)
        return self.service.senders.forward(session_path, receiver, call.sender)

    @prop("version", "s", read=anyone)
    def version(self, call: Call) -> str:
        return API_VERSION

    @prop("log_method", "s", read=anyone)
    def log_method(self, call: Call) -> str:
        return self.service.output.writer.method

    @prop("log_level", "u", read=anyone, write=administrator)
    def log_level(self, call: Call) -> int:
        return self.service.output.level

    @log_level.setter
    def set_log_level(self, call: Call, value: int) -> None:
        self.service.output.level = checked_level(value)
        self.service.change("log_level", value)

    @prop("log_dbus_details", "b", read=anyone, write=administrator)
    def log_dbus_details(self, call: Call) -> bool:
        return bool(self.service.options.service_log_dbus_details)

    @log_dbus_details.setter
    def set_log_dbus_details(self, call: Call, value: bool) -> None:
        self.service.change("service_log_dbus_details", value)

    @prop("log_prefix_logtag", "b", read=anyone, write=administrator)
    def log_prefix_logtag(self, call: Call) -> bool:
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
        return os.fspath(self.service.config_file or "")

    @prop("num_attached", "u", read=anyone)
    def num_attached(self, call: Call) -> int:
        return len(self.service.senders.attached)

    @prop("statistics", "a{sx}", read=anyone)
    def statistics(self, call: Call) -> dict[str, int]:
        """Ours. Lines since the start: dropped for a writer that took no more, left out of a sender's that said too much."""
        output, senders = self.service.output, self.service.senders
        return {
            "LINES_WRITTEN": output.written,
            "LINES_DROPPED": output.dropped,
            "LINES_LEFT_OUT": senders.left_out,
        }


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
        self.senders.remove_proxy(self)

    @prop("log_level", "u", read=receiver_or_session_manager, write=receiver_or_session_manager)
    def log_level(self, call: Call) -> int:
        return self.log_level_now

    @log_level.setter
    def set_log_level(self, call: Call, value: int) -> None:
        self.log_level_now = checked_level(value)

    @prop("session_path", "o", read=receiver_or_session_manager)
    def session_path(self, call: Call) -> str:
        return self.session

    @prop("target", "o", read=receiver_or_session_manager, wire="s")
    def target_name(self, call: Call) -> str:
        return self.target.name
