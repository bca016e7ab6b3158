"""Sessions and those about to be: start of a client process, its registration, the end of either.

NewTunnel           -> token and path are noted, the backend starter forks a client that knows the token
RegistrationRequest -> the token names the session; the client is told its paths and reads its profile
name of the client gone -> the session is closed, whatever it was doing
our own start       -> clients that a killed predecessor left behind are asked for what they keep of their sessions
"""

import asyncio
import math
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    CLIENT_NAME_PREFIX,
    DOMAIN_REQUEST,
    NETCFG_NAME,
    NETCFG_PATH,
    SESSIONS_INTERFACE,
    SESSIONS_PATH,
    SessionEvent,
)
from ovpn3.dbus.access import AccessList
from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH, NO_REPLY, Bus, Match
from ovpn3.dbus.dispatch import PEER, Dispatcher
from ovpn3.dbus.peers import Peer
from ovpn3.dbus.wire import Message, Variant
from ovpn3.errors import AccessDenied, ConfigurationRefused, Ovpn3Error, RemoteError, ServiceError
from ovpn3.proxies.backend import BackendClient, BackendStarter
from ovpn3.proxies.config import Configuration, SessionTerms
from ovpn3.proxies.log import SessionLine, tag_of
from ovpn3_services.common.clients import Clients
from ovpn3_services.common.log import Log
from ovpn3_services.common.text import random_uuid
from ovpn3_services.sessionmgr.objects import SessionObject
from ovpn3_services.sessionmgr.record import Record

REGISTRATION_TIMEOUT_S = 15.0  # from the request to start a client until it has read its profile
TAKE_BACK_TIMEOUT_S = 3.0  # so long do calls wait for a predecessor's sessions
MAX_AT_ONCE = max(2, len(os.sched_getaffinity(0)))  # clients at their start: more share processors, and all are late
NETWORK_TRIES = 3
CLEANING_UP_S = 30.0  # at most, after a lost client, by the network service
MAX_PENDING = 1000  # signals of a client that is being taken back
MAX_SESSIONS_PER_OWNER = 100  # each is a process
ENDED = "the client process is gone"
ENDED_AT_START = "the client process ended at its start"


@contextmanager
def _watched(pid: int, ended: Callable[[], None]) -> Iterator[None]:
    """Within the block `ended` is called, perhaps repeatedly, once the process has ended."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        ended()
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended)
    try:
        yield
    finally:
        loop.remove_reader(handle)
        os.close(handle)


@dataclass
class Starting:
    """A tunnel that was asked for and whose client isn't ready yet."""

    token: str
    path: str
    config_path: str
    uid: int
    client: "asyncio.Future[Peer]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, reason: str) -> None:
        if not self.client.done():
            self.client.set_exception(ConfigurationRefused(reason))


