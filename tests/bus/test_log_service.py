"""The log service on a bus with the shipped policy: who may attach, what is written, what is passed on to whom."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message
from dbus_fast.introspection import Node

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    CLIENT_NAME_PREFIX,
    CLIENT_PATH,
    LOG_INTERFACE,
    LOG_NAME,
    LOG_PATH,
    SESSIONS_INTERFACE,
    SESSIONS_NAME,
    SESSIONS_PATH,
    LogCategory,
    LogGroup,
)
from ovpn3.dbus.bus import Bus, Match
from ovpn3.errors import RemoteError
from ovpn3.proxies.log import Log as LogClient
from ovpn3.proxies.log import tag_of
from ovpn3_services.common.log import Log
from ovpn3_services.log import senders, writers
from ovpn3_services.log.event import MAX_CHARS
from ovpn3_services.log.senders import BURST, MAX_INTERFACES
from ovpn3_services.log.service import LogService
from ovpn3_services.log.settings import parse
from tests.bus.running import ALICE, BOB, connected, policed_bus, running

IFACE = "net.openvpn.v3.test"
SESSION = f"{SESSIONS_PATH}/0s1"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with policed_bus() as address:
        yield address


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
async def service(address: str, output: Path, tmp_path: Path) -> AsyncIterator[LogService]:
    options = parse(["--log-file", str(output), "--log-level", "6", "--state-dir", str(tmp_path)])
    async with running(LogService, address, options) as service:
        yield service


@pytest.fixture
async def sender(address: str, service: LogService) -> AsyncIterator[Bus]:
    async with connected(address) as bus:
        yield bus


async def say(bus: Bus, text: str, category: int = LogCategory.INFO, *, group: int = LogGroup.CLIENT) -> None:
    """A Log signal; the service has dealt with it when this returns."""
    bus.emit("/a/b", IFACE, "Log", "uus", group, category, text, destination=await bus.name_owner(LOG_NAME))
    await settled(bus)


async def settled(bus: Bus) -> None:
    """The service handles one connection's messages in their order: it has handled all before this call."""
    await LogClient(bus).get("version")


def text(output: Path) -> str:
    return output.read_text()


def lines(output: Path) -> list[str]:
    return text(output).splitlines()


def rotate(output: Path) -> Path:
    """Move the file away and tell the service."""
    old = output.rename(output.with_suffix(".1"))
    os.kill(os.getpid(), signal.SIGHUP)
    return old


# -- attaching ------------------------------------------------------------------------------------
async def test_lines_of_an_attached_sender_are_written(service: LogService, sender: Bus, output: Path) -> None:
    await say(sender, "before")
    await LogClient(sender).attach(IFACE)
    await say(sender, "hello")
    await LogClient(sender).detach(IFACE)
    await say(sender, "after")
    tag = f"{{tag:{tag_of(sender.unique_name, IFACE)}}}"
    assert [line for line in lines(output) if "Logger" not in line] == [f" {tag} Client INFO: hello"]


async def test_a_sender_attaches_once(sender: Bus) -> None:
    log = LogClient(sender)
    await log.attach(IFACE)
    with pytest.raises(RemoteError, match="attached already") as e:
        await log.attach(IFACE)
    assert e.value.name == "net.openvpn.v3.log.error"
    await log.detach(IFACE)
    with pytest.raises(RemoteError, match="not attached"):
        await log.detach(IFACE)


async def test_who_leaves_is_forgotten(service: LogService, sender: Bus, address: str) -> None:
    async with connected(address) as other:
        await LogClient(other).attach(IFACE)
        await LogClient(other).attach("net.openvpn.v3.other")
        assert await LogClient(sender).get("num_attached") == 2
        assert service.busy()
        gone = await departure(sender, other)
    await gone
    await settled(sender)
    assert await LogClient(sender).get("num_attached") == 0
    assert not service.busy()


async def departure(watcher: Bus, who: Bus) -> "asyncio.Future[str]":
    gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    await watcher.watch_name(who.unique_name, lambda owner: None if gone.done() else gone.set_result(owner))
    await watcher.owner(who.unique_name)
    return gone


