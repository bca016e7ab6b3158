"""The client's machine moves: other addresses, other links, no link for a while. The tunnel follows."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.support.capture import capturing
from tests.support.machine import Machine
from tests.support.netns import run
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.interop, pytest.mark.system]
StartServer = Callable[..., OpenVpnServer]
MOVED = "198.51.100.77"


def move(machine: Machine) -> None:
    """Another address, as from another network's DHCP server; the kernel drops routes that needed the old one."""
    client, pair = machine.pair.client, machine.pair
    client.ip("address", "add", f"{MOVED}/24", "dev", "eth0")
    client.ip("address", "del", f"{pair.CLIENT_V4}/24", "dev", "eth0")
    if not client.run(["ip", "-4", "address", "show", "dev", "eth0"]).stdout.count(MOVED):
        client.ip("address", "add", f"{MOVED}/24", "dev", "eth0")  # it went with the first
    client.ip("route", "replace", "default", "via", pair.SERVER_V4, "src", MOVED)


def reconnects(machine: Machine) -> int:
    found = re.search(r"N_RECONNECT\.+(\d+)", machine.openvpn3("session-stats", "--config", "vpn").stdout)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("redirect", [False, True])
def test_datagrams_follow_at_once(machine: Machine, start_server: StartServer, redirect: bool) -> None:
    """The server knows us by our peer id: same session, same keys; at most a second of packets is lost."""
    server = start_server(push=["redirect-gateway def1"] if redirect else [], extra=["multihome"])
    machine.connect(server.profile(remote=machine.pair.FAR_V4))
    command = ["ping", "-i", "0.05", "-c", "100", "-W", "2", server.TUNNEL_V4]
    ping = machine.pair.client.popen(command, stdout=subprocess.PIPE)
    assert ping.stdout
    assert "time=" in ping.stdout.readline() + ping.stdout.readline()
    move(machine)
    text = ping.communicate(timeout=30)[0]
    received = re.search(r"(\d+) received", text)
    assert received
    assert int(received[1]) >= 75, text
    machine.pair.client.run(["ping", "-i", "0.2", "-c", "1", "-w", "5", server.TUNNEL_V4])  # at the latest
    assert reconnects(machine) == 0
    server.command("status 2")
    server.wait_for(f"{MOVED}:")  # by which it knows us now
    assert "dev tun" not in machine.pair.client.run(["ip", "route", "get", machine.pair.FAR_V4]).stdout


def test_a_stream_takes_a_new_session_in_seconds(machine: Machine, start_server: StartServer) -> None:
    server = start_server(proto="tcp")
    machine.connect(server.profile())
    move(machine)
    ping = ["ping", "-I", "tun0", "-c", "1", "-W", "1", server.TUNNEL_V4]
    for _ in range(8):
        if reconnects(machine) and not machine.pair.client.run(ping, check=False).returncode:
            return
        machine.pair.client.run(["ping", "-c", "1", "-W", "1", "192.0.2.1"], check=False)  # a second passes
    pytest.fail("no new session")


def test_a_link_that_comes_back(machine: Machine, start_server: StartServer) -> None:
    server = start_server(push=["redirect-gateway def1"], extra=["multihome"])
    client, pair = machine.pair.client, machine.pair
    machine.connect(server.profile(remote=pair.FAR_V4))
    client.ip("link", "set", "eth0", "down")
    assert client.run(["ping", "-c", "2", "-W", "1", server.TUNNEL_V4], check=False).returncode
    client.ip("link", "set", "eth0", "up")
    client.ip("route", "add", "default", "via", pair.SERVER_V4)
    client.run(["ping", "-i", "0.2", "-c", "1", "-w", "8", server.TUNNEL_V4])
    assert reconnects(machine) == 0
    machine.disconnect()


def test_waiting_ends_when_there_is_a_way_again(machine: Machine, start_server: StartServer) -> None:
    """A session that was lost meanwhile is tried again at once, not after its delay."""
    server = start_server()
    client, pair = machine.pair.client, machine.pair
    machine.connect(server.profile("connect-retry 60"))
    client.ip("link", "set", "eth0", "down")
    machine.openvpn3("session-manage", "--config", "vpn", "--restart")
    client.ip("link", "set", "eth0", "up")
    client.ip("route", "replace", "default", "via", pair.SERVER_V4)
    client.run(["ping", "-i", "0.2", "-c", "1", "-w", "10", server.TUNNEL_V4])


