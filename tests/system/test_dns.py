"""Names through the tunnel: the machine's own programs ask the VPN's server, and as before once it is gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.bus import PROJECT
from tests.support.machine import Machine
from tests.support.netns import kill
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

INSIDE, OUTSIDE = "10.20.30.40", "192.0.2.40"  # what the two servers answer
PUSHED = ["dhcp-option DNS 10.8.0.1", "dhcp-option DOMAIN corp.example"]
ORIGINAL = "# Made by hand\nsearch home.example\nnameserver {}\noptions timeout:1 attempts:1\n"


@pytest.fixture
def name_servers(machine: Machine) -> Iterator[Callable[[str, str], None]]:
    """Start one in the server's namespace."""
    with ExitStack() as stack:

        def start(address: str, answer: str) -> None:
            command = ["env", f"--chdir={PROJECT}", sys.executable, "-m", "tests.support.nameserver", address, answer]
            process = stack.enter_context(machine.pair.server.popen(command, stdout=subprocess.PIPE))
            stack.callback(process.terminate)
            assert process.stdout
            assert process.stdout.readline() == "ready\n"

        yield start


def resolv_conf(machine: Machine) -> list[str]:
    """What the file is: itself or a link, its inode and its octets; and its neighbours."""
    script = """
    readlink /etc/resolv.conf
    stat -c "inode %i %u %g %a %F %Y" /etc/resolv.conf
    cat /etc/resolv.conf
    ls /etc | grep resolv"""
    return machine.sandbox.run(["sh", "-c", script], check=False).stdout.splitlines()


def put(machine: Machine, text: str, how: str) -> None:
    """/etc/resolv.conf as a file, as a link, mounted over as a container has it, or none."""
    machine.sandbox.run(["rm", "-f", "/etc/resolv.conf"])
    if how == "link":
        machine.sandbox.run(["ln", "-s", "../run/resolv.conf", "/etc/resolv.conf"])
        machine.sandbox.write("/run/resolv.conf", text)
        machine.sandbox.run(["chmod", "644", "/run/resolv.conf"])
    elif how != "none":
        machine.sandbox.write("/etc/resolv.conf", text)
        machine.sandbox.run(["chmod", "644", "/etc/resolv.conf"])
    if how == "mounted":
        machine.sandbox.run(["cp", "-p", "/etc/resolv.conf", "/run/mounted"])
        machine.sandbox.run(["mount", "--bind", "/run/mounted", "/etc/resolv.conf"])


def look_up(machine: Machine, name: str) -> str:
    found = machine.sandbox.run(["getent", "ahostsv4", name], check=False).stdout.split()
    return found[0] if found else ""


@pytest.mark.parametrize("how", ["file", "link", "mounted", "none"])
def test_resolv_conf(
    machine: Machine, start_server: StartServer, name_servers: Callable[[str, str], None], how: str
) -> None:
    server = start_server(push=PUSHED)
    name_servers(machine.pair.SERVER_V4, OUTSIDE)
    name_servers("10.8.0.1", INSIDE)
    put(machine, ORIGINAL.format(machine.pair.SERVER_V4), how)
    before = resolv_conf(machine)
    assert look_up(machine, "intranet") == ("" if how == "none" else OUTSIDE)

    machine.connect(server.profile())
    assert look_up(machine, "intranet.corp.example") == INSIDE
    text = machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout
    domains = "corp.example" if how == "none" else "corp.example home.example"
    assert f"\nsearch {domains}\nnameserver 10.8.0.1\n" in text
    assert ("options timeout:1" in text) == (how != "none")

    machine.disconnect()
    after = resolv_conf(machine)
    if how == "mounted":  # written, so its time is another
        before, after = ([line for line in lines if "inode" not in line] for lines in (before, after))
    assert after == before


