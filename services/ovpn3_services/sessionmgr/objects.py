"""The session manager's objects: /net/openvpn/v3/sessions and one below it for each session."""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ovpn3.constants import (
    API_VERSION,
    DOMAIN_READY,
    LOG_NAME,
    MAX_LOG_LEVEL,
    SESSIONS_INTERFACE,
    StatusMajor,
    StatusMinor,
)
from ovpn3.dbus.access import AccessList, Governed, insider, owner, owner_or_granted, user
from ovpn3.dbus.describe import Signal
from ovpn3.dbus.dispatch import Call, DBusObject, anyone, method, prop
from ovpn3.dbus.wire import Message, Variant
from ovpn3.errors import ConfigurationRefused, Ovpn3Error, RemoteError, ServiceError
from ovpn3.proxies.backend import BackendClient
from ovpn3.proxies.log import Log as LogService
from ovpn3.proxies.log import LogProxy
from ovpn3_services.sessionmgr.past import Past
from ovpn3_services.sessionmgr.record import MAX_RECEIVERS, Record
from ovpn3_services.sessionmgr.restarts import Restarts

if TYPE_CHECKING:
    from ovpn3_services.sessionmgr.registry import Registry

LOG_TIMEOUT_S = 5.0  # for a log service that was killed to be there again
STATISTICS_TIMEOUT_S = 0.5  # for a client to count; its control thread may be busy
LOG = Signal("Log", "group:u level:u message:s")
NO_DCO = "data channel offload to the kernel is not available here; the tunnel does without"
FAILED_STAYS_S = 3.0  # so long can a front-end that polls see why; the original's looks every 1.3 s
# States of the client after which there is nothing left to manage; all with major CONNECTION.
CLOSING = (StatusMinor.CFG_ERROR, StatusMinor.CONN_DONE, StatusMinor.CONN_FAILED, StatusMinor.PROC_KILLED)
PAUSED = (StatusMinor.CONN_PAUSING, StatusMinor.CONN_PAUSED, StatusMinor.CONN_RESUMING)
# Properties of the client process that are kept here: their types, and the attributes they are kept in.
KEPT = {
    "device_name": ("s", "device_name"),
    "device_path": ("o", "device_path"),
    "device_place": ("s", "device_place"),
    "session_name": ("s", "session_name"),
    "connection": ("(sssu)", "connection"),
    "log_service": ("s", "log_service"),
    "status": ("(uus)", "status_now"),
    "last_log_line": ("a{sv}", "last_log_entry"),
    "log_level": ("u", "log_level"),
}


class Manager(DBusObject):
    """The root object."""

    interface = SESSIONS_INTERFACE
    signals = (LOG, Signal("SessionManagerEvent", "path:o type:q owner:u"))

    def __init__(self, registry: "Registry") -> None:
        self.registry = registry

    @method("NewTunnel", "config_path:o", "session_path:o", rule=anyone)
    async def new_tunnel(self, call: Call, config_path: str) -> str:
        """Start a client that reads the profile, and doesn't connect yet. SessionManagerEvent follows the reply."""
        return await self.registry.new_tunnel(config_path, await call.uid())

    @method("FetchAvailableSessions", "", "paths:ao", rule=anyone)
    async def fetch_available(self, call: Call) -> list[str]:
        """Sessions that the caller may use."""
        return [s.path for s in self.registry.visible_to(await call.uid())]

    @method("FetchManagedInterfaces", "", "devices:as", rule=anyone)
    async def fetch_interfaces(self, call: Call) -> list[str]:
        """Network interfaces of those; empty text for one that has none yet."""
        return [s.interface_name for s in self.registry.visible_to(await call.uid())]

    @method("LookupConfigName", "config_name:s", "session_paths:ao", rule=anyone)
    async def lookup_config_name(self, call: Call, config_name: str) -> list[str]:
        """Those among them whose profile had this name when they were started."""
        return [s.path for s in self.registry.visible_to(await call.uid()) if s.config_name == config_name]

    @method("LookupInterface", "device_name:s", "session_path:o", rule=anyone)
    async def lookup_interface(self, call: Call, device_name: str) -> str:
        """The one among them with this network interface."""
        sessions = self.registry.visible_to(await call.uid())
        found = [s.path for s in sessions if s.device_name == device_name]
        found = found or [s.path for s in sessions if s.interface_name == device_name]
        if not device_name or not found:
            raise ConfigurationRefused(f"no session has the interface {device_name!r}")
        if len(found) > 1:
            raise ConfigurationRefused(f"more than one session has the interface {device_name!r}")
        return found[0]

    @prop("version", "s", read=anyone)
    def version(self, call: Call) -> str:
        """What these services are compatible with, as v<number>, and whose they are."""
        return API_VERSION


