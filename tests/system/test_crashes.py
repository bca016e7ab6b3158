"""Services, clients and servers that vanish or hang, and users who are quick: nothing hangs, nothing is left over."""

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import pytest

from ovpn3.client.reconnect import RETRY_DELAY_S
from ovpn3.constants import (
    BACKENDS_INTERFACE,
    LOG_NAME,
    SESSIONS_INTERFACE,
    LogCategory,
    SessionEvent,
    StatusMajor,
    StatusMinor,
)
from ovpn3.dbus.bus import Bus, Match
from ovpn3.errors import RemoteError
from ovpn3.proxies.config import ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager
from tests.support.account import ALICE, Account
from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer, password_script

pytestmark = [pytest.mark.system, pytest.mark.interop]

StartServer = Callable[..., OpenVpnServer]
CONNECTED = (StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTED)
SERVICES = ("log", "configmgr", "sessionmgr", "netcfg", "backendstart")


@asynccontextmanager
async def bus_of(machine: Machine, account: Account = ALICE) -> AsyncIterator[Bus]:
    with account.assumed():
        bus = await Bus.connect(machine.sandbox.address)
    try:
        yield bus
    finally:
        bus.close()
        await bus.lost()


class Life:
    """A session, and what is said of it from now on."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._said: asyncio.Queue[tuple[int, int, str]] = asyncio.Queue()

    async def listen(self) -> None:
        status = Match(BACKENDS_INTERFACE, "StatusChange", LOG_NAME, self.session.path)
        await self.session.bus.subscribe(status, lambda m: self._said.put_nowait((m.body[0], m.body[1], m.body[2])))
        await self.session.log_forward(True)

    async def until(self, minor: StatusMinor, within_s: float = 10) -> str:
        """The text of the next status of that kind; those before it are forgotten."""
        async with asyncio.timeout(within_s):
            while True:
                _, said, text = await self._said.get()
                if said == minor:
                    return text

    async def connect(self) -> None:
        await self.session.connect()
        await self.until(StatusMinor.CONN_CONNECTED)


async def new_session(bus: Bus, profile: str, name: str = "vpn", **overrides: str | bool) -> Life:
    config = await ConfigurationManager(bus).import_profile(name, profile)
    for override, value in overrides.items():
        await config.set_override(override.replace("_", "-"), value)
    life = Life(await SessionManager(bus).new_tunnel(config.path))
    await life.listen()
    return life


async def gone(bus: Bus, name: str) -> "asyncio.Future[str]":
    """Done once the bus name has lost its owner."""
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    await bus.watch_name(name, lambda owner: None if owner or lost.done() else lost.set_result(name))
    await bus.owner(name)
    return lost


async def kill(bus: Bus, machine: Machine, service: str, name: str) -> None:
    """Kill a service; the bus has noticed when this returns."""
    lost = await gone(bus, name)
    os.kill(machine.service(service), signal.SIGKILL)
    await asyncio.wait_for(lost, 5)


def ended(pid: int) -> "asyncio.Future[None]":
    """Done once the process has ended."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    handle = os.pidfd_open(pid)

    def on_end() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        done.set_result(None)

    loop.add_reader(handle, on_end)
    return done


def ping(machine: Machine, server: OpenVpnServer) -> None:
    machine.pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def tunnels(machine: Machine) -> list[str]:
    """Index and name of every tunnel's device: a new device has a new index."""
    return re.findall(r"\d+: tun\d+", machine.pair.client.run(["ip", "link"]).stdout)


def nothing_is_left(machine: Machine, before: dict[str, list[str]]) -> None:
    assert machine.sessions().strip() == "No sessions available"
    assert machine.clients() == []
    now = machine.pair.client.state()
    assert {what: set(now[what]) ^ set(before[what]) for what in before if now[what] != before[what]} == {}


SILENT = "client\ndev tun\nremote {host} 1194 {proto}\nserver-poll-timeout 60\nsetenv CLIENT_CERT 0\n<ca>\n{ca}</ca>\n"


