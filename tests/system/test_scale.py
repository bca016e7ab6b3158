"""Many tunnels at once, and long use: bench/macro/scale.py and soak.py have the figures, this sees that they work."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from ovpn3.dbus.bus import Bus
from tests.support import fleet
from tests.support.account import ALICE
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer
from tests.system.test_crashes import ended

pytestmark = [pytest.mark.system, pytest.mark.interop]

StartServer = Callable[..., OpenVpnServer]


@pytest.fixture
async def alice(machine: Machine) -> AsyncIterator[Bus]:
    with ALICE.assumed():
        bus = await Bus.connect(machine.sandbox.address)
    yield bus
    bus.close()
    await bus.lost()


async def test_many_tunnels_at_once(machine: Machine, alice: Bus, start_server: StartServer) -> None:
    server = start_server(extra=["duplicate-cn"])
    before = machine.pair.client.state()
    profiles = await fleet.bring_in(alice, server.profile(), 12)
    tunnels = await asyncio.gather(*map(fleet.start, profiles))
    assert len({tunnel.device for tunnel in tunnels}) == 12
    assert await fleet.ping(machine, tunnels, server.TUNNEL_V4) == []
    # Memory of a client is mostly the starter's; a tenth more than was measured.
    clients = [fleet.pss_mib(pid) for pid in machine.clients()]
    assert len(clients) == 12
    assert max(clients) < 11
    all_ended = asyncio.gather(*map(ended, machine.clients()))
    await fleet.end(tunnels)
    await asyncio.wait_for(all_ended, 5)  # a client leaves when it has answered
    assert machine.clients() == []
    assert machine.pair.client.state() == before


async def test_long_use_leaves_nothing_behind(machine: Machine, alice: Bus, start_server: StartServer) -> None:
    profile = start_server().profile()
    await fleet.use(alice, profile, imports=20, sessions=3)
    before = fleet.sizes(machine)
    await fleet.use(alice, profile, imports=200, sessions=10)
    for name, size in fleet.sizes(machine).items():
        assert size.descriptors <= before[name].descriptors, name
        assert size.anonymous_mib < before[name].anonymous_mib + 0.5, name
