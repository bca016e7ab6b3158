"""OpenVPN 3 Linux, whose place ours takes: the C++ services and front-ends as Debian has them.

They stay in a tree of their own, since their names, on the bus and below /usr, are ours too. Root makes it by
`debootstrap --variant=minbase --include=openvpn3-client,dbus,python3-dbus,python3-gi sid DIRECTORY`.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.account import ALICE, BOB, ROOT, Account
from tests.support.bus import SystemBusSandbox
from tests.support.netns import CommandFailed, end, run

PACKAGES = ("openvpn3-client", "dbus", "python3-dbus", "python3-gi")
_ROOT = "/run/original"
_LIBEXEC = "usr/libexec/openvpn3-linux"
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
_USER = f"""
set -e
useradd --root {_ROOT} --uid "$1" --user-group --no-create-home --home /home/$2 $2
install -d -m 700 -o "$1" -g "$1" {_ROOT}/home/$2
"""


def fetch(release: str, directory: Path) -> None:
    """Make a tree of that release of Debian's."""
    include = f"--include={','.join(PACKAGES)}"
    run(["debootstrap", "--variant=minbase", include, release, directory], timeout=900.0)


class Original:
    """A tree shown in a sandbox. Its programs find the sandbox's services, or their own on a bus of their own."""

    def __init__(self, sandbox: SystemBusSandbox, tree: Path) -> None:
        if not (tree / _LIBEXEC).is_dir():
            raise CommandFailed(f"{tree} is no Debian system with the package openvpn3-client")
        self._sandbox = sandbox
        sandbox.run(["sh", "-c", _MOUNTS, "sh", tree.absolute()])
        for account in (ALICE, BOB):
            sandbox.run(["sh", "-c", _USER, "sh", str(account.uid), account.name])

    def run(
        self, *command: str, account: Account = ALICE, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its programs."""
        user = [f"--userspec={account.uid}:{account.uid}", _ROOT, "env", f"HOME=/home/{account.name}"]
        return self._sandbox.run(["chroot", *user, *command], check=check, input=input)

    def write(self, path: str, text: str) -> None:
        """A file of the tree that all can read."""
        self.run("sh", "-c", 'umask 022; cat > "$1"', "sh", path, account=ROOT, input=text)

    def share_bus(self) -> None:
        """Its programs find the services of the sandbox."""
        self._sandbox.run(["mount", "--bind", "/run/dbus", f"{_ROOT}/run/dbus"])

    @contextmanager
    def own_bus(self) -> Iterator[None]:
        """Its programs find its own services, which start as they are called."""
        daemon = ["chroot", _ROOT, "dbus-daemon", "--system", "--nofork", "--nopidfile", "--print-address"]
        with self._sandbox.popen(daemon, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as bus:
            assert bus.stdout
            bus.stdout.readline()  # it takes connections
            try:
                yield
            finally:
                end(bus)