def servers(machine: Machine) -> list[str]:
    lines = machine.sandbox.run(["cat", "/etc/resolv.conf"], check=False).stdout.splitlines()
    return [line.removeprefix("nameserver ") for line in lines if line.startswith("nameserver")]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "written",
    [
        "echo nameserver 192.0.2.2 > /etc/new; mv /etc/new /etc/resolv.conf",
        "rm /etc/resolv.conf; sleep 0.3; echo nameserver 192.0.2.2 > /etc/resolv.conf",
        "echo nameserver 192.0.2.2 > /etc/resolv.conf",
    ],
)
def test_what_somebody_else_writes_meanwhile(machine: Machine, start_server: StartServer, written: str) -> None:
    """As a DHCP client does: the tunnel's servers stay in front, and theirs stays when it has gone."""
    server = start_server(push=PUSHED)
    put(machine, ORIGINAL.format("192.0.2.1"), "file")
    machine.connect(server.profile())
    machine.sandbox.run(["sh", "-c", written])
    until(lambda: servers(machine) == ["10.8.0.1", "192.0.2.2"])
    machine.disconnect()
    assert machine.sandbox.run(["sh", "-c", "cat /etc/resolv.conf; ls /etc | grep resolv"]).stdout == (
        "nameserver 192.0.2.2\nresolv.conf\n"
    )


def test_who_insists_has_its_way(machine: Machine, start_server: StartServer) -> None:
    server = start_server(push=PUSHED)
    put(machine, ORIGINAL.format("192.0.2.1"), "file")
    machine.connect(server.profile())
    for number in range(5):
        machine.sandbox.run(["sh", "-c", f"echo nameserver 192.0.2.{number} > /etc/resolv.conf"])
        until(lambda: servers(machine)[:1] == ["10.8.0.1"])
    machine.sandbox.run(["sh", "-c", "echo nameserver 192.0.2.9 > /etc/resolv.conf"])
    until(lambda: "somebody else insists" in machine.sandbox.log())
    assert servers(machine) == ["192.0.2.9"]
    machine.disconnect()
    assert machine.sandbox.run(["sh", "-c", "cat /etc/resolv.conf; ls /etc | grep resolv"]).stdout == (
        "nameserver 192.0.2.9\nresolv.conf\n"
    )


def test_several_tunnels_in_any_order(machine: Machine, start_server: StartServer) -> None:
    put(machine, ORIGINAL.format("192.0.2.1"), "file")
    before = resolv_conf(machine)
    server = start_server(extra=["duplicate-cn"])
    for name in ("one", "two", "three"):
        own = [f"dhcp-option DNS 10.8.0.{len(name)}{len(name)}", f"dhcp-option DOMAIN {name}.example"]
        machine.connect(server.profile(*own), name)
    text = machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout
    assert "search three.example two.example one.example home.example\n" in text
    assert text.count("nameserver") == 3  # two of them have the same
    for name in ("two", "three"):
        machine.disconnect(name)
    assert "search one.example home.example\n" in machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout
    machine.disconnect("one")
    assert resolv_conf(machine) == before


def test_a_killed_netcfg(machine: Machine, start_server: StartServer) -> None:
    """Its successor knows; and if the client is killed too, the next one puts all back as it was."""
    put(machine, ORIGINAL.format("192.0.2.1"), "file")
    before = resolv_conf(machine)
    server = start_server(push=PUSHED)
    machine.connect(server.profile())
    during = resolv_conf(machine)
    os.kill(machine.service("netcfg"), signal.SIGKILL)
    machine.openvpn3("session-manage", "--config", "vpn", "--restart")
    machine.disconnect()
    assert resolv_conf(machine) == before

    machine.openvpn3("session-start", "--config", "vpn")
    assert during[-2:] == resolv_conf(machine)[-2:]
    kill([machine.service("netcfg"), *machine.clients()])
    assert resolv_conf(machine) != before
    what = ("/net/openvpn/v3/netcfg", "org.freedesktop.DBus.Introspectable.Introspect")
    machine.sandbox.run(
        ["dbus-send", "--system", "--print-reply", "--dest=net.openvpn.v3.netcfg", *what]
    )  # starts another
    assert resolv_conf(machine) == before


def test_dns_can_be_left_alone(machine: Machine, start_server: StartServer) -> None:
    put(machine, ORIGINAL.format("192.0.2.1"), "file")
    before = resolv_conf(machine)
    server = start_server(push=PUSHED)
    machine.bring_in(server.profile(), "vpn")
    machine.openvpn3("config-manage", "--config", "vpn", "--dns-setup-disabled", "true")
    machine.openvpn3("session-start", "--config", "vpn")
    assert resolv_conf(machine) == before
