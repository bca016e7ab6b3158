"""Tunnels in a place of their own: a network namespace, or a routing table that only some packets take."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ovpn3.constants import StatusMinor
from tests.support.account import ALICE, BOB, ROOT, Account
from tests.support.bus import PROJECT
from tests.support.cgroup import Cgroups
from tests.support.machine import Machine
from tests.support.mirror import mirror
from tests.support.netns import CommandFailed, NamespacePair, entered
from tests.support.server import OpenVpnServer
from tests.support.transfer import transfer
from tests.system.test_crashes import Life, bus_of, new_session
from tests.system.test_kill_switch import Capture

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

FILE = "/var/lib/openvpn3/netcfg.json"
OUTSIDE = "192.0.2.77"  # beyond the client's default route
INSIDE = "10.20.30.40"  # what the name server in the tunnel answers
PUSHED = ["redirect-gateway def1", "dhcp-option DNS 10.8.0.1", "dhcp-option DOMAIN corp.example"]
ROUTES = 0x40 | 0x400  # RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE
NETFILTER, NF_TABLES = 12, 0x40  # NETLINK_NETFILTER, NFNLGRP_NFTABLES
PRESENT = "# of this namespace\nnameserver 192.0.2.53\noptions timeout:1 attempts:1\n"


class Inner:
    """The network namespace `inner` of a machine, with a resolv.conf of its own."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.make()
        machine.sandbox.run(["mkdir", "-p", "/etc/netns/inner"])
        machine.sandbox.write("/etc/netns/inner/resolv.conf", PRESENT)
        machine.sandbox.run(["chmod", "644", "/etc/netns/inner/resolv.conf"])

    def make(self) -> None:
        self.machine.sandbox.run(["ip", "netns", "add", "inner"])
        self.machine.sandbox.run(["ip", "-n", "inner", "link", "set", "lo", "up"])

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.machine.sandbox.run(["ip", "netns", "exec", "inner", *argv], check=check)

    def look_up(self, name: str) -> str:
        found = self.run("getent", "ahostsv4", name, check=False).stdout.split()
        return found[0] if found else ""

    def state(self) -> list[str]:
        """Of its network, and of its files."""
        network = (("address",), ("-4", "route", "show", "table", "all"), ("-6", "route", "show", "table", "all"))
        script = "cd /etc/netns; find . | sort; stat -c '%n %i %u %a' inner/*; cat inner/*"
        files = self.machine.sandbox.run(["sh", "-c", script]).stdout
        return [*(self.machine.sandbox.run(["ip", "-n", "inner", *what]).stdout for what in network), files]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """As of a Namespace. The name means something among the machine's own mounts only."""
        with entered(f"/proc/{self.machine.service('netcfg')}/root/run/netns/inner"):
            yield


@pytest.fixture
def inner(machine: Machine) -> Inner:
    return Inner(machine)


@pytest.fixture
def capture(machine: Machine) -> Iterator[Capture]:
    with machine.pair.client.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
    with sock:
        sock.bind(("eth0", 0))
        sock.setblocking(False)
        yield Capture(sock)


def allow(machine: Machine, key: str, value: str) -> None:
    command = ["openvpn3-admin", "netcfg-service", "--config-file-override", FILE]
    machine.sandbox.run([*command, "--config-set", key, value])


def bring_in(machine: Machine, profile: str, **overrides: str) -> None:
    machine.bring_in(profile, "vpn")
    options = [word for name, value in overrides.items() for word in (f"--{name.replace('_', '-')}", value)]
    machine.openvpn3("config-manage", "--config", "vpn", *options)


def start(machine: Machine, profile: str, **overrides: str) -> None:
    bring_in(machine, profile, **overrides)
    machine.openvpn3("session-start", "--config", "vpn")


def manage(machine: Machine, *what: str) -> None:
    machine.openvpn3("session-manage", "--config", "vpn", *what)


def leaves_nothing_when_killed(machine: Machine, before: dict[str, list[str]]) -> None:
    """Another session, whose client dies together with netcfg."""
    machine.openvpn3("session-start", "--config", "vpn")
    for pid in (machine.service("netcfg"), *machine.clients()):
        os.kill(pid, signal.SIGKILL)
    wake_netcfg(machine)
    assert machine.pair.client.state() == before


def wake_netcfg(machine: Machine) -> None:
    """Have the bus start a successor of one that was killed."""
    what = ["/net/openvpn/v3/netcfg", "org.freedesktop.DBus.Peer.Ping"]
    call = ["dbus-send", "--system", "--print-reply", "--dest=net.openvpn.v3.netcfg", *what]
    if machine.sandbox.run(call, check=False).returncode != 0:  # the bus has only now noticed its end
        machine.sandbox.run(call)


