"""Backend starter and client process, ruled by a session manager that is ours, on a bus that lets everything pass."""

import asyncio
import errno
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    BACKENDS_NAME,
    BACKENDS_PATH,
    CLIENT_NAME_PREFIX,
    CLIENT_PATH,
    DOMAIN_CLIENT,
    DOMAIN_DEFAULT,
    DOMAIN_READY,
    DOMAIN_REGISTRATION,
    SESSIONS_NAME,
    SESSIONS_PATH,
    AttentionGroup,
    AttentionType,
    StatusMajor,
    StatusMinor,
)
from ovpn3.dbus.bus import Bus, Match
from ovpn3.dbus.dispatch import PROPERTIES
from ovpn3.errors import RemoteError
from ovpn3.proxies.backend import BackendClient, BackendStarter
from ovpn3.proxies.config import ConfigurationManager
from ovpn3_services.backend import service as backend
from ovpn3_services.backend.service import BackendClient as ClientService
from ovpn3_services.backendstart.nursery import Nursery
from ovpn3_services.backendstart.service import BackendStart
from ovpn3_services.common.commandline import Options
from ovpn3_services.configmgr.service import ConfigManager
from ovpn3_services.log.service import LogService
from ovpn3_services.log.settings import parse
from tests.bus.members import Facts, check_introspection
from tests.bus.running import ALICE, connected, policed_bus, running

CA = "<ca>\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n</ca>\n"
PROFILE = f"client\ndev tun\nremote 192.0.2.1 1194 udp\nsetenv CLIENT_CERT 0\n{CA}"
ASKING = PROFILE + "auth-user-pass\n"
DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
NAME = f"{CLIENT_NAME_PREFIX}{os.getpid()}"
SESSION = f"{SESSIONS_PATH}/0s1"
OPTIONS = {"log_level": 6, "log_file": "", "idle_exit": 0}
USER_PASSWORD = (int(AttentionType.CREDENTIALS), int(AttentionGroup.USER_PASSWORD))


class World:
    """What a client process meets: a session manager, another process of its account, a user."""

    def __init__(self, address: str, manager: Bus, account: Bus, alice: Bus, log: Path) -> None:
        self.address, self._log = address, log
        self.manager, self.account, self.alice = manager, account, alice
        self.said: asyncio.Queue[tuple[str, list[Any]]] = asyncio.Queue()  # signals to the manager

    async def profile(self, text: str) -> str:
        return (await ConfigurationManager(self.alice).import_profile("office", text)).path

    async def start(self) -> tuple[ClientService, "asyncio.Task[int]"]:
        """A client process within ours, and its exit code."""
        options = Options(**OPTIONS, token="secret", disable_protect_socket=True)
        service = ClientService(await Bus.connect(self.address), options)
        return service, asyncio.create_task(service.run())

    async def next(self, member: str) -> list[Any]:
        """Body of the next signal of that name; others before it are forgotten."""
        async with asyncio.timeout(5):
            while True:
                said, body = await self.said.get()
                if said == member:
                    return body

    async def confirmed(self, text: str) -> BackendClient:
        """A started client that has read a profile."""
        _, token, _ = await self.next("RegistrationRequest")
        client = BackendClient(self.manager, await self.manager.name_owner(NAME))
        assert await client.confirm(token, SESSION, await self.profile(text)) == "office"
        return client

    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with policed_bus(everything_allowed=True) as address:
        yield address


@pytest.fixture
async def world(address: str, tmp_path: Path) -> AsyncIterator[World]:
    log = tmp_path / "log"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(LogService, address, parse(["--log-file", str(log), "--log-level=6"])))
        await stack.enter_async_context(running(ConfigManager, address, Options(**OPTIONS, state_dir=None)))
        manager = await stack.enter_async_context(connected(address))
        await manager.request_name(SESSIONS_NAME)
        account = await stack.enter_async_context(connected(address))
        alice = await stack.enter_async_context(connected(address, ALICE))
        world = World(address, manager, account, alice, log)
        signals = Match(BACKENDS_INTERFACE, path=CLIENT_PATH)
        await manager.subscribe(signals, lambda m: world.said.put_nowait((m.member or "", m.body)))
        yield world


@pytest.fixture
async def exit_code(world: World) -> AsyncIterator["asyncio.Task[int]"]:
    """Of the client that runs during the test."""
    service, life = await world.start()
    yield life
    service.end()
    await asyncio.wait_for(life, 5)


async def ends(exit_code: "asyncio.Task[int]") -> int:
    return await asyncio.wait_for(asyncio.shield(exit_code), 5)


async def refused(work: Awaitable[object], name: str, words: str) -> None:
    with pytest.raises(RemoteError, match=words) as e:
        await work
    assert e.value.name == name


