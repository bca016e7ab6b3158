"""Texts that several commands print. Whatever a service says is made harmless before it gets to a terminal."""

import json
import pwd
import textwrap
import time
from collections.abc import Mapping, Sequence

from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT, MAJOR_TEXT, MINOR_TEXT, StatusMinor

TIME_WIDTH = 19
_STATE_OF: dict[int, str] = {
    StatusMinor.CONN_CONNECTED: "connected",
    StatusMinor.CONN_INIT: "connecting",
    StatusMinor.CONN_CONNECTING: "connecting",
    StatusMinor.CONN_RESUMING: "connecting",
    StatusMinor.CONN_RECONNECTING: "reconnecting",
    StatusMinor.CONN_PAUSING: "paused",
    StatusMinor.CONN_PAUSED: "paused",
    StatusMinor.CFG_REQUIRE_USER: "waiting",
    StatusMinor.SESS_AUTH_URL: "waiting",
    StatusMinor.CFG_OK: "ready",
    StatusMinor.CONN_DISCONNECTING: "ending",
    StatusMinor.CONN_DISCONNECTED: "ending",
    StatusMinor.CONN_DONE: "ending",
    StatusMinor.CFG_ERROR: "failed",
    StatusMinor.CFG_INLINE_MISSING: "failed",
    StatusMinor.CONN_FAILED: "failed",
    StatusMinor.CONN_AUTH_FAILED: "failed",
    StatusMinor.PROC_STOPPED: "failed",
    StatusMinor.PROC_KILLED: "failed",
}
STATES = (*dict.fromkeys(_STATE_OF.values()), "new")
_COLOURS = ("", "34", "34", "36", "32", "33", "31", "1;31", "1;37;41")  # ANSI, by log category


def one_line(value: object) -> str:
    """A line that does nothing to a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def many_lines(text: str) -> str:
    return "\n".join(one_line(line.replace("\t", "    ")) for line in text.split("\n"))


def local_time(seconds: int) -> str:
    """Date and time, empty for 0 and for what is no time."""
    try:
        return time.strftime("%F %X", time.localtime(seconds)) if seconds > 0 else ""
    except (OverflowError, OSError):
        return ""


def user_name(uid: int, unknown: str = "") -> str:
    """Name of an account, else `unknown`, which is (UID) unless given."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return unknown or f"({uid})"


def user_lines(uids: Sequence[int]) -> list[str]:
    """Accounts that have access, as the two --show commands list them."""
    lines = [f"- ({uid})  {user_name(uid, '(unknown)')}" for uid in uids]
    return [f"Users granted access: {len(uids)} {'user' if len(uids) == 1 else 'users'}", *lines]


def yes_no(value: object) -> str:
    return "yes" if value else "no"


def status_text(status: tuple[int, int, str]) -> str:
    major, minor, message = status
    if not (major or minor or message):
        return "(No status)"
    text = f"{_nth(MAJOR_TEXT, major)}, {_nth(MINOR_TEXT, minor)}"
    return f"{text}: {one_line(message)}" if message else text


def state_word(status: tuple[int, int, str]) -> str:
    """One of STATES, which say of a status what matters in a table. Waiting is for the user."""
    return _STATE_OF.get(status[1], "new")


def log_text(group: int, category: int, message: str, colour: bool = False) -> str:
    """One event, further lines of it indented below the first. Undefined group or category are left out."""
    labels = [_nth(texts, n) for texts, n in ((GROUP_TEXT, group), (CATEGORY_TEXT, category)) if n]
    prefix = f"{' '.join(labels)}: " if labels else ""
    text = many_lines(message.rstrip("\n")).replace("\n", "\n" + " " * (TIME_WIDTH + 4))
    if colour and 0 < category < len(_COLOURS):
        return f"\x1b[{_COLOURS[category]}m{prefix}{text}\x1b[0m"
    return prefix + text


def statistics_text(counters: Mapping[str, int]) -> str:
    """A heading and a dotted line for each counter; nothing without any."""
    if not counters:
        return ""
    lines = [f"     {one_line(name):.<20}{value:.>12}" for name, value in counters.items()]
    return "\n".join(["Connection statistics:", *lines])


def wrapped(label: str, words: Sequence[str], width: int = 78) -> str:
    """`label: a, b` over several lines of limited width if need be."""
    text = ", ".join(map(one_line, words)) or "(none)"
    return textwrap.fill(f"{label}: {text}", width, subsequent_indent=" " * (len(label) + 2), break_long_words=False)


def _nth(texts: Sequence[str], number: int) -> str:
    return texts[number] if 0 <= number < len(texts) else f"({number})"


def to_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, indent="\t", separators=(",", " : "))
