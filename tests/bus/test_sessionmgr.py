"""The session manager on a bus with the shipped policy: how clients register, and how sessions end."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    BACKENDS_NAME,
    BACKENDS_PATH,
    CLIENT_NAME_PREFIX,
    CLIENT_PATH,
    DOMAIN_DEFAULT,
    DOMAIN_READY,
    DOMAIN_REQUEST,
    SESSIONS_INTERFACE,
    SESSIONS_NAME,
    SESSIONS_PATH,
    AttentionGroup,
    AttentionType,
    SessionEvent,
    StatusMajor,
    StatusMinor,
)
from ovpn3.dbus.bus import Bus, Match
from ovpn3.dbus.dispatch import Call, DBusObject, Dispatcher, anyone, method, prop
from ovpn3.errors import ConfigurationRefused, RemoteError, ServiceError
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.log import Log as LogClient
from ovpn3.proxies.session import Session, SessionManager
from ovpn3_services.common.commandline import Options
from ovpn3_services.configmgr.service import ConfigManager
from ovpn3_services.log.service import LogService
from ovpn3_services.log.settings import parse
from ovpn3_services.sessionmgr import objects, registry, restarts
from ovpn3_services.sessionmgr.service import SessionManager as SessionService
from tests.bus.members import Facts, check_introspection
from tests.bus.running import ALICE, BOB, connected, policed_bus, running

PROFILE = "client\ndev tun\nremote 192.0.2.1\n"
ME = f"{CLIENT_NAME_PREFIX}{os.getpid()}"


class Client(DBusObject):
    """A client process that is none: it lives on a connection of ours and does what a test says."""

    interface = BACKENDS_INTERFACE

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.asked: asyncio.Queue[str] = asyncio.Queue()  # members that were called, without properties
        self.confirmed: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self.may_confirm, self.may_disconnect = asyncio.Event(), asyncio.Event()
        self.may_confirm.set()
        self.may_disconnect.set()
        self.may_count = asyncio.Event()
        self.may_count.set()
        self.complete = False  # whether there is nothing to ask the user for
        self.refuses = False  # the profile
        self.counted = 0

    def register(self, token: str, name: str = ME) -> None:
        self.signal("RegistrationRequest", "ssi", name, token, os.getpid())

    def signal(self, member: str, signature: str, *args: Any, interface: str = BACKENDS_INTERFACE) -> None:
        self.bus.emit(CLIENT_PATH, interface, member, signature, *args, destination=self.manager)

    def status(self, minor: StatusMinor, text: str = "", major: StatusMajor = StatusMajor.CONNECTION) -> None:
        self.signal("StatusChange", "uus", int(major), int(minor), text)

    manager = ""  # unique name of the session manager

    @method("RegistrationConfirmation", "token:s session_path:o config_path:o", "config_name:s", rule=anyone)
    async def confirm(self, call: Call, token: str, session_path: str, config_path: str) -> str:
        self.confirmed.set_result((session_path, config_path))
        await self.may_confirm.wait()
        if self.refuses:
            raise ConfigurationRefused("no such profile")
        # Of a client's doings this is what forwarding depends on.
        log = LogClient(self.bus)
        await log.attach(BACKENDS_INTERFACE)
        await log.assign_session(session_path, BACKENDS_INTERFACE)
        return "office"

    @method("Ready", rule=anyone)
    async def ready(self, call: Call) -> None:
        if not self.complete:
            raise ServiceError(DOMAIN_READY, "Missing user credentials")

    @method("Connect", rule=anyone)
    async def connect(self, call: Call) -> None:
        self.asked.put_nowait(call.member)
        if not self.complete:
            raise ConfigurationRefused("required user input has not been provided")

    @method("Restart", rule=anyone)
    async def restart(self, call: Call) -> None:
        """Never done."""
        self.asked.put_nowait(call.member)
        await asyncio.Event().wait()

    @method("Disconnect", rule=anyone)
    async def disconnect(self, call: Call) -> None:
        self.asked.put_nowait(call.member)
        await self.may_disconnect.wait()

    @method("ForceShutdown", rule=anyone)
    async def force_shutdown(self, call: Call) -> None:
        self.asked.put_nowait(call.member)

    @prop("log_level", "u", read=anyone)
    def log_level(self, call: Call) -> int:
        return 3

    @prop("statistics", "a{sx}", read=anyone)
    async def statistics(self, call: Call) -> dict[str, int]:
        self.counted += 1
        await self.may_count.wait()
        return {"BYTES_IN": 7}


class Starter(DBusObject):
    """A backend starter that starts nothing: tests take the tokens from here."""

    interface = BACKENDS_INTERFACE

    def __init__(self) -> None:
        self.tokens: asyncio.Queue[str] = asyncio.Queue()
        self.pid = os.getpid()  # negative: none

    @method("StartClient", "token:s", "pid:u", rule=anyone)
    async def start_client(self, call: Call, token: str) -> int:
        if self.pid < 0:
            raise ConfigurationRefused("no more processes")
        self.tokens.put_nowait(token)
        return self.pid


def dispatcher(bus: Bus) -> Dispatcher:
    return Dispatcher(bus, failed=lambda where, error: pytest.fail(f"{where}: {error!r}"), active=lambda: None)


class World:
    """Everything around the session manager, which is `service`."""

    def __init__(self, address: str, service: SessionService, starter: Starter, alice: Bus, log: Path) -> None:
        self.address, self.service, self.starter, self.alice, self._log = address, service, starter, alice, log
        self.manager = SessionManager(alice)
        self.events: asyncio.Queue[list[Any]] = asyncio.Queue()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A connection that may well be a client process: it has the name of one."""
        async with connected(self.address) as bus:
            client = Client(bus)
            dispatcher(bus).export(CLIENT_PATH, client)
            await bus.request_name(ME)
            client.manager = await bus.name_owner(SESSIONS_NAME)
            yield client

    async def profile(self, name: str = "office", bus: Bus | None = None) -> Configuration:
        return await ConfigurationManager(bus or self.alice).import_profile(name, PROFILE)

    async def session(self, client: Client) -> Session:
        """A session with a new profile of ALICE's."""
        starting = asyncio.create_task(self.manager.new_tunnel((await self.profile()).path))
        client.register(await self.token())
        session = await asyncio.wait_for(starting, 5)
        assert await self.event() == [session.path, SessionEvent.SESS_CREATED, ALICE.uid]
        return session

    async def token(self) -> str:
        return await asyncio.wait_for(self.starter.tokens.get(), 5)

    async def event(self) -> list[Any]:
        return await asyncio.wait_for(self.events.get(), 5)

    async def nothing_is_left(self) -> None:
        assert await self.manager.available() == []
        assert not self.service.busy()
        assert self.events.empty()

    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with policed_bus() as address:
        yield address


