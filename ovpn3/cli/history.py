"""What was logged of sessions before, from where the log service writes to: the journal or a file.

Lines of a session's client have its tag; which tag that is, the session manager has logged. So a session can be found
by the name of its profile when it has long ended.
"""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ovpn3 import settingsfile
from ovpn3.cli import entries
from ovpn3.cli.command import CommandError
from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT, LogGroup
from ovpn3.dbus.bus import Bus
from ovpn3.errors import ConfigurationRefused
from ovpn3.proxies.log import Log, SessionLine

TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_GROUPS, _CATEGORIES = ("|".join(map(re.escape, texts[1:])) for texts in (GROUP_TEXT, CATEGORY_TEXT))
_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)? ?(?:\{tag:(?P<tag>\d+)\} )?"
    rf"(?P<group>{_GROUPS}) (?P<category>{_CATEGORIES}): (?P<text>.*)"
)


@dataclass(frozen=True)
class Logged:
    """A line, with its Unix time; None where lines have none."""

    time: float | None
    tag: int
    group: int
    category: int
    text: str


@dataclass
class Past:
    """A session, and what its clients have said."""

    path: str
    owner: int
    profile: str
    lines: list[Logged] = field(default_factory=list)


async def logged(bus: Bus) -> Iterator[Logged]:
    """All there is, oldest first. CommandError if the log goes where it can't be read again, or we may not."""
    log = Log(bus)
    match method := str(await log.get("log_method")):
        case "journald":
            return _of_journal()
        case "logfile":
            return of_file(_log_file(str(await log.get("config_file"))))
    where = "standard output" if method.startswith("stdout") else method
    raise CommandError(
        f"the log service writes to {where}, where nothing can be found again; "
        "openvpn3-admin log-service --config-set journald true, or log-file FILE"
    )


def sessions(lines: Iterable[Logged]) -> list[Past]:
    """All that are told of, in the order in which they began."""
    found: dict[str, Past] = {}
    of_tag: dict[int, Past] = {}
    early: dict[int, list[Logged]] = {}  # what clients say while their session isn't known
    for line in lines:
        if line.group == LogGroup.SESSIONMGR and (told := SessionLine.parse(line.text)):
            past = found.setdefault(told.path, Past(told.path, told.owner, told.profile))
            past.lines += early.pop(told.tag, [])
            of_tag[told.tag] = past
        elif line.group == LogGroup.CLIENT and line.tag:
            (of_tag[line.tag].lines if line.tag in of_tag else early.setdefault(line.tag, [])).append(line)
    return list(found.values())


def of_file(path: Path) -> Iterator[Logged]:
    """Lines of the log service's file; those that are no events are left out."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if found := _LINE.fullmatch(_COLOUR.sub("", line.rstrip("\n"))):
                    group, category = GROUP_TEXT.index(found["group"]), CATEGORY_TEXT.index(found["category"])
                    when = time.mktime(time.strptime(found["time"], TIME_FORMAT)) if found["time"] else None
                    yield Logged(when, int(found["tag"] or 0), group, category, found["text"])
    except OSError as e:
        raise CommandError(f"the log file can't be read: {path}: {e.strerror}") from None


def _of_journal() -> Iterator[Logged]:
    for entry in entries.read():
        tag = str(entry.get("O3_LOGTAG", ""))
        yield Logged(
            entries.seconds(entry),
            int(tag) if tag.isdecimal() else 0,
            entries.group(entry),
            entries.category(entry),
            entries.message(entry),
        )


def _log_file(settings: str) -> Path:
    """The file that the log service's settings name. They are in a directory that only root and the services enter."""
    try:
        found = settingsfile.read(Path(settings)) if settings else None
    except ConfigurationRefused as e:
        raise CommandError(f"the log file is for root to read: {e}") from None
    if not found or not isinstance(found.get("log_file"), str):
        raise CommandError("which file the log service writes to is not in its settings: look at its command line")
    return Path(str(found["log_file"]))