async def test_subscribers_are_listed(sender: Bus) -> None:
    await LogClient(sender).attach(IFACE)
    (listed,) = (await LogClient(sender).call("GetSubscriberList"))[0]
    assert list(listed) == [str(tag_of(sender.unique_name, IFACE)), sender.unique_name, IFACE, ""]


@pytest.mark.parametrize("interface", ["", "x", "a'b.c", "net.x',eavesdrop='true", "a b.c", "a." + "b" * 300])
async def test_an_interface_must_be_one(service: LogService, sender: Bus, interface: str) -> None:
    with pytest.raises(RemoteError, match="not the name of an interface"):
        await LogClient(sender).attach(interface)
    assert not service.senders.attached


async def test_interfaces_are_limited(service: LogService, sender: Bus) -> None:
    log = LogClient(sender)
    for n in range(MAX_INTERFACES):
        await log.attach(f"{IFACE}.i{n}")
    with pytest.raises(RemoteError, match="already"):
        await log.attach(IFACE)
    assert (sender.unique_name, IFACE) not in service.senders.attached


async def test_more_senders_than_a_connection_may_have_match_rules(service: LogService, address: str) -> None:
    """512 on a system bus; at a few for each sender there could be few tunnels."""
    async with AsyncExitStack() as stack:
        for _ in range(200):
            bus = await stack.enter_async_context(connected(address))
            await LogClient(bus).attach(IFACE)
        assert len(service.senders.attached) == 200


@pytest.mark.parametrize("member", ["Attach", "Detach", "GetSubscriberList", "AssignSession", "ProxyLogEvents"])
async def test_other_users_may_call_nothing(service: LogService, address: str, member: str) -> None:
    async with connected(address, ALICE) as bus:
        with pytest.raises(RemoteError) as e:
            await LogClient(bus).call(member)
        assert e.value.name == "org.freedesktop.DBus.Error.AccessDenied"
        assert await LogClient(bus).get("log_level") == 6
        with pytest.raises(RemoteError):
            await LogClient(bus).set("log_level", "u", 1)


# -- hostile senders ------------------------------------------------------------------------------
async def test_a_message_is_one_line_of_bounded_length(sender: Bus, output: Path) -> None:
    await LogClient(sender).attach(IFACE)
    await say(sender, "a\nClient INFO: forged\x1b[2J" + "x" * 1_000_000 + "end\n")
    (line,) = [line for line in lines(output) if "forged" in line]
    assert "\x1b" not in line
    assert len(line) < MAX_CHARS + 100
    assert "end" not in line


async def test_odd_signals_do_no_harm(sender: Bus, service: LogService, output: Path) -> None:
    await LogClient(sender).attach(IFACE)
    receiver = await sender.name_owner(LOG_NAME)
    for signature, body in (("", []), ("s", ["x"]), ("uuuu", [1, 2, 3, 4]), ("ssss", ["a"] * 4), ("v", [])):
        if len(signature) == len(body):
            for member in ("Log", "StatusChange", "Whatever"):
                sender.emit("/a", IFACE, member, signature, *body, destination=receiver)
    await say(sender, "numbers nobody knows", 77, group=4_000_000_000)
    (line,) = [line for line in lines(output) if "numbers" in line]
    assert line.endswith("} numbers nobody knows")


async def test_nobody_speaks_for_another(service: LogService, sender: Bus, address: str, output: Path) -> None:
    await LogClient(sender).attach(IFACE)
    async with connected(address, ALICE) as stranger:
        stranger.emit("/a", IFACE, "Log", "uus", 7, 4, "not me", destination=await stranger.name_owner(LOG_NAME))
        await settled(stranger)
    assert "not me" not in text(output)


