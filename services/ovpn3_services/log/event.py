"""One line for the log, from a service or from ourselves."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT, LogCategory, LogGroup

MAX_CHARS = 8192  # of a message; senders are not trusted to be brief

_OVERHEAD_BYTES = 1000  # of an event in memory, besides its text


@dataclass(frozen=True)
class Event:
    """`tag` identifies the sender; `metadata` in the order in which it is printed."""

    group: LogGroup
    category: LogCategory
    text: str
    tag: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    token: str = ""  # of a session
    time: float = field(default_factory=time.time)  # seconds since 1970

    @property
    def prefix(self) -> str:
        """`<group> <category>: `; what is undefined is left out."""
        parts = [GROUP_TEXT[self.group]] if self.group else []
        parts += [CATEGORY_TEXT[self.category]] if self.category else []
        return f"{' '.join(parts)}: " if parts else ""

    @property
    def details(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.metadata.items())

    @property
    def size_bytes(self) -> int:
        """What it takes of memory, about."""
        return sys.getsizeof(self.text) + _OVERHEAD_BYTES


def group(number: int) -> LogGroup:
    """A group as a sender gives it; one that doesn't exist is undefined."""
    return LogGroup(number) if number in LogGroup._value2member_map_ else LogGroup.UNDEFINED


def category(number: int) -> LogCategory:
    return LogCategory(number) if number in LogCategory._value2member_map_ else LogCategory.UNDEFINED
