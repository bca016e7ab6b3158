"""What a session has said lately, for those who come later and may not read the log service's output."""

import time
from collections import deque

MAX_LINES = 200
MAX_CHARS = 32_768  # of all of them

# Unix time, whether it is a status, major and minor code or log group and category, text: as LogHistory gives it.
Line = tuple[int, bool, int, int, str]


class Past:
    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._chars = 0

    def note(self, is_status: bool, first: int, second: int, text: str) -> None:
        """Add a line; the oldest ones go where there are too many."""
        self._lines.append((int(time.time()), is_status, first, second, text))
        self._chars += len(text)
        while len(self._lines) > MAX_LINES or (self._chars > MAX_CHARS and len(self._lines) > 1):
            self._chars -= len(self._lines.popleft()[4])

    def lines(self) -> list[Line]:
        """Oldest first."""
        return list(self._lines)