SECOND, SECOND_ROUTER = "192.168.7.2", "192.168.7.1"


def second_uplink(machine: Machine) -> None:
    """Another link to the same server's network, with a default route that counts less."""
    client, there = machine.pair.client, machine.pair.server
    run(
        ["ip", "link", "add", "eth1", "netns", client.name, "type", "veth", "peer", "name", "eth1", "netns", there.name]
    )
    for side, address in ((client, SECOND), (there, SECOND_ROUTER)):
        side.ip("link", "set", "eth1", "addrgenmode", "none", "up")
        side.ip("address", "add", f"{address}/24", "dev", "eth1")
    client.ip("route", "add", "default", "via", SECOND_ROUTER, "metric", "500")


@pytest.mark.parametrize("proto", ["udp", pytest.param("tcp", marks=pytest.mark.full)])
def test_an_uplink_that_goes_and_comes_back(machine: Machine, start_server: StartServer, proto: str) -> None:
    """Over datagrams the same session goes on over the other link; nothing else leaves by it."""
    second_uplink(machine)
    client, pair = machine.pair.client, machine.pair
    before = client.state()
    server = start_server(
        proto=proto, push=["redirect-gateway def1 ipv6"], extra=["multihome"] if proto == "udp" else []
    )
    machine.bring_in(server.profile("connect-retry 1 1", remote=pair.FAR_V4), "vpn")
    machine.openvpn3("config-manage", "--config", "vpn", "--kill-switch", "true")
    machine.openvpn3("session-start", "--config", "vpn")
    answers = ["ping", "-i", "0.2", "-c", "1", "-w", "15", server.TUNNEL_V4]

    def way() -> str:
        return client.run(["ip", "route", "show", pair.FAR_V4]).stdout

    with capturing(client, "eth1") as capture:
        assert "dev eth0" in way()
        client.ip("link", "set", "eth0", "down")
        until(lambda: "dev eth1" in way())
        client.run(answers)
        client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", "192.0.2.77"], check=False)
        assert capture.destinations() == {pair.FAR_V4}
    client.ip("link", "set", "eth0", "up")
    client.ip("address", "add", f"{pair.CLIENT_V6}/64", "dev", "eth0", "nodad")  # the kernel took it with the link
    client.ip("route", "add", "default", "via", pair.SERVER_V4)
    client.ip("-6", "route", "add", "default", "via", pair.SERVER_V6)
    until(lambda: "dev eth0" in way())
    client.run(answers)
    assert (reconnects(machine) == 0) == (proto == "udp")
    machine.disconnect()
    assert {what: set(now) ^ set(before[what]) for what, now in client.state().items() if now != before[what]} == {}


@pytest.mark.parametrize("flags", ["def1 ipv6", pytest.param("ipv6 !ipv4", marks=pytest.mark.full)])
def test_a_server_of_ipv6_alone(machine: Machine, start_server: StartServer, flags: str) -> None:
    """Reached over IPv6, and with no other addresses inside."""
    client, pair = machine.pair.client, machine.pair
    before = client.state()
    server = start_server(proto="udp6", ipv4=False, push=[f"redirect-gateway {flags}"], extra=["multihome"])
    machine.connect(server.profile(remote=pair.FAR_V6))

    def device(address: str) -> str:
        found = re.search(r" dev (\S+)", client.run(["ip", "route", "get", address]).stdout)
        return found[1] if found else ""

    assert device("2001:db8:99::1") == "tun0"
    assert device(pair.FAR_V6) == "eth0"
    # IPv4 has no address in the tunnel: what goes there ends there.
    assert device("192.0.2.77") == ("eth0" if "!ipv4" in flags else "tun0")
    client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V6])
    os.kill(machine.service("netcfg"), signal.SIGKILL)
    machine.openvpn3("session-manage", "--config", "vpn", "--restart", "--timeout", "10")
    client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V6])
    machine.disconnect()
    assert client.state() == before


def until(true: Callable[[], bool], within_s: float = 8) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