@pytest.fixture
async def world(address: str, tmp_path: Path) -> AsyncIterator[World]:
    options = Options(log_level=6, log_file="", idle_exit=0, state_dir=None)
    log = tmp_path / "log"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(LogService, address, parse(["--log-file", str(log), "--log-level=6"])))
        await stack.enter_async_context(running(ConfigManager, address, options))
        service = await stack.enter_async_context(running(SessionService, address, options))
        bus = await stack.enter_async_context(connected(address))
        starter = Starter()
        dispatcher(bus).export(BACKENDS_PATH, starter)
        await bus.request_name(BACKENDS_NAME)
        world = World(address, service, starter, await stack.enter_async_context(connected(address, ALICE)), log)
        events = Match(SESSIONS_INTERFACE, "SessionManagerEvent", SESSIONS_NAME)
        await world.alice.subscribe(events, lambda m: world.events.put_nowait(m.body))
        yield world


async def refused(work: Any, name: str, words: str) -> None:
    with pytest.raises(RemoteError, match=words) as e:
        await asyncio.wait_for(work, 5)
    assert e.value.name == name


# -- members --------------------------------------------------------------------------------------
async def test_the_root_is_as_the_original(world: World) -> None:
    await check_introspection(world.alice, SESSIONS_NAME, SESSIONS_PATH, SESSIONS_INTERFACE, Facts("sessions.root"))
    assert (await world.manager.get("version")).startswith("v")