# -- settings -------------------------------------------------------------------------------------
async def test_settings_hold_at_once_and_are_kept(
    service: LogService, sender: Bus, tmp_path: Path, output: Path
) -> None:
    log = LogClient(sender)
    await log.attach(IFACE)
    for name, type_, value in (
        ("log_level", "u", 2),
        ("timestamp", "b", True),
        ("log_dbus_details", "b", True),
        ("log_prefix_logtag", "b", False),
    ):
        await log.set(name, type_, value)
        assert await log.get(name) == value
    await say(sender, "quiet", LogCategory.INFO)
    await say(sender, "loud", LogCategory.WARN)
    assert "quiet" not in text(output)
    details, line = lines(output)[-2:]
    assert line.endswith(" Client WARNING: loud")
    pid = os.getpid()
    assert details.endswith(f" sender={sender.unique_name}, object_path=/a/b, interface={IFACE}, sender_pid={pid}")
    again = parse(["--state-dir", str(tmp_path)])
    assert (again.log_level, again.timestamp, again.service_log_dbus_details) == (2, True, True)
    assert (again.no_logtag_prefix, again.log_file) == (True, str(output))


async def test_a_level_is_0_to_6(sender: Bus) -> None:
    with pytest.raises(RemoteError, match="0 to 6") as e:
        await LogClient(sender).set("log_level", "u", 7)
    assert e.value.name == "org.freedesktop.DBus.Error.Failed"
    assert await LogClient(sender).get("log_level") == 6


async def test_properties(service: LogService, sender: Bus, tmp_path: Path) -> None:
    values = await LogClient(sender).get_all()
    assert values.pop("version").startswith("v")
    assert values == {
        "log_method": "logfile",
        "log_level": 6,
        "log_dbus_details": False,
        "log_prefix_logtag": True,
        "timestamp": False,
        "config_file": str(tmp_path / "log-service.json"),
        "num_attached": 0,
    }


async def test_a_rotated_file_is_begun_anew(sender: Bus, output: Path) -> None:
    await LogClient(sender).attach(IFACE)
    await say(sender, "old")
    old = rotate(output)
    await settled(sender)
    await say(sender, "new")
    assert "new" in text(output)
    assert "old" in text(old)


async def test_a_service_finds_the_next_log_service(address: str, tmp_path: Path) -> None:
    """What all services have in common: attached again without doing anything."""
    first, second = tmp_path / "first", tmp_path / "second"
    async with connected(address) as bus:
        voice = Log(bus, LogGroup.NETCFG, "/x", IFACE, 6)
        async with running(LogService, address, parse(["--log-file", str(first)])):
            await voice.attach()
            voice.info("one")
            await settled(bus)
        async with running(LogService, address, parse(["--log-file", str(second)])) as successor, asyncio.timeout(5):
            while voice.receiver != successor.bus.unique_name:
                await settled(bus)
            voice.info("two")
            await settled(bus)
    assert "one" in text(first)
    assert "two" in text(second)


