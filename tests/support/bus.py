"""A system bus as on a real machine, in a mount namespace of its own: nothing outside it changes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

from dbus_fast.aio import MessageBus

from tests.support.account import ALICE, BOB, ROOT, Account
from tests.support.netns import CommandFailed, Namespace, end, run

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
_USERS = (ALICE, BOB)

# $1 is the directory that becomes /run/dbus, so that the bus can be reached from outside too.
# Overlays keep their upper side on the fresh /run. At the end it waits until its input, our pipe, is closed.
_MOUNTS = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
for directory in /etc /usr/share /usr/lib /var/lib; do
    layer=/run/overlay$directory
    mkdir -p $layer/upper $layer/work
    mount -t overlay overlay -o lowerdir=$directory,upperdir=$layer/upper,workdir=$layer/work $directory
done
mkdir -p /run/dbus /run/home
mount --bind "$1" /run/dbus
"""
_WAIT = "echo ready\nexec cat\n"
# Changing its user, the daemon loses the signal for our death, so a shell gets it in its place. What services write to
# their standard output goes to the log: nobody reads it from a pipe.
_BUS = "dbus-daemon --system --nofork --nopidfile --print-address=3 3>&1 >&2 & trap 'kill $!' TERM; wait; wait"


class SystemBusSandbox:
    """The client machine: a network namespace with its own /etc, /usr/share, /usr/lib, /var/lib, /run and bus.

    The users ALICE and BOB exist. `setup` are commands run as root before the bus starts, such as the
    installation of the services. Closing it ends every process in the network namespace.
    """

    def __init__(self, namespace: Namespace, *, setup: Sequence[Sequence[str | Path]] = ()) -> None:
        self.namespace = namespace
        with ExitStack() as stack:
            self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-")))
            self._directory.chmod(0o755)
            (self._directory / "bus").mkdir()
            self.address = f"unix:path={self._directory}/bus/system_bus_socket"
            script = _MOUNTS + _reopen(PROJECT) + _WAIT
            self._holder = namespace.popen(
                ["sh", "-c", script, "sh", self._directory / "bus"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            stack.enter_context(self._holder)
            stack.callback(namespace.kill_all)
            _expect(self._holder, "ready")
            for account in _USERS:
                self.run(["useradd", "--uid", str(account.uid), "--user-group", "--home", account.home, account.name])
                self.run(["install", "-d", "-m", "700", "-o", account.name, "-g", account.name, account.home])
            for command in setup:
                self.run(command)
            self._log = stack.enter_context((self._directory / "log").open("a"))
            self.start_bus()
            stack.callback(self.stop_bus)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def start_bus(self) -> None:
        """Start the bus and return when it accepts connections."""
        self._bus = self.popen(["sh", "-c", _BUS], stdout=subprocess.PIPE, stderr=self._log)
        _expect(self._bus, "unix:")

    def stop_bus(self) -> None:
        end(self._bus)
        assert self._bus.stdout
        self._bus.stdout.close()

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        account: Account = ROOT,
        check: bool = True,
        input: str | None = None,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a user; programs of the environment the tests run in come first."""
        return run(self._command(argv, account), check=check, input=input, timeout=timeout)

    def popen(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        account: Account = ROOT,
        stdin: IO[str] | int | None = subprocess.DEVNULL,
        stdout: IO[str] | int | None = None,
        stderr: IO[str] | int | None = None,
    ) -> subprocess.Popen[str]:
        """Start a process as a user; the id is its own. It is told to end when the calling thread does."""
        return subprocess.Popen(self._command(argv, account), stdin=stdin, stdout=stdout, stderr=stderr, text=True)

    def write(self, path: str, text: str, *, account: Account = ROOT) -> None:
        """Write a file inside, owned by the user and readable by nobody else."""
        self.run(["sh", "-c", 'umask 077; cat > "$1"', "sh", path], account=account, input=text)

    async def connect(self, account: Account = ROOT) -> MessageBus:
        """A bus connection of this process on which it is that user."""
        with account.assumed():
            return await MessageBus(bus_address=self.address, negotiate_unix_fd=True).connect()

    @property
    def pid(self) -> int:
        """Of a process that is inside."""
        return self._holder.pid

    def log(self) -> str:
        """What the bus and the services it started wrote to their standard error."""
        return (self._directory / "log").read_text(errors="replace")

    def _command(self, argv: Sequence[str | os.PathLike[str]], account: Account) -> list[str | os.PathLike[str]]:
        inside = ["nsenter", "--target", str(self._holder.pid), "--mount", "--net", "--"]
        user = ["setpriv", f"--reuid={account.uid}", f"--regid={account.uid}", "--init-groups", "--pdeathsig=TERM"]
        path = f"PATH={BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = ["env", "-i", path, f"HOME={account.home}", f"USER={account.name}", "LANG=C.UTF-8"]
        return [*inside, *user, *environment, *argv]


def _reopen(tree: Path) -> str:
    """Shell lines that let every user enter `tree`, showing it alone below the first closed directory."""
    closed = next((parent for parent in reversed(tree.parents) if not parent.stat().st_mode & 0o001), None)
    if closed is None:
        return ""
    return f"""
mkdir /run/tree
mount --bind "{tree}" /run/tree
mount -t tmpfs -o mode=755 tmpfs "{closed}"
mkdir -p "{tree}"
mount --bind /run/tree "{tree}"
"""


def _expect(process: subprocess.Popen[str], text: str) -> None:
    """Read a process's first line of output: it has to begin with `text`."""
    assert process.stdout
    line = process.stdout.readline()
    if not line.startswith(text):
        process.kill()
        raise CommandFailed(f"{line}{process.stdout.read()}")
