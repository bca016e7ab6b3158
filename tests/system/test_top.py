"""`top` in a terminal of several sizes, without colours and in a pipe; what it leaves of the terminal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ovpn3.cli.table import BARS, Column, chosen, duration, fitted, latency, short, spark
from tests.support.account import ALICE, BOB, ROOT, Account
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer

PATIENCE_S = 30.0
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LEFT = "\x1b[?25h\x1b[?1049l"


class Terminal:
    """Its screen is what `top` draws: each time all of it, from the first line on."""

    def __init__(self, machine: Machine, columns: int, lines: int, account: Account, environment: tuple[str, ...]):
        self.master, slave = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(slave)
        self.slave, self.output = slave, ""
        command = ["env", "TERM=xterm", "LANG=C.UTF-8", *environment, "openvpn3", "top"]
        self.process = machine.sandbox.popen(command, account=account, stdin=slave, stdout=slave, stderr=slave)

    def resize(self, columns: int, lines: int) -> None:
        self.size = columns, lines
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, wanted: Callable[[list[str]], bool]) -> list[str]:
        """The first complete screen that is as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while not (self.output.endswith("\x1b[J") and wanted(self.screen())):
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError("\n".join(self.screen()))
            self.output += os.read(self.master, 65536).decode()
        return self.screen()

    def screen(self) -> list[str]:
        lines = re.split("\r+\n", ESCAPES.sub("", self.output.rpartition("\x1b[H")[2]))
        assert all(len(line) <= self.size[0] for line in lines)
        return lines

    def end(self) -> str:
        """The last it wrote, once it has ended well and left the terminal as it was."""
        assert self.process.wait(10) == 0
        while select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 65536).decode()
        assert termios.tcgetattr(self.slave) == self.before
        return self.output.strip()


@contextmanager
def top(machine: Machine, columns: int, lines: int, *environment: str, account: Account = ALICE) -> Iterator[Terminal]:
    terminal = Terminal(machine, columns, lines, account, environment)
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)
        os.close(terminal.slave)


def shows(*texts: str) -> Callable[[list[str]], bool]:
    return lambda screen: all(any(text in line for line in screen) for text in texts)


@pytest.mark.system
@pytest.mark.interop
def test_a_terminal(machine: Machine, start_server: Callable[..., OpenVpnServer]) -> None:
    server = start_server(extra=["duplicate-cn"])
    machine.connect(server.profile(), "office")
    machine.connect(server.profile(), "private", BOB)
    with top(machine, 80, 24) as mine:
        mine.until(shows("1 session, 1 connected", "> office", "tso uso gso gro"))
        machine.pair.client.run(["ping", "-I", "tun0", "-q", "-c", "100", "-i", "0.01", server.TUNNEL_V4])
        screen = mine.until(shows(BARS[-1]))
        assert len(screen) == 24
        for title in ("NAME", "STATE", "IN b/s", "OUT b/s", "PKT/s", "RTT", "KEYS", "TRAFFIC"):
            assert title in screen[2]
        assert "SERVER" not in screen[2]
        assert "\x1b[32mconnected" in mine.output
        mine.resize(160, 30)
        mine.process.send_signal(signal.SIGWINCH)
        screen = mine.until(lambda screen: len(screen) == 30)
        assert f"{machine.pair.SERVER_V4}:1194 udp" in screen[3]

        mine.press("p")
        mine.until(shows("paused", "Pause office: done"))
        mine.press("p")
        mine.until(shows("Resume office: done", "1 connected"))
        mine.press("r")
        mine.until(shows("Restart office: done"))
        mine.press("d")
        mine.until(shows("Disconnect office? y/n"))
        mine.press("\x1b")
        mine.until(lambda screen: "y/n" not in screen[-1])
        with top(machine, 80, 24, "NO_COLOR=1", account=ROOT) as roots:
            screen = roots.until(shows("2 sessions", "> office", "  private", "alice", "bob "))
            assert not re.search("\x1b\\[[0-9;]*m", roots.output)
            roots.press("j")
            roots.until(shows("> private", "private, of bob"))
            roots.process.terminate()
            assert roots.end().endswith(LEFT)
        mine.press("dy")
        mine.until(shows("No sessions available"))
        mine.press("q")
        assert mine.end().endswith(LEFT)

    with top(machine, 40, 8, account=BOB) as tiny:
        tiny.until(lambda screen: len(screen) == 8 and shows("> private")(screen))
        tiny.press("\x1b[B\x1b[A")
        tiny.process.send_signal(signal.SIGTSTP)
        os.waitid(os.P_PID, tiny.process.pid, os.WSTOPPED)
        assert termios.tcgetattr(tiny.slave) == tiny.before
        tiny.process.send_signal(signal.SIGCONT)
        tiny.until(lambda _: tiny.output.count("\x1b[?1049h") == 2)
        tiny.press("q")
        tiny.end()
    piped = machine.openvpn3("top", account=BOB).stdout
    heading, row = piped.splitlines()
    assert "\x1b" not in piped
    assert heading.split()[-1] == "SERVER"
    assert row.split()[0] == "private"
    assert row.endswith(f"{machine.pair.SERVER_V4}:1194 udp")
    (as_json,) = json.loads(machine.openvpn3("top", "--json", account=BOB).stdout).values()
    assert (as_json["config_name"], as_json["state"], as_json["lost"]) == ("private", "connected", {})
    assert as_json["statistics"]["BYTES_IN"] > 0
    machine.disconnect("private", BOB)
    assert machine.openvpn3("top", "--once").stdout == "No sessions available\n"
    assert machine.openvpn3("top", "--interval", "0", check=False).returncode == 9


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999.4, "999"), (999.6, "1.0k"), (12345, "12k"), (999_499, "999k"), (999_600, "1.0M"), (4.2e12, "4.2T")],
)
def test_short_numbers(number: float, text: str) -> None:
    assert short(number) == text


def test_short_times() -> None:
    seconds = (None, 0.4, 99, 100, 5999, 6000, 359_999, 360_000)
    assert [duration(s) for s in seconds] == ["-", "0s", "99s", "1m", "99m", "1h", "99h", "4d"]
    times = (None, 240, 9_949, 42_000, 999_499, 1_200_000)
    assert [latency(us) for us in times] == ["-", "0.2ms", "9.9ms", "42ms", "999ms", "1.2s"]


def test_cells() -> None:
    assert fitted("abc", 5) == "abc  "
    assert fitted("abc", 5, right=True) == "  abc"
    assert fitted("abcdef", 4) == "abc~"
    assert fitted("日本語", 5) == "日本~"
    assert fitted("日本語", 4) == "日~ "
    assert spark([0, 1, 50, 100], 6) == "   ▁▄█"
    assert spark([5], 3, least=10.0) == "  ▄"
    assert spark([], 3) == "   "


def test_columns_go_by_rank() -> None:
    columns = [Column[int](title, 4, rank, str) for title, rank in (("a", 2), ("b", 0), ("c", 1))]
    assert [c.title for c in chosen(columns, 9)] == ["b", "c"]
    assert [c.title for c in chosen(columns, 14)] == ["a", "b", "c"]
    assert [c.title for c in chosen(columns, 0)] == ["a", "b", "c"]
