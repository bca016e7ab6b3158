"""Network namespaces of our own, joined by a veth pair; the machine's own network is never touched."""

import ctypes
import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Self

_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()
_CLONE_NEWNET = 0x40000000


class CommandFailed(Exception):
    """A command that should have succeeded didn't: its text has the code and all output."""


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    input: str | None = None,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with its output captured; with `check` a failure is `CommandFailed`."""
    done = subprocess.run(argv, input=input, timeout=timeout, capture_output=True, text=True)
    if check and done.returncode != 0:
        command = " ".join(map(str, argv))
        raise CommandFailed(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def end(process: subprocess.Popen[str], timeout: float = 10.0) -> int:
    """Ask a process to stop, insist after `timeout` seconds; its exit code."""
    if process.poll() is None:
        handle = os.pidfd_open(process.pid)
        with open(handle, "rb", buffering=0):
            process.terminate()
            # Popen.wait with a timeout would poll.
            if not select.select([handle], [], [], timeout)[0]:
                process.kill()
    return process.wait()


class Namespace:
    """A named network namespace; closing it ends every process still in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        run(["ip", "netns", "add", name])
        self.ip("link", "set", "lo", "up")
        with self.entered():  # as Debian 13 lets users ping
            Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.kill_all()
        run(["ip", "netns", "del", self.name])

    def ip(self, *arguments: str) -> None:
        run(["ip", "-n", self.name, *arguments])

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        check: bool = True,
        input: str | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """`run` in the namespace, as root."""
        return run(["ip", "netns", "exec", self.name, *argv], check=check, input=input, timeout=timeout)

    def popen(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        stdin: IO[str] | int | None = subprocess.DEVNULL,
        stdout: IO[str] | int | None = None,
        stderr: IO[str] | int | None = None,
    ) -> subprocess.Popen[str]:
        """Start a process in the namespace; the id is its own. It dies with the thread that called this."""
        command = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.name, *argv]
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, text=True)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread inside: sockets and children made meanwhile belong to the namespace."""
        with entered(f"/run/netns/{self.name}"):
            yield

    def pids(self) -> list[int]:
        return [int(pid) for pid in run(["ip", "netns", "pids", self.name]).stdout.split()]

    def kill_all(self) -> None:
        """Kill every process inside; they are gone on return."""
        while pids := self.pids():
            kill(pids)

    def state(self) -> dict[str, list[str]]:
        """Links, addresses, routes and rules of both families and of nf_tables, to compare before and after."""
        shown = {
            " ".join(what): _rows(run(["ip", "-n", self.name, "-j", *what]).stdout)
            for what in (
                ("address",),
                ("-4", "route", "show", "table", "all"),
                ("-6", "route", "show", "table", "all"),
                ("-4", "rule"),
                ("-6", "rule"),
            )
        }
        with self.entered():
            return {**shown, "nftables": _ruleset()}


class NamespacePair:
    """A `client` and a `server` namespace on one Ethernet link.

    The server is the client's default gateway and also has the `FAR` addresses, which are off the link:
    a client that redirects its default route needs a route around the tunnel to reach them.
    """

    CLIENT_V4, SERVER_V4, FAR_V4 = "198.51.100.2", "198.51.100.1", "203.0.113.1"
    SILENT_V4 = "198.51.100.66"  # what is sent there is lost, for good: there is no address to ask for
    CLIENT_V6, SERVER_V6, FAR_V6 = "2001:db8:51::2", "2001:db8:51::1", "2001:db8:113::1"

    def __init__(self) -> None:
        prefix = f"lab-{os.getpid()}-{next(_serial)}"
        with ExitStack() as stack:
            self.client = stack.enter_context(Namespace(f"{prefix}-client"))
            self.server = stack.enter_context(Namespace(f"{prefix}-server"))
            self._join()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def _join(self) -> None:
        client, server = self.client, self.server
        here, there = ["eth0", "netns", client.name], ["eth0", "netns", server.name]
        run(["ip", "link", "add", *here, "type", "veth", "peer", "name", *there])
        for side in (client, server):
            # Link-local addresses come and settle by themselves, which would spoil a comparison of states.
            side.ip("link", "set", "eth0", "addrgenmode", "none", "up")
        # Only now: with addresses on a link that is down the first neighbour solicitation is lost, which costs 1 s.
        for side, v4, v6 in (
            (client, self.CLIENT_V4, self.CLIENT_V6),
            (server, self.SERVER_V4, self.SERVER_V6),
        ):
            side.ip("address", "add", f"{v4}/24", "dev", "eth0")
            side.ip("address", "add", f"{v6}/64", "dev", "eth0", "nodad")
        client.ip("neighbour", "add", self.SILENT_V4, "lladdr", "02:00:00:00:00:66", "dev", "eth0", "nud", "permanent")
        client.ip("route", "add", "default", "via", self.SERVER_V4)
        client.ip("-6", "route", "add", "default", "via", self.SERVER_V6)
        server.ip("address", "add", f"{self.FAR_V4}/32", "dev", "lo")
        server.ip("address", "add", f"{self.FAR_V6}/128", "dev", "lo", "nodad")


@contextmanager
def entered(path: str) -> Iterator[None]:
    """Put the calling thread into the namespace that the file stands for."""
    with open("/proc/thread-self/ns/net") as home, open(path) as here:
        _set_namespace(here.fileno())
        try:
            yield
        finally:
            _set_namespace(home.fileno())


def _set_namespace(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def kill(pids: Sequence[int]) -> None:
    """Kill processes and return when they are gone."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with open(handle, "rb", buffering=0):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [])


def _ruleset() -> list[str]:
    """Tables, chains and rules as the kernel tells them, in hex; what `nft list ruleset` would show, and handles."""
    listed = []
    netlink_netfilter, request_dump, done, error, subsystem = 12, 0x301, 3, 2, 10
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netlink_netfilter)
    except OSError:  # a kernel without
        return []
    with sock:
        for what in (1, 4, 7):  # NFT_MSG_GETTABLE, _GETCHAIN, _GETRULE
            sock.send(struct.pack("=IHHII4x", 20, subsystem << 8 | what, request_dump, 1, 0))
            kind = 0
            while kind not in (done, error):
                answer = sock.recv(65536)
                while answer:
                    size, kind = struct.unpack_from("=IH", answer)
                    if kind not in (done, error):
                        listed.append(answer[20:size].hex())
                    answer = answer[(size + 3) // 4 * 4 :]
    return listed


def _rows(output: str) -> list[str]:
    """The rows of an `ip -j` answer, order made irrelevant."""
    return sorted(json.dumps(row, sort_keys=True) for row in json.loads(output or "[]"))