class Silent:
    """A server, and name server, that takes everything and answers nothing."""

    def __init__(self, pair: NamespacePair, pki: Pki, stack: ExitStack) -> None:
        def listen(kind: socket.SocketKind, port: int) -> socket.socket:
            sock = stack.enter_context(socket.socket(type=kind | socket.SOCK_NONBLOCK))
            sock.bind((pair.SERVER_V4, port))
            return sock

        with pair.server.entered():
            self._udp = listen(socket.SOCK_DGRAM, 1194)
            self._dns = listen(socket.SOCK_DGRAM, 53)
            self._tcp = listen(socket.SOCK_STREAM, 1194)
        self._tcp.listen()
        self._stack = stack
        self.profile = partial(SILENT.format, host=pair.SERVER_V4, ca=pki.ca, proto="udp")

    async def heard(self, what: str) -> None:
        """Return once a client has sent something: by udp, tcp or dns."""
        loop = asyncio.get_running_loop()
        if what == "tcp":
            self._stack.enter_context((await loop.sock_accept(self._tcp))[0])
        else:
            await loop.sock_recv(self._dns if what == "dns" else self._udp, 2048)


@pytest.fixture
def silent(pair: NamespacePair, pki: Pki) -> Iterator[Silent]:
    with ExitStack() as stack:
        yield Silent(pair, pki, stack)


# -- services that are killed ---------------------------------------------------------------------
async def test_disconnect_when_netcfg_has_gone(machine: Machine, start_server: StartServer) -> None:
    server = start_server(push=["redirect-gateway def1"])
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile(), persist_tun=True)
        await life.connect()
        (client,) = machine.clients()
        end = ended(client)
        os.kill(machine.service("netcfg"), signal.SIGKILL)
        await asyncio.wait_for(life.session.disconnect(), 5)
        await asyncio.wait_for(end, 5)
    nothing_is_left(machine, before)


async def test_without_backendstart_sessions_go_on(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile("persist-key"), "first")
        await life.connect()
        await kill(bus, machine, "backendstart", "net.openvpn.v3.backends")
        ping(machine, server)
        await new_session(bus, server.profile(), "second")
        assert len(await SessionManager(bus).available()) == 2
        ends = [ended(pid) for pid in machine.clients()]
        machine.disconnect("first")
        machine.disconnect("second")
        await asyncio.wait_for(asyncio.gather(*ends), 5)


