"""Five tunnels that want the same routes and names: each works, and nothing is left, in whatever order they go."""

import json
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

OTHER = "203.0.113.2"  # a second server's address, behind the same router
RESOLV_CONF = "search home.example\nnameserver 192.0.2.1\noptions timeout:1 attempts:1\n"
SHARED_4, SHARED_6, FAR = "10.50.0.1", "fd50::1", "192.0.2.77"
COMMON = ["route 10.50.0.0 255.255.0.0", "route-ipv6 fd50::/32", "dhcp-option DOMAIN shared.example"]


@dataclass(frozen=True)
class Kind:
    """A server's push, and which of the addresses above lead into the tunnel."""

    push: Sequence[str]
    inside: frozenset[str]
    remote: str = NamespacePair.FAR_V4
    kill_switch: bool = False


KINDS = (
    Kind(["redirect-gateway def1 ipv6"], frozenset({SHARED_4, SHARED_6, FAR})),
    Kind(["redirect-gateway def1"], frozenset({SHARED_4, SHARED_6, FAR})),
    Kind(
        ["route 10.50.1.0 255.255.255.0", "route 100.64.0.0 255.192.0.0 net_gateway"],
        frozenset({SHARED_4, SHARED_6}),
        OTHER,
    ),
    Kind([], frozenset({SHARED_4, SHARED_6}), OTHER, kill_switch=True),
    Kind(
        ["redirect-gateway block-local ipv6", "route 100.64.0.0 255.192.0.0 net_gateway"],
        frozenset({SHARED_4, SHARED_6, FAR}),
    ),
)


class Tunnels:
    """One of each kind at most, in the order in which they came."""

    def __init__(self, machine: Machine, start_server: StartServer) -> None:
        self._machine = machine
        self._up: dict[int, tuple[str, int]] = {}  # device and client
        machine.pair.server.ip("address", "add", f"{OTHER}/32", "dev", "lo")
        for number, kind in enumerate(KINDS):
            own = [f"dhcp-option DNS 10.8.{number}.1", f"dhcp-option DOMAIN {number}.example"]
            networks = [f"server 10.8.{number}.0 255.255.255.0", f"server-ipv6 fd08:{number}::/64"]
            server = start_server(
                push=[*COMMON, *own, *kind.push],
                port=1194 + number,
                extra=[f"dev tun{number}", *networks, "multihome", "duplicate-cn"],
            )
            machine.bring_in(server.profile("connect-retry 1 1", remote=kind.remote), f"vpn{number}")
            if kind.kill_switch:
                machine.openvpn3("config-manage", "--config", f"vpn{number}", "--kill-switch", "true")

    def start(self, number: int) -> None:
        before, clients = self._devices(), set(self._machine.clients())
        self._machine.openvpn3("session-start", "--config", f"vpn{number}")
        (device,), (client,) = self._devices() - before, set(self._machine.clients()) - clients
        self._up[number] = device, client

    def end(self, number: int, *, kill: bool) -> None:
        device, client = self._up.pop(number)
        if kill and not KINDS[number].kill_switch:
            os.kill(client, signal.SIGKILL)
            eventually(lambda: device not in self._devices() and self._name_servers() == self._expected_name_servers())
        else:
            self._machine.disconnect(f"vpn{number}")

    def look(self) -> None:
        """The one that came first has what several want; all carry packets; names are asked for in the last one."""
        for address in (SHARED_4, SHARED_6, FAR):
            wanting = [device for number, (device, _) in self._up.items() if address in KINDS[number].inside]
            if wanting:
                assert self._way(address) == wanting[0], (address, self._up)
        for number, (device, _) in self._up.items():
            ping = ["ping", "-I", device, "-c", "1", "-i", "0.2", "-w", "10", f"10.8.{number}.1"]
            self._machine.pair.client.run(ping)
        assert self._name_servers() == self._expected_name_servers()

    def _devices(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self._machine.pair.client.run(["ip", "-j", "link"]).stdout)}

    def _way(self, address: str) -> str:
        done = self._machine.pair.client.run(["ip", "-j", "route", "get", address], check=False)
        return str(json.loads(done.stdout)[0].get("dev", "")) if done.returncode == 0 else ""

    def _name_servers(self) -> list[str]:
        lines = self._machine.sandbox.run(["cat", "/etc/resolv.conf"]).stdout.splitlines()
        return [line.removeprefix("nameserver ") for line in lines if line.startswith("nameserver")]

    def _expected_name_servers(self) -> list[str]:
        return [*(f"10.8.{number}.1" for number in reversed(self._up)), "192.0.2.1"]


def eventually(true: Callable[[], bool], within_s: float = 5) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline


def everything(machine: Machine) -> object:
    """Links, addresses, routes, rules, and the resolver's file: inode, owner, time and octets."""
    script = 'stat -c "%i %u %g %a %F %Y" /etc/resolv.conf; cat /etc/resolv.conf; ls /etc | grep resolv'
    return machine.pair.client.state(), machine.sandbox.run(["sh", "-c", script]).stdout


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.full)])
def test_in_any_order(machine: Machine, start_server: StartServer, rounds: int) -> None:
    machine.sandbox.run(["rm", "-f", "/etc/resolv.conf"])
    machine.sandbox.write("/etc/resolv.conf", RESOLV_CONF)
    machine.sandbox.run(["chmod", "644", "/etc/resolv.conf"])
    tunnels = Tunnels(machine, start_server)
    before = everything(machine)
    choice = random.Random(rounds)
    for _ in range(rounds):
        numbers = choice.sample(range(len(KINDS)), choice.choice((2, 5, 5)))
        print("up", numbers)
        for number in numbers:
            tunnels.start(number)
        tunnels.look()
        choice.shuffle(numbers)
        while numbers:
            number, kill = numbers.pop(), choice.random() < 0.25
            print("end", number, kill)
            tunnels.end(number, kill=kill)
            tunnels.look()
        if everything(machine) != before:
            eventually(lambda: everything(machine) == before, 1)  # the last one's client was killed
