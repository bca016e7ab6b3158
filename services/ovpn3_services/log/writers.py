"""Where log lines go: a stream, a file, the journal, syslog. A writer that fails loses the line, never the service."""

import os
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Protocol, TextIO

from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT, LogCategory
from ovpn3_services.log.event import Event
from ovpn3_services.log.settings import FACILITIES

JOURNAL_SOCKET = "/run/systemd/journal/socket"
SYSLOG_SOCKET = "/dev/log"
IDENTIFIER = "openvpn3-service-log"
SEND_TIMEOUT_S = 0.2  # a log daemon that doesn't read must not hold up every service
# syslog(3) priorities by category
_PRIORITIES = (6, 7, 6, 6, 6, 4, 3, 2, 1)
# FACILITIES are in the order of their numbers; those from 12 to 15 have no name.
_FACILITY_NUMBERS = {name: n if n < 12 else n + 4 for n, name in enumerate(FACILITIES)}
_COLOURS = {
    LogCategory.DEBUG: "34",
    LogCategory.VERB2: "36",
    LogCategory.VERB1: "36",
    LogCategory.WARN: "33",
    LogCategory.ERROR: "1;31",
    LogCategory.CRIT: "1;31",
    LogCategory.FATAL: "1;37;41",
}


class Style(Protocol):
    """What the settings say about the form of a line."""

    timestamp: bool
    service_log_dbus_details: bool
    no_logtag_prefix: bool
    colour: bool


class Writer(Protocol):
    method: str  # as the property log_method names it

    def write(self, event: Event) -> None:
        """OSError: the line is lost."""

    def reopen(self) -> None: ...
    def close(self) -> None: ...


class StreamWriter:
    method = "stdout:"

    def __init__(self, style: Style, stream: TextIO | None = None) -> None:
        self._style, self._stream = style, stream or sys.stdout

    def write(self, event: Event) -> None:
        style = self._style
        now = datetime.now().strftime("%Y-%m-%d %H:%M:%S") if style.timestamp else ""
        tag = f"{{tag:{event.tag}}} " if event.tag and not style.no_logtag_prefix else ""
        lines = [f"{now} {tag}{event.prefix}{event.text}"]
        if style.service_log_dbus_details and event.metadata:
            lines.insert(0, f"{now} {tag}{event.details}")
        colour = _COLOURS.get(event.category) if style.colour else None
        text = "".join(f"\x1b[{colour}m{line}\x1b[0m\n" if colour else f"{line}\n" for line in lines)
        self._stream.write(text)
        self._stream.flush()

    def reopen(self) -> None:
        """A stream can't be rotated."""

    def close(self) -> None:
        """It isn't ours."""


class FileWriter(StreamWriter):
    method = "logfile"

    def __init__(self, style: Style, path: Path) -> None:
        self._path = path
        super().__init__(style, path.open("a", encoding="utf-8"))

    def reopen(self) -> None:
        """Begin a new file where the old one was: for log rotation."""
        stream = self._path.open("a", encoding="utf-8")
        self.close()
        self._stream = stream

    def close(self) -> None:
        self._stream.close()


class DatagramWriter:
    """Base of those that talk to a local socket."""

    def __init__(self, style: Style, address: str) -> None:
        self._style, self._address = style, address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(SEND_TIMEOUT_S)

    def _send(self, datagram: bytes) -> None:
        self._socket.sendto(datagram, self._address)

    def reopen(self) -> None:
        """Each datagram finds the present receiver."""

    def close(self) -> None:
        self._socket.close()


class SyslogWriter(DatagramWriter):
    method = "syslog"

    def __init__(self, style: Style, facility: str, address: str = SYSLOG_SOCKET) -> None:
        super().__init__(style, address)
        self._facility = _FACILITY_NUMBERS[facility] << 3

    def write(self, event: Event) -> None:
        tag = f"{{tag:{event.tag}}} "
        if self._style.service_log_dbus_details and event.metadata:
            self._line(event, f"{tag}{event.details}")
        self._line(event, f"{tag}{event.prefix}{event.text}")

    def _line(self, event: Event, text: str) -> None:
        now = datetime.now().strftime("%b %e %H:%M:%S")
        priority = self._facility | _PRIORITIES[event.category]
        line = f"<{priority}>{now} {IDENTIFIER}[{os.getpid()}]: {text}"
        self._send(line.encode())


class JournalWriter(DatagramWriter):
    """The journal's native protocol: fields as NAME=value lines; systemd's JOURNAL_NATIVE_PROTOCOL document."""

    method = "journald"

    def __init__(self, style: Style, address: str = JOURNAL_SOCKET) -> None:
        super().__init__(style, address)

    def write(self, event: Event) -> None:
        fields = {"O3_LOG_SENDER": "net.openvpn.v3.log", "SYSLOG_IDENTIFIER": IDENTIFIER}
        fields |= {f"O3_{key.upper()}": value for key, value in event.metadata.items()}
        if event.tag:
            fields["O3_LOGTAG"] = str(event.tag)
        if event.token:
            fields["O3_SESSION_TOKEN"] = event.token
        fields["O3_LOG_GROUP"] = GROUP_TEXT[event.group]
        fields["O3_LOG_CATEGORY"] = CATEGORY_TEXT[event.category]
        tag = f"{{tag:{event.tag}}} " if event.tag and not self._style.no_logtag_prefix else ""
        fields["MESSAGE"] = tag + event.text
        # No value has a line end, which the protocol would want in another form; nor is any too long for a datagram.
        self._send("".join(f"{name}={value}\n" for name, value in fields.items()).encode())