class Registry:
    def __init__(self, bus: Bus, dispatcher: Dispatcher, log: Log) -> None:
        self.bus, self.dispatcher, self.log = bus, dispatcher, log
        self._clients = Clients(bus)
        self.sessions: dict[str, SessionObject] = {}  # by object path
        self._by_client: dict[str, SessionObject] = {}  # by unique name of the client process
        self._starting: dict[str, Starting] = {}  # by token
        self._returning: dict[str, deque[Message]] = {}  # signals of clients being taken back, by unique name
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._last_loss = -math.inf  # of a client, in the loop's time
        self._tasks: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Begin to notice who leaves the bus: one subscription for all, of which a connection has 512 at most."""
        await self._clients.watch()
        gone = Match(DAEMON_NAME, "NameOwnerChanged", DAEMON_NAME, arg2="")
        await self.bus.subscribe(gone, lambda m: self._on_gone(m.body[0]))

    def _on_gone(self, name: str) -> None:
        self._returning.pop(name, None)
        now = asyncio.get_running_loop().time()
        if session := self._by_client.get(name):
            session.backend_gone()
            self._last_loss = now
            self.spawn(self.restore_network())
        elif name == NETCFG_NAME and now - self._last_loss < CLEANING_UP_S:
            self.spawn(self.restore_network())  # it may have been amid that
        for session in self.sessions.values():
            session.receiver_gone(name)

    def busy(self) -> bool:
        return bool(self.sessions or self._starting or self._returning)

    def visible_to(self, uid: int) -> list[SessionObject]:
        return [s for s in self.sessions.values() if s.access.may_use(uid)]

    # -- start ------------------------------------------------------------------------------------
    async def new_tunnel(self, config_path: str, uid: int) -> str:
        """Path of a new session with a registered client that has accepted the profile."""
        terms = await Configuration(self.bus, config_path).session_terms(uid)
        if not terms.allowed:
            raise AccessDenied(f"no profile of yours at {config_path}")
        for session in self.visible_to(uid):
            if session.failed and session.config_path == config_path:
                session.spawn_close()
        if self._in_use(config_path, uid):
            raise ConfigurationRefused("A session with this configuration profile is already running")
        if self._count(uid) >= MAX_SESSIONS_PER_OWNER:
            raise ConfigurationRefused(f"user id {uid} has {MAX_SESSIONS_PER_OWNER} sessions already")
        starting = Starting(random_uuid("t"), f"{SESSIONS_PATH}/{random_uuid('s')}", config_path, uid)
        async with self._client_for(starting) as client:
            session = await self._admit(starting, client, terms)
        # After the reply to this call: a front-end then knows the path that the event names.
        asyncio.get_running_loop().call_soon(self._announce_new, session, uid)
        return starting.path

    def _announce_new(self, session: SessionObject, uid: int) -> None:
        self._announce(session, SessionEvent.SESS_CREATED, uid)
        session.announced()

    @asynccontextmanager
    async def _client_for(self, starting: Starting) -> AsyncIterator[Peer]:
        """A new client that has registered; the block tells it what it is for, also in time."""
        self._starting[starting.token] = starting
        try:
            async with self._turns, asyncio.timeout(REGISTRATION_TIMEOUT_S):
                pid = await self._start_client(starting.token)
                with _watched(pid, lambda: starting.fail(ENDED_AT_START)):
                    client = await starting.client
                yield client
        except TimeoutError:
            raise ConfigurationRefused("the client process did not register in time") from None
        finally:
            del self._starting[starting.token]

    async def _start_client(self, token: str) -> int:
        """Pid of a new client. A starter that dies over it has a successor, and of two clients one is refused."""
        starter = BackendStarter(self.bus)
        try:
            return await starter.start_client(token)
        except RemoteError as e:
            if e.name != NO_REPLY:
                raise
        return await starter.start_client(token)

    def _in_use(self, config_path: str, uid: int) -> bool:
        """Whether the user knows of a session with that profile, or is just starting one."""
        running = (s.config_path for s in self.visible_to(uid) if not s.failed)
        starting = (s.config_path for s in self._starting.values() if s.uid == uid)
        return config_path in (*running, *starting)

    def _count(self, uid: int) -> int:
        """Sessions that the user has or is starting."""
        starting = (s for s in self._starting.values() if s.path not in self.sessions)
        return sum(s.access.owner == uid for s in self.sessions.values()) + sum(s.uid == uid for s in starting)

    def on_backend_signal(self, m: Message) -> None:
        """A signal from a client process: of one of ours, or a registration. Others are not listened to."""
        sender = m.sender or ""
        session = self._by_client.get(sender)
        if session is not None:
            session.on_signal(m)
        elif sender in self._returning:
            self._returning[sender].append(m)
        elif m.member == "RegistrationRequest" and m.signature == "ssi":
            self.spawn(self._register(sender, *m.body[:2]))

    async def _register(self, client: str, bus_name: str, token: str) -> None:
        """The client with unique name `client` says that it is the one started for `token`."""
        try:
            peer = await self.dispatcher.peers.peer(client)
        except AccessDenied as e:
            self.log.error(f"registration refused: {e}")
            return
        genuine = bus_name == f"{CLIENT_NAME_PREFIX}{peer.pid}" and await self._clients.include(peer)
        starting = self._starting.get(token)
        if genuine and starting and not starting.client.done():
            starting.client.set_result(peer)
            return
        self.log.crit(f"registration of {bus_name} by {client} (uid {peer.uid}) refused: not expected")
        if genuine:
            BackendClient(self.bus, client).force_shutdown()  # nobody else will ever have work for it

    async def _admit(self, starting: Starting, client: Peer, terms: SessionTerms) -> SessionObject:
        """The session of a client that has read its profile; without one the client is ended."""
        backend = BackendClient(self.bus, client.name)
        with ExitStack() as undo:
            undo.callback(backend.force_shutdown)
            access = AccessList(starting.uid)
            if terms.transfer_owner_session:
                access = AccessList(terms.owner)
                if access.owner != starting.uid:
                    access.grant(starting.uid)
            session = SessionObject(self, starting.path, starting.config_path, access, backend, client.pid)
            session.restrict_log_access = not terms.transfer_owner_session
            session.automatic_restart = terms.automatic_restart == "on-failure"
            self.sessions[session.path] = self._by_client[client.name] = session
            undo.callback(self._forget, session)
            self.dispatcher.export(session.path, session)
            try:
                name = await backend.confirm(starting.token, starting.path, starting.config_path)
            except Ovpn3Error as e:
                raise ServiceError(DOMAIN_REQUEST, f"the client could not be started: {e}") from None
            if session.path not in self.sessions:
                raise ConfigurationRefused(ENDED_AT_START)
            session.config_name = name
            session.entrust()
            undo.pop_all()
        self._note_client(session)
        return session

    def _note_client(self, session: SessionObject) -> None:
        """Let the log tell whose lines a client's are."""
        tag = tag_of(session.backend.service, BACKENDS_INTERFACE)
        line = SessionLine(session.path, tag, session.access.owner, session.config_name)
        self.log.info(line.text(), path=session.path)

    async def replace_client(self, session: SessionObject) -> bool:
        """Start another client for a session whose own has died, and have it connect. False if that didn't work."""
        self._by_client.pop(session.backend.service, None)
        starting = Starting(random_uuid("t"), session.path, session.config_path, session.access.owner)
        try:
            async with self._client_for(starting) as client:
                await self._hand_over(session, starting, client)
        except Ovpn3Error as e:
            self.log.error(f"the client process can't be replaced: {e}", path=session.path)
            return False
        self._announce(session, SessionEvent.SESS_CREATED, session.access.owner)
        return True

    async def _hand_over(self, session: SessionObject, starting: Starting, client: Peer) -> None:
        backend = BackendClient(self.bus, client.name)
        with ExitStack() as undo:
            undo.callback(backend.force_shutdown)
            undo.callback(self._by_client.pop, client.name, None)
            if session.path not in self.sessions:
                raise ConfigurationRefused("the session has been closed")
            self._by_client[client.name] = session
            session.managed_by(backend, client.pid)
            self._note_client(session)
            try:
                await backend.confirm(starting.token, starting.path, starting.config_path)
                session.entrust()
                await backend.ready()
                await backend.connect()
            except RemoteError:
                session.killed()  # profile or input are missing: another try would end alike
                raise
            undo.pop_all()

    def give_up_starts(self) -> None:
        """Nobody waits for a client any more: the service is ending."""
        for starting in self._starting.values():
            starting.fail("the session manager is ending")

    # -- a predecessor's sessions -----------------------------------------------------------------
    async def take_back(self) -> None:
        """Manage the sessions that a killed predecessor has left; returns when that is done, or has taken long.

        We ask the clients, rather than wait for them to come: the bus knows how many there are. Nobody else is told
        of it: to the users these sessions have been there all the time.
        """
        body = await self.bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "ListNames")
        work = [self.spawn(self._take_back(name)) for name in body[0] if name.startswith(CLIENT_NAME_PREFIX)]
        if work:
            await asyncio.wait(work, timeout=TAKE_BACK_TIMEOUT_S)

    async def _take_back(self, name: str) -> None:
        """The session of the client that owns `name`; if there is none it is ended, as nobody else can do that."""
        client = await self.bus.name_owner(name)
        if not client:
            return
        backend = BackendClient(self.bus, client)
        try:
            peer = await self.dispatcher.peers.peer(client)
            if not await self._clients.include(peer):
                raise AccessDenied("it is no client process of ours")
            self._returning[client] = deque(maxlen=MAX_PENDING)
            record = Record.unpack(await backend.fetch_record())
            state = await backend.state()
            if client not in self._returning:
                raise ConfigurationRefused(ENDED)
            session = self._restored(record, state, backend, peer)
        except Ovpn3Error as e:
            self.log.error(f"the session of {name} can't be taken back: {e}")
            backend.force_shutdown()
            return
        finally:
            pending = self._returning.pop(client, ())
        self.log.info(f"session taken back from {name}", path=session.path)
        for m in pending:
            session.on_signal(m)
        for receiver in record.receivers:
            if not await self.bus.name_owner(receiver):
                session.receiver_gone(receiver)
        await session.renew_forwards()

    def _restored(
        self, record: Record, state: dict[str, Variant], backend: BackendClient, client: Peer
    ) -> SessionObject:
        if record.path in self.sessions:
            raise ConfigurationRefused(f"another client has the session {record.path}")
        access = AccessList(record.owner, record.granted, record.public)
        session = SessionObject(self, record.path, record.config_path, access, backend, client.pid)
        session.restore(record, state)
        self.sessions[session.path] = self._by_client[client.name] = session
        self.dispatcher.export(session.path, session)
        session.entrust()
        return session

    async def renew_forwards(self) -> None:
        """There is a new log service."""
        await asyncio.gather(*(session.renew_forwards() for session in list(self.sessions.values())))

    # -- end --------------------------------------------------------------------------------------
    def remove(self, session: SessionObject) -> None:
        """Take a closed session off the bus and tell everybody. Once: a second call does nothing."""
        if session.path in self.sessions:
            self._forget(session)
            if session.config_name:  # without one it never was announced
                self._announce(session, SessionEvent.SESS_DESTROYED, session.access.owner)

    def client_done(self, session: SessionObject) -> None:
        """The client says that it ends by itself: its end is no loss."""
        self._by_client.pop(session.backend.service, None)

    def _forget(self, session: SessionObject) -> None:
        self.sessions.pop(session.path, None)
        self.client_done(session)
        self.dispatcher.unexport(session.path)

    def _announce(self, session: SessionObject, event: SessionEvent, uid: int) -> None:
        self.bus.emit(SESSIONS_PATH, SESSIONS_INTERFACE, "SessionManagerEvent", "oqu", session.path, int(event), uid)

    async def restore_network(self) -> None:
        """Have the network service undo what was left if it died together with a client: it does so at its start.

        That it is there, to the bus, doesn't say that it lives: it has to answer.
        """
        for _ in range(NETWORK_TRIES):
            with suppress(RemoteError):
                await self.bus.call(NETCFG_NAME, NETCFG_PATH, PEER, "Ping")
                return

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Work that nobody has to wait for; kept until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