@contextmanager
def news(machine: Machine, family: int = socket.NETLINK_ROUTE, groups: int = ROUTES) -> Iterator[socket.socket]:
    """Has something to read whenever routes have changed, or what else there are groups of."""
    with machine.pair.client.entered():
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
    with sock:
        sock.bind((0, groups))
        sock.settimeout(20)
        yield sock


# -- a network namespace ----------------------------------------------------------------------------
def test_a_process_there_reaches_the_vpn_only(
    machine: Machine, start_server: StartServer, inner: Inner, capture: Capture
) -> None:
    allow(machine, "netns-allowed", "inner, other")
    before, before_inside = machine.pair.client.state(), inner.state()
    server = start_server(push=PUSHED, extra=["multihome"])
    command = ["env", f"--chdir={PROJECT}", sys.executable, "-m", "tests.support.nameserver", "10.8.0.1", INSIDE]
    program = ["ip", "netns", "exec", "inner", "sh"]  # from before there is a tunnel
    with ExitStack() as stack:
        name_server = stack.enter_context(machine.pair.server.popen(command, stdout=subprocess.PIPE))
        stack.callback(name_server.kill)
        assert name_server.stdout
        assert name_server.stdout.readline() == "ready\n"
        old = stack.enter_context(machine.sandbox.popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        stack.callback(old.kill)
        assert inner.run("ping", "-c", "1", "-W", "1", server.TUNNEL_V4, check=False).returncode != 0
        start(machine, server.profile(remote=machine.pair.FAR_V4), netns="inner")

        inside = (server.TUNNEL_V4, server.TUNNEL_V6, machine.pair.SERVER_V4)
        for address in inside:
            inner.run("ping", "-c", "1", "-W", "5", address)
        inner.run("ping", "-c", "1", "-W", "1", OUTSIDE, check=False)
        seen = capture.destinations()
        assert machine.pair.FAR_V4 in seen
        assert seen.isdisjoint([*inside, OUTSIDE])
        assert inner.look_up("intranet") == INSIDE
        answer, _ = old.communicate("getent ahostsv4 intranet\n", timeout=20)
        assert answer.split()[0] == INSIDE

        # Everybody else is where they were, but for the way to the server.
        machine.pair.client.run(["ping", "-c", "1", "-W", "1", OUTSIDE], check=False)
        assert OUTSIDE in capture.destinations()
        ways = machine.pair.client.run(["ip", "-o", "route", "show", "proto", "170"]).stdout.splitlines()
        assert [way.split()[0] for way in ways] == [machine.pair.FAR_V4]

    assert "Place: network namespace inner\n" in machine.sessions()
    (session,) = json.loads(machine.openvpn3("sessions-list", "--json").stdout).values()
    assert (session["device"], session["device_place"]) == ("tun0", "netns inner")
    machine.disconnect()
    assert machine.pair.client.state() == before
    assert inner.state() == before_inside


def test_offloads_are_as_anywhere_else(machine: Machine, start_server: StartServer, inner: Inner) -> None:
    allow(machine, "netns-allowed", "inner")
    server = start_server()
    start(machine, server.profile(), netns="inner")
    transfer(inner, machine.pair.server, server.TUNNEL_V4, 16 << 20)
    stats = json.loads(machine.openvpn3("session-stats", "--config", "vpn", "--json").stdout)
    assert {name: stats[name] for name in ("OFFLOAD_TSO", "OFFLOAD_USO", "OFFLOAD_GSO", "OFFLOAD_GRO")} == {
        "OFFLOAD_TSO": 1,
        "OFFLOAD_USO": 1,
        "OFFLOAD_GSO": 1,
        "OFFLOAD_GRO": 1,
    }
    assert stats["UDP_GSO_SENDS"] * 5 < stats["PACKETS_OUT"], stats  # so super packets came out of the device


async def test_through_all_that_happens_to_a_session(machine: Machine, start_server: StartServer, inner: Inner) -> None:
    allow(machine, "netns-allowed", "inner")
    before, before_inside = machine.pair.client.state(), inner.state()
    server = start_server(push=PUSHED)

    def works() -> None:
        inner.run("ping", "-c", "1", "-W", "5", server.TUNNEL_V4)

    async def pause(life: Life) -> None:
        await life.session.pause("lunch")
        await life.until(StatusMinor.CONN_PAUSED)
        assert inner.state() == before_inside
        await life.session.resume()
        await life.until(StatusMinor.CONN_CONNECTED)
        works()

    async with bus_of(machine) as bus:
        life = await new_session(bus, server.profile("dev tun-inner"), netns="inner")
        await life.connect()
        works()
        assert "tun-inner" in inner.run("ip", "link").stdout
        await life.session.restart()
        await life.until(StatusMinor.CONN_CONNECTED)
        works()
        await pause(life)
        os.kill(machine.service("netcfg"), signal.SIGKILL)
        works()
        wake_netcfg(machine)
        works()
        await pause(life)  # by what took it over
    with news(machine) as changes:
        os.kill(machine.clients()[0], signal.SIGKILL)
        while machine.pair.client.state() != before:  # the way to the server goes last
            changes.recv(65536)
    assert inner.state() == before_inside

    leaves_nothing_when_killed(machine, before)
    assert inner.state() == before_inside


def test_a_namespace_that_goes_away(machine: Machine, start_server: StartServer, inner: Inner) -> None:
    allow(machine, "netns-allowed", "inner")
    before, before_inside = machine.pair.client.state(), inner.state()
    server = start_server(push=PUSHED)
    start(machine, server.profile(), netns="inner")
    command = ["openvpn3", "log", "--config", "vpn"]
    with machine.sandbox.popen(command, account=ALICE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as log:
        assert log.stdout
        assert "Attach" in log.stdout.readline()
        machine.sandbox.run(["ip", "netns", "del", "inner"])
        said, _ = log.communicate(timeout=20)
    assert "there is no network namespace inner" in said
    assert machine.sessions().strip() == "No sessions available"
    assert machine.pair.client.state() == before
    inner.make()
    assert inner.state()[:-1] == before_inside[:-1]
    machine.openvpn3("session-start", "--config", "vpn")  # in the new one
    inner.run("ping", "-c", "1", "-W", "5", server.TUNNEL_V4)
    machine.disconnect()
    assert inner.state()[-1] == before_inside[-1]


def test_not_by_leave_of_the_account(machine: Machine, start_server: StartServer, inner: Inner) -> None:
    allow(machine, "netns-allowed", "inner")
    machine.sandbox.run(["chown", "openvpn", FILE])
    before = machine.pair.client.state()
    bring_in(machine, start_server().profile(), netns="inner")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert done.returncode != 0
    assert "netcfg-service --config-set netns-allowed" in done.stdout + done.stderr
    assert machine.pair.client.state() == before


# -- a mark on the way to the server ---------------------------------------------------------------
@pytest.mark.option("mark")
@pytest.mark.parametrize("proto", ["udp", "tcp"])
async def test_a_server_that_only_marked_packets_reach(machine: Machine, start_server: StartServer, proto: str) -> None:
    server = start_server(proto=proto, push=PUSHED, extra=["multihome"] if proto == "udp" else [])
    for what in (
        ["route", "del", "default"],
        ["route", "add", "default", "via", machine.pair.SERVER_V4, "table", "77"],
        ["rule", "add", "fwmark", "0x20/0xf0", "lookup", "77"],
    ):
        machine.pair.client.ip(*what)
    before = machine.pair.client.state()
    profile = server.profile("mark 33", remote=machine.pair.FAR_V4)
    machine.bring_in(profile, "refused")
    done = machine.openvpn3("session-start", "--config", "refused", check=False)
    assert done.returncode != 0
    assert "netcfg-service --config-set marks-allowed" in done.stdout + done.stderr

    def works() -> None:
        machine.sandbox.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
        assert "fwmark:0x21" in machine.pair.client.run(["ss", "-Htune"]).stdout
        assert machine.pair.FAR_V4 not in machine.pair.client.run(["ip", "route"]).stdout

    allow(machine, "marks-allowed", "32-47")
    os.kill(machine.service("netcfg"), signal.SIGKILL)
    wake_netcfg(machine)
    async with bus_of(machine) as bus:
        life = await new_session(bus, profile)
        await life.connect()
        works()
        await life.session.restart()
        await life.until(StatusMinor.CONN_CONNECTED)
        works()
        await life.session.disconnect()
    assert machine.pair.client.state() == before


# -- a routing table --------------------------------------------------------------------------------
SEND = f"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for mark in sys.argv[1:]:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(mark))
s.sendto(b"x", ("{OUTSIDE}", 9))"""


def send(machine: Machine, account: Account = ROOT, mark: int = 0) -> None:
    """A datagram to OUTSIDE from one of a user's programs."""
    marks = [str(mark)] if mark else []
    machine.sandbox.run(["python3", "-c", SEND, *marks], account=account, check=False)


def test_users_and_marks(machine: Machine, start_server: StartServer, capture: Capture) -> None:
    allow(machine, "route-tables-allowed", "100-110")
    machine.pair.client.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1"])
    before = machine.pair.client.state()
    server = start_server(push=[*PUSHED, "route 198.51.100.0 255.255.255.0 net_gateway"], extra=["multihome"])
    start(
        machine,
        server.profile(remote=machine.pair.FAR_V4),
        route_table="105",
        route_uids=f"{ALICE.uid},900-999",  # the service account's is among them
        route_fwmark="0x20/0xf0",
    )
    for account, mark, beside in ((BOB, 0, True), (ALICE, 0, False), (ROOT, 0x2F, False), (ROOT, 0x10, True)):
        capture.destinations()
        send(machine, account, mark)
        assert (OUTSIDE in capture.destinations()) is beside, (account, mark)
    machine.sandbox.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4], account=ALICE)
    capture.destinations()
    machine.sandbox.run(["ping", "-c", "1", "-W", "5", machine.pair.SERVER_V4], account=ALICE)  # excluded
    assert machine.pair.SERVER_V4 in capture.destinations()
    assert "Place: routing table 105\n" in machine.sessions()

    os.kill(machine.service("netcfg"), signal.SIGKILL)
    wake_netcfg(machine)
    machine.sandbox.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4], account=ALICE)
    machine.disconnect()
    assert machine.pair.client.state() == before

    leaves_nothing_when_killed(machine, before)


