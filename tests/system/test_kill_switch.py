"""Nothing of what the tunnel carries leaves beside it: packets on the outer link are looked at."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.capture import Capture, capturing
from tests.support.machine import Machine
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]
PUSHED = ["redirect-gateway def1"]
OUTSIDE_V4, OUTSIDE_V6 = "192.0.2.77", "2001:db8:99::77"  # where programs want to go


@pytest.fixture
def capture(machine: Machine) -> Iterator[Capture]:
    with capturing(machine.pair.client) as capture:
        yield capture


def knock(machine: Machine) -> None:
    """What programs do meanwhile."""
    for address in (OUTSIDE_V4, OUTSIDE_V6):
        machine.pair.client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", address], check=False)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with machine.pair.client.entered(), socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto(b"secret", (address, 9))
            except OSError:
                continue


def bring_in(machine: Machine, server: OpenVpnServer, switch: bool) -> None:
    profile = server.profile(
        "connect-retry 1 1", "ping 1", "ping-restart 4", 'pull-filter ignore "ping"', remote=machine.pair.FAR_V4
    )
    machine.bring_in(profile, "vpn")
    if switch:
        machine.openvpn3("config-manage", "--config", "vpn", "--kill-switch", "true")
    machine.openvpn3("session-start", "--config", "vpn")


def outside(seen: set[str]) -> set[str]:
    return seen & {OUTSIDE_V4, OUTSIDE_V6}


def test_without_it_packets_leave_while_the_session_is_paused(
    machine: Machine, start_server: StartServer, capture: Capture
) -> None:
    """So the tests below would see them."""
    bring_in(machine, start_server(push=PUSHED, extra=["multihome"]), switch=False)
    machine.openvpn3("session-manage", "--config", "vpn", "--pause")
    knock(machine)
    assert outside(capture.destinations()) == {OUTSIDE_V4, OUTSIDE_V6}


def test_in_every_state_of_a_session(machine: Machine, start_server: StartServer, capture: Capture) -> None:
    before = machine.pair.client.state()
    server = start_server(push=PUSHED, extra=["multihome"])
    bring_in(machine, server, switch=True)
    knock(machine)
    assert outside(capture.destinations()) == set()
    machine.openvpn3("session-manage", "--config", "vpn", "--pause")
    knock(machine)
    machine.openvpn3("session-manage", "--config", "vpn", "--resume", "--timeout", "10")
    os.kill(server.pid, signal.SIGKILL)  # the client goes on trying
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        knock(machine)
    seen = capture.destinations()
    assert outside(seen) == set()
    assert machine.pair.FAR_V4 in seen
    machine.disconnect()
    assert machine.pair.client.state() == before
    knock(machine)
    assert outside(capture.destinations()) == {OUTSIDE_V4, OUTSIDE_V6}


@pytest.mark.parametrize("victims", [["netcfg"], ["sessionmgr"], ["client"], ["netcfg", "sessionmgr", "client"]])
def test_killed_services(machine: Machine, start_server: StartServer, capture: Capture, victims: list[str]) -> None:
    before = machine.pair.client.state()
    bring_in(machine, start_server(push=PUSHED, extra=["multihome"]), switch=True)
    capture.destinations()
    pids = [machine.clients()[0] if victim == "client" else machine.service(victim) for victim in victims]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    knock(machine)
    assert outside(capture.destinations()) == set()
    if "client" not in victims:
        machine.disconnect()
    else:
        assert machine.pair.client.state() != before
        machine.sandbox.run(["openvpn3-admin", "netcfg-service", "--release"])
    assert machine.pair.client.state() == before


@pytest.mark.option("block-ipv4", "block-ipv6")
@pytest.mark.parametrize(("option", "blocked"), [("block-ipv6", OUTSIDE_V6), ("block-ipv4", OUTSIDE_V4)])
def test_a_blocked_family(
    machine: Machine, start_server: StartServer, capture: Capture, option: str, blocked: str
) -> None:
    before = machine.pair.client.state()
    machine.connect(start_server().profile(option))
    knock(machine)
    assert outside(capture.destinations()) == {OUTSIDE_V4, OUTSIDE_V6} - {blocked}
    machine.disconnect()
    assert machine.pair.client.state() == before
