"""What is given out, by the commands of docs/install.md: the tree, its sdist and the Debian package."""

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
from tests.support.pages import command
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop, pytest.mark.full]
LONG_S = 900.0
MAKE, INSTALL = command("docs/install.md", "sudo make deb").splitlines()
_MOUNTS = 'mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; echo ready; exec cat'
# $1 becomes the working directory.
_OVERLAYS = """
mount -t tmpfs -o mode=755 tmpfs /run
for directory in /etc /opt /usr /var; do
    layer=/run/overlay$directory
    mkdir -p $layer/upper $layer/work
    mount -t overlay overlay -o lowerdir=$directory,upperdir=$layer/upper,workdir=$layer/work $directory
done
cd "$1"
"""
_FILES = "find /etc /opt /usr /var/lib -xdev ! -path '*/__pycache__*' ! -name '*-' | sort"
_BUS = "mkdir /run/dbus; bus=$(dbus-daemon --system --nopidfile --fork --print-pid); trap 'kill $bus' EXIT"
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
    run(["sh", "-ec", f"cd {PROJECT}; {MAKE.removeprefix('sudo ')}"], timeout=LONG_S)
    [package] = (PROJECT / "build").glob("ovpn3_*.deb")
    return package


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Our tree, as a reader has it: nothing is built."""
    unwanted = shutil.ignore_patterns(".*", "build", "*.c", "*.so")
    return Path(shutil.copytree(PROJECT, tmp_path / "source", ignore=unwanted))


def on_this_system(script: str, folder: Path) -> str:
    """What commands print that root types in the folder. What they change is thrown away."""
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    command = ["unshare", "--mount", "env", path, "sh", "-ec", _OVERLAYS + script.replace("sudo ", ""), "sh", folder]
    return run(command, timeout=LONG_S).stdout


def test_from_the_tree(source: Path) -> None:
    install, uninstall = command("README.md", "sudo make install"), command("README.md", "sudo make uninstall")
    assert install == command("docs/install.md", "sudo make install")
    assert uninstall == command("docs/install.md", "sudo make uninstall")
    use = "openvpn3 configs-list --count; openvpn3-as --help; openvpn3-admin version --services; man -w openvpn3-log"
    script = [
        f"{_FILES} > /run/before",
        install,
        _BUS,
        use,
        uninstall,
        f"{_FILES} | diff /run/before - && echo the same",
    ]
    shown = on_this_system("\n".join(script), source)
    assert "Usage: openvpn3-as" in shown
    assert shown.endswith("the same\n")


def test_from_an_sdist(source: Path) -> None:
    build = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    made = subprocess.run([sys.executable, "-c", build, source], cwd=source, stdout=-1, text=True).stdout.split()[-1]
    run(["tar", "--extract", f"--directory={source}", f"--file={source / made}"])
    typed = command("docs/install.md", "sudo python3 -m venv /opt/openvpn3")
    check = "/opt/openvpn3/bin/python -I -c 'import ovpn3._fast.pump, ovpn3_services.netcfg'"
    shown = on_this_system(
        f"{typed}\n{check}\n/opt/openvpn3/bin/openvpn3 version", source / made.removesuffix(".tar.gz")
    )
    assert "write /usr/share/openvpn3/manifest.json" in shown
    assert "Copyright" in shown.splitlines()[-1]


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
    (tree.directory / "build").mkdir()
    shutil.copy(package, tree.directory / "build")
    (tree.directory / "home/alice/office.ovpn").write_text(server.profile())
    before = tree.files()
    tree.run("sh", "-ec", INSTALL.removeprefix("sudo "))
    tree.start_bus()
    tree.run("openvpn3", "config-import", "--config", "/home/alice/office.ovpn", "--name", "office", user="alice")
    tree.run("openvpn3", "session-start", "--config", "office", user="alice")
    pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
    assert " openvpn " in tree.run("ls", "-ld", "/var/lib/openvpn3")

    # The same version again is an upgrade: its services are ended, its tunnels go on.
    upgraded = tree.run("sh", "-ec", INSTALL.removeprefix("sudo "))
    assert "stop net.openvpn.v3.sessions" in upgraded
    assert "stop net.openvpn.v3.backends.be" not in upgraded
    pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
    assert "Client connected" in tree.run("openvpn3", "sessions-list", user="alice")

    assert "Usage: openvpn3-as" in tree.run("openvpn3-as", "--help")
    tree.run(*command("docs/install.md", "sudo dpkg --remove ovpn3").split()[1:])
    assert "openvpn" in tree.run("getent", "passwd", "openvpn")
    tree.run("dpkg", "--purge", "ovpn3")
    assert pair.client.state() == network
    assert tree.files() == before
