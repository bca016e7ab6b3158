"""A machine with the shipped services, callers of every kind, and one object with what it stands among."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    BACKENDS_NAME,
    BACKENDS_PATH,
    CLIENT_NAME_PREFIX,
    CONFIG_INTERFACE,
    CONFIG_NAME,
    CONFIG_PATH,
    LOG_INTERFACE,
    LOG_NAME,
    LOG_PATH,
    NETCFG_INTERFACE,
    NETCFG_NAME,
    NETCFG_PATH,
    SESSIONS_INTERFACE,
    SESSIONS_NAME,
    SESSIONS_PATH,
)
from tests.conformance.expected import (
    ACCOUNT,
    ADMIN,
    CLIENT,
    FIVE,
    GRANTED,
    MANAGER,
    OTHER,
    OWNER,
    PLAIN,
    PROFILE,
    State,
    Who,
)
from tests.support.account import ALICE, BOB, ROOT, Account
from tests.support.api import Kind
from tests.support.machine import Machine

DBUS = "org.freedesktop.DBus"
DBUS_PATH = "/org/freedesktop/DBus"
PROPERTIES = "org.freedesktop.DBus.Properties"
NOBODY = Account("nobody", 65534)
_OPEN = '<busconfig><policy context="default"><allow own="*"/><allow send_destination="*"/></policy></busconfig>'
# In these the session manager is one of ours: it does what the real one does, and more.
_WITHOUT_MANAGER = ("log.root", "log.proxy", "client.session")


async def leave(bus: MessageBus) -> None:
    bus.disconnect()
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


class Scene:
    """`service` and `path` are of the object in question; `make` puts a new one in its place."""

    def __init__(self, machine: Machine, kind: Kind, state: State = PLAIN) -> None:
        self.machine, self.kind, self.state = machine, kind, state
        self.own_manager = kind.id in _WITHOUT_MANAGER
        self.callers: tuple[Who, ...] = (*FIVE, MANAGER, CLIENT) if self.own_manager else FIVE
        account = Account("openvpn", int(machine.sandbox.run(["id", "-u", "openvpn"]).stdout))
        services = dict.fromkeys((ACCOUNT, MANAGER, CLIENT), account)
        self.people: dict[Who, Account] = {OWNER: ALICE, GRANTED: BOB, OTHER: NOBODY, ADMIN: ROOT, **services}
        self.buses: dict[Who, MessageBus] = {}
        self.service, self.path = kind.service, kind.path
        self.profile = self.session = "/"
        self._numbers = itertools.count()
        self._makers: dict[str, Callable[[], Awaitable[None]]] = {
            "log.root": self._make_logged_session,
            "log.proxy": self._make_proxy,
            "configuration.root": self._make_profile,
            "configuration.profile": self._make_profile,
            "sessions.root": self._make_session,
            "sessions.session": self._make_session,
            "client.session": self._make_client,
            "netcfg.device": self._make_device,
        }

    # -- callers ----------------------------------------------------------------------------------
    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        try:
            for who in Who:
                self.buses[who] = await self.machine.sandbox.connect(self.people[who])
            if self.own_manager:
                await self.buses[MANAGER].request_name(SESSIONS_NAME)
                await self.buses[CLIENT].request_name(f"{CLIENT_NAME_PREFIX}{os.getpid()}")
                await self.must(CLIENT, LOG_NAME, LOG_PATH, LOG_INTERFACE, "Attach", "s", BACKENDS_INTERFACE)
            yield
        finally:
            for bus in self.buses.values():
                await leave(bus)

    async def call(
        self,
        who: Who,
        service: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Any,
        fds: Sequence[int] = (),
    ) -> Message:
        """The reply, whatever it is."""
        message = Message(
            destination=service,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(args),
            unix_fds=list(fds),
        )
        reply = await asyncio.wait_for(self.buses[who].call(message), 10)
        assert reply
        return reply

    async def must(self, who: Who, *what: Any) -> Any:
        """The first value of a reply that must not be an error."""
        reply = await self.call(who, *what)
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return reply.body[0] if reply.body else None

    async def open_gates(self) -> None:
        """Have the bus let every call pass: what is refused from now on is refused by the objects."""
        self.machine.sandbox.write("/etc/dbus-1/system.d/z-open.conf", _OPEN)
        self.machine.sandbox.run(["chmod", "644", "/etc/dbus-1/system.d/z-open.conf"])
        await self.must(ADMIN, DBUS, DBUS_PATH, DBUS, "ReloadConfig")

    # -- objects ----------------------------------------------------------------------------------
    async def make(self) -> None:
        if maker := self._makers.get(self.kind.id):
            await maker()
        governed = self.session if self.kind.service == SESSIONS_NAME else self.profile
        for name, value in self.state.sets:
            what = (self.kind.interface, name, Variant("b", value))
            await self.must(OWNER, self.kind.service, governed, PROPERTIES, "Set", "ssv", *what)
        for member in self.state.calls:
            await self.must(OWNER, self.kind.service, governed, self.kind.interface, member)

    async def _make_profile(self) -> None:
        if self.profile != "/":
            await self.call(OWNER, CONFIG_NAME, self.profile, CONFIG_INTERFACE, "Remove")
        text = ("office", PROFILE, False, False)
        self.profile = await self.must(OWNER, CONFIG_NAME, CONFIG_PATH, CONFIG_INTERFACE, "Import", "ssbb", *text)
        its = (CONFIG_NAME, self.profile, CONFIG_INTERFACE)
        await self.must(OWNER, *its, "AddTag", "s", "work")
        await self.must(OWNER, *its, "AccessGrant", "u", self.people[GRANTED].uid)
        if self.kind.id == "configuration.profile":
            self.path = self.profile

    async def _make_session(self) -> None:
        if self.profile == "/":
            await self._make_profile()
        manager = (SESSIONS_NAME, SESSIONS_PATH, SESSIONS_INTERFACE)
        self.session = await self.must(OWNER, *manager, "NewTunnel", "o", self.profile)
        uid = self.people[GRANTED].uid
        await self.must(OWNER, SESSIONS_NAME, self.session, SESSIONS_INTERFACE, "AccessGrant", "u", uid)
        if self.kind.id == "sessions.session":
            self.path = self.session

    async def _make_logged_session(self) -> None:
        """One that CLIENT says it is the client of."""
        self.session = f"{SESSIONS_PATH}/{next(self._numbers)}s1"
        what = (self.session, BACKENDS_INTERFACE)
        await self.must(CLIENT, LOG_NAME, LOG_PATH, LOG_INTERFACE, "AssignSession", "os", *what)

    async def _make_proxy(self) -> None:
        await self._make_logged_session()
        what = (self.buses[OWNER].unique_name, self.session)
        self.path = await self.must(MANAGER, LOG_NAME, LOG_PATH, LOG_INTERFACE, "ProxyLogEvents", "so", *what)

    async def _make_client(self) -> None:
        """A real client process, whose session manager is MANAGER."""
        if self.profile == "/":
            await self._make_profile()
        registered: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        def on_message(m: Message) -> None:
            if m.member == "RegistrationRequest" and not registered.done():
                registered.set_result(m.body)

        self.buses[MANAGER].add_message_handler(on_message)
        token = f"{next(self._numbers)}t1"
        self.session = f"{SESSIONS_PATH}/{token}s1"
        await self.must(ACCOUNT, BACKENDS_NAME, BACKENDS_PATH, BACKENDS_INTERFACE, "StartClient", "s", token)
        self.service, said, _ = await asyncio.wait_for(registered, 10)
        assert said == token
        self.buses[MANAGER].remove_message_handler(on_message)
        what = (token, self.session, self.profile)
        name = await self.must(
            MANAGER, self.service, self.path, BACKENDS_INTERFACE, "RegistrationConfirmation", "soo", *what
        )
        assert name == "office"

    async def _make_device(self) -> None:
        what = f"conf{next(self._numbers)}"
        self.path = await self.must(
            ACCOUNT, NETCFG_NAME, NETCFG_PATH, NETCFG_INTERFACE, "CreateVirtualInterface", "s", what
        )


class Monitor:
    """Every signal on the bus, from before `settled` returns. A connection of root's that says nothing itself."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self.heard: list[Message] = []
        self._marks: asyncio.Queue[str] = asyncio.Queue()
        bus.add_message_handler(self._on_message)

    @classmethod
    @asynccontextmanager
    async def listening(cls, scene: Scene) -> AsyncIterator["Monitor"]:
        bus = await scene.machine.sandbox.connect(ROOT)
        monitor = cls(bus)
        become = Message(DBUS, DBUS_PATH, f"{DBUS}.Monitoring", "BecomeMonitor")
        become.signature, become.body = "asu", [["type='signal'"], 0]
        await bus.call(become)
        try:
            yield monitor
        finally:
            await leave(bus)

    def _on_message(self, m: Message) -> None:
        if m.interface == "net.example.Mark":
            self._marks.put_nowait(m.member or "")
        elif m.message_type is MessageType.SIGNAL:
            self.heard.append(m)

    async def settled(self, scene: Scene) -> list[Message]:
        """What was heard up to now, and not asked for before."""
        mark = Message.new_signal("/mark", "net.example.Mark", "Mark")
        await scene.buses[ADMIN].send(mark)
        await asyncio.wait_for(self._marks.get(), 10)
        heard, self.heard = self.heard, []
        return heard
