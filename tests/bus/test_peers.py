"""Who is calling, and whether it is still there."""

import asyncio

import pytest

from ovpn3.dbus.bus import Bus
from ovpn3.dbus.peers import Peers
from ovpn3.errors import AccessDenied


async def test_who_has_left_is_there_no_more(server: Bus, bus_address: str) -> None:
    """Nor is one that is asked about again: by a call it had sent before, say."""
    caller = await Bus.connect(bus_address)
    peers = Peers(server)
    peer = await peers.peer(caller.unique_name)
    assert peers.is_there(peer)
    left = asyncio.Event()
    await server.watch_name(caller.unique_name, lambda owner: left.set())
    caller.close()
    await caller.lost()
    await asyncio.wait_for(left.wait(), 5)
    assert not peers.is_there(peer)
    again = asyncio.create_task(peers.peer(peer.name))
    await asyncio.sleep(0)
    assert not peers.is_there(peer)
    with pytest.raises(AccessDenied):
        await again
    assert not peers.is_there(peer)