# -- members --------------------------------------------------------------------------------------
async def test_a_client_is_as_the_original(world: World, exit_code: "asyncio.Task[int]") -> None:
    await world.next("RegistrationRequest")
    facts = Facts("client.session")
    await check_introspection(world.manager, NAME, CLIENT_PATH, BACKENDS_INTERFACE, facts)
    body = await world.manager.call(NAME, CLIENT_PATH, PROPERTIES, "GetAll", "s", BACKENDS_INTERFACE)
    values: dict[str, Variant] = body[0]
    assert {n: v.signature for n, v in values.items()} == {n: p.wire for n, p in facts.properties.items()}
    assert (values["session_path"].value, values["device_path"].value) == ("/__unknown", "/")
    assert values["status"].value == (0, 0, "")
    client = BackendClient(world.account, NAME)
    assert set(await client.get_all()) == {n for n, p in facts.properties.items() if p.read == "any"}
    for name, property_ in facts.properties.items():
        if property_.write:
            with pytest.raises(RemoteError, match="not the session manager"):
                await client.set(name, property_.type, values[name].value)


async def test_only_the_session_manager_gives_orders(world: World, exit_code: "asyncio.Task[int]") -> None:
    await world.next("RegistrationRequest")
    facts = Facts("client.session")
    samples = {"s": "x", "o": "/", "u": 1, "a{sv}": {}}
    for caller in (world.alice, world.account):
        client = BackendClient(caller, NAME)
        for name, (takes, _) in facts.methods.items():
            types = [argument.split(":")[1] for argument in takes.split()]
            work = client.call(name, "".join(types), *(samples[type_] for type_ in types))
            await refused(work, DOMAIN_DEFAULT, "not the session manager")
    assert await BackendClient(world.manager, NAME).call("Ping") == [True]


async def test_the_starter_is_as_the_original(world: World) -> None:
    async with running(Starter, world.address, starter_options()):
        await check_introspection(world.alice, BACKENDS_NAME, BACKENDS_PATH, BACKENDS_INTERFACE, Facts("backends.root"))
        assert (await BackendStarter(world.alice).get("version")).startswith("v")
        await refused(BackendStarter(world.alice).start_client("token"), DOMAIN_DEFAULT, "may not use StartClient")


class Starter(BackendStart):
    """The service, which forks this process."""

    def __init__(self, bus: Bus, options: Options) -> None:
        super().__init__(bus, options, Nursery([]))


def starter_options() -> Options:
    client = {"client_log_level": 3, "client_log_file": "", "client_disable_protect_socket": False}
    return Options(**OPTIONS, **client)


# -- the starter's nursery ------------------------------------------------------------------------
async def test_a_starter_that_can_t_fork_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more_processes() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    async with running(Starter, world.address, starter_options()):
        monkeypatch.setattr(os, "fork", no_more_processes)
        with pytest.raises(RemoteError, match="no client process can be made: Resource temporarily unavailable"):
            await BackendStarter(world.manager).start_client("token")
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
        assert (await BackendStarter(world.manager).get("version")).startswith("v")


# -- registration ---------------------------------------------------------------------------------
async def test_a_client_registers_and_reads_its_profile(world: World, exit_code: "asyncio.Task[int]") -> None:
    bus_name, token, pid = await world.next("RegistrationRequest")
    assert (bus_name, token, pid) == (NAME, "secret", os.getpid())
    client = BackendClient(world.manager, NAME)
    config = await world.profile(PROFILE)
    await refused(client.confirm("guess", SESSION, config), DOMAIN_REGISTRATION, "registered already, or")
    assert await client.confirm(token, SESSION, config) == "office"
    expected = [StatusMajor.CONNECTION, StatusMinor.CFG_OK, f"config_path={config}"]
    assert await world.next("StatusChange") == expected
    await refused(client.confirm(token, SESSION, config), DOMAIN_REGISTRATION, "registered already, or")
    assert await client.get("session_path") == SESSION
    await client.ready()


async def test_two_confirmations_at_once(world: World, exit_code: "asyncio.Task[int]") -> None:
    await world.next("RegistrationRequest")
    client = BackendClient(world.manager, NAME)
    config = await world.profile(PROFILE)
    work = (client.confirm("secret", SESSION, config) for _ in range(2))
    done = await asyncio.gather(*work, return_exceptions=True)
    assert sorted(type(d).__name__ for d in done) == ["RemoteError", "str"]


async def test_before_its_confirmation_it_can_only_be_ended(world: World, exit_code: "asyncio.Task[int]") -> None:
    await world.next("RegistrationRequest")
    client = BackendClient(world.manager, NAME)
    await refused(client.connect(), DOMAIN_CLIENT, "has not been read yet")
    for work in (client.pause(""), client.resume(), client.restart()):
        await refused(work, DOMAIN_CLIENT, "not running")
    await client.disconnect()
    assert (await world.next("StatusChange"))[1] == StatusMinor.CONN_DISCONNECTING
    assert (await world.next("StatusChange"))[1] == StatusMinor.CONN_DONE
    assert await ends(exit_code) == 0


