"""OpenVPN 3 Linux, whose place ours takes: the C++ services and front-end as Debian has them, on a bus of their own.

They stay in a tree of their own, since their names, on the bus and below /usr, are ours too. Root makes it by
`debootstrap --variant=minbase --include=openvpn3-client,dbus sid DIRECTORY`.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.bus import SystemBusSandbox
from tests.support.machine import command
from tests.support.netns import CommandFailed, end

_ROOT = "/run/original"
_LIBEXEC = "usr/libexec/openvpn3-linux"
_PROFILE = "bench"
# The tree stays as it is. What systemd serves on a whole machine the client asks for again and again, here in vain.
_MOUNTS = f"""
set -e
layer=/run/overlay{_ROOT}
mkdir -p {_ROOT} $layer/upper $layer/work
mount -t overlay overlay -o "lowerdir=$1,upperdir=$layer/upper,workdir=$layer/work" {_ROOT}
mount -t proc proc {_ROOT}/proc
mount --rbind /dev {_ROOT}/dev
mkdir -p {_ROOT}/run/dbus
rm -f {_ROOT}/usr/share/dbus-1/system-services/org.freedesktop.*
"""


class Original:
    """Its bus is there and its services start as they are called, in the sandbox's network namespace."""

    def __init__(self, sandbox: SystemBusSandbox) -> None:
        self._sandbox = sandbox

    @contextmanager
    def tunnel(self) -> Iterator[int]:
        """Start a session as a user does from a shell; yields the id of the client's process when connected."""
        self.openvpn3("session-start", "--config", _PROFILE)
        try:
            pids = self._sandbox.namespace.pids()
            (pid,) = (pid for pid in pids if command(pid)[0].endswith("/openvpn3-service-client"))
            yield pid
        finally:
            self.openvpn3("session-manage", "--config", _PROFILE, "--disconnect")

    def openvpn3(self, *arguments: str) -> None:
        self._sandbox.run(["chroot", _ROOT, "openvpn3", *arguments])


@contextmanager
def original(sandbox: SystemBusSandbox, tree: Path, profile: str) -> Iterator[Original]:
    """With the profile in its store."""
    if not (tree / _LIBEXEC).is_dir():
        raise CommandFailed(f"{tree} is no Debian system with the package openvpn3-client")
    sandbox.run(["sh", "-c", _MOUNTS, "sh", tree.absolute()])
    daemon = ["dbus-daemon", "--system", "--nofork", "--nopidfile", "--print-address"]
    with sandbox.popen(["chroot", _ROOT, *daemon], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as bus:
        assert bus.stdout
        bus.stdout.readline()  # it takes connections
        try:
            here = Original(sandbox)
            sandbox.write(f"{_ROOT}/tmp/profile", profile)
            here.openvpn3("config-import", "--config", "/tmp/profile", "--name", _PROFILE)
            yield here
        finally:
            end(bus)
