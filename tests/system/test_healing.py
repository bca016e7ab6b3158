"""Services that are killed while there are tunnels: the tunnels go on, and the next of its kind takes over."""

import asyncio

import pytest

from ovpn3.constants import NETCFG_NAME, SESSIONS_NAME, StatusMinor
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import Session, SessionManager
from tests.support.account import ALICE, BOB
from tests.support.machine import Machine
from tests.system.test_crashes import StartServer, bus_of, ended, kill, new_session, nothing_is_left, ping, tunnels

pytestmark = [pytest.mark.system, pytest.mark.interop]


async def test_a_killed_session_manager_s_sessions(machine: Machine, start_server: StartServer) -> None:
    """Owner, access list, status, log forwarding and all else are as before; nobody hears of a new session."""
    server = start_server(push=["redirect-gateway def1"])
    before = machine.pair.client.state()
    async with bus_of(machine) as bus, bus_of(machine, BOB) as bobs:
        life = await new_session(bus, server.profile())
        await life.connect()
        await life.session.grant(BOB.uid)
        await life.session.set("restrict_log_access", "b", False)
        told = {**await life.session.get_all(), "log_forwards": 1, "statistics": {}, "last_log": {}}
        device = tunnels(machine)
        (client,) = machine.clients()
        end = ended(client)

        await kill(bus, machine, "sessionmgr", SESSIONS_NAME)
        (again,) = await SessionManager(bus).available()
        assert again.path == life.session.path
        now = await life.session.get_all()
        now |= {"log_forwards": len(now["log_forwards"]), "statistics": {}, "last_log": {}}
        assert now == told
        assert (machine.clients(), tunnels(machine)) == ([client], device)
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
        assert "vpn" in machine.sessions(ALICE)
        machine.openvpn3("session-stats", "--config", "vpn")
        machine.disconnect()
        await asyncio.wait_for(end, 5)
    nothing_is_left(machine, before)


async def test_a_killed_netcfg_s_devices(machine: Machine, start_server: StartServer) -> None:
    """The device stays the same, traffic goes on, and the successor removes all of it in the end."""
    server = start_server(push=["redirect-gateway def1"])
    before = machine.pair.client.state()
    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile())
        await life.connect()
        up = machine.pair.client.state()
        back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await kill(bus, machine, "netcfg", NETCFG_NAME)
        await bus.watch_name(NETCFG_NAME, lambda owner: None if back.done() else back.set_result(None))
        if not await bus.name_owner(NETCFG_NAME):
            await asyncio.wait_for(back, 10)
        ping(machine, server)
        assert machine.pair.client.state() == up
        assert (await life.session.status())[1] == StatusMinor.CONN_CONNECTED
        await life.session.disconnect()
    nothing_is_left(machine, before)
