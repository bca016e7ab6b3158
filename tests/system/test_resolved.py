"""DNS through a real systemd-resolved with polkit, unpacked for the occasion: the host's own stays as it is."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.bus import PROJECT
from tests.support.machine import Machine
from tests.support.netns import end
from tests.support.packages import fetched
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

PACKAGES = (
    *("systemd-resolved", "systemd", "libsystemd-shared"),
    *("polkitd", "libpolkit-gobject-1-0", "libpolkit-agent-1-0", "libduktape207"),
)
INSIDE, OUTSIDE = "10.20.30.40", "192.0.2.40"  # what the two servers answer
PUSHED = ["dhcp-option DNS 10.8.0.1", "dhcp-option DOMAIN corp.example"]


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages' files."""
    return fetched(PACKAGES, tmp_path_factory.mktemp("resolved"))


class ResolvedMachine:
    def __init__(self, machine: Machine, stack: ExitStack) -> None:
        self._machine, self._stack = machine, stack
        self._resolved: subprocess.Popen[str] | None = None

    def serve(self, address: str, answer: str) -> None:
        command = ["env", f"--chdir={PROJECT}", sys.executable, "-m", "tests.support.nameserver", address, answer]
        process = self._stack.enter_context(self._machine.pair.server.popen(command, stdout=subprocess.PIPE))
        self._stack.callback(process.terminate)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"

    def start(self, program: str) -> subprocess.Popen[str]:
        process = self._stack.enter_context(self._machine.sandbox.popen([program], stderr=subprocess.DEVNULL))
        self._stack.callback(end, process)
        return process

    def restart_resolver(self) -> None:
        if self._resolved:
            end(self._resolved)
        self._resolved = self.start("/usr/lib/systemd/systemd-resolved")
        self.ask("Peer.Ping")

    def ask(self, what: str) -> None:
        """Once it answers it is there; the bus waits for nobody that it can't start."""
        command = [
            "dbus-send",
            "--system",
            "--print-reply",
            "--dest=org.freedesktop.resolve1",
            "/org/freedesktop/resolve1",
        ]
        for _ in range(100):
            done = self._machine.sandbox.run([*command, f"org.freedesktop.DBus.{what}"], check=False)
            if done.returncode == 0:
                return
        pytest.fail(done.stderr)

    def look_up(self, name: str) -> str:
        found = self._machine.sandbox.run(["getent", "ahostsv4", name], check=False).stdout.split()
        return found[0] if found else ""


@pytest.fixture
def resolved(machine: Machine, tree: Path) -> Iterator[ResolvedMachine]:
    """Started, in use by the machine's programs, with a name server of the outside."""
    sandbox = machine.sandbox
    for source, target in (("usr/share", "/usr/share"), ("usr/lib", "/usr/lib"), ("etc", "/etc")):
        if (tree / source).is_dir():
            sandbox.run(["cp", "-a", f"{tree / source}/.", target])
    script = f"""
    set -e
    for user in polkitd systemd-resolve; do id $user || useradd --system --user-group $user; done
    install -d -o systemd-resolve -g systemd-resolve /run/systemd/resolve
    mkdir -p /etc/systemd /etc/polkit-1/rules.d /run/systemd/seats /run/systemd/users
    printf '[Resolve]\\nDNS={machine.pair.SERVER_V4}\\nFallbackDNS=\\nDNSSEC=no\\n' > /etc/systemd/resolved.conf
    ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
    dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ReloadConfig
    """
    sandbox.run(["sh", "-c", script])
    with ExitStack() as stack:
        made = ResolvedMachine(machine, stack)
        made.serve(machine.pair.SERVER_V4, OUTSIDE)
        made.start("/usr/lib/polkit-1/polkitd")
        made.restart_resolver()
        yield made


def test_names_of_a_tunnel(machine: Machine, start_server: StartServer, resolved: ResolvedMachine) -> None:
    server = start_server(push=PUSHED)
    resolved.serve("10.8.0.1", INSIDE)
    before = machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout
    assert resolved.look_up("www.example") == OUTSIDE

    machine.connect(server.profile())
    assert (resolved.look_up("www.corp.example"), resolved.look_up("www2.example")) == (INSIDE, INSIDE)
    resolved.restart_resolver()
    for _ in range(20):  # the network service hears of it, and has to tell it all again
        if resolved.look_up("www3.corp.example") == INSIDE:
            break
    assert resolved.look_up("www4.example") == INSIDE
    machine.disconnect()
    assert (resolved.look_up("www5.corp.example"), resolved.look_up("www6.example")) == (OUTSIDE, OUTSIDE)

    machine.openvpn3("config-manage", "--config", "vpn", "--dns-scope", "tunnel")
    machine.openvpn3("session-start", "--config", "vpn")
    assert (resolved.look_up("a.corp.example"), resolved.look_up("a.example")) == (INSIDE, OUTSIDE)
    machine.disconnect()
    assert machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout == before
