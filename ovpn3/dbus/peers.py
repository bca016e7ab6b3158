"""Who is calling: uid and pid of bus connections, remembered until they leave."""

import asyncio
from dataclasses import dataclass

from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH, Bus, Match
from ovpn3.errors import AccessDenied, RemoteError


@dataclass(frozen=True)
class Peer:
    """Who is behind a unique name."""

    name: str  # unique bus name
    uid: int
    pid: int  # for logs and object paths only: a pid may have been reused, so it proves nothing


class Peers:
    """Cache of callers. The daemon vouches for the uid; a unique name is never given twice."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[str, asyncio.Future[Peer]] = {}
        self._watching = False

    async def peer(self, name: str) -> Peer:
        """The connection behind unique name `name`; AccessDenied if it has left already."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = asyncio.get_running_loop().create_future()
            await self._look_up(name, found)
        return found.result() if found.done() else await asyncio.shield(found)

    async def _look_up(self, name: str, found: "asyncio.Future[Peer]") -> None:
        try:
            if not self._watching:
                self._watching = True
                gone = Match(DAEMON_NAME, "NameOwnerChanged", DAEMON_NAME, arg2="")
                await self._bus.subscribe(gone, lambda m: self._forget(m.body[0]))
            body = await self._bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "GetConnectionCredentials", "s", name)
            uid, pid = body[0]["UnixUserID"].value, body[0].get("ProcessID")
            found.set_result(Peer(name, uid, pid.value if pid else 0))
        except (RemoteError, KeyError) as e:
            self._known.pop(name, None)
            found.set_exception(AccessDenied(f"caller {name} can't be identified: {e}"))

    def is_there(self, peer: Peer) -> bool:
        """Whether one that was looked up hasn't left since, as far as we have heard."""
        found = self._known.get(peer.name)
        return found is not None and found.done()  # else it is looked up anew, which it wouldn't be if it were there

    def _forget(self, name: str) -> None:
        self._known.pop(name, None)
