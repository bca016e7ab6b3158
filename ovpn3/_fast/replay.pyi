"""Replay window: each id is accepted once, within reach of the highest seen."""

from typing import final

@final
class Replay:
    """The last 2048 ids, and nothing from before a silence of 30 seconds."""

    def accept(self, packet_id: int, now: float) -> bool:
        """Accept and remember the id of an authenticated packet, or reject it. `now` in monotonic seconds."""
