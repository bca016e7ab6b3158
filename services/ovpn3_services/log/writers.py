"""Where log lines go: a stream, a file, the journal, syslog. None of them ever waits."""

import os
import select
import socket
import time
from pathlib import Path
from typing import Protocol

from ovpn3.constants import CATEGORY_TEXT, GROUP_TEXT, LogCategory
from ovpn3_services.log.event import Event
from ovpn3_services.log.settings import FACILITIES

JOURNAL_SOCKET = "/run/systemd/journal/socket"
SYSLOG_SOCKET = "/dev/log"
IDENTIFIER = "openvpn3-service-log"
STDOUT = 1
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

    def records(self, event: Event) -> list[bytes]:
        """The event in the form of this writer: what `send` is to be called with."""

    def send(self, record: memoryview) -> int:
        """Octets taken. BlockingIOError: nothing can be taken now; another OSError: the line is lost."""

    def fileno(self) -> int:
        """Becomes writable when more can be taken."""

    def close(self) -> None: ...


class StreamWriter:
    """Standard output, or another descriptor that isn't ours.

    It is shared with other processes, so it can't be made non-blocking: that would hold for them too.
    """

    method = "stdout:"

    def __init__(self, style: Style, fd: int = STDOUT) -> None:
        self._style, self._fd = style, fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def records(self, event: Event) -> list[bytes]:
        style = self._style
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time)) if style.timestamp else ""
        start = f"{now} {{tag:{event.tag}}} " if event.tag and not style.no_logtag_prefix else f"{now} "
        lines = [start + event.details] if style.service_log_dbus_details and event.metadata else []
        lines.append(start + event.prefix + event.text)
        colour = _COLOURS.get(event.category) if style.colour else None
        text = "".join(f"\x1b[{colour}m{line}\x1b[0m\n" if colour else f"{line}\n" for line in lines)
        return [_octets(text)]

    def send(self, record: memoryview) -> int:
        if not self._poll.poll(0):
            raise BlockingIOError
        # What is writable has room for as much as a pipe takes in one piece.
        return os.write(self._fd, record[: select.PIPE_BUF])

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """It isn't ours."""


class FileWriter(StreamWriter):
    """A file, continued at its end wherever that is: another program may shorten it. Or a named pipe."""

    method = "logfile"

    def __init__(self, style: Style, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        super().__init__(style, os.open(path, flags, 0o666))

    def send(self, record: memoryview) -> int:
        return os.write(self._fd, record)

    def close(self) -> None:
        os.close(self._fd)


class DatagramWriter:
    """Base of those that talk to a local socket. Connected, ours is writable when the receiver can take more."""

    def __init__(self, style: Style, address: str) -> None:
        self._style, self._address = style, address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._connected = False

    def send(self, record: memoryview) -> int:
        if self._connected:
            try:
                return self._socket.send(record)
            except ConnectionError:  # a receiver that is no more: there may be another
                self._connected = False
        self._socket.connect(self._address)
        self._connected = True
        return self._socket.send(record)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


class SyslogWriter(DatagramWriter):
    """The local protocol of syslog(3): a datagram for each line."""

    method = "syslog"

    def __init__(self, style: Style, facility: str, address: str | None = None) -> None:
        super().__init__(style, address or SYSLOG_SOCKET)
        self._facility = _FACILITY_NUMBERS[facility] << 3

    def records(self, event: Event) -> list[bytes]:
        priority = self._facility | _PRIORITIES[event.category]
        now = time.strftime("%b %e %H:%M:%S", time.localtime(event.time))
        start = f"<{priority}>{now} {IDENTIFIER}[{os.getpid()}]: {{tag:{event.tag}}} "
        lines = [event.details] if self._style.service_log_dbus_details and event.metadata else []
        lines.append(event.prefix + event.text)
        return [_octets(start + line) for line in lines]


class JournalWriter(DatagramWriter):
    """The journal's native protocol: systemd's JOURNAL_NATIVE_PROTOCOL document."""

    method = "journald"

    def __init__(self, style: Style, address: str | None = None) -> None:
        super().__init__(style, address or JOURNAL_SOCKET)

    def records(self, event: Event) -> list[bytes]:
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
        return [_octets("".join(f"{name}={value}\n" for name, value in fields.items()))]


def _octets(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
