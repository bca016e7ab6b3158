"""Deadlines of a session, and the durations that are ours to choose. Seconds of the monotonic clock."""

from enum import Enum
from typing import Final, final

SWITCH_DELAY: Final = 3.0  # see Session: longer than a peer's first retransmission
LEAVE_TIME: Final = 2.0  # for the acknowledgement of our EXIT


class Alarm(Enum):
    POLL = "poll"  # no answer at all
    HANDSHAKE = "handshake"  # of a generation
    SILENCE = "silence"  # nothing heard, before the tunnel is up
    PUSH_REQUEST = "push-request"
    PUSH_DEADLINE = "push-deadline"
    RENEGOTIATE = "renegotiate"
    SWITCH = "switch"  # of sending to a generation
    RETIRE = "retire"  # of a generation
    LEAVE = "leave"


@final
class Timers:
    """One deadline per alarm and key id (0 where generations don't matter)."""

    def __init__(self) -> None:
        self._deadlines: dict[tuple[Alarm, int], float] = {}

    def set(self, alarm: Alarm, at: float, key_id: int = 0) -> None:
        self._deadlines[alarm, key_id] = at

    def cancel(self, alarm: Alarm, key_id: int = 0) -> None:
        self._deadlines.pop((alarm, key_id), None)

    def is_set(self, alarm: Alarm, key_id: int = 0) -> bool:
        return (alarm, key_id) in self._deadlines

    def clear(self) -> None:
        self._deadlines.clear()

    def next(self) -> float | None:
        return min(self._deadlines.values(), default=None)

    def take_due(self, now: float) -> tuple[Alarm, int] | None:
        """The earliest alarm that is due, cancelled; None if there is none."""
        if not self._deadlines:
            return None
        alarm = min(self._deadlines, key=self._deadlines.__getitem__)
        if self._deadlines[alarm] > now:
            return None
        del self._deadlines[alarm]
        return alarm
