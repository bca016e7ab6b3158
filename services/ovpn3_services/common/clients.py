"""Telling the processes that carry a tunnel from everybody else."""

from ovpn3.constants import CLIENT_NAME_PREFIX
from ovpn3.dbus.access import service_uid
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.peers import Peer


async def is_client(bus: Bus, peer: Peer) -> bool:
    """Whether a connection is a client process: of the service account, and owner of be<its pid>."""
    return peer.uid == service_uid() and await bus.name_owner(f"{CLIENT_NAME_PREFIX}{peer.pid}") == peer.name
