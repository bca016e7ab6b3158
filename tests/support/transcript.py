"""Commands with what they print, kept as a user sees it: a file of both, run again and compared.

    # as bob                 who runs what follows; alice, if nothing is said
    $ openvpn3 configs-list  the command; % in place of $: in a terminal
    < YES                    a line of its standard input, or what is typed once there is a question
    ^C Attached              interrupt it once this is to be read
    No profiles              standard output
    ! a complaint            standard error
    [8]                      the exit code, unless 0

D-Bus paths are named in the order they are met: CONFIG1, SESSION1, and may stand in commands, as may the number of an
authentication request, REQUEST1. What differs from run
to run (times, process ids, bus names, counters) has a word in its place.
"""

import ctypes
import os
import pty
import re
import select
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.account import Account

_WAIT_S = 30.0
PROGRAMS = "/run/bin"  # where commands find other programs
_NAMED = {
    "CONFIG": re.compile(r"/net/openvpn/v3/configuration/[0-9a-f]{8}x[0-9a-fx]{27}"),
    "SESSION": re.compile(r"/net/openvpn/v3/sessions/[0-9a-f]{8}s[0-9a-fs]{27}"),
    "REQUEST": re.compile(r"(?<=Auth Request: )\d+"),
}
# Each keeps the width, so that tables stay tables.
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "YYYY-MM-DD HH:MM:SS"),
    (re.compile(r"(?<=control channel: ).*"), "TLS"),  # OpenSSL 3.5 has groups of its own
    (re.compile(r"(?<=_tstamp\" : )[1-9]\d+|(?<=_timestamp\" : )[1-9]\d+"), "SECONDS"),
    (re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}"), "DAY MON DD HH:MM:SS YYYY"),
    (re.compile(r'(?<="time": )\d+\.\d+'), "SECONDS"),
    (re.compile(r":1\.\d+"), ":1.N"),
    (re.compile(r"((?:PID|pid)\"? ?: ?|PID |\"auth_request\" : )[1-9]\d*"), r"\1PID"),
    (re.compile(r"(^     [A-Z_]+\.{3,}\d+(\n|$))+", re.MULTILINE), "     COUNTERS\n"),
    (re.compile(r"(^\t\"[A-Z_]+\" : \d+,?\n)+", re.MULTILINE), "\tCOUNTERS\n"),
    (re.compile(r"(?<= {10})\d{3,}$", re.MULTILINE), "PID"),
    (re.compile(r"^\.+$", re.MULTILINE), "."),
    (re.compile(r"^\d{10,20} +\d+ (?=:)", re.MULTILINE), "TAG                        PID "),
    (re.compile(r"(?<=\"tag\" : )\"\d+\""), '"TAG"'),
    (re.compile(r"Linux (?!client|v27)\w+"), "Linux MACHINE"),
    (re.compile(r"Python \d+\.\d+\.\d+"), "Python 3"),
    (re.compile(r"(\"python\" : )\"[^\"]*\""), r'\1"3"'),
)
Main = Callable[[Sequence[str]], int]


@dataclass
class Step:
    account: str
    command: str
    input: list[str] = field(default_factory=list)
    interrupt: str = ""
    expected: list[str] = field(default_factory=list)
    terminal: bool = False

    def text(self) -> str:
        given = [f"< {line}" for line in self.input] + ([f"^C {self.interrupt}"] if self.interrupt else [])
        return "\n".join([f"{'%' if self.terminal else '$'} {self.command}", *given, *self.expected]) + "\n"


@dataclass
class Outcome:
    out: str
    err: str
    code: int

    def lines(self, names: "Names") -> list[str]:
        """As a transcript has them."""
        out, err = names.hide(self.out).splitlines(), names.hide(self.err).splitlines()
        return [*out, *(f"! {line}" for line in err), *([f"[{self.code}]"] if self.code else [])]


