"""The table of every option: how many arguments, inline or not, and what becomes of it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any


class Status(Enum):
    """What a profile's option meets with."""

    USED = "used"
    IGNORED = "ignored"
    WARNED = "warned"
    REFUSED = "refused"


class Reason(Enum):
    """Why an option is refused, in words for the user."""

    NONE = ""
    UNSUPPORTED = "isn't supported by this client"
    REMOVED = "was removed from OpenVPN"
    SERVER = "belongs in a server's configuration"
    COMMAND = "is a command, not a setting"
    PUSH = "can only come from the server"


@dataclass(frozen=True, slots=True)
class Option:
    """One row. `syntax` shows the arguments; `most` None is any number; `default` is what its absence means."""

    name: str
    status: Status
    reason: Reason = Reason.NONE
    syntax: str = ""
    inline: bool = False
    inline_only: bool = False
    repeat: bool = False
    default: str = ""
    hint: str = ""

    @property
    def least(self) -> int:
        """Fewest arguments."""
        return sum(1 for word in self.syntax.split() if not word.startswith("["))

    @property
    def most(self) -> int | None:
        return None if "..." in self.syntax else len(self.syntax.split())


@cache
def table() -> Mapping[str, Option]:
    """All options by name."""
    document = tomllib.loads(Path(__file__).with_name("options.toml").read_text(encoding="utf-8"))
    rows: dict[str, Option] = {}
    for status in (Status.USED, Status.IGNORED, Status.WARNED):
        for name, row in document[status.value].items():
            rows[name] = _option(name, row, status, Reason.NONE)
    for reason, group in document[Status.REFUSED.value].items():
        for name, row in group.items():
            rows[name] = _option(name, row, Status.REFUSED, Reason[reason.upper()])
    return MappingProxyType(rows)


def _option(name: str, row: dict[str, Any], status: Status, reason: Reason) -> Option:
    return Option(
        name,
        status,
        reason,
        syntax=row.get("args", ""),
        inline="inline" in row,
        inline_only=row.get("inline") == "only",
        repeat=row.get("repeat", False),
        default=row.get("default", ""),
        hint=row.get("hint", ""),
    )
