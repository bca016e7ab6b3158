"""The form of a line in each place it can go to."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from logging.handlers import SysLogHandler
from pathlib import Path

import pytest

from ovpn3.constants import CATEGORY_TEXT, LogCategory, LogGroup
from ovpn3_services.common.commandline import Options
from ovpn3_services.log.event import MAX_CHARS, Event, category, group
from ovpn3_services.log.settings import FACILITIES, parse
from ovpn3_services.log.writers import FileWriter, JournalWriter, StreamWriter, SyslogWriter, Writer

METADATA = {"sender": ":1.5", "object_path": "/a", "interface": "a.b", "sender_pid": "7"}
EVENT = Event(LogGroup.CLIENT, LogCategory.WARN, "attention", 42, METADATA, "token")
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def style(*arguments: str) -> Options:
    return parse(list(arguments))


def write(writer: Writer, event: Event) -> None:
    for record in writer.records(event):
        assert writer.send(memoryview(record)) == len(record)


def written(event: Event, *arguments: str) -> str:
    end, ours = os.pipe()
    with open(end, encoding="utf-8") as file:
        with open(ours, "wb"):
            write(StreamWriter(style(*arguments), ours), event)
        return file.read()


# -- streams and files ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ([], r" {tag:42} Client WARNING: attention\n"),
        (["--no-logtag-prefix"], r" Client WARNING: attention\n"),
        (["--timestamp"], rf"{STAMP} {{tag:42}} Client WARNING: attention\n"),
        (
            ["--service-log-dbus-details", "--timestamp"],
            rf"{STAMP} {{tag:42}} sender=:1\.5, object_path=/a, interface=a\.b, sender_pid=7\n"
            rf"{STAMP} {{tag:42}} Client WARNING: attention\n",
        ),
        (["--colour"], r"\x1b\[33m {tag:42} Client WARNING: attention\x1b\[0m\n"),
    ],
)
def test_lines_of_a_stream(arguments: list[str], pattern: str) -> None:
    assert re.fullmatch(pattern, written(EVENT, *arguments))


@pytest.mark.parametrize(
    ("of", "kind", "prefix"),
    [
        (LogGroup.NETCFG, LogCategory.FATAL, "Network Configuration **!! FATAL !!**: "),
        (LogGroup.UNDEFINED, LogCategory.DEBUG, "DEBUG: "),
        (LogGroup.LOGGER, LogCategory.UNDEFINED, "Logger: "),
        (LogGroup.UNDEFINED, LogCategory.UNDEFINED, ""),
    ],
)
def test_what_is_undefined_is_left_out(of: LogGroup, kind: LogCategory, prefix: str) -> None:
    assert written(Event(of, kind, "x", 1)) == f" {{tag:1}} {prefix}x\n"


@pytest.mark.parametrize("number", [-1, 9, 10, 2**32 - 1])
def test_unknown_numbers_are_undefined(number: int) -> None:
    assert category(number) is LogCategory.UNDEFINED
    assert group(max(number, 10)) is LogGroup.UNDEFINED


def test_a_file_is_continued_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    writer = FileWriter(style("--no-logtag-prefix"), path)
    write(writer, EVENT)
    line = " Client WARNING: attention\n"
    assert path.read_text() == "before\n" + line
    os.truncate(path, 0)
    write(writer, EVENT)
    assert path.read_text() == line
    writer.close()


def test_a_full_pipe_takes_as_much_as_fits_and_is_not_waited_for() -> None:
    end, ours = os.pipe()
    writer = StreamWriter(style(), ours)
    record = memoryview(b"x" * 100_000)
    taken = 0
    with suppress(BlockingIOError):
        while taken < 1 << 24:
            taken += writer.send(record)
    assert taken < 1 << 24
    assert os.get_blocking(ours)  # it is shared
    with open(end, "rb") as file:
        os.close(ours)
        assert len(file.read()) == taken > 0


def test_a_named_pipe_without_reader_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="No such device"):
        FileWriter(style(), tmp_path / "log")


# -- datagrams ------------------------------------------------------------------------------------
@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(5)
        yield receiver


@pytest.mark.parametrize(("name", "number"), [("LOG_DAEMON", 3), ("LOG_AUTHPRIV", 10), ("LOG_LOCAL7", 23)])
def test_syslog(receiver: socket.socket, name: str, number: int) -> None:
    writer = SyslogWriter(style("--service-log-dbus-details"), name, receiver.getsockname())
    write(writer, EVENT)
    writer.close()
    start = (
        rf"<{number * 8 + 4}>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d openvpn3-service-log\[{os.getpid()}\]: {{tag:42}} "
    )
    assert re.fullmatch(start + "sender=.*, sender_pid=7", receiver.recv(65536).decode())
    assert re.fullmatch(start + "Client WARNING: attention", receiver.recv(65536).decode())


def test_syslog_facilities_and_severities(receiver: socket.socket) -> None:
    severities = ("INFO", "DEBUG", "INFO", "INFO", "INFO", "WARNING", "ERR", "CRIT", "ALERT")
    for name in FACILITIES:
        writer = SyslogWriter(style(), name, receiver.getsockname())
        for kind, severity in zip(LogCategory, severities, strict=True):
            write(writer, Event(LogGroup.CLIENT, kind, "x", 1))
            expected = getattr(SysLogHandler, name) << 3 | getattr(SysLogHandler, f"LOG_{severity}")
            assert receiver.recv(4096).startswith(b"<%d>" % expected), name
        writer.close()


def fields(datagram: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in datagram.decode().splitlines())


def test_journal(receiver: socket.socket) -> None:
    writer = JournalWriter(style(), receiver.getsockname())
    write(writer, EVENT)
    assert fields(receiver.recv(65536)) == {
        "SYSLOG_IDENTIFIER": "openvpn3-service-log",
        "O3_LOG_SENDER": "net.openvpn.v3.log",
        "O3_SENDER": ":1.5",
        "O3_OBJECT_PATH": "/a",
        "O3_INTERFACE": "a.b",
        "O3_SENDER_PID": "7",
        "O3_LOGTAG": "42",
        "O3_SESSION_TOKEN": "token",
        "O3_LOG_GROUP": "Client",
        "O3_LOG_CATEGORY": "WARNING",
        "MESSAGE": "{tag:42} attention",
    }
    writer.close()


def test_journal_without_tag_in_the_text_and_the_longest_message(receiver: socket.socket) -> None:
    writer = JournalWriter(style("--no-logtag-prefix"), receiver.getsockname())
    text = "\N{GRINNING FACE}" * MAX_CHARS
    write(writer, Event(LogGroup.CLIENT, LogCategory.INFO, text, 42))
    assert fields(receiver.recv(1 << 20))["MESSAGE"] == text
    writer.close()


def test_labels_are_what_readers_map_back(receiver: socket.socket) -> None:
    writer = JournalWriter(style(), receiver.getsockname())
    for kind in LogCategory:
        write(writer, Event(LogGroup.CLIENT, kind, "x"))
        assert fields(receiver.recv(4096))["O3_LOG_CATEGORY"] == CATEGORY_TEXT[kind]
    writer.close()


def test_a_log_daemon_that_does_not_read_is_not_waited_for(receiver: socket.socket) -> None:
    writer = JournalWriter(style(), receiver.getsockname())
    (record,) = map(memoryview, writer.records(EVENT))

    def fill() -> int:
        count = 0
        while True:
            try:
                writer.send(record)
            except BlockingIOError:
                return count
            count += 1

    filled = fill()
    assert filled > 0
    for _ in range(filled):
        receiver.recv(4096)
    assert fill() == filled
    writer.close()


def test_the_next_log_daemon_is_found(tmp_path: Path) -> None:
    """As when it is restarted: the socket is another one by the same name."""
    address = str(tmp_path / "socket")
    writer = JournalWriter(style(), address)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            write(writer, EVENT)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(address)
            write(writer, EVENT)
            assert receiver.recv(4096)
        os.unlink(address)
    writer.close()
