"""What a container runtime makes for one process: its own mounts, pids and devices, and few capabilities."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.bus import BIN, PROJECT
from tests.support.netns import Namespace, run

# $1 is a directory that becomes /etc/openvpn3, $2 names devices, $3 is our tree; the rest is the command. The root is
# that of the machine, with changes thrown away; /etc/resolv.conf is mounted over, as runtimes do.
_ENTER = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mkdir -p dev/net etc/openvpn3
for device in /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty $2; do
    touch .$device
    mount --bind $device .$device
done
mount -t tmpfs -o mode=755 tmpfs run
echo nameserver 192.0.2.53 > /mnt/resolv.conf
rm -f etc/resolv.conf && touch etc/resolv.conf
mount --bind /mnt/resolv.conf etc/resolv.conf
mount --bind "$1" etc/openvpn3
[ -e "./$3/pyproject.toml" ] || { mkdir -p "./$3"; mount --bind "$3" "./$3"; }
chroot . useradd --system --user-group openvpn
shift 3
exec chroot . "$@"
"""


class Container:
    """In a network namespace. `folder` is its /etc/openvpn3."""

    def __init__(self, namespace: Namespace, folder: Path, capabilities: Sequence[str], devices: Sequence[str]) -> None:
        names = ",".join(f"+{name.lower()}" for name in capabilities)
        self._confined = ["setpriv", "--no-new-privs", f"--bounding-set=-all,{names}", f"--inh-caps=-all,{names}"]
        self._confined += ["env", "-i", f"PATH={BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        self._namespace, self._folder, self._devices = namespace, folder, devices

    def start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """The command, as process 1; its output are pipes."""
        unshare = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child"]
        inside = [
            "sh",
            "-c",
            _ENTER,
            "sh",
            str(self._folder),
            " ".join(self._devices),
            str(PROJECT),
            *self._confined,
            *argv,
        ]
        self.process = self._namespace.popen([*unshare, *inside], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return self.process

    @property
    def pid(self) -> int:
        """Of its process 1."""
        [pid] = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(pid)

    def run(self, argv: Sequence[str | os.PathLike[str]]) -> subprocess.CompletedProcess[str]:
        """A further command in it."""
        inside = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd"]
        return run([*inside, "--", *self._confined, *argv], check=False)