def test_a_kill_switch_for_some(machine: Machine, start_server: StartServer, capture: Capture) -> None:
    allow(machine, "route-tables-allowed", "105")
    before = machine.pair.client.state()
    server = start_server(push=PUSHED, extra=["multihome"])
    start(machine, server.profile(), route_table="105", route_uids=str(ALICE.uid), kill_switch="true")
    manage(machine, "--pause")
    send(machine, ALICE)
    assert OUTSIDE not in capture.destinations()
    send(machine, BOB)
    assert OUTSIDE in capture.destinations()
    machine.disconnect()
    assert machine.pair.client.state() == before


# -- a routing table for cgroups --------------------------------------------------------------------
class Group:
    """Where programs of the machine can be put: `name`, below a cgroup of the test's own."""

    FOLDER = "/sys/fs/cgroup"

    def __init__(self, machine: Machine, cgroups: Cgroups, name: str) -> None:
        self.machine, self._cgroups, self._name = machine, cgroups, name
        self.path = cgroups.make(name)

    def renew(self) -> None:
        """As a restart of a service does; netcfg has noticed."""
        with news(self.machine, NETFILTER, NF_TABLES) as changes:
            self._cgroups.remove(self._name)
            self._cgroups.make(self._name)
            changes.recv(65536)

    def run(self, *argv: str) -> str:
        return self.machine.sandbox.run(self._command(*argv)).stdout

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Port of a server there which says hello."""
        code = """