# -- where lines go when they can't go where they should -------------------------------------------
async def test_a_file_that_can_not_be_opened(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody's tunnel depends on the log."""
    options = parse(["--log-file", "/nonexistent/log"])
    async with running(LogService, address, options), connected(address) as bus:
        await LogClient(bus).attach(IFACE)
        await say(bus, "hello")
        assert await LogClient(bus).get("log_method") == "stdout:"
    said = capfd.readouterr().out
    assert "Logger -- ERROR --: can't open /nonexistent/log: No such file or directory" in said
    assert "Client INFO: hello" in said


async def test_a_file_that_can_be_opened_at_last(address: str, tmp_path: Path) -> None:
    file = tmp_path / "folder" / "log"
    async with running(LogService, address, parse(["--log-file", str(file)])), connected(address) as bus:
        await LogClient(bus).attach(IFACE)
        file.parent.mkdir()
        os.kill(os.getpid(), signal.SIGHUP)
        await settled(bus)
        await say(bus, "hello")
        assert await LogClient(bus).get("log_method") == "logfile"
    assert "Client INFO: hello" in file.read_text()


async def test_a_log_daemon_that_is_away(
    address: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "JOURNAL_SOCKET", "/nonexistent/socket")
    async with running(LogService, address, parse(["--journald"])), connected(address) as bus:
        await LogClient(bus).attach(IFACE)
        for text in ("one", "two"):
            await say(bus, text)
        assert await LogClient(bus).get("log_method") == "journald"
        assert await LogClient(bus).get("timestamp") is True, "the journal has its own"
    said = capfd.readouterr().out
    assert said.count("journald: No such file or directory") == 1
    assert "INFO: one" in said
    assert "INFO: two" in said


async def test_a_reader_that_stalls_holds_nobody_up(address: str, tmp_path: Path) -> None:
    """A pipe whose reader has stopped: calls are answered, and what was dropped is told when it goes on."""
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    options = parse(["--log-file", str(tmp_path / "pipe")])
    async with running(LogService, address, options), AsyncExitStack() as stack:
        buses = [await stack.enter_async_context(connected(address)) for _ in range(6)]
        for bus in buses:
            await LogClient(bus).attach(IFACE)
            for _ in range(400):
                bus.emit("/a", IFACE, "Log", "uus", LogGroup.CLIENT, LogCategory.INFO, "x" * 1000)
            await settled(bus)
        read = b""
        async with asyncio.timeout(10):
            while b"lines are missing before this one: logfile took no more" not in read:
                with suppress(BlockingIOError):
                    read += os.read(end, 1 << 20)
                await settled(buses[0])
    os.close(end)
    missing = int(re.findall(rb"(\d+) lines are missing", read)[0])
    assert read.count(b"Client INFO: x") + missing == 6 * 400


async def test_who_says_too_much_is_cut_short(
    service: LogService, sender: Bus, address: str, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders, "REPORT_S", 0)
    await LogClient(sender).attach(IFACE)
    for _ in range(2 * BURST):
        sender.emit("/a", IFACE, "Log", "uus", LogGroup.CLIENT, LogCategory.INFO, "flood")
    await settled(sender)
    async with connected(address) as other:
        await LogClient(other).attach(IFACE)
        await say(other, "heard")
    written = text(output)
    assert "INFO: heard" in written
    assert BURST <= written.count("INFO: flood") < 2 * BURST
    left_out = sum(map(int, re.findall(r"Logger WARNING: (\d+) lines left out, more than 1000 a second", written)))
    assert written.count("INFO: flood") + left_out == 2 * BURST


async def test_a_damaged_settings_file_is_put_aside(address: str, tmp_path: Path, output: Path) -> None:
    settings = tmp_path / "log-service.json"
    options = parse(damaged(settings, "{ nonsense", output))
    async with running(LogService, address, options), connected(address) as bus:
        await LogClient(bus).set("timestamp", "b", True)
    assert "put aside as log-service.json.damaged" in text(output)
    assert text(settings.with_name("log-service.json.damaged")) == "{ nonsense"
    assert '"timestamp": true' in text(settings)


def damaged(settings: Path, content: str, output: Path) -> list[str]:
    settings.write_text(content)
    return ["--state-dir", str(settings.parent), "--log-file", str(output)]


# -- forwarding -----------------------------------------------------------------------------------
class Forwarding:
    """A client process with a session, a session manager, and a user who listens."""

    def __init__(self, client: Bus, manager: Bus, user: Bus) -> None:
        self.client, self.manager, self.user = client, manager, user
        self.heard: asyncio.Queue[Message] = asyncio.Queue()

    async def hear(self) -> None:
        match = Match(BACKENDS_INTERFACE, sender=LOG_NAME, path=SESSION)
        await self.user.subscribe(match, self.heard.put_nowait)

    async def say(self, text: str, category: LogCategory = LogCategory.INFO) -> None:
        receiver = await self.client.name_owner(LOG_NAME)
        body = (LogGroup.CLIENT, category, "token", text)
        self.client.emit(CLIENT_PATH, BACKENDS_INTERFACE, "Log", "uuss", *body, destination=receiver)
        await settled(self.client)

    async def status(self, bus: Bus, path: str, interface: str, text: str) -> None:
        receiver = await bus.name_owner(LOG_NAME)
        bus.emit(path, interface, "StatusChange", "uus", 2, 7, text, destination=receiver)
        await settled(bus)

    async def next(self) -> tuple[str | None, list[Any]]:
        message = await asyncio.wait_for(self.heard.get(), 5)
        return message.member, message.body

    async def nothing_more(self) -> bool:
        """Nothing was sent before now: a signal that is, comes next."""
        owner = await self.manager.name_owner(LOG_NAME)
        assert owner
        await settled(self.user)
        return self.heard.empty()


@asynccontextmanager
async def forwarding(address: str, listener: Any = ALICE) -> AsyncIterator[Forwarding]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connected(address))
        manager = await stack.enter_async_context(connected(address))
        user = await stack.enter_async_context(connected(address, listener))
        await client.request_name(f"{CLIENT_NAME_PREFIX}{os.getpid()}")
        await manager.request_name(SESSIONS_NAME)
        await LogClient(manager).attach(SESSIONS_INTERFACE)
        await LogClient(client).attach(BACKENDS_INTERFACE)
        await LogClient(client).assign_session(SESSION, BACKENDS_INTERFACE)
        f = Forwarding(client, manager, user)
        await f.hear()
        yield f


