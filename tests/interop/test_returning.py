"""Servers that are restarted, moved or away for a while: the session returns by itself, and nothing is left behind."""

import os
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer, Proto

pytestmark = [pytest.mark.interop, pytest.mark.system]
StartServer = Callable[..., OpenVpnServer]

NAME = "vpn.example"
# Noticed within 4 s, tried again every second.
IMPATIENT = ('pull-filter ignore "ping"', "ping 1", "ping-restart 4", "connect-retry 1 1", "server-poll-timeout 2")
ROUNDS = [pytest.param(2), pytest.param(50, marks=pytest.mark.full)]
PATIENCE_S = 20


@pytest.fixture
def hosts(machine: Machine, tmp_path: Path) -> Callable[[str], None]:
    """Give the server's name an address, in the client's own /etc/hosts."""
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1 localhost\n")
    machine.sandbox.run(["mount", "--bind", str(file), "/etc/hosts"])
    return lambda address: file.write_text(f"{address} {NAME}\n") and None


def until_answered(machine: Machine, source: str) -> None:
    """The tunnel carries packets from that address of ours, within PATIENCE_S."""
    for _ in range(PATIENCE_S):
        ping = ["ping", "-I", source, "-c", "1", "-W", "1", OpenVpnServer.TUNNEL_V4]
        done = machine.pair.client.run(ping, check=False)
        if done.returncode == 0:
            return
        if done.returncode == 2:  # no such address yet: ping didn't wait
            machine.pair.client.run(["ping", "-c", "1", "-W", "1", "192.0.2.1"], check=False)
    pytest.fail(f"the tunnel didn't come back with {source}\n{machine.sandbox.log()}")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_a_server_that_comes_later(machine: Machine, pki: Pki, start_server: StartServer, proto: Proto) -> None:
    """Who waits for the connection is told why there is none; others have it once the server is there."""
    with OpenVpnServer(machine.pair, pki, proto=proto) as server:
        machine.bring_in(server.profile("connect-retry 1 1"), "vpn")
    waited = machine.openvpn3("session-start", "--config", "vpn", check=False)
    assert waited.returncode == 8
    assert re.search(r"not connected: .*refused", waited.stderr)
    assert machine.sessions() == "No sessions available\n"
    machine.openvpn3("session-start", "--config", "vpn", "--background")
    start_server(proto=proto)
    until_answered(machine, "10.8.0.2")
    assert "Client connected" in machine.sessions()
    machine.disconnect()


@pytest.mark.option("ping", "ping-restart")
@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_server_that_comes_back_changed(
    machine: Machine, pair: NamespacePair, pki: Pki, hosts: Callable[[str], None], tmp_path: Path, rounds: int
) -> None:
    """Killed each time; then at another address behind the same name, with another address and route for the client."""
    clients = tmp_path / "clients"
    clients.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    before, counts = pair.client.state(), set[tuple[int, int]]()

    def serve(number: int) -> tuple[ExitStack, OpenVpnServer]:
        address = (pair.SERVER_V4, pair.FAR_V4)[number % 2]
        hosts(address)
        mine = (
            f'ifconfig-push 10.8.0.{10 + number} 255.255.255.0\npush "route 172.{16 + number % 16}.0.0 255.255.0.0"\n'
        )
        (clients / "client").write_text(mine)
        stack = ExitStack()
        extra = [f"client-config-dir {clients}", f"local {address}", "explicit-exit-notify 0"]
        return stack, stack.enter_context(OpenVpnServer(pair, pki, extra=extra))

    stack, server = serve(0)
    machine.bring_in(server.profile(*IMPATIENT, remote=NAME), "vpn")
    machine.openvpn3("session-start", "--config", "vpn")
    for number in range(1, rounds + 1):
        os.kill(server.pid, signal.SIGKILL)
        stack.close()
        stack, server = serve(number)
        until_answered(machine, f"10.8.0.{10 + number}")
        routes = pair.client.run(["ip", "-4", "route", "show", "dev", "tun0"]).stdout
        assert sorted(line.split()[0] for line in routes.splitlines()) == [
            "10.8.0.0/24",
            f"172.{16 + number % 16}.0.0/16",
        ]
        counts.add((descriptors(machine.clients()[0]), descriptors(machine.service("netcfg"))))
    machine.disconnect()
    stack.close()
    assert pair.client.state() == before
    assert len(counts) <= 2, counts  # a descriptor more or less may be on its way


@pytest.mark.parametrize("away_s", [5, pytest.param(60, marks=pytest.mark.full)])
@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_a_server_out_of_reach(machine: Machine, start_server: StartServer, proto: str, away_s: int) -> None:
    """Its packets are dropped on the way, both ways; then they aren't any more."""
    server = start_server(proto=proto)
    machine.connect(server.profile(*IMPATIENT))
    dropped = ["ip", "route", "add", "blackhole", f"{machine.pair.CLIENT_V4}/32"]
    machine.pair.server.run(dropped)
    ping = ["ping", "-I", "tun0", "-c", str(away_s), "-W", "1", server.TUNNEL_V4]
    machine.pair.client.run(ping, check=False, timeout=2 * away_s)
    machine.pair.server.run(["ip", "route", "del", *dropped[3:]])
    until_answered(machine, "tun0")


def test_a_server_that_says_good_bye(machine: Machine, start_server: StartServer) -> None:
    server = start_server(extra=["explicit-exit-notify 1"])
    machine.connect(server.profile("connect-retry 1 1"))
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(10)
    start_server()
    until_answered(machine, "tun0")
