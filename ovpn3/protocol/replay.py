"""Replay window for wrapped control packets."""

from typing import Final, final

WINDOW: Final = 2048  # packet ids


@final
class ReplayWindow:
    """Remembers (time, packet id) of authenticated packets; time, set once per peer context, counts first."""

    __slots__ = ("_highest", "_seen", "_time")

    def __init__(self) -> None:
        self._time = 0
        self._highest = 0
        self._seen = 0  # bit n: highest - n has been seen

    def accept(self, time: int, packet_id: int) -> bool:
        """Mark a packet as seen; False (and nothing marked) if it was seen before or is too old."""
        if packet_id == 0 or time < self._time:
            return False
        if time > self._time:
            self._time, self._highest, self._seen = time, packet_id, 1
            return True
        ahead = packet_id - self._highest
        if ahead > 0:
            shifted = self._seen << ahead if ahead < WINDOW else 0
            self._seen = (shifted | 1) & ((1 << WINDOW) - 1)
            self._highest = packet_id
            return True
        if -ahead >= WINDOW or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True
