"""When a client process that died is replaced: the override `automatic-restart`."""

FIRST_S, LONGEST_S = 3.0, 768.0  # each wait is twice the last
TRIES = 10
CALM_S = 90.0  # a tunnel that was up, and had no trouble for so long, begins anew


class Restarts:
    """Of one session."""

    def __init__(self) -> None:
        self._tries = 0
        self._last = -CALM_S

    def next_delay(self, now: float, *, was_up: bool) -> float | None:
        """Seconds from the client's death until there is to be another; None: no more. `now` is monotonic."""
        if was_up and now - self._last > CALM_S:
            self._tries = 0
        if self._tries >= TRIES:
            return None
        delay = min(FIRST_S * (1 << self._tries), LONGEST_S)
        self._tries += 1
        self._last = now
        return delay