async def test_a_profile_that_can_t_be_used(world: World, exit_code: "asyncio.Task[int]") -> None:
    _, token, _ = await world.next("RegistrationRequest")
    config = await world.profile("client\ndev tun\nremote 192.0.2.1\n")
    await refused(BackendClient(world.manager, NAME).confirm(token, SESSION, config), DOMAIN_CLIENT, "ca")
    assert (await world.next("StatusChange"))[1] == StatusMinor.CFG_ERROR
    assert await ends(exit_code) == 0


async def test_it_leaves_when_its_manager_does(world: World, exit_code: "asyncio.Task[int]") -> None:
    await world.confirmed(PROFILE)
    world.manager.call_no_reply(*DAEMON, *release())
    assert await ends(exit_code) == 3


async def test_with_a_session_it_waits_for_the_next_manager(
    world: World, exit_code: "asyncio.Task[int]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """And shows it the record, which only that one may see; if there is none in time, it leaves."""
    monkeypatch.setattr(backend, "MANAGER_TIMEOUT_S", 0.3)
    client = await world.confirmed(PROFILE)
    record = {"path": Variant("o", SESSION), "owner": Variant("u", 7)}
    client.keep_record(record)
    for _ in range(2):
        await world.manager.call(*DAEMON, *release())
        await refused(BackendClient(world.manager, NAME).fetch_record(), DOMAIN_DEFAULT, "not the session manager")
        await world.manager.request_name(SESSIONS_NAME)
        assert await client.fetch_record() == record
        client.keep_record(record)
        assert (await client.state())["status"].value[1] == StatusMinor.CFG_OK
    assert "is managed again" in world.log()
    await world.manager.call(*DAEMON, *release())
    await world.account.request_name(SESSIONS_NAME)  # who doesn't give it a record doesn't manage it
    assert await ends(exit_code) == 3


def release() -> tuple[str, str, str]:
    return "ReleaseName", "s", SESSIONS_NAME


async def test_it_leaves_when_there_is_no_manager(world: World) -> None:
    await world.manager.call(*DAEMON, *release())
    _, life = await world.start()
    assert await ends(life) == 3


async def test_without_a_log_service_it_fails_in_good_order(address: str) -> None:
    for service in (
        ClientService(await Bus.connect(address), Options(**OPTIONS, token="secret", disable_protect_socket=True)),
        Starter(await Bus.connect(address), starter_options()),
    ):
        with pytest.raises(RemoteError):
            await asyncio.wait_for(service.run(), 5)


async def test_what_breaks_outside_of_a_call_ends_the_session(world: World, exit_code: "asyncio.Task[int]") -> None:
    """A tunnel that nobody drives any more would hang for ever."""
    await world.confirmed(PROFILE)
    asyncio.get_running_loop().call_soon(int, "password=hunter2")
    body = await world.next("StatusChange")
    while body[1] != StatusMinor.CONN_FAILED:
        body = await world.next("StatusChange")
    assert body[2].startswith("internal error")
    assert await ends(exit_code) == 0
    assert "unexpected ValueError" in world.log()
    assert "hunter2" not in world.log()


# -- user input -----------------------------------------------------------------------------------
async def test_questions_and_answers(world: World, exit_code: "asyncio.Task[int]") -> None:
    client = await world.confirmed(ASKING)
    needs = "Username/password credentials needed"
    assert await world.next("AttentionRequired") == [*USER_PASSWORD, needs]
    assert (await world.next("StatusChange"))[1:] == [StatusMinor.CFG_REQUIRE_USER, needs]
    await refused(client.ready(), DOMAIN_READY, "^Missing user credentials$")
    await refused(client.connect(), DOMAIN_CLIENT, "^Required user input not provided$")
    assert await client.type_groups() == [USER_PASSWORD]
    assert await client.check(*USER_PASSWORD) == [0, 1]
    questions = [await client.fetch(*USER_PASSWORD, number) for number in (0, 1)]
    assert [(q[3], q[5]) for q in questions] == [("username", False), ("password", True)]
    await refused(
        client.provide(*USER_PASSWORD, 0, "\n\x01"), DOMAIN_CLIENT, "error.invalid-input: No value provided for"
    )
    await refused(client.provide(*USER_PASSWORD, 7, "x"), DOMAIN_CLIENT, "net.openvpn.v3.invalid-input")
    await refused(client.provide(1, 99, 0, "x"), DOMAIN_CLIENT, "^User input not required$")
    await refused(client.fetch(*USER_PASSWORD, 7), DOMAIN_CLIENT, "net.openvpn.v3.element-not-found")
    await client.provide(*USER_PASSWORD, 0, "ali\x07ce")
    await refused(client.fetch(*USER_PASSWORD, 0), DOMAIN_CLIENT, "net.openvpn.v3.already-provided")
    await refused(client.provide(*USER_PASSWORD, 0, "x"), DOMAIN_CLIENT, "error.input-already-provided")
    assert await client.check(*USER_PASSWORD) == [1]
    await client.provide(*USER_PASSWORD, 1, "hunter2")
    assert await client.type_groups() == []
    await client.ready()
    assert "hunter2" not in world.log()
