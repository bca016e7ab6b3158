"""Replay window: each id is accepted once, within reach of the highest seen."""

from typing import final

@final
class Replay:
    """The last `reach` ids (0 to 65536), and nothing from before a silence of `silence_s` (0 to 600) seconds."""

    def __new__(cls, reach: int = 2048, silence_s: float = 30.0) -> Replay: ...
    def accept(self, packet_id: int, now: float) -> bool:
        """Accept and remember the id of an authenticated packet, or reject it. `now` in monotonic seconds."""