async def test_a_session_s_events_reach_the_receiver_alone(service: LogService, address: str, output: Path) -> None:
    async with forwarding(address) as f, connected(address, ALICE) as other:
        overheard: list[Message] = []
        await other.subscribe(Match(BACKENDS_INTERFACE), overheard.append)
        await f.say("too early")
        await LogClient(f.manager).proxy_log_events(f.user.unique_name, SESSION)
        await f.say("hello")
        await f.status(f.client, CLIENT_PATH, BACKENDS_INTERFACE, "up")
        assert await f.next() == ("Log", [LogGroup.CLIENT, LogCategory.INFO, "hello"])
        assert await f.next() == ("StatusChange", [2, 7, "up"])
        await settled(other)
        assert overheard == []
    assert "Client INFO: hello" in text(output)


async def test_the_session_manager_s_status_of_the_session_is_passed_on(service: LogService, address: str) -> None:
    """How a client that was killed ended, nobody else can say."""
    async with forwarding(address) as f:
        await LogClient(f.manager).proxy_log_events(f.user.unique_name, SESSION)
        gone = await departure(f.manager, f.client)
        f.client.close()
        await gone
        await f.status(f.manager, SESSION, SESSIONS_INTERFACE, "killed")
        await f.status(f.manager, f"{SESSIONS_PATH}/0s2", SESSIONS_INTERFACE, "another session")
        assert await f.next() == ("StatusChange", [2, 7, "killed"])
        assert await f.nothing_more()


async def test_a_stranger_s_status_is_not(service: LogService, address: str) -> None:
    async with forwarding(address) as f, connected(address) as stranger:
        await LogClient(f.manager).proxy_log_events(f.user.unique_name, SESSION)
        await LogClient(stranger).attach(IFACE)
        await f.status(stranger, SESSION, IFACE, "lie")
        assert await f.nothing_more()


async def test_forwarding_ends_at_once_when_removed(service: LogService, address: str) -> None:
    async with forwarding(address) as f:
        proxy = await LogClient(f.manager).proxy_log_events(f.user.unique_name, SESSION)
        await proxy.remove()
        await f.say("too late")
        assert await f.nothing_more()
        with pytest.raises(RemoteError, match="Object does not exist"):
            await proxy.remove()


@pytest.mark.parametrize("who", ["user", "manager"])
async def test_forwarding_ends_when_somebody_leaves(service: LogService, address: str, who: str) -> None:
    async with forwarding(address) as f:
        await LogClient(f.manager).proxy_log_events(f.user.unique_name, SESSION)
        bus: Bus = getattr(f, who)
        gone = await departure(f.client, bus)
        bus.close()
        await gone
        await settled(f.client)
        assert not service.senders.proxies


async def test_a_proxy_has_its_own_level(service: LogService, address: str) -> None:
    async with forwarding(address) as f:
        proxy = await LogClient(f.manager).proxy_log_events(f.user.unique_name, SESSION)
        assert await proxy.get_all() == {"log_level": 6, "session_path": SESSION, "target": f.user.unique_name}
        await proxy.set("log_level", "u", 2)
        await f.say("dropped", LogCategory.INFO)
        await f.say("kept", LogCategory.WARN)
        assert (await f.next())[1][2] == "kept"
        with pytest.raises(RemoteError, match="0 to 6"):
            await proxy.set("log_level", "u", 7)


