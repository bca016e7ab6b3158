"""Telling the processes that carry a tunnel from everybody else."""

from ovpn3.constants import BACKENDS_NAME, CLIENT_NAME_PREFIX
from ovpn3.dbus.access import service_uid
from ovpn3.dbus.bus import DAEMON_NAME, Bus, Match
from ovpn3.dbus.peers import Peer
from ovpn3.dbus.wire import Message


class Clients:
    """Client processes: of the service account, and owners of be<their pid>.

    The bus daemon tells us of each such name that is taken or lost, in order with all else: what its owner sends
    arrives after that. It is asked for names that were taken before we listened.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._owners: dict[str, str] = {}  # unique names by be<pid>

    async def watch(self) -> None:
        """Begin to listen."""
        changes = Match(DAEMON_NAME, "NameOwnerChanged", DAEMON_NAME, arg0namespace=BACKENDS_NAME)
        await self._bus.subscribe(changes, self._on_change)

    def _on_change(self, m: Message) -> None:
        name, _, owner = m.body
        if owner:
            self._owners[name] = owner
        else:
            self._owners.pop(name, None)

    async def include(self, peer: Peer) -> bool:
        if peer.uid != service_uid():
            return False
        name = f"{CLIENT_NAME_PREFIX}{peer.pid}"
        return (self._owners.get(name) or await self._bus.name_owner(name)) == peer.name