class Names:
    """Of the D-Bus paths and requests met so far."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def hide(self, text: str) -> str:
        for kind, pattern in _NAMED.items():
            for path in pattern.findall(text):
                number = 1 + sum(name.startswith(kind) for name in self._known.values())
                self._known.setdefault(path, f"{kind}{number}")
        for path, name in self._known.items():
            text = text.replace(path, name)
        for varying, word in _VARYING:
            text = varying.sub(word, text)
        return text

    def show(self, word: str) -> str:
        return next((path for path, name in self._known.items() if name == word), word)


def read(path: Path) -> list[Step]:
    steps: list[Step] = []
    account = "alice"
    for line in path.read_text().splitlines():
        if line.startswith("# as "):
            account = line.removeprefix("# as ")
        elif line.startswith(("$ ", "% ")):
            steps.append(Step(account, line[2:], terminal=line.startswith("%")))
        elif line.startswith("< "):
            steps[-1].input.append(line.removeprefix("< "))
        elif line.startswith("^C "):
            steps[-1].interrupt = line.removeprefix("^C ")
        elif steps and not line.startswith("# "):
            steps[-1].expected.append(line)
    return steps


def write(path: Path, steps: list[Step]) -> None:
    account, parts = "alice", []
    for step in steps:
        if step.account != account:
            account = step.account
            parts.append(f"# as {account}\n")
        parts.append(step.text())
    path.write_text("".join(parts))


class Runner:
    """Runs programs of ours as a user inside a machine, in a fork of this process: an interpreter need not start."""

    def __init__(self, inside: int, address: str) -> None:
        """`inside` is a process of the machine."""
        self._namespaces = [os.open(f"/proc/{inside}/ns/{kind}", os.O_RDONLY) for kind in ("mnt", "net")]
        self._address = address
        self._libc = ctypes.CDLL(None, use_errno=True)

    def close(self) -> None:
        for fd in self._namespaces:
            os.close(fd)

    def run(self, main: Main, argv: Sequence[str], account: Account, step: Step, *, terminal: bool) -> Outcome:
        if terminal:
            screen, theirs = pty.openpty()
            given, read, files = -1, [screen], (theirs, theirs, theirs)
        else:
            (given_read, given), (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe(), os.pipe()
            read, files = [out_read, err_read], (given_read, out_write, err_write)
        with warnings.catch_warnings():
            # Of pytest-xdist's threads, which hold no lock that a program of ours would take.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            self._child(main, argv, account, files)
        for fd in set(files):
            os.close(fd)
        lines = [f"{line}\n".encode() for line in step.input]
        if given >= 0:
            os.write(given, b"".join(lines))
            os.close(given)
        texts = _read_all(pid, read, step.interrupt, lines if terminal else [])
        _, status = os.waitpid(pid, 0)
        return Outcome(texts[0].replace("\r\n", "\n"), "".join(texts[1:]), os.waitstatus_to_exitcode(status))

    def _child(self, main: Main, argv: Sequence[str], account: Account, fds: tuple[int, int, int]) -> None:
        code = 99
        try:
            for fd in self._namespaces:
                if self._libc.setns(fd, 0):
                    raise OSError(ctypes.get_errno(), "setns")
            for number, fd in enumerate(fds):
                os.dup2(fd, number)
            os.setgroups([account.uid])
            os.setresgid(account.uid, account.uid, account.uid)
            os.setresuid(account.uid, account.uid, account.uid)
            os.chdir(account.home)
            os.environ.clear()
            os.environ.update({"DBUS_SYSTEM_BUS_ADDRESS": self._address, "PATH": PROGRAMS, "TERM": "vt100"})
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code = run_here(main, argv)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)


def run_here(main: Main, argv: Sequence[str]) -> int:
    """With standard streams of its own, which pytest has replaced."""
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    try:
        return main(argv)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _read_all(pid: int, fds: list[int], interrupt: str, answers: list[bytes]) -> list[str]:
    texts = dict.fromkeys(fds, b"")
    waiting = set(fds)
    while waiting:
        ready, _, _ = select.select(waiting, [], [], _WAIT_S)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            break
        for fd in ready:
            try:
                chunk = os.read(fd, 65536)
            except OSError:  # a terminal that nobody has open any more
                chunk = b""
            texts[fd] += chunk
            if not chunk:
                waiting.discard(fd)
            elif interrupt and interrupt.encode() in texts[fd]:
                os.kill(pid, signal.SIGINT)
                interrupt = ""
            elif answers and texts[fd].endswith((b": ", b"? (enter yes in upper case) ")):
                os.write(fd, answers.pop(0))
    for fd in fds:
        os.close(fd)
    return [texts[fd].decode(errors="replace") for fd in fds]


def words(steps: list[Step]) -> Iterator[list[str]]:
    """The words of each command; what has an attached value, without it."""
    for step in steps:
        yield [word.partition("=")[0] for word in shlex.split(step.command)]