import socket
s = socket.create_server(("", 0))
print(s.getsockname()[1], flush=True)
while True: s.accept()[0].sendall(b"hello")"""
        with self.machine.sandbox.popen(self._command("python3", "-c", code), stdout=subprocess.PIPE) as process:
            assert process.stdout
            try:
                yield int(process.stdout.readline())
            finally:
                process.kill()

    def seen_as(self, server: str, port: int) -> str:
        """The address that a server sees a program by which connects to it."""
        code = f"import socket; print(socket.create_connection(({server!r}, {port}), 10).recv(99).decode())"
        return self.run("python3", "-c", code).strip()

    def _command(self, *argv: str) -> list[str]:
        return self._cgroups.command(self._name, argv, f"{self.FOLDER}/{self._cgroups.name}")


@pytest.fixture
def cgroups(machine: Machine, cgroups: Cgroups) -> Cgroups:
    machine.sandbox.run(["mount", "-t", "cgroup2", "cgroup2", Group.FOLDER])
    return cgroups


@pytest.fixture
def port(pair: NamespacePair) -> Iterator[int]:
    with mirror(pair.server) as port:
        yield port


def test_cgroups(machine: Machine, start_server: StartServer, capture: Capture, cgroups: Cgroups, port: int) -> None:
    allow(machine, "route-tables-allowed", "105")
    machine.pair.client.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1"])
    before = machine.pair.client.state()
    chosen, other = Group(machine, cgroups, "system.slice/backup.service"), Group(machine, cgroups, "other")
    server = start_server(push=[*PUSHED, "redirect-gateway ipv6"], extra=["multihome"])
    start(
        machine,
        server.profile(remote=machine.pair.FAR_V4),
        route_table="105",
        route_cgroups=f"/{chosen.path},{cgroups.name}/none.yet",
    )
    ours = {server.TUNNEL_V4: "10.8.0.", server.TUNNEL_V6: "fd08:", machine.pair.SERVER_V4: "10.8.0."}
    theirs = {server.TUNNEL_V4: machine.pair.CLIENT_V4, server.TUNNEL_V6: machine.pair.CLIENT_V6}

    def left() -> set[str]:
        """To where something did beside the tunnel, and what was sent before has had the time."""
        machine.sandbox.run(["ping", "-c", "1", "-W", "5", machine.pair.FAR_V4])
        return capture.destinations() - {machine.pair.FAR_V4}

    def holds() -> None:
        left()
        for address, begin in ours.items():
            assert chosen.seen_as(address, port).startswith(begin)
            chosen.run("ping", "-c", "1", "-W", "5", address)
        [inside] = re.findall(
            r"10\.8\.0\.\d+", machine.pair.client.run(["ip", "-br", "address", "show", "tun0"]).stdout
        )
        with (
            chosen.listening() as greeter,
            machine.pair.server.entered(),
            socket.create_connection((inside, greeter), 10) as connection,
        ):
            assert connection.recv(9) == b"hello"
        assert left() == set()
        for address, client in theirs.items():
            assert other.seen_as(address, port) == client

    def goes_outside(group: Group) -> bool:
        left()
        group.run("python3", "-c", SEND)
        return OUTSIDE in left()

    holds()
    assert (goes_outside(chosen), goes_outside(other)) == (False, True)
    chosen.renew()
    holds()
    os.kill(machine.service("netcfg"), signal.SIGKILL)
    holds()
    wake_netcfg(machine)
    holds()
    chosen.renew()  # followed by the successor
    holds()
    machine.disconnect()
    assert goes_outside(chosen)
    assert machine.pair.client.state() == before

    leaves_nothing_when_killed(machine, before)


def test_a_kill_switch_for_cgroups(
    machine: Machine, start_server: StartServer, capture: Capture, cgroups: Cgroups
) -> None:
    """While the session is paused nobody has a device. netcfg stays, so a new cgroup is noticed even then."""
    allow(machine, "route-tables-allowed", "105")
    before = machine.pair.client.state()
    chosen = Group(machine, cgroups, "backup.service")
    server = start_server(push=PUSHED, extra=["multihome"])
    start(machine, server.profile(), route_table="105", route_cgroups=chosen.path, kill_switch="true")
    manage(machine, "--pause")
    for _ in range(2):
        with pytest.raises(CommandFailed, match=r"No route to host|Network is unreachable"):
            chosen.run("python3", "-c", SEND)
        chosen.renew()
    assert OUTSIDE not in capture.destinations()
    machine.disconnect()
    chosen.run("python3", "-c", SEND)
    assert OUTSIDE in capture.destinations()
    assert machine.pair.client.state() == before


def test_no_such_cgroup(machine: Machine, start_server: StartServer, cgroups: Cgroups) -> None:
    allow(machine, "route-tables-allowed", "105")
    before = machine.pair.client.state()
    bring_in(machine, start_server().profile(), route_table="105", route_cgroups=f"{cgroups.name}/a/b")
    done = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert done.returncode != 0
    assert f"there is no cgroup {cgroups.name}/a/b, and none above it" in done.stdout + done.stderr
    assert machine.pair.client.state() == before


# -- names of devices -------------------------------------------------------------------------------
@pytest.mark.option("dev")
def test_a_device_s_name(machine: Machine, start_server: StartServer) -> None:
    server = start_server(extra=["duplicate-cn"])
    wishes = {"first": "dev tun-work", "second": "dev tun-work", "third": "dev eth7\ndev-type tun"}
    for name, wish in wishes.items():
        machine.connect(server.profile(wish), name)
    sessions = json.loads(machine.openvpn3("sessions-list", "--json").stdout)
    devices = {session["config_name"]: session["device"] for session in sessions.values()}
    assert devices == {"first": "tun-work", "second": "tun0", "third": "tun1"}
    machine.openvpn3("session-manage", "--config", "first", "--pause")
    machine.openvpn3("session-manage", "--config", "first", "--resume", "--timeout", "10")
    assert "tun-work" in machine.sessions()
