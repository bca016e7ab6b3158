"""What programs of a cgroup send takes a table of its own, whatever becomes of the cgroup."""

import asyncio
import os
import select
import socket
import subprocess
import sys
from dataclasses import replace
from itertools import count

import pytest

from ovpn3.errors import NetworkError
from ovpn3.net.bypass import Bypasses
from ovpn3.net.cgroup import Cgroup, is_there, mark_for
from ovpn3.net.device import Device
from ovpn3.net.guard import Guard, Guards
from ovpn3.net.namespace import Namespaces
from ovpn3.net.netlink import Netlink
from ovpn3.net.nftables import MARK_BITS
from ovpn3.net.plan import Place
from ovpn3.net.rule import Selector, rules
from tests.net.test_device import FULL
from tests.support.capture import capturing
from tests.support.cgroup import Cgroups
from tests.support.netns import Namespace

pytestmark = pytest.mark.netns
MARK, TABLE = 0x0100_0000, 1000
OUTSIDE_V4, OUTSIDE_V6 = "8.8.8.8", "2001:db8:99::1"
SEND = """
import socket, sys
port, *addresses = sys.argv[1:]
for to in addresses:
    s = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, (0xD0000005).to_bytes(4, sys.byteorder))
    s.bind(("", int(port)))
    s.sendto(b"secret", (to, 9))
"""


class Tunnel:
    """A device that takes everything, in a table of its own, and who takes that."""

    def __init__(self, net: Namespace, netlink: Netlink, cgroups: Cgroups) -> None:
        self.net, self.cgroups = net, cgroups
        # Each time another: of what it has seen the kernel remembers whether its source is to be changed.
        self.ports = count(20000)
        for router in ("192.0.2.1", "2001:db8:2::1"):
            net.ip("neighbour", "add", router, "lladdr", "02:00:00:00:00:01", "dev", "wan", "nud", "permanent")
        self.problems: list[str] = []
        self.guards = Guards(netlink, Namespaces(netlink), failed=self.problems.append)
        self.device = Device(netlink, Bypasses(netlink))
        self.fd = -1

    async def begin(self, *paths: str) -> None:
        chosen: list[Guard] = [*rules(TABLE, [Selector(MARK, MARK_BITS)], 65533)]
        await self.guards.hold("tunnel", [*chosen, *(Cgroup(path, TABLE, MARK) for path in paths)])
        self.fd = (await self.device.establish(replace(FULL, place=Place(table=TABLE)))).fd

    async def end(self) -> None:
        await self.device.remove()
        os.close(self.fd)
        await self.guards.release("tunnel")
        assert self.problems == []

    def takes(self, cgroup: str) -> bool:
        """Whether what a program there sends comes out of the tunnel, from the tunnel's address; else by the link."""
        ours = {str(a.interface.ip) for a in FULL.addresses}
        with capturing(self.net, "wan") as capture:
            self.packets()
            self.cgroups.run(cgroup, [sys.executable, "-c", SEND, str(next(self.ports)), OUTSIDE_V4, OUTSIDE_V6])
            beside = capture.destinations() & {OUTSIDE_V4, OUTSIDE_V6}
        sources = self.packets()
        assert (beside, sources) in (({OUTSIDE_V4, OUTSIDE_V6}, set()), (set(), ours)), (beside, sources)
        return bool(sources)

    def packets(self) -> set[str]:
        """Sources of what came out of it."""
        found = set()
        while select.select([self.fd], [], [], 0)[0]:
            packet = os.read(self.fd, 2048)
            if packet[0] >> 4 == 4 and socket.inet_ntop(socket.AF_INET, packet[16:20]) == OUTSIDE_V4:
                found.add(socket.inet_ntop(socket.AF_INET, packet[12:16]))
            elif packet[0] >> 4 == 6 and socket.inet_ntop(socket.AF_INET6, packet[24:40]) == OUTSIDE_V6:
                found.add(socket.inet_ntop(socket.AF_INET6, packet[8:24]))
        return found

    async def noticed(self) -> None:
        """What was made has been looked at: the loop tells its readers in the order in which they were added."""
        for _ in range(2):
            await asyncio.sleep(0)


