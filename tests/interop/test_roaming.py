"""The client's machine moves: other addresses, other links, no link for a while. The tunnel follows."""

import re
import subprocess
from collections.abc import Callable

import pytest

from tests.support.machine import Machine
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
    assert reconnects(machine) == 0
    assert f"{MOVED}:" in server.log()
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
