"""One line for the log, from a service or from ourselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT, LogCategory, LogGroup

MAX_CHARS = 8192  # of a message; senders are not trusted to be brief


@dataclass(frozen=True)
class Event:
    """`tag` identifies the sender; `metadata` in the order in which it is printed."""

    group: LogGroup
    category: LogCategory
    text: str
    tag: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    token: str = ""  # of a session

    @property
    def prefix(self) -> str:
        """`<group> <category>: `; what is undefined is left out."""
        parts = [GROUP_TEXT[self.group]] if self.group else []
        parts += [CATEGORY_TEXT[self.category]] if self.category else []
        return f"{' '.join(parts)}: " if parts else ""

    @property
    def details(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.metadata.items())


def group(number: int) -> LogGroup:
    """A group as a sender gives it; one that doesn't exist is undefined."""
    return LogGroup(number) if number in LogGroup._value2member_map_ else LogGroup.UNDEFINED


def category(number: int) -> LogCategory:
    return LogCategory(number) if number in LogCategory._value2member_map_ else LogCategory.UNDEFINED
