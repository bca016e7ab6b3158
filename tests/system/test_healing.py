"""Services that are killed while there are tunnels: the tunnels go on, and the next of its kind takes over."""

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ovpn3.constants import (
    BACKENDS_NAME,
    CONFIG_NAME,
    LOG_NAME,
    NETCFG_NAME,
    SESSIONS_INTERFACE,
    SESSIONS_NAME,
    StatusMinor,
)
from ovpn3.dbus.bus import NO_REPLY, Bus, Match
from ovpn3.errors import RemoteError
from ovpn3.proxies.config import ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager
from tests.support.account import ALICE, BOB
from tests.support.machine import Machine
from tests.support.netns import end
from tests.support.server import OpenVpnServer
from tests.system.test_crashes import (
    CONNECTED,
    Life,
    StartServer,
    bus_of,
    ended,
    gone,
    kill,
    new_session,
    nothing_is_left,
    ping,
    tunnels,
)

pytestmark = [pytest.mark.system, pytest.mark.interop]

SERVICES = {
    "log": LOG_NAME,
    "configmgr": CONFIG_NAME,
    "sessionmgr": SESSIONS_NAME,
    "netcfg": NETCFG_NAME,
    "backendstart": BACKENDS_NAME,
}
JOURNAL = "/var/lib/openvpn3/netcfg.journal"
PING_S = 0.02
# The moments of death depend on it, as far as the machine's own pace lets them.
SEED = int(os.environ.get("SEED", "1"))


async def test_a_killed_session_manager_s_sessions(machine: Machine, start_server: StartServer) -> None:
    """Owner, access list, status, log forwarding and all else are as before; nobody hears of a new session."""
    server = start_server(push=["redirect-gateway def1"])
    before = machine.pair.client.state()
    async with bus_of(machine) as bus, bus_of(machine, BOB) as bobs:
        life = await new_session(bus, server.profile())
        await life.connect()
        await life.session.grant(BOB.uid)
        await life.session.set("restrict_log_access", "b", False)
        told = await comparable(life.session)
        device = tunnels(machine)
        (client,) = machine.clients()
        client_ended = ended(client)
        events: list[list[object]] = []
        await bus.subscribe(Match(SESSIONS_INTERFACE, "SessionManagerEvent"), lambda m: events.append(m.body))

        await kill(bus, machine, "sessionmgr", SESSIONS_NAME)
        (again,) = await SessionManager(bus).available()
        assert again.path == life.session.path
        assert await comparable(life.session) == told
        assert (machine.clients(), tunnels(machine), events) == ([client], device, [])
        ping(machine, server)

        theirs = Session(bobs, life.session.path)
        assert await theirs.status() == await life.session.status()
        with pytest.raises(RemoteError, match="may not use AccessRevoke"):
            await theirs.revoke(BOB.uid)
        await life.session.revoke(BOB.uid)
        with pytest.raises(RemoteError, match="may not use Disconnect"):
            await theirs.disconnect()
        await life.session.pause("")
        await life.until(StatusMinor.CONN_PAUSED)
        await life.session.resume()
        await life.until(StatusMinor.CONN_CONNECTED)
        machine.disconnect()
        await asyncio.wait_for(client_ended, 5)
    nothing_is_left(machine, before)


async def comparable(session: Session) -> dict[str, object]:
    """All properties; of those that change by themselves only whether they are there."""
    values = await session.get_all()
    return {**values, "log_forwards": len(values["log_forwards"]), "statistics": {}, "last_log": {}}


async def test_a_killed_netcfg_s_devices(machine: Machine, start_server: StartServer) -> None:
    """The device stays the same, traffic goes on, and the successor removes all of it in the end."""
    server = start_server(push=["redirect-gateway def1"])
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        await life.connect()
        up = machine.pair.client.state()
        await killed_and_back(bus, machine, "netcfg")
        ping(machine, server)
        assert machine.pair.client.state() == up
        assert (await life.session.status())[:2] == CONNECTED
        await life.session.disconnect()
    nothing_is_left(machine, before)


async def test_a_netcfg_killed_while_it_cleans_up(machine: Machine, start_server: StartServer) -> None:
    """For a client that was killed: its session manager has another one do it."""
    server = start_server(push=["redirect-gateway def1"])
    around = "".join(f"route 10.50.{n}.0 255.255.255.0 net_gateway\n" for n in range(200))  # so it takes a while
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        for delay_s in (0.03, 0.06, 0.12):
            life = await new_session(bus, server.profile(around))
            await life.connect()
            (client,), netcfg = machine.clients(), machine.service("netcfg")
            os.kill(client, signal.SIGKILL)
            await asyncio.sleep(delay_s)
            os.kill(netcfg, signal.SIGKILL)
            deadline = time.monotonic() + 10
            while machine.pair.client.state() != before:
                assert time.monotonic() < deadline