@pytest.fixture
def tunnel(net: Namespace, netlink: Netlink, cgroups: Cgroups) -> Tunnel:
    return Tunnel(net, netlink, cgroups)


async def test_in_and_outside(net: Namespace, tunnel: Tunnel, cgroups: Cgroups) -> None:
    before = net.state()
    path, _ = cgroups.make("one"), cgroups.make("other")
    cgroups.make("one/below")
    await tunnel.begin(path)
    assert [tunnel.takes(name) for name in ("one", "one/below", "other", "")] == [True, True, False, False]
    # Of the mark that the program gave its packets all bits but ours are left.
    net.ip("rule", "add", "fwmark", hex(0x8000_0005 | MARK), "prohibit")
    with pytest.raises(subprocess.CalledProcessError):
        tunnel.takes("one")
    assert not tunnel.takes("other")
    net.ip("rule", "del", "fwmark", hex(0x8000_0005 | MARK), "prohibit")
    await tunnel.end()
    assert net.state() == before


async def test_made_again_and_again(net: Namespace, tunnel: Tunnel, cgroups: Cgroups) -> None:
    before = net.state()
    path = cgroups.make("slice/service")
    await tunnel.begin(path, f"{cgroups.name}/none/yet")
    for gone in ("slice/service", "slice", "slice/service"):
        assert tunnel.takes("slice/service")
        cgroups.remove(gone)
        cgroups.make("slice/service")
        await tunnel.noticed()
    assert tunnel.takes("slice/service")
    assert not tunnel.takes("slice")
    cgroups.make("none")
    cgroups.make("none/yet")
    await tunnel.noticed()
    assert tunnel.takes("none/yet")
    await tunnel.end()
    assert net.state() == before


async def test_the_innermost_counts(net: Namespace, tunnel: Tunnel, cgroups: Cgroups, netlink: Netlink) -> None:
    """And several holders; a successor finds what its predecessor left, and what was made meanwhile."""
    before = net.state()
    outer, inner = cgroups.make("one"), cgroups.make("one/below")
    await tunnel.guards.hold("other", [Cgroup(inner, 1001, 2 * MARK)])
    await tunnel.begin(outer)
    assert [tunnel.takes(name) for name in ("one", "one/below")] == [True, False]
    held = dict(tunnel.guards.held)
    tunnel.guards.close()
    cgroups.remove("one")
    cgroups.make("one/below")
    assert [tunnel.takes(name) for name in ("one", "one/below")] == [False, False]
    tunnel.guards = Guards(netlink, Namespaces(netlink), failed=tunnel.problems.append)
    for holder, guards in held.items():
        tunnel.guards.take_over(holder, guards)
    tunnel.guards.resume()
    assert [tunnel.takes(name) for name in ("one", "one/below")] == [True, False]
    await tunnel.guards.release("other")
    assert [tunnel.takes(name) for name in ("one", "one/below")] == [True, True]
    await tunnel.end()
    assert net.state() == before


def test_marks() -> None:
    used: list[Cgroup] = []
    for table in (7, 8, 7, 9):
        used.append(Cgroup("x", table, mark_for(table, used)))
    assert [cgroup.mark for cgroup in used] == [MARK, 2 * MARK, MARK, 3 * MARK]
    used = [Cgroup("x", table, (table + 1) * MARK) for table in range(127)]
    assert {cgroup.mark & ~MARK_BITS for cgroup in used} == {0}
    with pytest.raises(NetworkError, match="no marks left"):
        mark_for(128, used)
    assert mark_for(128, used[1:]) == MARK


def test_what_is_there(cgroups: Cgroups) -> None:
    assert is_there(cgroups.name)
    assert not is_there(f"{cgroups.name}/one")
    with pytest.raises(NetworkError, match=r"there is no cgroup .*/one/below, and none above it"):
        is_there(f"{cgroups.name}/one/below")
