"""One event for the log, from a service or from ourselves."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT, LogCategory, LogGroup
from ovpn3_services.common.log import clean

# Of a message; senders are not trusted to be brief.
MAX_CHARS = 65_536
MAX_LINES = 1000

_OVERHEAD_BYTES = 1000  # of an event in memory, besides its text


@dataclass(frozen=True)
class Event:
    """`text` may have several lines; `tag` identifies the sender; `metadata` in the order in which it is printed."""

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


def clean_lines(text: str) -> str:
    """Printable lines of `text`, bounded in number and length; they don't end with a line end."""
    lines = text[:MAX_CHARS].rstrip("\n").split("\n", MAX_LINES - 1)
    return "\n".join(line if line.isprintable() else clean(line) for line in lines)


def group(number: int) -> LogGroup:
    """A group as a sender gives it; one that doesn't exist is undefined."""
    return LogGroup(number) if number in LogGroup._value2member_map_ else LogGroup.UNDEFINED


def category(number: int) -> LogCategory:
    return LogCategory(number) if number in LogCategory._value2member_map_ else LogCategory.UNDEFINED
