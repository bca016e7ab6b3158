"""A session manager that starts while there are clients of a predecessor: whom it believes, and what callers see."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    CLIENT_NAME_PREFIX,
    CLIENT_PATH,
    CONFIG_PATH,
    LOG_NAME,
    SESSIONS_NAME,
    SESSIONS_PATH,
    StatusMajor,
    StatusMinor,
)
from ovpn3.dbus.bus import Bus, Match
from ovpn3.dbus.dispatch import Call, DBusObject, anyone, method, prop
from ovpn3.errors import ConfigurationRefused, RemoteError
from ovpn3.proxies.log import Log as LogClient
from ovpn3.proxies.session import Session, SessionManager
from ovpn3_services.common.commandline import Options
from ovpn3_services.log.service import LogService
from ovpn3_services.log.settings import parse
from ovpn3_services.sessionmgr import registry
from ovpn3_services.sessionmgr.record import Record
from ovpn3_services.sessionmgr.service import SessionManager as SessionService
from tests.bus.running import ALICE, BOB, connected, policed_bus, running
from tests.bus.test_sessionmgr import dispatcher

OPTIONS = Options(log_level=6, log_file="", idle_exit=0)
ME = f"{CLIENT_NAME_PREFIX}{os.getpid()}"
PATH = f"{SESSIONS_PATH}/01234567s89abscdefs0123s456789abcdef"
RECORD = Record(
    path=PATH,
    config_path=f"{CONFIG_PATH}/0x1",
    config_name="office",
    owner=ALICE.uid,
    granted=[BOB.uid],
    public=False,
    restrict_log_access=False,
    created=1700000000,
    connect_asked=True,
    automatic_restart=False,
    receivers=[],
)
CONNECTED = (int(StatusMajor.CONNECTION), int(StatusMinor.CONN_CONNECTED), "up")


class Client(DBusObject):
    """Of a client process that outlived its session manager only this is asked."""

    interface = BACKENDS_INTERFACE

    def __init__(self, bus: Bus, record: dict[str, Variant]) -> None:
        self.bus, self.record = bus, record
        self.kept: asyncio.Queue[dict[str, Variant]] = asyncio.Queue()
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()
        self.shut_down = asyncio.Event()

    @method("FetchRecord", "", "record:a{sv}", rule=anyone)
    async def fetch_record(self, call: Call) -> dict[str, Variant]:
        self.asked.set()
        await self.may_answer.wait()
        return self.record

    @method("KeepRecord", "record:a{sv}", rule=anyone)
    async def keep_record(self, call: Call, record: dict[str, Variant]) -> None:
        self.kept.put_nowait(record)

    @method("ForceShutdown", rule=anyone)
    async def force_shutdown(self, call: Call) -> None:
        self.shut_down.set()

    @prop("status", "(uus)", read=anyone)
    def status(self, call: Call) -> list[Any]:
        return list(CONNECTED)

    @prop("log_level", "u", read=anyone)
    def log_level(self, call: Call) -> int:
        return 5

    @prop("device_name", "s", read=anyone)
    def device_name(self, call: Call) -> str:
        return "tun7"


class World:
    def __init__(self, stack: AsyncExitStack, address: str, alice: Bus, log: Path) -> None:
        self._stack, self.address, self.alice, self._log = stack, address, alice, log
        self.session = Session(alice, PATH)

    async def client(self, record: dict[str, Variant], name: str = ME) -> Client:
        bus = await self._stack.enter_async_context(connected(self.address))
        client = Client(bus, record)
        dispatcher(bus).export(CLIENT_PATH, client)
        await bus.request_name(name)
        return client

    async def manager(self) -> SessionService:
        """A new session manager, which owns its name."""
        return await self._stack.enter_async_context(running(SessionService, self.address, OPTIONS))

    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with policed_bus() as address:
        yield address


@pytest.fixture
async def world(address: str, tmp_path: Path) -> AsyncIterator[World]:
    log = tmp_path / "log"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(LogService, address, parse(["--log-file", str(log), "--log-level=6"])))
        yield World(stack, address, await stack.enter_async_context(connected(address, ALICE)), log)


async def test_a_session_is_as_it_was(world: World) -> None:
    client = await world.client(RECORD.pack() | {"of a later version": Variant("s", "?")})
    await world.manager()
    assert [s.path for s in await SessionManager(world.alice).available()] == [PATH]
    values = await world.session.get_all()
    expected = {
        "owner": ALICE.uid,
        "acl": [BOB.uid],
        "public_access": False,
        "restrict_log_access": False,
        "session_created": 1700000000,
        "config_path": f"{CONFIG_PATH}/0x1",
        "config_name": "office",
        "log_verbosity": 5,
        "status": CONNECTED,
        "device_name": "tun7",
        "backend_pid": os.getpid(),
    }
    assert {name: values[name] for name in expected} == expected
    # The client learns by this that it is managed again, and every later change.
    assert Record.unpack(await client.kept.get()) == RECORD
    await world.session.revoke(BOB.uid)
    assert Record.unpack(await client.kept.get()).granted == []
    await world.session.set("public_access", "b", True)
    assert Record.unpack(await client.kept.get()).public
    assert not client.shut_down.is_set()


async def test_calls_wait_for_the_sessions(world: World) -> None:
    """And for nothing else: what a client says meanwhile counts."""
    client = await world.client(RECORD.pack())
    client.may_answer.clear()
    await world.manager()
    await client.asked.wait()
    listing = asyncio.create_task(SessionManager(world.alice).available())
    status = asyncio.create_task(world.session.status())
    manager = await world.alice.name_owner(SESSIONS_NAME)
    said = (int(StatusMajor.CONNECTION), int(StatusMinor.CONN_PAUSED), "")
    client.bus.emit(CLIENT_PATH, BACKENDS_INTERFACE, "StatusChange", "uus", *said, destination=manager)
    assert not listing.done()
    assert not status.done()
    client.may_answer.set()
    assert [s.path for s in await listing] == [PATH]
    assert await status == said


async def test_a_client_that_hangs_keeps_nobody_waiting_for_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TAKE_BACK_TIMEOUT_S", 0.1)
    client = await world.client(RECORD.pack())
    client.may_answer.clear()
    await world.manager()
    with pytest.raises(RemoteError, match="does not exist"):
        await world.session.status()
    client.may_answer.set()
    await client.kept.get()
    assert await world.session.status() == CONNECTED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", Variant("o", f"{SESSIONS_PATH}")),
        ("path", Variant("o", f"{PATH}/x")),
        ("path", Variant("s", PATH)),
        ("config_path", Variant("o", "/")),
        ("config_name", Variant("s", "")),
        ("config_name", Variant("s", "two\nlines")),
        ("config_name", Variant("s", "x" * 10000)),
        ("owner", Variant("x", -1)),
        ("owner", Variant("s", "root")),
        ("granted", Variant("au", [5, 5])),
        ("granted", Variant("au", [ALICE.uid])),
        ("granted", Variant("au", list(range(2000)))),
        ("public", Variant("u", 1)),
        ("created", Variant("s", "now")),
        ("automatic_restart", Variant("s", "no")),
        ("receivers", Variant("as", ["net.openvpn.v3.log"])),
        ("receivers", Variant("as", [":1.1"] * 1000)),
    ],
)
def test_a_record_that_nobody_wrote(name: str, value: Variant) -> None:
    with pytest.raises(ConfigurationRefused, match="record with"):
        Record.unpack(RECORD.pack() | {name: value})
    lacking = RECORD.pack()
    del lacking[name]
    with pytest.raises(ConfigurationRefused, match=f"without a usable {name}"):
        Record.unpack(lacking)


@pytest.mark.parametrize("record", [{}, RECORD.pack() | {"owner": Variant("s", "root")}])
async def test_a_client_without_a_session_is_ended(world: World, record: dict[str, Variant]) -> None:
    client = await world.client(record)
    await world.manager()
    await asyncio.wait_for(client.shut_down.wait(), 5)
    assert await SessionManager(world.alice).available() == []
    assert f"the session of {ME} can't be taken back" in world.log()


async def test_a_name_that_isn_t_the_process_s_own(world: World) -> None:
    client = await world.client(RECORD.pack(), f"{CLIENT_NAME_PREFIX}1")
    await world.manager()
    assert await SessionManager(world.alice).available() == []
    assert not client.asked.is_set()


async def test_forwarding_goes_on(world: World) -> None:
    """For those who are still there, who also hear what the session has come to."""
    async with connected(world.address, ALICE) as gone:
        nobody = gone.unique_name
    client = await world.client(
        Record.unpack(RECORD.pack() | {"receivers": Variant("as", [world.alice.unique_name, nobody])}).pack()
    )
    log = LogClient(client.bus)
    await log.attach(BACKENDS_INTERFACE)
    await log.assign_session(PATH, BACKENDS_INTERFACE)
    said: asyncio.Queue[list[Any]] = asyncio.Queue()
    await world.alice.subscribe(
        Match(BACKENDS_INTERFACE, "StatusChange", LOG_NAME, PATH), lambda m: said.put_nowait(m.body)
    )
    await world.manager()
    assert tuple(await asyncio.wait_for(said.get(), 5)) == CONNECTED
    assert len(await world.session.get("log_forwards")) == 1
