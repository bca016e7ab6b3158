"""Entries that the log service has written to the systemd journal."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ovpn3.cli.command import CommandError
from ovpn3.cli.text import one_line
from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT

OURS: Final = (
    "O3_LOG_SENDER=net.openvpn.v3.log",
    *(
        f"SYSLOG_IDENTIFIER={name}"
        for name in ("net.openvpn.v3.log", "openvpn3-service-logger", "openvpn3-service-log-dev")
    ),
)

Entry = Mapping[str, Any]


def read(since: float | None = None) -> Iterator[Entry]:
    """Those since a Unix time, oldest first. CommandError if there is no journal, or none for us."""
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
    found = False
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        for line in process.stdout:
            found = True
            yield json.loads(line)
        reason = one_line(process.stderr.read().strip()) or "no journal files."
    if process.returncode and not found:
        raise CommandError(f"the journal can't be read: {reason} Root may, and the group systemd-journal.")


def seconds(entry: Entry) -> float:
    """Unix time."""
    return int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6


def group(entry: Entry) -> int:
    """Of LogGroup; UNDEFINED for what isn't one."""
    return _number(entry.get("O3_LOG_GROUP"), GROUP_TEXT)


def category(entry: Entry) -> int:
    """Of LogCategory; UNDEFINED for what isn't one."""
    return _number(entry.get("O3_LOG_CATEGORY"), CATEGORY_TEXT)


def message(entry: Entry) -> str:
    """Without the tag before it; octets that are no text come as numbers."""
    found = entry.get("MESSAGE", "")
    text = bytes(found).decode(errors="replace") if isinstance(found, list) else str(found)
    return re.sub(r"^\{tag:\d+\} ", "", text)


def _number(value: object, texts: Sequence[str]) -> int:
    """The log service writes the text, as the original's does."""
    if isinstance(value, str) and value in texts:
        return texts.index(value)
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 4 else 0
    return number if number < len(texts) else 0