async def test_a_session_is_as_the_original(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        facts = Facts("sessions.session")
        await check_introspection(world.alice, SESSIONS_NAME, session.path, SESSIONS_INTERFACE, facts)
        body = await session.bus.call(
            SESSIONS_NAME, session.path, "org.freedesktop.DBus.Properties", "GetAll", "s", SESSIONS_INTERFACE
        )
        values: dict[str, Variant] = body[0]
        assert {name: v.signature for name, v in values.items()} == {n: p.wire for n, p in facts.properties.items()}
        plain = await session.get_all()
        assert plain["statistics"] == {"BYTES_IN": 7}
        assert (plain["owner"], plain["config_name"], plain["backend_pid"]) == (ALICE.uid, "office", os.getpid())
        assert (plain["device_path"], plain["connected_to"]) == ("/", ("", "", 0))


# -- what a client says ---------------------------------------------------------------------------
async def test_what_a_client_says_is_kept_and_passed_on(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        asked: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        attention = Match(SESSIONS_INTERFACE, "AttentionRequired", SESSIONS_NAME, session.path)
        await world.alice.subscribe(attention, lambda m: asked.set_result(m.body))
        client.status(StatusMinor.CONN_CONNECTED, "up")
        values = {"device_name": Variant("s", "tun7"), "connection": Variant("(sssu)", ["udp", "host", "192.0.2.1", 9])}
        client.signal(*changed(values), interface="org.freedesktop.DBus.Properties")
        question = [int(AttentionType.CREDENTIALS), int(AttentionGroup.OPEN_URL), "https://example.org"]
        client.signal("AttentionRequired", "uus", *question)
        assert await asyncio.wait_for(asked, 5) == question
        assert await session.status() == (StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTED, "up")
        assert await session.get("device_name") == "tun7"
        assert await session.get("connected_to") == ("udp", "192.0.2.1", 9)
        assert await world.manager.managed_interfaces() == ["tun7"]
        assert (await world.manager.by_interface("tun7")).path == session.path


def changed(values: dict[str, Variant]) -> tuple[str, str, str, dict[str, Variant], list[str]]:
    return "PropertiesChanged", "sa{sv}as", BACKENDS_INTERFACE, values, []


async def test_values_of_another_type_are_not_taken(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        before = await session.get_all()
        wrong = {
            "device_name": Variant("u", 1),
            "device_path": Variant("s", "not a path"),
            "log_level": Variant("x", -1),
            "connection": Variant("(sssx)", ["udp", "h", "a", -1]),
        }
        client.signal(*changed(wrong), interface="org.freedesktop.DBus.Properties")
        client.signal("StatusChange", "us", 2, "short")
        client.signal("NoSuchSignal", "s", "x")
        assert await session.get_all() == before


async def test_others_can_t_speak_for_a_client(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        for minor in (StatusMinor.CONN_CONNECTED, StatusMinor.CONN_DONE):
            for to in (None, client.manager):
                body = (int(StatusMajor.CONNECTION), int(minor), "forged")
                world.alice.emit(CLIENT_PATH, BACKENDS_INTERFACE, "StatusChange", "uus", *body, destination=to)
        assert await session.status() == (0, 0, "")


async def test_a_client_s_refusals_reach_the_user_in_its_words(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        await refused(session.ready(), DOMAIN_READY, "^Missing user credentials$")
        await refused(session.connect(), DOMAIN_REQUEST, "required user input has not been provided")


async def test_a_client_that_goes_while_it_is_asked(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        restart = asyncio.create_task(session.restart())
        assert await asyncio.wait_for(client.asked.get(), 5) == "Restart"
        client.bus.close()
        await refused(restart, DOMAIN_DEFAULT, "^VPN session is stopped$")


async def test_a_client_that_hangs_keeps_no_reader_waiting_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "STATISTICS_TIMEOUT_S", 0.01)
    async with world.client() as client:
        session = await world.session(client)
        assert await session.statistics() == {"BYTES_IN": 7}
        client.may_count.clear()
        values = await asyncio.gather(*(session.get_all() for _ in range(20)))
        assert [v["statistics"] for v in values] == [{"BYTES_IN": 7}] * 20
        assert client.counted == 2, "it is asked once for all"
        client.may_count.set()


async def test_the_log_level_is_the_client_s(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        client.signal(*changed({"log_level": Variant("u", 4)}), interface="org.freedesktop.DBus.Properties")
        await settled(client)
        assert await session.get("log_verbosity") == 4


async def settled(client: Client) -> None:
    """What a client has said so far has been dealt with."""
    await SessionManager(client.bus).get("version")


# -- a client that dies, and automatic-restart ------------------------------------------------------
@pytest.fixture
async def restarting(world: World, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    monkeypatch.setattr(restarts, "FIRST_S", 0.001)
    profile = await world.profile()
    await profile.set_override("automatic-restart", "on-failure")
    return profile


async def up(world: World, client: Client, profile: Configuration) -> Session:
    starting = asyncio.create_task(world.manager.new_tunnel(profile.path))
    client.complete = True
    client.register(await world.token())
    session = await asyncio.wait_for(starting, 5)
    await world.event()
    await session.connect()
    client.status(StatusMinor.CONN_CONNECTED)
    await settled(client)
    return session


async def test_a_client_that_dies_is_replaced(world: World, restarting: Configuration) -> None:
    async with world.client() as client:
        session = await up(world, client, restarting)
        await session.log_forward(True)
        heard: asyncio.Queue[Message] = asyncio.Queue()
        await world.alice.subscribe(Match(BACKENDS_INTERFACE, "StatusChange", path=session.path), heard.put_nowait)
        await session.grant(BOB.uid)
    message = await asyncio.wait_for(heard.get(), 5)
    assert message.body[:2] == [StatusMajor.CONNECTION, StatusMinor.CONN_RECONNECTING]
    assert "another one is started in 0.001 s" in message.body[2]
    token = await world.token()
    assert [s.path for s in await world.manager.available()] == [session.path]
    async with world.client() as client:
        client.complete = True
        client.register(token)
        assert await asyncio.wait_for(client.asked.get(), 5) == "Connect"
        assert await world.event() == [session.path, SessionEvent.SESS_CREATED, ALICE.uid]
        values = await session.get_all()
        assert values["acl"] == [BOB.uid]
        assert values["config_name"] == "office"
        assert len(values["log_forwards"]) == 1
        receiver = await client.bus.name_owner(LogClient(client.bus).service)
        client.bus.emit(CLIENT_PATH, BACKENDS_INTERFACE, "StatusChange", "uus", 2, 7, "", destination=receiver)
        assert (await asyncio.wait_for(heard.get(), 5)).body == [2, 7, ""]
        await session.disconnect()
    assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
    await world.nothing_is_left()


@pytest.mark.parametrize("lack", ["input", "profile"])
async def test_a_client_that_lacks_something_is_not_replaced(
    world: World, restarting: Configuration, lack: str
) -> None:
    async with world.client() as client:
        session = await up(world, client, restarting)
    async with world.client() as client:
        client.complete = lack != "input"
        client.refuses = lack == "profile"
        client.register(await world.token())
        assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
        assert await asyncio.wait_for(client.asked.get(), 5) == "ForceShutdown"
    await world.nothing_is_left()


async def test_a_starter_that_fails_is_asked_again_but_not_for_ever(world: World, restarting: Configuration) -> None:
    async with world.client() as client:
        session = await up(world, client, restarting)
        world.starter.pid = -1
    async with asyncio.timeout(20):
        assert await world.events.get() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
    assert world.log().count("the client process can't be replaced: no more processes") == restarts.TRIES
    await world.nothing_is_left()


async def test_disconnect_before_the_next_client(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = await world.profile()
    await profile.set_override("automatic-restart", "on-failure")
    async with world.client() as client:
        session = await up(world, client, profile)
        manager = world.service.registry
    while not manager.sessions[session.path].status_now[2]:
        await session.status()
    await refused(session.restart(), DOMAIN_DEFAULT, "^VPN session is stopped$")
    await session.disconnect()
    assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
    await world.nothing_is_left()
    assert world.starter.tokens.empty()


@pytest.mark.parametrize("value", [None, "no"])
async def test_a_client_that_dies_ends_its_session(world: World, value: str | None) -> None:
    profile = await world.profile()
    if value:
        await profile.set_override("automatic-restart", value)
    async with world.client() as client:
        session = await up(world, client, profile)
    assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]


# -- start ----------------------------------------------------------------------------------------
async def test_a_profile_that_isn_t_there(world: World) -> None:
    await refused(world.manager.new_tunnel("/net/openvpn/v3/configuration/none"), DOMAIN_REQUEST, "does not exist")
    await world.nothing_is_left()


async def test_somebody_else_s_profile(world: World) -> None:
    async with connected(world.address, BOB) as bob:
        profile = await world.profile("bob's", bob)
        await refused(world.manager.new_tunnel(profile.path), DOMAIN_DEFAULT, "no profile of yours")
    await world.nothing_is_left()


async def test_two_at_once_with_one_profile(world: World) -> None:
    """One is refused before it starts a process; nothing of it stays in the way of the other."""
    async with world.client() as client:
        profile = await world.profile()
        starts = [asyncio.create_task(world.manager.new_tunnel(profile.path)) for _ in range(2)]
        client.register(await world.token())
        done = await asyncio.wait_for(asyncio.gather(*starts, return_exceptions=True), 5)
        (refusal,) = [d for d in done if isinstance(d, RemoteError)]
        assert "running already" in str(refusal)
        assert world.starter.tokens.empty()
        (session,) = await world.manager.available()
        await session.disconnect()


async def test_another_user_may_use_the_same_profile(world: World) -> None:
    """A start that is under way when the service ends fails at once."""
    profile = await world.profile()
    await profile.grant(BOB.uid)
    first = asyncio.create_task(world.manager.new_tunnel(profile.path))
    token = await world.token()
    async with connected(world.address, BOB) as bob, world.client() as client:
        second = asyncio.create_task(SessionManager(bob).new_tunnel(profile.path))
        assert await world.token() != token
        client.register(token)
        await asyncio.wait_for(first, 5)
        world.service.end()
        await refused(second, DOMAIN_DEFAULT, "is ending")


async def test_the_event_comes_after_the_reply(world: World) -> None:
    """Who waits for it knows the path it names, and may use the session."""
    with ALICE.assumed():
        plain = await MessageBus(bus_address=world.address).connect()
    arrived: asyncio.Queue[tuple[MessageType, str]] = asyncio.Queue()
    match = Message(
        destination="org.freedesktop.DBus",
        path="/org/freedesktop/DBus",
        interface="org.freedesktop.DBus",
        member="AddMatch",
        signature="s",
        body=[f"interface='{SESSIONS_INTERFACE}'"],
    )
    await plain.call(match)
    plain.add_message_handler(lambda m: arrived.put_nowait((m.message_type, m.body[0])))
    async with world.client() as client:
        profile = await world.profile()
        order = Message(
            destination=SESSIONS_NAME,
            path=SESSIONS_PATH,
            interface=SESSIONS_INTERFACE,
            member="NewTunnel",
            signature="o",
            body=[profile.path],
        )
        starting = asyncio.create_task(plain.call(order))
        client.register(await world.token())
        await starting
        path, _, _ = await world.event()
        assert await asyncio.wait_for(arrived.get(), 5) == (MessageType.METHOD_RETURN, path)
        assert await asyncio.wait_for(arrived.get(), 5) == (MessageType.SIGNAL, path)
        assert await client.confirmed == (path, profile.path)
    plain.disconnect()


async def test_ownership_goes_to_the_profile_s_owner_if_that_is_wanted(world: World) -> None:
    async with connected(world.address, BOB) as bob, world.client() as client:
        profile = await world.profile("bob's", bob)
        await profile.set("transfer_owner_session", "b", True)
        await profile.grant(ALICE.uid)
        starting = asyncio.create_task(world.manager.new_tunnel(profile.path))
        client.register(await world.token())
        session = await asyncio.wait_for(starting, 5)
        values = await session.get_all()
        assert (values["owner"], values["acl"], values["restrict_log_access"]) == (BOB.uid, [ALICE.uid], False)
        assert await world.event() == [session.path, SessionEvent.SESS_CREATED, ALICE.uid]
        await session.disconnect()
        assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, BOB.uid]


# -- registration ---------------------------------------------------------------------------------
async def test_a_wrong_token(world: World) -> None:
    async with world.client() as client:
        starting = asyncio.create_task(world.manager.new_tunnel((await world.profile()).path))
        token = await world.token()
        client.register("0" * 8)
        # It could only hang around, as nobody else will ever want it.
        assert await asyncio.wait_for(client.asked.get(), 5) == "ForceShutdown"
        assert "refused: not expected" in world.log()
        client.register(token)
        await asyncio.wait_for(starting, 5)


async def test_a_token_serves_once(world: World) -> None:
    profile = await world.profile()
    starting = asyncio.create_task(world.manager.new_tunnel(profile.path))
    token = await world.token()
    async with world.client() as first:
        first.register(token)
        session = await asyncio.wait_for(starting, 5)
        async with connected(world.address) as bus:
            again = Client(bus)
            again.manager = first.manager
            dispatcher(bus).export(CLIENT_PATH, again)
            again.register(token)
            again.register(token, f"{CLIENT_NAME_PREFIX}1")
            first.register(token)
            await bus.call(SESSIONS_NAME, SESSIONS_PATH, "org.freedesktop.DBus.Peer", "Ping")
            assert not again.confirmed.done()
        assert await session.get("backend_pid") == os.getpid()
    assert await world.event() == [session.path, SessionEvent.SESS_CREATED, ALICE.uid]
    assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]


async def test_a_token_doesn_t_help_a_stranger(world: World) -> None:
    """Neither a user nor a process of the account that isn't the one that was started can take a session."""
    starting = asyncio.create_task(world.manager.new_tunnel((await world.profile()).path))
    token = await world.token()
    async with world.client() as client:
        async with connected(world.address) as bus:
            for thief in (world.alice, bus):
                for name in (ME, f"{CLIENT_NAME_PREFIX}1", "x"):
                    body = (name, token, os.getpid())
                    signal = ("RegistrationRequest", "ssi", *body)
                    thief.emit(CLIENT_PATH, BACKENDS_INTERFACE, *signal, destination=client.manager)
            await bus.call(SESSIONS_NAME, SESSIONS_PATH, "org.freedesktop.DBus.Peer", "Ping")
            assert not starting.done()
        client.register(token)
        await asyncio.wait_for(starting, 5)


async def test_a_client_that_ends_before_it_has_a_name(world: World) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    world.starter.pid = process.pid
    starting = asyncio.create_task(world.manager.new_tunnel((await world.profile()).path))
    await world.token()
    process.kill()
    await refused(starting, DOMAIN_DEFAULT, "ended at its start")
    await process.wait()
    await world.nothing_is_left()


async def test_a_client_that_ended_before_its_pid_was_known(world: World) -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    world.starter.pid = process.pid
    await refused(world.manager.new_tunnel((await world.profile()).path), DOMAIN_DEFAULT, "ended at its start")
    await world.nothing_is_left()


async def test_a_client_that_goes_while_it_reads_the_profile(world: World) -> None:
    starting = asyncio.create_task(world.manager.new_tunnel((await world.profile()).path))
    async with world.client() as client:
        client.may_confirm.clear()
        client.register(await world.token())
        await asyncio.wait_for(client.confirmed, 5)
        client.bus.close()
        await refused(starting, DOMAIN_REQUEST, "could not be started")
        client.may_confirm.set()
    await world.nothing_is_left()


@pytest.mark.parametrize("registers", [False, True])
async def test_a_client_that_hangs_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch, registers: bool) -> None:
    monkeypatch.setattr(registry, "REGISTRATION_TIMEOUT_S", 0.2)
    async with world.client() as client:
        client.may_confirm.clear()
        starting = asyncio.create_task(world.manager.new_tunnel((await world.profile()).path))
        token = await world.token()
        if registers:
            client.register(token)
        await refused(starting, DOMAIN_DEFAULT, "did not register in time")
        client.may_confirm.set()
        if not registers:
            client.register(token)
        assert await asyncio.wait_for(client.asked.get(), 5) == "ForceShutdown"
        await world.nothing_is_left()


async def test_a_starter_that_fails(world: World) -> None:
    world.starter.pid = -1
    await refused(world.manager.new_tunnel((await world.profile()).path), DOMAIN_REQUEST, "no more processes")
    await world.nothing_is_left()


# -- end ------------------------------------------------------------------------------------------
async def test_disconnect_twice_at_once(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        client.may_disconnect.clear()
        first = asyncio.create_task(session.disconnect())
        await asyncio.wait_for(client.asked.get(), 5)
        second = asyncio.create_task(session.disconnect())
        await session.status()  # both have arrived
        assert not first.done()
        client.may_disconnect.set()
        await asyncio.wait_for(asyncio.gather(first, second), 5)
        assert client.asked.empty()
        assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
        await world.nothing_is_left()
        await refused(session.disconnect(), "org.freedesktop.DBus.Error.UnknownMethod", "does not exist")


@pytest.mark.parametrize("minor", [StatusMinor.CFG_ERROR, StatusMinor.CONN_DONE, StatusMinor.PROC_KILLED])
async def test_a_client_that_says_it_is_over_ends_its_session(world: World, minor: StatusMinor) -> None:
    async with world.client() as client:
        session = await world.session(client)
        client.status(minor)
        assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
        await world.nothing_is_left()


async def test_a_paused_session_goes_by_the_name_of_its_interface(world: World) -> None:
    """`session-manage --interface tun7 --resume` after --pause. Who has the name now goes before who had it."""
    async with world.client() as client:
        session = await world.session(client)

        async def told(device: str, status: StatusMinor) -> None:
            client.status(status)
            news = changed({"device_name": Variant("s", device)})
            client.signal(*news, interface="org.freedesktop.DBus.Properties")
            await settled(client)

        await told("tun7", StatusMinor.CONN_CONNECTED)
        await told("", StatusMinor.CONN_PAUSED)
        assert await session.get("device_name") == "tun7"
        assert await world.manager.managed_interfaces() == ["tun7"]
        assert (await world.manager.by_interface("tun7")).path == session.path
        await told("", StatusMinor.CONN_CONNECTING)
        assert await session.get("device_name") == ""
        await session.disconnect()


async def test_who_polls_sees_why_a_session_failed(world: World) -> None:
    """The original's session-start looks every 1.3 s. Finding nothing it would end with 0 and say nothing."""
    async with world.client() as client:
        session = await world.session(client)
        client.status(StatusMinor.CONN_FAILED, "no way")
    assert not await world.alice.name_owner(client.bus.unique_name)  # the bus has told everybody that it is gone
    assert await session.status() == (StatusMajor.CONNECTION, StatusMinor.CONN_FAILED, "no way")
    await session.disconnect()
    assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
    await world.nothing_is_left()


async def test_a_failed_session_ends_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "FAILED_STAYS_S", 0.01)
    async with world.client() as client:
        session = await world.session(client)
        client.status(StatusMinor.CONN_FAILED)
        assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
        await world.nothing_is_left()


async def test_a_failed_session_makes_room_for_the_next_of_its_profile(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        client.status(StatusMinor.CONN_FAILED)
        await settled(client)
    async with world.client() as client:
        starting = asyncio.create_task(world.manager.new_tunnel(await session.get("config_path")))
        client.register(await world.token())
        again = await asyncio.wait_for(starting, 5)
        assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
        assert await world.event() == [again.path, SessionEvent.SESS_CREATED, ALICE.uid]
        assert [s.path for s in await world.manager.available()] == [again.path]
        await again.disconnect()


@pytest.mark.parametrize("minor", [StatusMinor.CONN_AUTH_FAILED, StatusMinor.CONN_DISCONNECTED])
async def test_a_failed_log_in_ends_nothing(world: World, minor: StatusMinor) -> None:
    async with world.client() as client:
        session = await world.session(client)
        client.status(minor, "no")
        assert await session.status() == (StatusMajor.CONNECTION, minor, "no")


async def test_a_client_that_dies_while_it_disconnects(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        client.may_disconnect.clear()
        ending = asyncio.create_task(session.disconnect())
        await asyncio.wait_for(client.asked.get(), 5)
        client.bus.close()
        await asyncio.wait_for(ending, 5)
        client.may_disconnect.set()
    assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
    await world.nothing_is_left()


async def test_a_client_that_refuses_to_disconnect_is_shut_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.client() as client:
        session = await world.session(client)
        monkeypatch.setattr(client, "methods", {k: v for k, v in client.methods.items() if k != "Disconnect"})
        await session.disconnect()
        assert await asyncio.wait_for(client.asked.get(), 5) == "ForceShutdown"
        assert await world.event() == [session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]


# -- log forwarding -------------------------------------------------------------------------------
async def test_one_forwarding_a_receiver(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        await asyncio.gather(*(session.log_forward(True) for _ in range(4)))
        assert len(await session.get("log_forwards")) == 1
        log = LogClient(world.alice)
        heard: asyncio.Queue[Message] = asyncio.Queue()
        await world.alice.subscribe(Match(BACKENDS_INTERFACE, path=session.path), heard.put_nowait)
        receiver = await client.bus.name_owner(log.service)
        client.bus.emit(CLIENT_PATH, BACKENDS_INTERFACE, "Log", "uuss", 7, 4, "token", "hello", destination=receiver)
        message = await asyncio.wait_for(heard.get(), 5)
        assert (message.member, message.body) == ("Log", [7, 4, "hello"])
        await log.get("version")
        assert heard.empty()
        await asyncio.gather(*(session.log_forward(False) for _ in range(2)))
        assert await session.get("log_forwards") == []


async def test_forwarding_ends_with_its_receiver(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        async with connected(world.address, ALICE) as listener:
            await Session(listener, session.path).log_forward(True)
            assert len(await session.get("log_forwards")) == 1
            gone = asyncio.Event()
            await world.alice.watch_name(listener.unique_name, lambda owner: gone.set())
            await world.alice.owner(listener.unique_name)
        await asyncio.wait_for(gone.wait(), 5)
        assert await session.get("log_forwards") == []


async def test_sessions_and_receivers_need_no_match_rules(world: World) -> None:
    """Of which a connection has 512 at most."""
    async with world.client() as client:
        await world.manager.available()
        before = len(world.service.bus._subscriptions)
        session = await world.session(client)
        await session.log_forward(True)
        assert len(world.service.bus._subscriptions) == before


async def test_the_receiver_hears_of_the_end_first(world: World) -> None:
    async with world.client() as client:
        session = await world.session(client)
        await session.log_forward(True)
        heard: asyncio.Queue[Message] = asyncio.Queue()
        await world.alice.subscribe(Match(BACKENDS_INTERFACE, path=session.path), heard.put_nowait)
        await session.disconnect()
        message = await asyncio.wait_for(heard.get(), 5)
        assert message.body[:2] == [StatusMajor.SESSION, StatusMinor.PROC_STOPPED]
        assert heard.empty()
