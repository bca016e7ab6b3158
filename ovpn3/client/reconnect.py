"""Which server to try next, and after how long. Pure: resolver and clock are the driver's."""

from collections.abc import Callable, Sequence

from ovpn3.profile.model import Remote
from ovpn3.protocol.actions import Advance
from ovpn3.transport.resolve import Endpoint

RETRY_DELAY_S = 2.0  # after an ordinary loss
LONG_RETRY_DELAY_S = 5.0  # after the server or the device sent us away


class RetryDelay:
    """Waits after losses, each twice the last. `connect_retry`: the first and the longest, in seconds."""

    def __init__(self, connect_retry: tuple[float, float] | None = None) -> None:
        self._first, self._longest = connect_retry or (RETRY_DELAY_S, RETRY_DELAY_S)
        self._next = self._first

    def next(self) -> float:
        delay, self._next = self._next, min(2 * self._next, self._longest)
        return delay

    def connected(self) -> None:
        """Begin anew with the next loss."""
        self._next = self._first


class RemoteList:
    """The remotes of a profile and, of the current one, its addresses.

    After an attempt that never connected: the next address, then the next remote. After a session that did: the
    same remote, resolved again.
    """

    def __init__(self, remotes: Sequence[Remote], shuffle: Callable[[list[Remote]], None] | None = None) -> None:
        self._remotes = list(remotes)
        if shuffle:
            shuffle(self._remotes)
        self._index = 0
        self._endpoints: list[Endpoint] = []
        self._known: dict[int, list[Endpoint]] = {}  # of a remote that was connected, by its place

    @property
    def remote(self) -> Remote:
        return self._remotes[self._index]

    @property
    def endpoint(self) -> Endpoint | None:
        """The address to try now; None if the remote is to be resolved first."""
        return self._endpoints[0] if self._endpoints else None

    def resolved(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = list(endpoints)

    def connected(self) -> None:
        """The addresses of the current remote are good."""
        self._known[self._index] = list(self._endpoints)

    def recall(self) -> bool:
        """Try the addresses by which the current remote was connected once; whether there are any."""
        self._endpoints = list(self._known.get(self._index, ()))
        return bool(self._endpoints)

    def attempt_failed(self, advance: Advance = Advance.UNSAID) -> bool:
        """Move on as the rule or the server says; true when a round over all remotes has ended with this."""
        if advance is Advance.STAY:
            return False
        del self._endpoints[:1]
        if advance is Advance.NEXT_REMOTE:
            self._endpoints.clear()
        if self._endpoints:
            return False
        self._next_remote()
        return self._index == 0

    def connection_lost(self, next_remote: bool = False) -> None:
        """A session that was up has ended."""
        self._endpoints.clear()
        if next_remote:
            self._next_remote()

    def _next_remote(self) -> None:
        self._index = (self._index + 1) % len(self._remotes)