async def test_a_netcfg_that_knows_nothing(machine: Machine, start_server: StartServer) -> None:
    """Without a journal there is nobody who would clean up: a new device is made."""
    server = start_server(push=["redirect-gateway def1"])
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        await life.connect()
        machine.sandbox.run(["rm", JOURNAL])
        await kill(bus, machine, "netcfg", NETCFG_NAME)
        assert "network service" in await life.until(StatusMinor.CONN_RECONNECTING)
        await life.until(StatusMinor.CONN_CONNECTED)
        ping(machine, server)
        await life.session.disconnect()
    nothing_is_left(machine, before)


async def test_a_client_has_nothing_of_its_starter(machine: Machine, start_server: StartServer) -> None:
    """Nor does it need it, though it is forked amid its life."""
    server = start_server()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        starter, (client,) = machine.service("backendstart"), machine.clients()
        assert not sockets(starter) & sockets(client)
        for mask in ("SigBlk", "SigIgn"):
            assert int(field(client, mask), 16) & (1 << signal.SIGTERM - 1 | 1 << signal.SIGCHLD - 1) == 0
        assert field(client, "NSsid") == str(client)
        await kill(bus, machine, "backendstart", BACKENDS_NAME)
        await life.connect()
        ping(machine, server)
        client_ended = ended(client)
        os.kill(client, signal.SIGTERM)
        await asyncio.wait_for(client_ended, 5)


async def test_clients_that_end_leave_no_zombies(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    async with bus_of(machine) as bus:
        await new_session(bus, server.profile())
        (client,) = machine.clients()
        starter, client_ended = machine.service("backendstart"), ended(client)
        os.kill(client, signal.SIGKILL)
        await asyncio.wait_for(client_ended, 5)
        assert not children(starter)


def children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def sockets(pid: int) -> set[str]:
    """Standard input and output are everybody's."""
    links = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if int(fd.name) > 2}
    return {link for link in links if link.startswith(("socket:", "pipe:"))}


