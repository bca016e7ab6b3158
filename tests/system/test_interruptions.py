"""Processes that are killed while a tunnel comes or goes: the network is as before once the user has ended the rest.

Any of them, one or several, the client and the user's own command too, at a moment that chance picks.
"""

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.account import ALICE
from tests.support.machine import CLIENT, Machine, comm, command
from tests.support.netns import end
from tests.support.server import OpenVpnServer

pytestmark = [pytest.mark.system, pytest.mark.interop]
StartServer = Callable[..., OpenVpnServer]

PROGRAMS = ("log", "configmgr", "sessionmgr", "netcfg", "backendstart")
VICTIMS = (*PROGRAMS, "client", "command")
SPAN_S = {"connect": 0.6, "disconnect": 0.3}  # how long it takes
PUSHED = ["redirect-gateway def1 ipv6 block-local", "route 10.50.0.0 255.255.0.0", "dhcp-option DNS 10.8.0.1"]
JOURNAL = "/var/lib/openvpn3/netcfg.journal"
SEED = int(os.environ.get("SEED", "1"))


class Interrupted:
    """The machine, with one profile of ALICE's that is kept, and how it was before."""

    def __init__(self, machine: Machine, server: OpenVpnServer) -> None:
        self.machine = machine
        path = machine.write("vpn.ovpn", server.profile("connect-retry 1 1", remote=machine.pair.FAR_V4))
        machine.openvpn3("config-import", "--config", path, "--name", "vpn", "--persistent")
        machine.sandbox.run(["sh", "-c", "rm -f /etc/resolv.conf; echo nameserver 192.0.2.1 > /etc/resolv.conf"])
        self.before = self.footprint()

    def footprint(self) -> dict[str, list[str]]:
        """Links, addresses, routes, rules; the resolver's file and those beside it; what netcfg would go on with."""
        script = f'stat -c "%i %a %F %Y" /etc/resolv.conf; cat /etc/resolv.conf; ls /etc | grep resolv; cat {JOURNAL}'
        files = self.machine.sandbox.run(["sh", "-c", script], check=False).stdout
        return {**self.machine.pair.client.state(), "files": files.splitlines()}

    def pids(self, victim: str) -> list[int]:
        """Of the moment: a service may run or not."""
        found = self.machine.pair.client.pids()
        if victim == "client":
            return self.machine.clients()
        if victim == "command":
            return [pid for pid in found if any(part.endswith("/bin/openvpn3") for part in command(pid))]
        return [
            pid
            for pid in found
            if comm(pid) != CLIENT and any(f"openvpn3-service-{victim}" in part for part in command(pid))
        ]

    def run(self, phase: str, victims: list[str], after_s: float) -> None:
        """The user's command, and the victims killed so long after its start."""
        order = ["session-start"] if phase == "connect" else ["session-manage", "--disconnect"]
        process = self.machine.sandbox.popen(
            ["openvpn3", *order, "--config", "vpn"], account=ALICE, stdout=-3, stderr=-3
        )
        try:
            time.sleep(after_s)
            for victim in victims:
                for pid in self.pids(victim):
                    os.kill(pid, signal.SIGKILL)
            process.wait(45)
        finally:
            end(process)

    def connected(self) -> None:
        self.machine.openvpn3("session-start", "--config", "vpn")

    def tidied(self) -> None:
        """As a user does who finds a session that isn't as wanted; a command may meet the death of a service."""
        deadline = time.monotonic() + 20
        while "No sessions available" not in self.machine.openvpn3("sessions-list", check=False).stdout:
            self.machine.openvpn3("session-manage", "--config", "vpn", "--disconnect", check=False)
            assert time.monotonic() < deadline, "a session that can't be ended"

    def restored(self) -> None:
        deadline = time.monotonic() + 40
        while self.machine.clients() or self.footprint() != self.before:
            assert time.monotonic() < deadline, (self.machine.clients(), differences(self.before, self.footprint()))


def differences(before: dict[str, list[str]], now: dict[str, list[str]]) -> dict[str, set[str]]:
    return {what: set(now[what]) ^ set(before[what]) for what in before if now[what] != before[what]}


@pytest.mark.parametrize("number", [4, pytest.param(200, marks=pytest.mark.full)])
def test_killed_at_any_moment(machine: Machine, start_server: StartServer, number: int) -> None:
    print(f"SEED={SEED}")
    choice = random.Random(SEED)
    interrupted = Interrupted(machine, start_server(push=PUSHED, extra=["multihome"]))
    slowest = 0.0
    for round_ in range(number):
        phase = choice.choice(("connect", "disconnect"))
        victims = choice.sample(VICTIMS, choice.choice((1, 1, 1, 2, 3)))
        after_s = choice.uniform(0, SPAN_S[phase])
        if phase == "disconnect":
            interrupted.connected()
        print(f"{round_}: {phase}, {', '.join(victims)} killed after {after_s:.3f} s")
        interrupted.run(phase, victims, after_s)
        began = time.monotonic()
        interrupted.tidied()
        interrupted.restored()
        slowest = max(slowest, time.monotonic() - began)
    print(f"all is as before after {slowest:.1f} s at most")
