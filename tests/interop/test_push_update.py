"""PUSH_UPDATE while traffic flows: the device and the session stay. Only newer servers than 2.6 can, and our own."""

import re
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.machine import Machine
from tests.support.netns import Namespace
from tests.support.ownserver import OwnServer
from tests.support.pki import Pki

pytestmark = [pytest.mark.interop, pytest.mark.system]

EVERYTHING = 1 | 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP_: links, addresses and routes of both families


class Watch:
    """Of a namespace's links, addresses and routes."""

    def __init__(self, net: Namespace, news: socket.socket) -> None:
        self._net, self._news = net, news

    def until(self, *command: str, shows: str) -> None:
        """Return when an `ip` command's output matches."""
        while not re.search(shows, self._net.run(["ip", "-o", *command]).stdout):
            self._news.recv(65536)


@pytest.fixture
def watch(machine: Machine) -> Iterator[Watch]:
    with machine.pair.client.entered():
        news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with news:
        news.bind((0, EVERYTHING))
        news.settimeout(20)
        yield Watch(machine.pair.client, news)


def routes(net: Namespace) -> set[str]:
    found = net.run(["ip", "-o", "route", "show", "dev", "tun0"]).stdout.splitlines()
    return {line.split()[0] for line in found}


def test_routes_and_addresses_change_under_traffic(machine: Machine, pki: Pki, watch: Watch) -> None:
    client = machine.pair.client
    with OwnServer(machine.pair, pki) as server:
        machine.connect(server.profile() + "\nroute 172.20.0.0 255.255.0.0\n")
        index = client.run(["cat", "/sys/class/net/tun0/ifindex"]).stdout
        assert "172.20.0.0/16" in routes(client)
        ping = client.popen(["ping", "-i", "0.01", "-c", "400", "-W", "2", server.TUNNEL_V4], stdout=subprocess.PIPE)

        server.send("PUSH_UPDATE,route 172.21.0.0 255.255.0.0, route 172.22.0.0 255.255.0.0,?compress lz4")
        watch.until("route", shows="172.22.0.0/16 .*dev tun0")
        assert routes(client) == {"10.8.0.0/24", "172.21.0.0/16", "172.22.0.0/16"}  # the profile's is replaced
        server.send("PUSH_UPDATE,-route,-?block-ipv6,tun-mtu 1400")
        watch.until("link", shows="tun0: .* mtu 1400 ")
        assert routes(client) == {"10.8.0.0/24"}
        text, _ = ping.communicate(timeout=60)
        assert re.search("400 packets transmitted, 400 received", text), text

        server.send("PUSH_UPDATE,ifconfig 10.8.0.77 255.255.255.0,push-continuation 2")
        server.send("PUSH_UPDATE,route 172.23.0.0 255.255.0.0,push-continuation 1")
        watch.until("route", shows="172.23.0.0/16 via 10.8.0.1 dev tun0")
        assert "10.8.0.2/" not in client.run(["ip", "address"]).stdout
        client.run(["ping", "-c", "1", "-W", "5", "-I", "10.8.0.77", server.TUNNEL_V4])
        client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V6])
        assert client.run(["cat", "/sys/class/net/tun0/ifindex"]).stdout == index
        assert "N_RECONNECT" not in machine.openvpn3("session-stats", "--config", "vpn").stdout
        machine.disconnect()


@pytest.mark.parametrize("update", ["cipher AES-128-GCM", "-ifconfig,-ifconfig-ipv6"])
def test_what_cannot_be_updated_takes_a_new_session(machine: Machine, pki: Pki, watch: Watch, update: str) -> None:
    client = machine.pair.client
    with OwnServer(machine.pair, pki) as server:
        machine.connect(server.profile() + "\nconnect-retry 1\n")
        index = client.run(["cat", "/sys/class/net/tun0/ifindex"]).stdout.strip()
        server.send(f"PUSH_UPDATE,route 172.21.0.0 255.255.0.0,{update}")
        watch.until("address", shows=rf"(?m)^(?!{index}:)\d+: tun0 .* 10.8.0.2/24")
        client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])
        assert "172.21.0.0/16" not in routes(client)
        assert "N_RECONNECT" in machine.openvpn3("session-stats", "--config", "vpn").stdout
