"""`journal`: what the services have written to the systemd journal."""

import datetime
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any, Final

from ovpn3.cli.command import JSON, BadValue, Command, CommandError, Option, Options
from ovpn3.cli.text import many_lines, one_line, to_json
from ovpn3.cli.verbs.install import check_root
from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT

OPTIONS = (
    JSON,
    Option("since", "", "TIME", "today, yesterday, or YYYY[-MM[-DD[ HH[:MM[:SS]]]]]"),
    Option("path", "", "OBJPATH", "Only what was logged of this D-Bus object"),
    Option("sender", "", "BUSNAME", "Only what this bus connection sent"),
    Option("interface", "", "IFACE", "Only what was sent on this D-Bus interface"),
    Option("logtag", "", "TAG", "Only what has this tag"),
    Option("session-token", "", "TOKEN", "Only what has this session token"),
    Option("pid", "", "PID", "Only what this process sent"),
)
FILTERS: Final = {
    "path": "O3_OBJECT_PATH",
    "sender": "O3_SENDER",
    "interface": "O3_INTERFACE",
    "logtag": "O3_LOGTAG",
    "session-token": "O3_SESSION_TOKEN",
    "pid": "O3_SENDER_PID",
}
OURS: Final = (
    "O3_LOG_SENDER=net.openvpn.v3.log",
    *(
        f"SYSLOG_IDENTIFIER={name}"
        for name in ("net.openvpn.v3.log", "openvpn3-service-logger", "openvpn3-service-log-dev")
    ),
)
COPIED: Final = ("SENDER", "SENDER_PID", "INTERFACE", "METHOD", "INTERNAL_METHOD", "PROPERTY", "OBJECT_PATH", "LOGTAG")
SINCE: Final = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?: (\d\d)(?::(\d\d)(?::(\d\d))?)?)?)?)?")


async def run(options: Options) -> int:
    check_root()
    since = _since(options.get("since")) if options.has("since") else None
    entries = [entry for entry in _read(since) if _wanted(entry, options)]
    if options.has("json"):
        print(to_json([_to_json(entry) for entry in entries]))
    else:
        for entry in entries:
            print(_line(entry))
    return 0


def _since(text: str) -> float:
    """Unix time of a local time, or of the beginning of a day."""
    today = datetime.datetime.combine(datetime.date.today(), datetime.time())
    if text in ("today", "yesterday"):
        return (today - datetime.timedelta(days=text == "yesterday")).timestamp()
    match = SINCE.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        parts = [int(part or default) for part, default in zip(match.groups(), "011000", strict=True)]
        year, month, day, hour, minute, second = parts
        return datetime.datetime(year, month, day, hour, minute, second).timestamp()
    except ValueError:
        raise BadValue(f"--since takes today, yesterday or YYYY[-MM[-DD[ HH[:MM[:SS]]]]], not {text!r}") from None


def _read(since: float | None) -> Iterator[dict[str, Any]]:
    program = shutil.which("journalctl")
    if program is None:
        raise CommandError("there is no journal here: journalctl is not installed")
    matches = [word for match in OURS for word in (match, "+")][:-1]
    command = [
        program,
        "--output=json",
        "--all",
        "--no-pager",
        "--quiet",
        *([f"--since=@{since:.0f}"] if since else []),
        *matches,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and not done.stdout:
        raise CommandError(f"the journal can't be read: {one_line(done.stderr.strip() or 'no journal files')}")
    for line in done.stdout.splitlines():
        yield json.loads(line)


def _wanted(entry: dict[str, Any], options: Options) -> bool:
    return all(str(entry.get(field, "")) == options.get(name) for name, field in FILTERS.items() if options.has(name))


def _seconds(entry: dict[str, Any]) -> float:
    return int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6


def _number(entry: dict[str, Any], field: str) -> int:
    text = str(entry.get(field, ""))
    return int(text) if text.isdecimal() and len(text) < 4 else 0


def _message(entry: dict[str, Any]) -> str:
    """Without the tag before it; octets that are no text come as numbers."""
    message = entry.get("MESSAGE", "")
    text = bytes(message).decode(errors="replace") if isinstance(message, list) else str(message)
    return re.sub(r"^\{tag:\d+\} ", "", text)


def _line(entry: dict[str, Any]) -> str:
    group, category = _number(entry, "O3_LOG_GROUP"), _number(entry, "O3_LOG_CATEGORY")
    labels = [texts[n] for texts, n in ((GROUP_TEXT, group), (CATEGORY_TEXT, category)) if 0 < n < len(texts)]
    tag = f"{{tag:{one_line(entry['O3_LOGTAG'])}}} " if entry.get("O3_LOGTAG") else ""
    text = many_lines(_message(entry).rstrip("\n")).replace("\n", "\n" + " " * 15)
    return f"{time.ctime(_seconds(entry))}  {tag}{' '.join(labels)}{': ' if labels else ''}{text}"


def _to_json(entry: dict[str, Any]) -> dict[str, object]:
    group, category = _number(entry, "O3_LOG_GROUP"), _number(entry, "O3_LOG_CATEGORY")
    made: dict[str, object] = {
        "TIMESTAMP": int(entry.get("__REALTIME_TIMESTAMP", 0)),
        "TIMESTAMP_STRING": time.ctime(_seconds(entry)),
        "PID": str(entry.get("_PID", "")),
        "LOG_EVENT": {
            "LOG_GROUP": group,
            "LOG_GROUP_STRING": GROUP_TEXT[group] if group < len(GROUP_TEXT) else "",
            "LOG_CATEGORY": category,
            "LOG_CATEGORY_STRING": CATEGORY_TEXT[category] if category < len(CATEGORY_TEXT) else "",
            "SESSION_TOKEN": str(entry.get("O3_SESSION_TOKEN", "")),
            "LOG_MESSAGE": _message(entry).splitlines(),
        },
    }
    return made | {f"O3_{name}": entry[f"O3_{name}"] for name in COPIED if f"O3_{name}" in entry}


ABOUT = """\
Shows what the services have written to the journal of systemd. Of several filters an entry has to pass all. Only root
can do this.

    openvpn3-admin journal --since today --json
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