async def log_access(session: "SessionObject", call: Call) -> None:
    """The owner; who has access, too, once restrict_log_access is off."""
    await (owner if session.restrict_log_access else user)(session, call)


class SessionObject(DBusObject, Governed):
    """One tunnel. What the client process says of itself is kept here, so that reading costs no call to it."""

    interface = SESSIONS_INTERFACE
    signals = (
        Signal("AttentionRequired", "code_major:u code_minor:u message:s"),
        Signal("StatusChange", "code_major:u code_minor:u message:s"),
        LOG,
    )

    def __init__(
        self,
        registry: "Registry",
        path: str,
        config_path: str,
        access: AccessList,
        backend: BackendClient,
        pid: int,
    ) -> None:
        self.registry, self.path, self.config_path, self.access = registry, path, config_path, access
        self.config_name = ""
        self.automatic_restart = False
        self.restarts = Restarts()
        self._past = Past()
        self.created = int(time.time())
        self.restrict_log_access = True
        self.status_now: tuple[int, int, str] = (0, 0, "")
        self.last_log_entry: dict[str, Any] = {}
        self.log_level = MAX_LOG_LEVEL  # until the client has read its profile
        self.managed_by(backend, pid)
        self._counters: dict[str, int] = {}  # as last fetched
        self._counting: asyncio.Task[None] | None = None  # at most one, for all who ask
        # By unique name of the receiver; None while there is no log service that could forward.
        self._forwards: dict[str, LogProxy | None] = {}
        self._forwarding = asyncio.Lock()
        self._log_changed = asyncio.Event()  # set with the next change of `log_service`
        self._last_device_name = ""
        self._dco_wanted = False
        self.failed = False  # the client has ended, without a word from us
        self._closing, self.closed = False, asyncio.get_running_loop().create_future()
        self._restarting = False
        self._connect_asked = False

    def managed_by(self, backend: BackendClient, pid: int) -> None:
        """A client process has registered."""
        self.backend, self.pid = backend, pid
        # As pushed by it, in its own spelling.
        self.device_name, self.device_path, self.device_place, self.session_name = "", "/", "", ""
        self.connection: tuple[str, str, str, int] = ("", "", "", 0)
        self.log_service = ""  # unique name of the one that knows the session

    async def visible(self, call: Call) -> bool:
        uid = await call.uid()
        return uid == 0 or self.access.may_use(uid)

    # -- custody: see `record` --------------------------------------------------------------------
    def entrust(self) -> None:
        """Have the client keep our record as it now is: due whenever something in it has changed."""
        record = Record(
            path=self.path,
            config_path=self.config_path,
            config_name=self.config_name,
            owner=self.access.owner,
            granted=self.access.granted,
            public=self.access.public,
            restrict_log_access=self.restrict_log_access,
            created=self.created,
            connect_asked=self._connect_asked,
            automatic_restart=self.automatic_restart,
            receivers=list(self._forwards),
        )
        self.backend.keep_record(record.pack())

    def restore(self, record: Record, state: dict[str, Variant]) -> None:
        """Go on where a predecessor ended; `state` are the client's properties."""
        self.config_name, self.created = record.config_name, record.created
        self.restrict_log_access = record.restrict_log_access
        self._connect_asked, self.automatic_restart = record.connect_asked, record.automatic_restart
        self._forwards = dict.fromkeys(record.receivers)
        self._take(state)

    # -- control ----------------------------------------------------------------------------------
    @method("Ready", rule=user)
    async def ready(self, call: Call) -> None:
        """An error names what is missing before Connect: `Missing user credentials` or `Pending web authentication`."""
        try:
            await self.backend.ready()
        except RemoteError as e:
            # Front-ends look for this domain and the client's words.
            raise ServiceError(DOMAIN_READY, str(e)) if e.name == DOMAIN_READY else e from None

    @method("Connect", rule=user)
    async def connect(self, call: Call) -> None:
        """Begin to connect; how it goes is told by StatusChange."""
        self._connect_asked = True
        self.entrust()
        await self.backend.connect()

    @method("Restart", rule=user)
    async def restart(self, call: Call) -> None:
        """Connect anew at once."""
        await self.backend.restart()

    @method("Pause", "reason:s", rule=user)
    async def pause(self, call: Call, reason: str) -> None:
        """Take the tunnel down, keeping the session. The reason is shown in the status."""
        await self.backend.pause(reason)

    @method("Resume", rule=user)
    async def resume(self, call: Call) -> None:
        """Connect again after a pause."""
        await self.backend.resume()

    @method("Disconnect", rule=user)
    async def disconnect(self, call: Call) -> None:
        """End the session. When this returns, nothing of the tunnel is left."""
        await self.close()

    @method("AccessGrant", "uid:u", rule=owner)
    async def access_grant(self, call: Call, uid: int) -> None:
        """Let a user manage the session."""
        self.access.grant(uid)
        self.entrust()
        self.registry.log.info(f"access granted to user id {uid} by user id {await call.uid()}", path=self.path)

    @method("AccessRevoke", "uid:u", rule=owner)
    async def access_revoke(self, call: Call, uid: int) -> None:
        """Take that away again."""
        self.access.revoke(uid)
        self.entrust()
        self.registry.log.info(f"access revoked from user id {uid} by user id {await call.uid()}", path=self.path)

    # -- user input -------------------------------------------------------------------------------
    @method("UserInputQueueGetTypeGroup", "", "type_group_list:a(uu)", rule=user)
    async def type_groups(self, call: Call) -> list[Any]:
        """(type, group) of every question that is still open, in the order in which they were asked."""
        return await self.backend.type_groups()

    @method(
        "UserInputQueueFetch",
        "type:u group:u id:u",
        "type:u group:u id:u name:s description:s hidden_input:b",
        rule=user,
    )
    async def fetch(self, call: Call, type_: int, group: int, number: int) -> list[Any]:
        """One question: its variable's name, what to show the user, and whether the answer is to be hidden."""
        return await self.backend.fetch(type_, group, number)

    @method("UserInputQueueCheck", "type:u group:u", "indexes:au", rule=user)
    async def check(self, call: Call, type_: int, group: int) -> list[int]:
        """Numbers of a group's questions that are still open."""
        return await self.backend.check(type_, group)

    @method("UserInputProvide", "type:u group:u id:u value:s", rule=user)
    async def provide(self, call: Call, type_: int, group: int, number: int, value: str) -> None:
        """Answer a question. Control characters are dropped; an empty answer is refused."""
        await self.backend.provide(type_, group, number, value)

    # -- log forwarding ---------------------------------------------------------------------------
    @method("LogForward", "enable:b", rule=log_access)
    async def log_forward(self, call: Call, enable: bool) -> None:
        """Send the caller, or no longer, Log and StatusChange of the session, which come from the log service."""
        async with self._forwarding:
            await self._stop_forward(call.sender)
            if enable:
                if len(self._forwards) >= MAX_RECEIVERS:
                    raise ConfigurationRefused(f"the log is forwarded to {MAX_RECEIVERS} receivers already")
                self._forwards[call.sender] = await self._forward(call.sender)
        self.entrust()

    @method("LogHistory", "", "lines:a(xbuus)", rule=log_access)
    async def log_history(self, call: Call) -> list[list[Any]]:
        """Ours: the last lines and status changes, 200 at most, which a killed session manager takes along. Unix time;
        whether it is a status; major and minor code, or log group and category; text."""
        return [list(line) for line in self._past.lines()]

    async def _forward(self, receiver: str) -> LogProxy:
        """A log service that has just started may have to hear of the session first, from the client."""
        bus = self.registry.bus
        try:
            return await LogService(bus).proxy_log_events(receiver, self.path)
        except RemoteError:
            if self.log_service == await bus.name_owner(LOG_NAME):
                raise
        with suppress(TimeoutError):
            async with asyncio.timeout(LOG_TIMEOUT_S):
                while self.log_service != await bus.name_owner(LOG_NAME):
                    await self._log_changed.wait()
        return await LogService(bus).proxy_log_events(receiver, self.path)

    async def _stop_forward(self, receiver: str) -> None:
        if proxy := self._forwards.pop(receiver, None):
            try:
                await proxy.remove()
            except RemoteError as e:
                self.registry.log.debug(f"log forwarding to {receiver} had ended already: {e}", path=self.path)

    def receiver_gone(self, name: str) -> None:
        """A bus name has no owner any more; the log service notices that by itself."""
        if name in self._forwards:
            del self._forwards[name]
            self.entrust()

    async def renew_forwards(self) -> None:
        """Have a new log service do what the last one did; or the same one, which forgot it with our predecessor."""
        async with self._forwarding:
            for receiver in [r for r, proxy in self._forwards.items() if proxy is None]:
                try:
                    proxy = await LogService(self.registry.bus).proxy_log_events(receiver, self.path)
                except RemoteError as e:
                    self.registry.log.debug(f"log forwarding to {receiver} not renewed: {e}", path=self.path)
                    continue
                if receiver in self._forwards:
                    self._forwards[receiver] = proxy
        # What was said meanwhile has reached nobody: the last of it is what counts.
        if any(self._forwards.values()) and any(self.status_now[:2]):
            self._tell(*self.status_now)

    # -- what the client process says -------------------------------------------------------------
    def on_signal(self, m: Message) -> None:
        match m.member, m.signature:
            case "StatusChange", "uus":
                self._on_status(*m.body)
            case "AttentionRequired", "uus":
                self.registry.dispatcher.emit(self.path, "AttentionRequired", *m.body)
            case "Log", "uuss":
                group, category, _, message = m.body
                self._past.note(False, group, category, message)
                self.last_log_entry = {
                    "log_group": Variant("u", group),
                    "log_category": Variant("u", category),
                    "log_message": Variant("s", message),
                }
            case "PropertiesChanged", "sa{sv}as":
                self._on_properties(m.body[1])

    def _on_properties(self, changed: dict[str, Variant]) -> None:
        log_service = self.log_service
        self._take(changed)
        if self.log_service != log_service:
            self._log_changed.set()
            self._log_changed = asyncio.Event()
            self._forwards = dict.fromkeys(self._forwards)
            self.registry.spawn(self.renew_forwards())

    def _take(self, values: dict[str, Variant]) -> None:
        """Values are our own client's, but a process can be taken over: each is checked for its type."""
        for name, (type_, attribute) in KEPT.items():
            value = values.get(name)
            if value is not None and value.signature == type_:
                setattr(self, attribute, value.value)
        self._last_device_name = self.device_name or self._last_device_name

    @property
    def interface_name(self) -> str:
        """Of a paused session the one it had: by that name it may be resumed."""
        paused = self.status_now[0] == StatusMajor.CONNECTION and self.status_now[1] in PAUSED
        return self.device_name or (self._last_device_name if paused else "")

    def _on_status(self, major: int, minor: int, message: str) -> None:
        self.status_now = (major, minor, message)
        self._past.note(True, major, minor, message)
        if major != StatusMajor.CONNECTION or minor not in CLOSING:
            return
        if minor == StatusMinor.CONN_FAILED:
            self.failed = True
            self.registry.client_done(self)
            asyncio.get_running_loop().call_later(FAILED_STAYS_S, self.spawn_close)
        else:
            self.spawn_close()

    def backend_gone(self) -> None:
        """The client's bus name is gone. Nothing to do if it has been asked to go."""
        if self._closing or self._restarting:
            return
        if self.automatic_restart and self._connect_asked:
            self.registry.spawn(self._restart())
        else:
            self.killed()

    def killed(self) -> None:
        """Close a session that has lost its client."""
        self.status_now = (StatusMajor.SESSION, StatusMinor.PROC_KILLED, "the client process is gone")
        self.spawn_close(StatusMinor.PROC_KILLED)

    async def _restart(self) -> None:
        """Have another client process, after a while, or after several; or give up."""
        self._restarting = True
        connected = (StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTED)
        was_up = self.status_now[:2] == connected
        now = asyncio.get_running_loop().time
        while not self._closing and (delay := self.restarts.next_delay(now(), was_up=was_up)) is not None:
            self.managed_by(self.backend, self.pid)
            text = f"the client process is gone; another one is started in {delay:g} s"
            self.registry.log.warn(text, path=self.path)
            self.status_now = (StatusMajor.CONNECTION, StatusMinor.CONN_RECONNECTING, text)
            self._past.note(True, *self.status_now)
            self._tell(*self.status_now)
            await asyncio.wait({self.closed}, timeout=delay)
            was_up = False
            if not self._closing and await self.registry.replace_client(self):
                break
        else:
            self.killed()
        self._restarting = False

    # -- end --------------------------------------------------------------------------------------
    async def close(self) -> None:
        """Disconnect in order: the client has cleaned up when this returns. A second caller waits for the first."""
        if not self._closing:
            self._closing = True
            if not self.failed:
                await self._disconnect_client()
            await self._finish(StatusMinor.PROC_STOPPED)
        else:
            await asyncio.shield(self.closed)

    async def _disconnect_client(self) -> None:
        try:
            await self.backend.disconnect()
        except Ovpn3Error as e:
            self.registry.log.debug(f"the client did not disconnect: {e}", path=self.path)
            self.backend.force_shutdown()

    def spawn_close(self, how: StatusMinor = StatusMinor.PROC_STOPPED) -> None:
        """Close it without the client, which has ended."""
        if not self._closing:
            self._closing = True
            self.registry.spawn(self._finish(how))

    async def _finish(self, how: StatusMinor) -> None:
        text = "session closed" if how is StatusMinor.PROC_STOPPED else "the client process is gone"
        if self.path in self.registry.sessions:
            self._tell(StatusMajor.SESSION, how, text)
        # Forwarding ends before the session does, so that who listens hears this status first.
        while self._forwards:
            await self._stop_forward(next(iter(self._forwards)))
        self.registry.remove(self)
        self.closed.set_result(None)

    def _tell(self, major: int, minor: int, text: str) -> None:
        """A status of ours, to those that the log is forwarded to."""
        if receiver := self.registry.log.receiver:
            self.registry.dispatcher.emit(self.path, "StatusChange", int(major), int(minor), text, destination=receiver)

    # -- properties -------------------------------------------------------------------------------
    @prop("owner", "u", read=insider)
    def owner_uid(self, call: Call) -> int:
        """uid."""
        return self.access.owner

    @prop("session_created", "t", read=insider)
    def session_created(self, call: Call) -> int:
        """Seconds since 1970."""
        return self.created

    @prop("acl", "au", read=insider)
    def acl(self, call: Call) -> list[int]:
        """uids that access was granted to; not the owner's."""
        return self.access.granted

    @prop("public_access", "b", read=insider, write=owner)
    def public_access(self, call: Call) -> bool:
        """Whether everybody may manage the session."""
        return self.access.public

    @public_access.setter
    def set_public_access(self, call: Call, value: bool) -> None:
        self.access.public = value
        self.entrust()

    @prop("status", "(uus)", read=insider)
    def status(self, call: Call) -> list[Any]:
        """Major and minor code and text, as by the last StatusChange; (0, 0, '') before the first."""
        return list(self.status_now)

    @prop("last_log", "a{sv}", read=insider)
    def last_log(self, call: Call) -> dict[str, Any]:
        """The last line logged: log_group, log_category, log_message; empty before the first."""
        return self.last_log_entry

    @prop("statistics", "a{sx}", read=insider)
    async def statistics(self, call: Call) -> dict[str, int]:
        """Counters by name, those that aren't zero. A client that doesn't answer at once leaves the last ones."""
        if self._counting is None or self._counting.done():
            self._counting = self.registry.spawn(self._count())
        await asyncio.wait({self._counting}, timeout=STATISTICS_TIMEOUT_S)
        return self._counters

    async def _count(self) -> None:
        with suppress(Ovpn3Error):
            self._counters = await self.backend.statistics()

    @prop("dco", "b", read=insider, write=owner_or_granted)
    def dco(self, call: Call) -> bool:
        """Whether the kernel's data channel is wanted, while there is no device; then whether it is in use: never."""
        return self._dco_wanted and not self.device_name

    @dco.setter
    def set_dco(self, call: Call, value: bool) -> None:
        if self._connect_asked:
            raise ConfigurationRefused("dco can't be changed once the session is connecting")
        if value:
            # As the original, where the kernel has none: who asks for it wants a tunnel in the first place.
            self.registry.log.warn(NO_DCO, path=self.path)
        self._dco_wanted = value

    @prop("device_path", "s", read=insider, wire="o")
    def device_object(self, call: Call) -> str:
        """The network service's object of the interface; / while there is none."""
        return self.device_path

    @prop("device_name", "s", read=insider)
    def device(self, call: Call) -> str:
        """The network interface; of a paused session the one it had; empty while there is none."""
        return self.interface_name

    @prop("device_place", "s", read=insider)
    def place_of_device(self, call: Call) -> str:
        """Where the interface is, if not with all others: `netns NAME`, or `table NUMBER` for its routes."""
        return self.device_place

    @prop("config_path", "o", read=insider)
    def config(self, call: Call) -> str:
        """The profile it was started with, which may be gone."""
        return self.config_path

    @prop("config_name", "s", read=insider)
    def name_of_config(self, call: Call) -> str:
        """The profile's name at that time."""
        return self.config_name

    @prop("connected_to", "(ssu)", read=insider)
    def connected_to(self, call: Call) -> list[Any]:
        """Protocol, address and port of the server; ('', '', 0) unless connected."""
        protocol, _, address, port = self.connection
        return [protocol, address, port]

    @prop("session_name", "s", read=insider)
    def name_of_session(self, call: Call) -> str:
        """The server's name as the profile has it; empty unless connected."""
        return self.session_name

    @prop("backend_pid", "u", read=insider)
    def backend_pid(self, call: Call) -> int:
        """Process id of the client."""
        return self.pid

    @prop("restrict_log_access", "b", read=insider, write=owner)
    def restricts_log(self, call: Call) -> bool:
        """Whether the log is forwarded to the owner alone."""
        return self.restrict_log_access

    @restricts_log.setter
    def set_restrict_log_access(self, call: Call, value: bool) -> None:
        self.restrict_log_access = value
        self.entrust()

    @prop("log_forwards", "ao", read=insider)
    def log_forwards(self, call: Call) -> list[str]:
        """The log service's objects of its forwardings."""
        return [proxy.path for proxy in self._forwards.values() if proxy]

    @prop("log_verbosity", "u", read=insider, write=owner_or_granted)
    def log_verbosity(self, call: Call) -> int:
        """How much the client logs: 0 to 6."""
        return self.log_level

    @log_verbosity.setter
    async def set_log_verbosity(self, call: Call, value: int) -> None:
        if value > MAX_LOG_LEVEL:
            raise ConfigurationRefused(f"a log level is 0 to {MAX_LOG_LEVEL}")
        await self.backend.set("log_level", "u", value)
