"""Sessions and those about to be: start of a client process, its registration, the end of either.

NewTunnel          -> token and path are noted, the backend starter forks a client that knows the token
RegistrationRequest -> the token names the session; the client is told its paths and reads its profile
name of the client gone -> the session is closed, whatever it was doing
"""

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field

from dbus_fast import Message

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    CLIENT_NAME_PREFIX,
    CLIENT_PATH,
    DOMAIN_REQUEST,
    SESSIONS_INTERFACE,
    SESSIONS_PATH,
    SessionEvent,
)
from ovpn3.dbus.access import AccessList, service_uid
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.dispatch import Dispatcher
from ovpn3.errors import AccessDenied, ConfigurationRefused, Ovpn3Error, ServiceError
from ovpn3.proxies.backend import BackendClient, BackendStarter
from ovpn3.proxies.config import Configuration
from ovpn3_services.common.log import Log
from ovpn3_services.sessionmgr.objects import SessionObject

REGISTRATION_TIMEOUT_S = 15.0  # from the request to start a client until it has read its profile


def _path_uuid(marker: str) -> str:
    """A random UUID whose dashes are `marker`, the form object paths and tokens have."""
    return str(uuid.uuid4()).replace("-", marker)


@dataclass
class Starting:
    """A tunnel that was asked for and whose client hasn't registered yet."""

    path: str
    config_path: str
    uid: int
    registered: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Registry:
    def __init__(self, bus: Bus, dispatcher: Dispatcher, log: Log) -> None:
        self.bus, self.dispatcher, self.log = bus, dispatcher, log
        self.sessions: dict[str, SessionObject] = {}  # by object path
        self._by_client: dict[str, SessionObject] = {}  # by unique name of the client process
        self._starting: dict[str, Starting] = {}  # by token
        self._tasks: set[asyncio.Task[None]] = set()

    def busy(self) -> bool:
        return bool(self.sessions or self._starting)

    def visible_to(self, uid: int) -> list[SessionObject]:
        return [s for s in self.sessions.values() if s.access.may_use(uid)]

    # -- start ------------------------------------------------------------------------------------
    async def new_tunnel(self, config_path: str, uid: int) -> str:
        """Path of a new session with a registered client that has accepted the profile."""
        if not await Configuration(self.bus, config_path).check_access(uid):
            raise AccessDenied(f"no profile of yours at {config_path}")
        if any(s.config_path == config_path for s in self.visible_to(uid)):
            raise ConfigurationRefused(f"a session with the profile {config_path} is running already")
        token = _path_uuid("t")
        starting = Starting(f"{SESSIONS_PATH}/{_path_uuid('s')}", config_path, uid)
        self._starting[token] = starting
        try:
            async with asyncio.timeout(REGISTRATION_TIMEOUT_S):
                pid = await BackendStarter(self.bus).start_client(token)
                watch = await self.bus.watch_name(f"{CLIENT_NAME_PREFIX}{pid}", lambda o: self._lost(starting, o))
                try:
                    await starting.registered
                finally:
                    watch.cancel()
        except TimeoutError:
            raise ConfigurationRefused("the client process did not register in time") from None
        finally:
            self._starting.pop(token, None)
        session = self.sessions[starting.path]
        # After the reply to this call: a front-end then knows the path that the event names.
        asyncio.get_running_loop().call_soon(self._announce, session, SessionEvent.SESS_CREATED, uid)
        return starting.path

    def _lost(self, starting: Starting, owner: str) -> None:
        if not owner and not starting.registered.done():
            starting.registered.set_exception(ConfigurationRefused("the client process ended at its start"))

    def on_backend_signal(self, m: Message) -> None:
        """A signal from a client process: of one of ours, or a registration. Others are not listened to."""
        session = self._by_client.get(m.sender or "")
        if session is not None:
            session.on_signal(m)
        elif m.member == "RegistrationRequest" and m.signature == "ssi":
            self._spawn(self._register(m.sender or "", *m.body[:2]))

    async def _register(self, client: str, bus_name: str, token: str) -> None:
        """The client with unique name `client` says that it is the one started for `token`."""
        try:
            peer = await self.dispatcher.peers.peer(client)
            owner = await self.bus.name_owner(bus_name)
        except AccessDenied as e:
            self.log.error(f"registration refused: {e}")
            return
        genuine = bus_name == f"{CLIENT_NAME_PREFIX}{peer.pid}" and owner == client and peer.uid == service_uid()
        starting = self._starting.get(token) if genuine else None
        if starting is None or starting.path in self.sessions:
            self.log.crit(f"registration of {bus_name} by {client} (uid {peer.uid}) refused: not expected")
            return
        try:
            await self._admit(starting, client, peer.pid, token)
        except Ovpn3Error as e:
            if session := self.sessions.get(starting.path):
                self._forget(session)
            self.bus.call_no_reply(client, CLIENT_PATH, BACKENDS_INTERFACE, "ForceShutdown")
            if not starting.registered.done():
                text = f"the client could not be started: {e}"
                starting.registered.set_exception(ServiceError(DOMAIN_REQUEST, text))
            return
        if not starting.registered.done():
            starting.registered.set_result(None)

    async def _admit(self, starting: Starting, client: str, pid: int, token: str) -> None:
        profile = Configuration(self.bus, starting.config_path)
        access = AccessList(starting.uid)
        transferred = await profile.get("transfer_owner_session")
        if transferred:
            access = AccessList(await profile.get("owner"))
            if access.owner != starting.uid:
                access.grant(starting.uid)
        session = SessionObject(self, starting.path, starting.config_path, access, BackendClient(self.bus, client), pid)
        session.restrict_log_access = not transferred
        self.sessions[starting.path] = self._by_client[client] = session
        self.dispatcher.export(starting.path, session)
        session.watch = await self.bus.watch_name(client, lambda owner: None if owner else session.backend_gone())
        if not await self.bus.name_owner(client):
            raise ConfigurationRefused("the client process ended at its start")
        session.config_name = await session.backend.confirm(token, starting.path, starting.config_path)

    # -- end --------------------------------------------------------------------------------------
    def remove(self, session: SessionObject) -> None:
        """Take a closed session off the bus and tell everybody. Once: a second call does nothing."""
        if session.path in self.sessions:
            self._forget(session)
            if session.config_name:  # without one it never was announced
                self._announce(session, SessionEvent.SESS_DESTROYED, session.access.owner)

    def _forget(self, session: SessionObject) -> None:
        self.sessions.pop(session.path, None)
        self._by_client.pop(session.backend.service, None)
        self.dispatcher.unexport(session.path)
        if session.watch:
            session.watch.cancel()

    def _announce(self, session: SessionObject, event: SessionEvent, uid: int) -> None:
        self.bus.emit(SESSIONS_PATH, SESSIONS_INTERFACE, "SessionManagerEvent", "oqu", session.path, int(event), uid)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
