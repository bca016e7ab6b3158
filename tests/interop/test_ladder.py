"""Every step of the offloads' ladder, through all services: what arrives is what was sent, and nothing was lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from bench.macro.lab import cut_and_join
from tests.support.machine import Machine
from tests.support.netns import Namespace
from tests.support.ownserver import OwnServer
from tests.support.pki import Pki
from tests.support.transfer import transfer

pytestmark = [pytest.mark.interop, pytest.mark.system]

SIZE, FULL_SIZE = 30_000_000, 1_000_000_000
# Less than the tun's queue holds of single packets: whatever is sent twice has been lost by us.
WINDOW = 200_000
# Wrong checksums; packets lost for want of room; and losses as TCP saw them. Packets it repeated because a busy machine
# made it impatient are not among them: a tail loss probe counts as a recovery, too, when a late acknowledgement comes
# before the word that it was needless.
FAULTS = (
    *("TcpInCsumErrors", "UdpInCsumErrors", "Udp6InCsumErrors", "IpInHdrErrors", "UdpRcvbufErrors"),
    *(f"TcpExtTCP{name}" for name in ("SackRecovery", "RenoRecovery", "Timeouts")),
)


@dataclass(frozen=True)
class Step:
    """`missing` are the offloads that the statistics must not show; of our server, the same are off."""

    offloads: str
    missing: frozenset[str] = frozenset()
    threads: int = 1
    link_offloads: bool = True


ALL = {"OFFLOAD_TSO", "OFFLOAD_USO", "OFFLOAD_GSO", "OFFLOAD_GRO", "OFFLOAD_IPSEC_MB"}
STEPS = {
    "all": Step("auto"),
    "no USO": Step("tso,gso,gro,ipsec-mb", frozenset({"OFFLOAD_USO"})),
    "no vnet_hdr": Step("gso,gro,ipsec-mb", frozenset({"OFFLOAD_TSO", "OFFLOAD_USO"})),
    "no GSO": Step("tso,uso,gro,ipsec-mb", frozenset({"OFFLOAD_GSO"})),
    "no GRO": Step("tso,uso,gso,ipsec-mb", frozenset({"OFFLOAD_GRO"})),
    "no ipsec-mb": Step("tso,uso,gso,gro", frozenset({"OFFLOAD_IPSEC_MB"})),
    "none": Step("none", frozenset(ALL)),
    "link cut by the kernel": Step("auto", link_offloads=False),
    "two threads": Step("auto", threads=2),
}


@contextmanager
def faultless(*namespaces: Namespace) -> Iterator[None]:
    def count() -> dict[str, int]:
        found: dict[str, int] = {}
        for namespace in namespaces:
            lines = namespace.run(["nstat", "-asz", *FAULTS]).stdout.splitlines()[1:]
            found |= {f"{namespace.name} {name}": int(value) for name, value, _ in map(str.split, lines)}
        return found

    before = count()
    yield
    assert before
    assert {name: value - before[name] for name, value in count().items() if value != before[name]} == {}


def error_counters(machine: Machine) -> list[str]:
    statistics = machine.openvpn3("session-stats", "--config", "vpn").stdout
    return [line for line in statistics.splitlines() if "ERROR" in line]


@pytest.mark.parametrize("name", STEPS)
def test_step(machine: Machine, pki: Pki, pytestconfig: pytest.Config, name: str) -> None:
    step, size = STEPS[name], FULL_SIZE if pytestconfig.getoption("--full") else SIZE
    near, far = machine.pair.client, machine.pair.server
    if not step.link_offloads:
        cut_and_join(machine.pair)
    with OwnServer(machine.pair, pki, offloads=step.offloads, threads=step.threads) as server:
        machine.bring_in(server.profile(), "vpn")
        overrides = ["--offloads", step.offloads, "--data-threads", str(step.threads)]
        machine.openvpn3("config-manage", "--config", "vpn", *overrides)
        machine.openvpn3("session-start", "--config", "vpn")
        errors = error_counters(machine)  # a packet may have come before our keys or our device were there
        with faultless(near, far):
            for down, up in ((server.CLIENT_V4, server.TUNNEL_V4), (server.CLIENT_V6, server.TUNNEL_V6)):
                transfer(near, far, up, size, window=WINDOW)
                transfer(far, near, down, size, window=WINDOW)
        assert error_counters(machine) == errors
        statistics = machine.openvpn3("session-stats", "--config", "vpn").stdout
        shown = {word for word in ALL if word in statistics}
        machine.disconnect()
    assert shown <= ALL - step.missing
    assert shown >= ALL - step.missing - {"OFFLOAD_IPSEC_MB"}  # the one that not every machine has
