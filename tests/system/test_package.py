"""What is given out: the Debian package on a fresh tree of the distribution, the sdist in a clean environment."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.bus import PROJECT
from tests.support.netns import NamespacePair, end, run
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop, pytest.mark.full]
LONG_S = 900.0
_MOUNTS = 'mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; echo ready; exec cat'
# What every use of dpkg and of accounts changes.
_CHANGING = ("var/lib/dpkg/", "var/log/", "var/cache/", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-")


class Tree:
    """A distribution's tree, entered in a namespace; it has a user `alice`."""

    def __init__(self, pair: NamespacePair, directory: Path) -> None:
        self.directory = directory
        codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
        packages = "--include=dbus,python3"
        run(["debootstrap", "--variant=minbase", packages, codename, directory], timeout=LONG_S)
        self._stack = ExitStack()
        holder = pair.client.popen(
            ["unshare", "--mount", "sh", "-ec", _MOUNTS, "sh", directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._stack.enter_context(holder)
        assert holder.stdin
        self._stack.callback(holder.stdin.close)
        assert holder.stdout
        assert holder.stdout.readline() == "ready\n"
        self._enter = ["nsenter", "--target", str(holder.pid), "--mount", "--net", "--", "chroot"]
        self.run("useradd", "--create-home", "alice")

    def close(self) -> None:
        self._stack.close()

    def run(self, *command: str, user: str = "root") -> str:
        return run([*self._enter, f"--userspec={user}:{user}", self.directory, *command]).stdout

    def start_bus(self) -> None:
        (self.directory / "run/dbus").mkdir(exist_ok=True)
        command = ["dbus-daemon", "--system", "--nofork", "--nopidfile", "--print-address"]
        bus = subprocess.Popen([*self._enter, self.directory, *command], stdout=subprocess.PIPE, text=True)
        self._stack.enter_context(bus)
        self._stack.callback(end, bus)
        assert bus.stdout
        assert bus.stdout.readline().startswith("unix:")

    def files(self) -> dict[str, tuple[int, int, bytes]]:
        """Mode, owner and content of all there is, but for what always changes."""
        found = {}
        for folder in ("etc", "usr", "opt", "var"):
            for path in (self.directory / folder).rglob("*"):
                name, status = str(path.relative_to(self.directory)), path.lstat()
                if not name.startswith(_CHANGING):
                    content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                    found[name] = (status.st_mode, status.st_uid, content)
        return found


@pytest.fixture(scope="module")
def package() -> Path:
    run(["make", "-C", PROJECT, "deb"], timeout=LONG_S)
    [package] = (PROJECT / "build").glob("ovpn3_*.deb")
    return package


def test_from_an_sdist(tmp_path: Path) -> None:
    build = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    shutil.copytree(PROJECT, tmp_path / "source", ignore=shutil.ignore_patterns(".*", "build", "*.c", "*.so"))
    made = subprocess.run([sys.executable, "-c", build, tmp_path], cwd=tmp_path / "source", stdout=-1, text=True)
    environment = tmp_path / "environment"
    run(["/usr/bin/python3", "-m", "venv", environment])
    run([environment / "bin/pip", "install", tmp_path / made.stdout.split()[-1]], timeout=LONG_S)
    run([environment / "bin/python", "-c", "import ovpn3._fast.pump, ovpn3_services.netcfg"])
    assert "openvpn3" in run([environment / "bin/openvpn3", "version"]).stdout


@pytest.fixture
def tree(pair: NamespacePair, tmp_path: Path) -> Iterator[Tree]:
    tmp_path.chmod(0o755)
    tree = Tree(pair, tmp_path / "tree")
    yield tree
    tree.close()
    shutil.rmtree(tree.directory)  # pytest keeps the others


@pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed")
def test_installed_used_upgraded_and_purged(
    tree: Tree, package: Path, pair: NamespacePair, start_server: Callable[..., OpenVpnServer]
) -> None:
    server = start_server()
    network = pair.client.state()
    shutil.copy(package, tree.directory / "tmp/ovpn3.deb")
    (tree.directory / "home/alice/office.ovpn").write_text(server.profile())
    before = tree.files()
    tree.run("dpkg", "--install", "/tmp/ovpn3.deb")
    tree.start_bus()
    tree.run("openvpn3", "config-import", "--config", "/home/alice/office.ovpn", "--name", "office", user="alice")
    tree.run("openvpn3", "session-start", "--config", "office", user="alice")
    pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
    assert " openvpn " in tree.run("ls", "-ld", "/var/lib/openvpn3")

    # The same version again is an upgrade: its services are ended, its tunnels go on.
    upgraded = tree.run("dpkg", "--install", "/tmp/ovpn3.deb")
    assert "stop net.openvpn.v3.sessions" in upgraded
    assert "stop net.openvpn.v3.backends.be" not in upgraded
    pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
    assert "Client connected" in tree.run("openvpn3", "sessions-list", user="alice")

    tree.run("dpkg", "--purge", "ovpn3")
    assert pair.client.state() == network
    assert tree.files() == before
