"""What waits for a writer that takes no more, and what is dropped then."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ovpn3.constants import LogCategory, LogGroup
from ovpn3_services.log.event import Event
from ovpn3_services.log.outlet import CLOSE_TIMEOUT_S, MAX_SHARE_BYTES, MAX_WAITING_BYTES, Outlet
from ovpn3_services.log.settings import parse
from ovpn3_services.log.writers import FileWriter, SyslogWriter


def event(text: str, tag: int = 1) -> Event:
    return Event(LogGroup.CLIENT, LogCategory.INFO, text, tag)


class Daemon:
    """A log daemon that reads when it is asked to."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))
        self.lost: list[str] = []
        self.outlet = Outlet(SyslogWriter(parse([]), "LOG_DAEMON", str(path)), lambda e, _: self.lost.append(e.text))

    async def read(self, until: str = "last") -> list[str]:
        """Lines up to the one with these words."""
        found: list[str] = []
        async with asyncio.timeout(10):
            while not found or until not in found[-1]:
                found.append((await asyncio.get_running_loop().sock_recv(self.socket, 65536)).decode())
        return [text.split("INFO: ")[-1] for text in found]

    def fill(self) -> int:
        """Put lines until the first has to wait; how many there were."""
        count = 0
        while self.outlet.written == count:
            self.outlet.put(event(f"line {count}"))
            count += 1
        return count


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(tmp_path / "socket")
    yield daemon
    daemon.socket.close()
    daemon.outlet.close()


async def test_lines_wait_in_their_order(daemon: Daemon) -> None:
    count = daemon.fill()
    daemon.outlet.put(event("last"))
    assert await daemon.read() == [*(f"line {n}" for n in range(count)), "last"]
    assert daemon.lost == []


async def test_what_waits_is_bounded_and_what_is_missing_is_told(daemon: Daemon) -> None:
    daemon.fill()
    size = event("one of many").size_bytes
    put = 2 * MAX_WAITING_BYTES // size
    for n in range(put):  # each of another sender
        daemon.outlet.put(event("one of many", n))
    found = await daemon.read(until="missing")
    dropped = put - found.count("one of many")
    # What was waiting already comes first, the rest behind the notice.
    daemon.outlet.put(event("last"))
    dropped -= (await daemon.read()).count("one of many")
    assert found[-1].endswith(f"{dropped} lines are missing before this one: syslog took no more")
    assert dropped == pytest.approx(put / 2, rel=0.1)


async def test_one_sender_leaves_room_for_others(daemon: Daemon) -> None:
    daemon.fill()
    for _ in range(2 * MAX_WAITING_BYTES // 1000):
        daemon.outlet.put(event("flood"))
    daemon.outlet.put(event("last", 2))
    found = await daemon.read()
    assert found.count("flood") == pytest.approx(MAX_SHARE_BYTES // event("flood").size_bytes, abs=2)


async def test_what_waits_goes_to_the_next_writer(daemon: Daemon, tmp_path: Path) -> None:
    count = daemon.fill()
    daemon.outlet.replace(FileWriter(parse([]), tmp_path / "log"))
    daemon.outlet.put(event("last"))
    assert [line.split("INFO: ")[1] for line in (tmp_path / "log").read_text().splitlines()] == [
        f"line {count - 1}",
        "last",
    ]


async def test_closing_does_not_wait_long(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "socket")
    daemon.fill()
    begun = time.monotonic()
    daemon.outlet.close()
    assert time.monotonic() - begun < 5 * CLOSE_TIMEOUT_S
    daemon.socket.close()
