"""A client machine started by a real systemd, process 1 of namespaces of its own: nothing outside them changes."""

import os
import select
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.support.bus import BIN, PROJECT
from tests.support.netns import CommandFailed, Namespace, run

SYSTEMD = Path("/usr/lib/systemd/systemd")
PACKAGES = ("systemd", "libsystemd-shared")
START_TIMEOUT_S = 30.0

# $1 is a directory that becomes /run/lab, $2 one whose files are added to /usr, or nothing.
_BOOT = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lab /run/dev /run/units
mount --bind "$1" /run/lab
for directory in /etc /usr /var; do
    layer=/run/overlay$directory
    mkdir -p $layer/upper $layer/work
    mount -t overlay overlay -o lowerdir=$directory,upperdir=$layer/upper,workdir=$layer/work $directory
done
[ -z "$2" ] || cp -a "$2/." /usr
mount -t tmpfs -o mode=755 tmpfs /run/dev
mkdir -p /run/dev/net /run/dev/pts /run/dev/shm
for device in null zero full random urandom tty net/tun; do
    touch /run/dev/$device
    mount --bind /dev/$device /run/dev/$device
done
ln -s /proc/self/fd /run/dev/fd
ln -s pts/ptmx /run/dev/ptmx
mount -t devpts -o newinstance,ptmxmode=666 devpts /run/dev/pts
mount --move /run/dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared /  # else no unit sees its credentials; nothing gets out, the namespace is a slave of its parent
for unit in basic.target dbus.service dbus.socket multi-user.target network.target network-online.target \
    shutdown.target slices.target sockets.target sysinit.target system.slice \
    systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket timers.target umount.target; do
    [ ! -e /usr/lib/systemd/system/$unit ] || cp /usr/lib/systemd/system/$unit /run/units
done
mount --bind /run/units /usr/lib/systemd/system
rm -rf /etc/systemd/system /etc/fstab /etc/init.d
mkdir -p /etc/systemd/system /run/generators
mount --bind /run/generators /usr/lib/systemd/system-generators
cat > /etc/systemd/system/lab.target <<END
[Unit]
Wants=dbus.service multi-user.target systemd-journald.service lab-ready.service
END
cat > /etc/systemd/system/lab-ready.service <<END
[Unit]
After=dbus.service systemd-journald.service
[Service]
ExecStart=/bin/sh -c 'echo ready > /run/lab/ready'
END
echo 0123456789abcdef0123456789abcdef > /etc/machine-id
openvpn3-admin install
exec env container=lab SYSTEMD_LOG_TARGET=journal /usr/lib/systemd/systemd --unit=lab.target --show-status=false
"""


class BootedMachine:
    """In a network namespace, with the product installed. Closing it ends every process in the network namespace."""

    def __init__(self, namespace: Namespace, packages: Path | None = None) -> None:
        """`packages` is a tree with PACKAGES unpacked, where systemd is not installed."""
        self.namespace = namespace
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-")))
            os.mkfifo(self.folder / "ready")
            ready = os.open(self.folder / "ready", os.O_RDONLY | os.O_NONBLOCK)
            stack.callback(os.close, ready)
            self._log = stack.enter_context((self.folder / "console").open("a"))
            namespaces = ["--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child"]
            environment = ["env", "-i", f"PATH={BIN}:{os.defpath}:/sbin:/usr/sbin", "LANG=C.UTF-8"]
            command = ["unshare", *namespaces, *environment, "sh", "-c", _BOOT, "sh", str(self.folder)]
            process = namespace.popen([*command, str(packages or "")], stdout=self._log, stderr=self._log)
            stack.enter_context(process)
            stack.callback(namespace.kill_all)
            if not select.select([ready], [], [], START_TIMEOUT_S)[0] or os.read(ready, 16) != b"ready\n":
                raise CommandFailed(f"systemd did not start: {self.console()}")
            [self._pid] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(
        self, argv: Sequence[str | os.PathLike[str]], *, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root; programs of the environment the tests run in come first."""
        return run(self._command(argv), check=check, input=input)

    def popen(self, argv: Sequence[str | os.PathLike[str]]) -> subprocess.Popen[str]:
        """Start a process; its output is a pipe. It dies with the thread that called this."""
        command = ["setpriv", "--pdeathsig", "KILL", *self._command(argv)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True)

    def shell(self, script: str, folder: str) -> str:
        """Output of a script that runs in a directory, to the first command that fails."""
        return self.run(["sh", "-e"], input=f"cd {folder}\n{script}").stdout

    def as_root(self, script: str, folder: str = "/") -> str:
        """The same of commands of the documentation, `sudo` being done already."""
        return self.shell(script.replace("sudo ", ""), folder)

    def journal(self, unit: str) -> subprocess.Popen[str]:
        """Its lines, from the first on and as they come."""
        return self.popen(["journalctl", "--follow", "--no-tail", "--output=cat", f"--unit={unit}"])

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        done = self.run(["systemctl", *arguments], check=check)
        return done.stdout + done.stderr

    def show(self, unit: str, *properties: str) -> tuple[str, ...]:
        """Values of a unit's properties."""
        lines = self.systemctl("show", unit, *(f"--property={name}" for name in properties)).splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return tuple(values[name] for name in properties)

    def write(self, path: str, text: str, mode: str = "600") -> None:
        """A file inside, and its directory."""
        self.run(["install", "-D", "-m", mode, "/dev/stdin", path], input=text)

    def _command(self, argv: Sequence[str | os.PathLike[str]]) -> list[str | os.PathLike[str]]:
        path = f"PATH={BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        inside = ["nsenter", "--target", self._pid, "--all", "--", "env", "-i", path, "HOME=/root", "LANG=C.UTF-8"]
        return [*inside, *argv]

    def console(self) -> str:
        return (self.folder / "console").read_text(errors="replace")


def drop_in(text: str) -> str:
    """Of a unit of ours; the environment the tests run in may lie where the unit would not see it."""
    hidden = any(PROJECT.is_relative_to(folder) for folder in ("/tmp", "/var/tmp"))
    return f"[Service]\n{'PrivateTmp=no' if hidden else ''}\n{text}\n"
