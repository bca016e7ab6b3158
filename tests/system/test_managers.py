"""Real managers of networks, NetworkManager and systemd-networkd, with a real udev, unpacked for the occasion.

A tun device that somebody else has made shows each time that the manager does what our tunnels are kept from.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ovpn3.net.tun import open_tun
from tests.support.machine import Machine
from tests.support.netns import NamespacePair, end
from tests.support.packages import unpacked
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

PACKAGES = ("network-manager", "systemd", "udev")
TIMEOUT_S = 30.0
PUSHED = ["redirect-gateway def1", "dhcp-option DNS 10.8.0.1"]
FOREIGN, NUMBERED, NAMED = "tun0", "tun1", "tun-office"
FOREIGN_ADDRESS = "192.0.2.77/32"

# The rules of udev are those for network devices: what else there is in /dev is none of this machine's business.
_RULES = "find /usr/lib/udev/rules.d -type f ! -name '*-net-*' ! -name '*-nm-*' ! -name '*openvpn3*' -delete"
_UDEVD = "mount -t tmpfs tmpfs /dev && mknod /dev/null c 1 3 && exec {}"

_NM = """
[main]
plugins=keyfile
hostname-mode=none
"""
_WIRED = f"""
[connection]
id=wired
type=ethernet
interface-name=eth0
[ipv4]
method=manual
address1={NamespacePair.CLIENT_V4}/24,{NamespacePair.SERVER_V4}
dns=192.0.2.53;
[ipv6]
method=manual
address1={NamespacePair.CLIENT_V6}/64,{NamespacePair.SERVER_V6}
"""
_ETH0 = f"""
[Match]
Name=eth0
[Network]
Address={NamespacePair.CLIENT_V4}/24
Gateway={NamespacePair.SERVER_V4}
"""
_NETWORKS = {"05-eth0": _ETH0, "10-all": "[Match]\nName=*\n[Network]\nDHCP=yes\n"}


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the packages, and of what they need and this machine hasn't."""
    folder = tmp_path_factory.mktemp("managers")
    folder.chmod(0o755)
    options = ["-o", "Debug::NoLocking=1", "-o", f"Dir::Cache::archives={folder}"]
    command = ["apt-get", "install", "--download-only", "--reinstall", "--yes", "--no-install-recommends", *options]
    done = subprocess.run([*command, *PACKAGES], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs packages of the distribution: {done.stderr.strip().splitlines()[-1]}")
    return unpacked(folder)


class Managed:
    """A machine with udev, on which a manager can be started."""

    def __init__(self, machine: Machine, tree: Path, stack: ExitStack) -> None:
        self._machine, self._stack = machine, stack
        self._path = f"PATH={tree}/usr/sbin:{tree}/usr/bin:{os.defpath}:/usr/sbin:/sbin"
        for folder in ("usr/share", "usr/lib", "etc"):
            machine.sandbox.run(["cp", "-a", f"{tree / folder}/.", f"/{folder}"])
        script = f"""
        set -e
        {_RULES}
        id systemd-network || useradd --system --user-group systemd-network
        ln -s $(command -v udevadm) /run/systemd-udevd
        dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ReloadConfig
        """
        self.run("sh", "-c", script)
        machine.sandbox.run(["openvpn3-admin", "install"])  # of what it leaves out where there is no udev
        self.start("unshare", "--mount", "sh", "-c", _UDEVD.format("/run/systemd-udevd"))
        self.wait_for(lambda: self.run("udevadm", "control", "--ping", check=False).returncode == 0)
        self.run("udevadm", "trigger", "--action=add", "--subsystem-match=net")
        self.run("udevadm", "settle")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._machine.sandbox.run(["env", self._path, *command], check=check)

    def start(self, *command: str) -> subprocess.Popen[str]:
        process = self._machine.sandbox.popen(["env", self._path, *command], stderr=subprocess.DEVNULL)
        self._stack.enter_context(process)
        self._stack.callback(end, process)
        return process

    def wait_for(self, fact: Callable[[], bool]) -> None:
        """Asking takes its time: there is nothing to wait for between two questions."""
        deadline = time.monotonic() + TIMEOUT_S
        while not fact():
            assert time.monotonic() < deadline

    def make_foreign(self) -> None:
        with self._machine.pair.client.entered():
            self._stack.callback(os.close, open_tun(FOREIGN).fd)
        self.run("ip", "address", "add", FOREIGN_ADDRESS, "dev", FOREIGN)
        self.run("ip", "link", "set", FOREIGN, "up")

    def addresses(self, device: str) -> list[str]:
        (shown,) = json.loads(self.run("ip", "-j", "address", "show", "dev", device).stdout)
        return [address["local"] for address in shown["addr_info"] if address["scope"] == "global"]

    def tunnels(self) -> list[Any]:
        """Of our devices: flags, MTU, addresses, routes."""
        found: list[Any] = []
        for device in (NUMBERED, NAMED):
            (link,) = json.loads(self.run("ip", "-j", "link", "show", "dev", device).stdout)
            routes = [json.loads(self.run("ip", "-j", f"-{v}", "route", "show", "dev", device).stdout) for v in "46"]
            found.append((link["flags"], link["mtu"], self.addresses(device), routes))
        return found

    def connect(self, server: OpenVpnServer) -> None:
        self._machine.connect(server.profile(), "numbered")
        self._machine.connect(server.profile(f"dev {NAMED}"), "named")
        self.run("udevadm", "settle")

    def reach(self, server: OpenVpnServer) -> None:
        """What is sent while the machine's link comes back may be lost: ping goes on until there is one answer."""
        for device in (NUMBERED, NAMED):
            self.run("ping", "-c", "1", "-w", "20", "-i", "0.2", "-I", device, server.TUNNEL_V4)


@pytest.fixture
def managed(machine: Machine, tree: Path) -> Iterator[Managed]:
    with ExitStack() as stack:
        yield Managed(machine, tree, stack)


def states(managed: Managed) -> dict[str, str]:
    shown = managed.run("nmcli", "-t", "-f", "DEVICE,STATE", "device").stdout
    return dict(row.split(":", 1) for row in shown.splitlines())


def test_networkmanager(machine: Machine, managed: Managed, start_server: StartServer) -> None:
    machine.sandbox.write("/etc/NetworkManager/NetworkManager.conf", _NM)
    machine.sandbox.write("/etc/NetworkManager/system-connections/wired.nmconnection", _WIRED)
    ours = dict.fromkeys((NUMBERED, NAMED), "unmanaged")
    server = start_server(push=PUSHED, extra=["duplicate-cn"])

    def started() -> subprocess.Popen[str]:
        process = managed.start("NetworkManager", "--no-daemon")
        managed.run("nm-online", "--quiet", "--wait-for-startup", "--timeout=30")
        managed.wait_for(lambda: states(managed).get("eth0") == "connected")
        return process

    manager = started()
    names_before = machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout
    assert "192.0.2.53" in names_before
    managed.make_foreign()
    managed.connect(server)
    managed.wait_for(lambda: states(managed)[FOREIGN] == "connected (externally)")
    assert states(managed).items() >= ours.items()
    before, names = managed.tunnels(), machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout
    assert all(addresses and routes for _, _, addresses, (routes, _) in before)

    end(manager)
    started()
    managed.wait_for(lambda: states(managed)[FOREIGN] == "connected (externally)")
    assert states(managed).items() >= ours.items()
    assert managed.tunnels() == before

    managed.run("nmcli", "networking", "off")
    managed.wait_for(lambda: not managed.addresses(FOREIGN))
    assert managed.tunnels() == before
    managed.run("nmcli", "networking", "on")
    managed.wait_for(lambda: states(managed)["eth0"] == "connected")
    assert states(managed).items() >= ours.items()
    assert "is not active" in managed.run("nmcli", "device", "disconnect", NAMED, check=False).stderr
    assert managed.tunnels() == before
    managed.reach(server)
    managed.wait_for(lambda: machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout == names)

    for name in ("numbered", "named"):
        machine.disconnect(name)
    assert machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout == names_before


def setup(managed: Managed) -> dict[str, str]:
    """What networkd says of each device."""
    rows = [row.split() for row in managed.run("networkctl", "list", "--no-legend", "--no-pager").stdout.splitlines()]
    return {row[1]: row[-1] for row in rows}


def start_networkd(machine: Machine, managed: Managed, *networks: str) -> subprocess.Popen[str]:
    for name in networks:
        file = f"/etc/systemd/network/{name}.network"
        machine.sandbox.run(["install", "-D", "-m", "644", "/dev/stdin", file], input=_NETWORKS[name])
    machine.sandbox.run(["install", "-d", "-o", "systemd-network", "/run/systemd/netif"])
    return managed.start("/usr/lib/systemd/systemd-networkd")


def test_networkd_with_a_file_for_all_devices(machine: Machine, managed: Managed, start_server: StartServer) -> None:
    server = start_server(push=PUSHED, extra=["duplicate-cn"])
    managed.make_foreign()
    manager = start_networkd(machine, managed, *_NETWORKS)
    managed.wait_for(lambda: not managed.addresses(FOREIGN))
    managed.connect(server)
    managed.wait_for(lambda: setup(managed).get(NAMED, "pending") != "pending")
    before = managed.tunnels()
    assert all(addresses and routes for _, _, addresses, (routes, _) in before)
    assert setup(managed).items() >= dict.fromkeys((NUMBERED, NAMED), "unmanaged").items()

    managed.run("ip", "address", "add", FOREIGN_ADDRESS, "dev", FOREIGN)
    end(manager)
    start_networkd(machine, managed)
    managed.wait_for(lambda: not managed.addresses(FOREIGN))
    managed.run("networkctl", "reconfigure", NAMED)
    managed.reach(server)
    assert managed.tunnels() == before


def test_networkd_removes_what_it_does_not_know(machine: Machine, managed: Managed, start_server: StartServer) -> None:
    """The kill switch, while there is no tunnel, and the rules of a tunnel with a routing table of its own."""
    server = start_server(push=PUSHED, extra=["duplicate-cn"])
    settings = ["--config-file-override", "/var/lib/openvpn3/netcfg.json", "--config-set", "route-tables-allowed", "77"]
    machine.sandbox.run(["openvpn3-admin", "netcfg-service", *settings])
    machine.bring_in(server.profile(), "switch")
    machine.openvpn3("config-manage", "--config", "switch", "--kill-switch", "true")
    machine.openvpn3("session-start", "--config", "switch")
    machine.openvpn3("session-manage", "--config", "switch", "--pause")
    machine.bring_in(server.profile(), "table")
    machine.openvpn3("config-manage", "--config", "table", "--route-table", "77", "--route-fwmark", "5")
    machine.openvpn3("session-start", "--config", "table")

    def guards() -> list[str]:
        shown = [managed.run("ip", *what).stdout for what in (("-4", "rule"), ("-6", "rule"), ("route",))]
        rows = [row for text in shown for row in text.splitlines()]
        return sorted(row for row in rows if "lookup 77" in row or row.startswith("unreachable"))

    def foreign() -> bool:
        return "198.18.0.0/15" in managed.run("ip", "route").stdout

    before = guards()
    assert any("unreachable 0.0.0.0/1" in row for row in before)
    assert sum("lookup 77" in row for row in before) >= 2
    managed.run("ip", "route", "add", "unreachable", "198.18.0.0/15")
    start_networkd(machine, managed, "05-eth0")
    managed.wait_for(lambda: not foreign())
    managed.wait_for(lambda: guards() == before)
    managed.wait_for(lambda: "there again" in machine.sandbox.log())