def field(pid: int, name: str) -> str:
    found = re.search(rf"^{name}:\s+(\S+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return found[1]


async def test_services_are_stopped_for_an_upgrade(machine: Machine, start_server: StartServer) -> None:
    """Tunnels go on; stopped for a removal, nothing goes on."""
    server = start_server(push=["redirect-gateway def1"])
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        await life.connect()
        up, services = machine.pair.client.state(), {machine.service(name) for name in SERVICES}
        machine.sandbox.run(["openvpn3-admin", "stop", "--services"])
        ping(machine, server)
        assert await bus.bring_back(NETCFG_NAME, 10)
        assert machine.pair.client.state() == up
        assert (await life.session.status())[:2] == CONNECTED
        assert not services & set(machine.pair.client.pids())
        client_ended = ended(*machine.clients())
        stopped = machine.sandbox.run(["openvpn3-admin", "stop"]).stdout.splitlines()
        assert {f"stop {name}" for name in (NETCFG_NAME, SESSIONS_NAME)} < set(stopped)
        assert stopped[0].startswith("stop net.openvpn.v3.backends.be")
        await asyncio.wait_for(client_ended, 5)
    nothing_is_left(machine, before)


async def killed_and_back(bus: Bus, machine: Machine, service: str) -> None:
    """Kill a service, and wait until somebody who needs it has had it started again, or we have."""
    name = SERVICES[service]
    await kill(bus, machine, service, name)
    assert await bus.bring_back(name, 10)


async def test_a_front_end_that_waits_goes_on_waiting(machine: Machine, start_server: StartServer) -> None:
    """What it was not told while nobody could, it is told in the end."""
    server = start_server()
    machine.bring_in(server.profile(), "vpn")
    command = ["sh", "-c", "exec openvpn3 session-start --config vpn 2>&1"]
    async with bus_of(machine) as bus:
        for service in ("sessionmgr", "log"):
            os.kill(server.pid, signal.SIGSTOP)
            with machine.sandbox.popen(command, account=ALICE, stdout=-1) as process:
                assert process.stdout
                while "Client connecting" not in machine.openvpn3("sessions-list").stdout:
                    assert process.poll() is None
                await kill(bus, machine, service, SERVICES[service])
                os.kill(server.pid, signal.SIGCONT)
                assert await asyncio.to_thread(process.wait, 10) == 0, process.stdout.read()
            machine.disconnect()


# -- at random moments ------------------------------------------------------------------------------
class Traffic:
    """A packet every PING_S there and back through the tunnel."""

    def __init__(self, machine: Machine, server: OpenVpnServer, output: Path) -> None:
        self._output = output
        with output.open("w") as file:
            command = ["ping", "-n", "-i", str(PING_S), server.TUNNEL_V4]
            self._process = machine.pair.client.popen(command, stdout=file)

    def stop(self) -> tuple[int, int]:
        """Packets that came back, and those between them that didn't."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(5)
        numbers = [int(n) for n in re.findall(r"icmp_seq=(\d+)", self._output.read_text())]
        return len(numbers), max(numbers) - min(numbers) + 1 - len(set(numbers))

    def close(self) -> None:
        end(self._process)


@contextmanager
def traffic(machine: Machine, server: OpenVpnServer) -> Iterator[Traffic]:
    with TemporaryDirectory() as folder:
        pings = Traffic(machine, server, Path(folder, "ping"))
        try:
            yield pings
        finally:
            pings.close()


class Rounds:
    """Sessions of ALICE's with one profile, during which services are killed."""

    def __init__(self, machine: Machine, bus: Bus, server: OpenVpnServer, config: str) -> None:
        self.machine, self.bus, self.server, self.config = machine, bus, server, config
        self.manager = SessionManager(bus)
        self.random = random.Random(SEED)
        self.before = machine.pair.client.state()

    @classmethod
    @asynccontextmanager
    async def begun(cls, machine: Machine, server: OpenVpnServer) -> "AsyncIterator[Rounds]":
        print(f"SEED={SEED}")
        async with bus_of(machine) as bus:
            manager = ConfigurationManager(bus)
            config = await manager.import_profile("vpn", server.profile(), persistent=True)
            yield cls(machine, bus, server, config.path)

    async def start(self, dying: str = "") -> Life:
        """A connected session. Only what the session manager dies over is tried again, as a user would."""
        async with asyncio.timeout(20):
            while True:
                try:
                    found = await self.manager.available()
                    life = Life(found[0] if found else await self.manager.new_tunnel(self.config))
                    await life.listen()
                    await life.session.connect()
                    while (await life.session.status())[:2] != CONNECTED:
                        await life.until(StatusMinor.CONN_CONNECTED)
                    return life
                except RemoteError as e:
                    print(f"start: {e.name}: {e}")
                    if dying != "sessionmgr" or e.name != NO_REPLY:
                        raise

    async def kill_during(self, service: str, work: Awaitable[object], within_s: float) -> None:
        """Kill the service at a random moment after the work has begun, and see the work through."""
        await self.bus.bring_back(SERVICES[service], 10)
        pid = self.machine.service(service)
        moment = self.random.uniform(0, within_s)
        print(f"{service}: killed after {moment:.3f} s")
        dead = await gone(self.bus, SERVICES[service])
        task = asyncio.ensure_future(work)
        await asyncio.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(dead, 5)
        await task

    async def nothing_is_left(self) -> None:
        """Also no journal, which netcfg keeps as long as it has anything."""
        for pid in self.machine.clients():
            await asyncio.wait_for(ended(pid), 5)
        nothing_is_left(self.machine, self.before)
        assert self.machine.sandbox.run(["cat", JOURNAL], check=False).stdout == ""


@pytest.fixture(params=[1, pytest.param(20, marks=pytest.mark.full)])
def number(request: pytest.FixtureRequest) -> int:
    """Rounds in which every service is killed once."""
    count: int = request.param
    return count


async def test_killed_in_the_handshake(machine: Machine, start_server: StartServer, number: int) -> None:
    server = start_server(push=["redirect-gateway def1"])
    async with Rounds.begun(machine, server) as rounds:
        for _ in range(number):
            for service in SERVICES:
                await rounds.kill_during(service, rounds.start(service), 0.2)
                ping(machine, server)
                (session,) = await rounds.manager.available()
                await session.disconnect()
                await rounds.nothing_is_left()


async def test_killed_under_traffic(machine: Machine, start_server: StartServer, number: int) -> None:
    """Not a packet is lost, and all is as before: who may do what, and what the commands show."""
    server = start_server(push=["redirect-gateway def1"])
    async with Rounds.begun(machine, server) as rounds, bus_of(machine, BOB) as bobs:
        life = await rounds.start()
        await life.session.grant(BOB.uid)
        told, network = await comparable(life.session), machine.pair.client.state()
        theirs = Session(bobs, life.session.path)
        with traffic(machine, server) as pings:
            for _ in range(number):
                for service in SERVICES:
                    await rounds.kill_during(service, asyncio.sleep(0), 0.2)
                    assert await rounds.bus.bring_back(SERVICES[service], 10)
                    if service in ("log", "sessionmgr"):
                        await life.until(StatusMinor.CONN_CONNECTED)  # is said again once forwarding is
                    assert await comparable(life.session) == told
                    assert (await theirs.status())[:2] == CONNECTED
                    with pytest.raises(RemoteError, match="may not use AccessGrant"):
                        await theirs.grant(1)
                    assert machine.pair.client.state() == network
                assert "vpn" in machine.sessions(ALICE)
                assert "BYTES_IN" in machine.openvpn3("session-stats", "--config", "vpn").stdout
            packets, lost = pings.stop()
            print(f"{packets} packets, {lost} lost")
            assert packets > 25 * number
            assert lost == 0
        machine.disconnect()
        await rounds.nothing_is_left()


async def test_killed_during_disconnect(machine: Machine, start_server: StartServer, number: int) -> None:
    server = start_server(push=["redirect-gateway def1"])
    async with Rounds.begun(machine, server) as rounds:
        for _ in range(number):
            for service in SERVICES:
                life = await rounds.start()
                await rounds.kill_during(service, life.session.disconnect(), 0.1)
                await rounds.nothing_is_left()