async def test_without_log_sessions_go_on(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        await life.connect()
        old = await bus.name_owner(LOG_NAME)
        back: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await bus.watch_name(LOG_NAME, lambda owner: back.set_result(owner) if owner else None)
        await bus.owner(LOG_NAME)
        os.kill(machine.service("log"), signal.SIGKILL)
        assert await asyncio.wait_for(back, 10) != old
        ping(machine, server)
        machine.disconnect()
    nothing_is_left(machine, before)


async def test_killed_between_new_tunnel_and_connect(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        destroyed: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()
        life = await new_session(bus, server.profile())
        await bus.subscribe(Match(SESSIONS_INTERFACE, "SessionManagerEvent"), lambda m: destroyed.set_result(m.body))
        os.kill(await life.session.get("backend_pid"), signal.SIGKILL)
        assert await asyncio.wait_for(destroyed, 1) == [life.session.path, SessionEvent.SESS_DESTROYED, ALICE.uid]
        with pytest.raises(RemoteError, match="does not exist"):
            await life.session.connect()
    nothing_is_left(machine, before)


async def test_twenty_rounds_leave_no_trace(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    async with bus_of(machine) as bus:
        config = await ConfigurationManager(bus).import_profile("vpn", server.profile())

        async def rounds(number: int) -> dict[str, int]:
            for _ in range(number):
                life = Life(await SessionManager(bus).new_tunnel(config.path))
                await life.listen()
                await life.connect()
                end = ended(await life.session.get("backend_pid"))
                await life.session.disconnect()
                await asyncio.wait_for(end, 5)
            return {name: descriptors(machine.service(name)) for name in SERVICES}

        before = await rounds(2)
        processes = len(machine.pair.client.pids())
        assert await rounds(20) == before
        assert len(machine.pair.client.pids()) == processes


# -- users who are quick --------------------------------------------------------------------------
async def test_five_at_once(machine: Machine, start_server: StartServer) -> None:
    """Five profiles each get their session, and one profile that is started twice gets one."""
    server = start_server(extra=["duplicate-cn"])
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        manager = SessionManager(bus)
        configs = [await ConfigurationManager(bus).import_profile(f"vpn{n}", server.profile()) for n in range(5)]
        starts = [manager.new_tunnel(config.path) for config in (*configs, configs[0])]
        done = await asyncio.gather(*starts, return_exceptions=True)
        sessions = [s for s in done if isinstance(s, Session)]
        assert [str(e).count("already running") for e in done if isinstance(e, RemoteError)] == [1]
        assert len(sessions) == len(machine.clients()) == 5
        lives = [Life(session) for session in sessions]
        for life in lives:
            await life.listen()
        await asyncio.gather(*(life.connect() for life in lives))
        assert len(set(await manager.managed_interfaces())) == 5
        await asyncio.gather(*(session.disconnect() for session in sessions))
    nothing_is_left(machine, before)


async def test_everything_twice(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        await asyncio.gather(life.session.connect(), life.session.connect())
        await life.until(StatusMinor.CONN_CONNECTED)
        await life.session.connect()
        assert (await life.session.status())[:2] == CONNECTED
        end = ended(await life.session.get("backend_pid"))
        await asyncio.gather(life.session.disconnect(), life.session.disconnect())
        await asyncio.wait_for(end, 5)
    nothing_is_left(machine, before)


async def test_orders_in_quick_succession(machine: Machine, start_server: StartServer) -> None:
    """Each comes while the client still carries out the one before."""
    server = start_server(push=["redirect-gateway def1"])
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        (client,) = machine.clients()
        end, idle = ended(client), threads(client)
        await life.connect()
        assert threads(client) > idle
        os.kill(server.pid, signal.SIGSTOP)  # a goodbye that isn't answered takes its time
        await life.session.restart()
        await life.session.pause("")
        await life.until(StatusMinor.CONN_PAUSED)
        assert threads(client) == idle
        assert tunnels(machine) == []
        os.kill(server.pid, signal.SIGCONT)
        await life.session.resume()
        await life.session.disconnect()
        assert tunnels(machine) == []
        await asyncio.wait_for(end, 5)
    nothing_is_left(machine, before)


@pytest.mark.parametrize("proto", ["udp", "tcp"])
async def test_disconnect_while_nobody_answers(machine: Machine, silent: Silent, proto: str) -> None:
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, silent.profile(proto=proto))
        await life.session.connect()
        await asyncio.wait_for(silent.heard(proto), 5)
        end = ended(await life.session.get("backend_pid"))
        started = time.monotonic()
        await life.session.disconnect()
        assert time.monotonic() - started < 0.3
        await asyncio.wait_for(end, 1)
    nothing_is_left(machine, before)


async def test_disconnect_while_a_name_is_being_resolved(machine: Machine, silent: Silent) -> None:
    machine.sandbox.run(["sh", "-c", f"echo nameserver {machine.pair.SERVER_V4} > /etc/resolv.conf"])
    async with bus_of(machine) as bus:
        life = await new_session(bus, silent.profile(host="vpn.example.org"))
        await life.session.connect()
        await asyncio.wait_for(silent.heard("dns"), 5)
        end = ended(await life.session.get("backend_pid"))
        await asyncio.wait_for(life.session.disconnect(), 1)
        await asyncio.wait_for(end, 1)


async def test_interrupted_in_the_handshake(machine: Machine, silent: Silent) -> None:
    before = machine.pair.client.state()
    machine.bring_in(silent.profile(), "vpn")
    process = machine.sandbox.popen(
        ["sh", "-c", "exec openvpn3 session-start --config vpn 2>&1"], account=ALICE, stdout=-1
    )
    with process:
        await asyncio.wait_for(silent.heard("udp"), 10)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(5) != 0
    nothing_is_left(machine, before)


async def test_automatic_restart(machine: Machine, start_server: StartServer) -> None:
    """A killed client is replaced in the same session, whose tunnel comes back by itself."""
    server = start_server()
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile(), automatic_restart="on-failure")
        await life.connect()
        pid = await life.session.get("backend_pid")
        os.kill(pid, signal.SIGKILL)
        assert "another one is started in 3 s" in await life.until(StatusMinor.CONN_RECONNECTING)
        await life.until(StatusMinor.CONN_CONNECTED)
        ping(machine, server)
        assert await life.session.get("backend_pid") != pid
        await life.session.disconnect()
    nothing_is_left(machine, before)


async def test_a_log_level_holds_from_now_on(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile("verb 4"))
        assert await life.session.get("log_verbosity") == 4
        heard: list[int] = []
        match = Match(BACKENDS_INTERFACE, "Log", LOG_NAME, life.session.path)
        await bus.subscribe(match, lambda m: heard.append(m.body[1]))
        for level in (1, 6):
            heard.clear()
            await life.session.set("log_verbosity", "u", level)
            await (life.session.restart() if level == 6 else life.session.connect())
            await life.until(StatusMinor.CONN_CONNECTED)
            assert await life.session.get("log_verbosity") == level
            assert (LogCategory.INFO in heard) == (level == 6)


# -- servers --------------------------------------------------------------------------------------
async def test_a_server_that_starts_anew_is_found_again(machine: Machine, start_server: StartServer) -> None:
    options = {"extra": ["keepalive 1 3"], "proto": "udp"}
    server = start_server(**options)
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        await life.connect()
        device = await life.session.get("device_name")
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait()
        server = start_server(**options)
        await life.until(StatusMinor.CONN_RECONNECTING)
        await life.until(StatusMinor.CONN_CONNECTED)
        ping(machine, server)
        assert await life.session.get("device_name") == device
        assert (await life.session.statistics())["N_RECONNECT"] >= 1


async def test_a_server_that_is_away_for_long(machine: Machine, start_server: StartServer) -> None:
    server = start_server(extra=["keepalive 1 2"])
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile("server-poll-timeout 1"))
        await life.connect()
        os.kill(server.pid, signal.SIGSTOP)
        for _ in range(3):
            await life.until(StatusMinor.CONN_RECONNECTING)
            assert (await SessionManager(bus).by_interface("tun0")).path == life.session.path
            assert await life.session.get("connected_to") == ("", "", 0)
        os.kill(server.pid, signal.SIGCONT)
        await life.until(StatusMinor.CONN_CONNECTED)
        ping(machine, server)


async def test_restart_doesn_t_wait_for_the_next_attempt(machine: Machine, start_server: StartServer) -> None:
    server = start_server(proto="tcp")
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        await life.connect()
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait()
        server = start_server(proto="tcp")
        await life.until(StatusMinor.CONN_RECONNECTING)
        started = time.monotonic()
        await life.session.restart()
        await life.until(StatusMinor.CONN_CONNECTED)
        assert time.monotonic() - started < RETRY_DELAY_S / 2
        ping(machine, server)


async def test_the_second_remote_is_tried(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    dead = f"remote {machine.pair.SERVER_V4} 1 udp\n"
    async with bus_of(machine) as bus:
        life = await new_session(bus, dead + server.profile())
        await life.connect()
        assert await life.session.get("connected_to") == ("udp", machine.pair.SERVER_V4, 1194)


async def test_a_kept_device(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile(), persist_tun=True)
        await life.connect()

        before = tunnels(machine)
        assert len(before) == 1
        await life.session.restart()
        await life.until(StatusMinor.CONN_CONNECTED)
        assert tunnels(machine) == before
        ping(machine, server)
        await life.session.pause("")
        await life.until(StatusMinor.CONN_PAUSED)
        assert tunnels(machine) == before
        await life.session.resume()
        await life.until(StatusMinor.CONN_CONNECTED)
        assert tunnels(machine) == before
        ping(machine, server)


@pytest.mark.parametrize(
    ("own", "pushed", "reason"),
    [
        (['pull-filter ignore "ifconfig"'], [], "pushed no address"),
        (['pull-filter ignore "ifconfig 10.8.0.2 "'], ["ifconfig 10.8.0.300 255.255.255.0"], "10.8.0.300"),
    ],
)
async def test_a_push_that_can_t_be_used(
    machine: Machine, start_server: StartServer, own: list[str], pushed: list[str], reason: str
) -> None:
    server = start_server(push=pushed)
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile(*own))
        end = ended(await life.session.get("backend_pid"))
        await life.session.connect()
        assert reason in await life.until(StatusMinor.CONN_FAILED)
        await asyncio.wait_for(end, 5)
        await life.session.disconnect()  # else it stays for those who look later
    nothing_is_left(machine, before)


def test_run_with_a_wrong_password(machine: Machine, start_server: StartServer) -> None:
    server = start_server(auth=password_script("alice", "right"))
    before = machine.pair.client.state()
    path = machine.write("vpn.ovpn", server.profile(), Account("root", 0))
    done = machine.sandbox.run(["openvpn3", "run", path], check=False, input="alice\nwrong\n")
    assert done.returncode == 77
    assert "authentication failed" in (done.stdout + done.stderr).lower()
    assert machine.clients() == []
    assert machine.pair.client.state() == before
