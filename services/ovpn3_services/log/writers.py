"""Where log lines go: a stream, a file, the journal, syslog. A writer that fails loses the line, never the service."""

import errno
import os
import socket
import struct
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

    def write(self, event: Event) -> None: ...
    def reopen(self) -> None: ...


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


class FileWriter(StreamWriter):
    method = "logfile"

    def __init__(self, style: Style, path: Path) -> None:
        self._path = path
        super().__init__(style, path.open("a", encoding="utf-8"))

    def reopen(self) -> None:
        """Begin a new file where the old one was: for log rotation."""
        stream = self._path.open("a", encoding="utf-8")
        self._stream.close()
        self._stream = stream


class DatagramWriter:
    """Base of those that talk to a local socket."""

    def __init__(self, style: Style, address: str) -> None:
        self._style, self._address = style, address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def reopen(self) -> None:
        """Each datagram finds the present receiver."""


class SyslogWriter(DatagramWriter):
    method = "syslog"

    def __init__(self, style: Style, facility: str, address: str = SYSLOG_SOCKET) -> None:
        super().__init__(style, address)
        self._facility = _FACILITY_NUMBERS[facility] << 3

    def write(self, event: Event) -> None:
        tag = f"{{tag:{event.tag}}} "
        if self._style.service_log_dbus_details and event.metadata:
            self._send(event, f"{tag}{event.details}")
        self._send(event, f"{tag}{event.prefix}{event.text}")

    def _send(self, event: Event, text: str) -> None:
        now = datetime.now().strftime("%b %e %H:%M:%S")
        priority = self._facility | _PRIORITIES[event.category]
        line = f"<{priority}>{now} {IDENTIFIER}[{os.getpid()}]: {text}"
        self._socket.sendto(line.encode(), self._address)


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
        self._send(b"".join(_field(name, value.encode()) for name, value in fields.items()))

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, self._address)
        except OSError as e:
            if e.errno != errno.EMSGSIZE:
                raise
            self._send_sealed(data)

    def _send_sealed(self, data: bytes) -> None:
        """Too long for a datagram: a sealed memory file's descriptor goes in its place."""
        fd = os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(fd, data)
            socket.send_fds(self._socket, [b""], [fd], 0, self._address)
        finally:
            os.close(fd)


def _field(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