async def test_each_receiver_has_a_level_of_its_own(service: LogService, address: str) -> None:
    """Several receivers, one of them twice: what one of them changes or ends is nothing to the others."""
    async with forwarding(address) as f, connected(address, BOB) as bob:
        theirs: asyncio.Queue[Message] = asyncio.Queue()
        await bob.subscribe(Match(BACKENDS_INTERFACE, sender=LOG_NAME, path=SESSION), theirs.put_nowait)
        alices = await LogClient(f.manager).proxy_log_events(f.user.unique_name, SESSION)
        bobs = await LogClient(f.manager).proxy_log_events(bob.unique_name, SESSION)
        await bobs.set("log_level", "u", 2)
        await f.say("detail", LogCategory.DEBUG)
        await f.say("warning", LogCategory.WARN)
        assert [(await f.next())[1][2] for _ in range(2)] == ["detail", "warning"]
        assert (await asyncio.wait_for(theirs.get(), 5)).body[2] == "warning"
        await bobs.set("log_level", "u", 6)
        await alices.remove()
        await f.say("more", LogCategory.DEBUG)
        assert (await asyncio.wait_for(theirs.get(), 5)).body[2] == "more"
        assert await f.nothing_more()


async def test_metadata_of_a_client_names_the_session(service: LogService, address: str, output: Path) -> None:
    service.options.service_log_dbus_details = True
    async with forwarding(address) as f:
        await f.say("hello")
    details = lines(output)[[line.endswith("INFO: hello") for line in lines(output)].index(True) - 1]
    assert f"object_path={SESSION}, sender_object_path={CLIENT_PATH}, interface=" in details


async def test_only_the_session_manager_asks_for_forwarding(service: LogService, address: str) -> None:
    async with forwarding(address) as f:
        with pytest.raises(RemoteError, match="session manager"):
            await LogClient(f.client).proxy_log_events(f.user.unique_name, SESSION)
        for target, session in ((f.user.unique_name, f"{SESSIONS_PATH}/none"), (SESSIONS_NAME, SESSION)):
            with pytest.raises(RemoteError) as e:
                await LogClient(f.manager).proxy_log_events(target, session)
            assert e.value.name == "net.openvpn.v3.log.error"
        for target in (":1.99999", "x'y", ""):
            with pytest.raises(RemoteError):
                await LogClient(f.manager).proxy_log_events(target, SESSION)
        assert not service.senders.proxies


async def test_only_client_processes_have_a_session(service: LogService, address: str, sender: Bus) -> None:
    log = LogClient(sender)
    await log.attach(IFACE)
    with pytest.raises(RemoteError, match="only client processes"):
        await log.assign_session(SESSION, IFACE)
    async with forwarding(address) as f:
        with pytest.raises(RemoteError, match="not attached"):
            await LogClient(f.client).assign_session(SESSION, IFACE)
        with pytest.raises(RemoteError, match="no session"):
            await LogClient(f.client).assign_session("/a/b", BACKENDS_INTERFACE)
        await LogClient(f.client).attach(IFACE)
        with pytest.raises(RemoteError, match="another client"):
            await LogClient(f.client).assign_session(SESSION, IFACE)


async def test_other_users_do_not_see_a_forwarding(service: LogService, address: str) -> None:
    async with forwarding(address) as f:
        proxy = await LogClient(f.manager).proxy_log_events(f.user.unique_name, SESSION)
        body = await f.manager.call(LOG_NAME, LOG_PATH, "org.freedesktop.DBus.Introspectable", "Introspect")
        assert [n.name for n in Node.parse(body[0]).nodes] == ["proxy"]
        with pytest.raises(RemoteError) as e:
            await f.user.call(LOG_NAME, proxy.path, LOG_INTERFACE, "Remove")
        assert e.value.name == "org.freedesktop.DBus.Error.AccessDenied"
