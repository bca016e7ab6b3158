"""One session that connects anew again and again: how long it takes, what it costs, and whether anything grows.

usage: python -m bench.macro.handshakes [--count N]
"""

import argparse
import asyncio
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.macro.report import columns, machine, number
from ovpn3.cli.connect import bring_up
from ovpn3.dbus.bus import Bus
from ovpn3.proxies.session import Session
from tests.support import fleet
from tests.support.account import ALICE
from tests.support.bus import BIN, SystemBusSandbox
from tests.support.machine import Machine, read
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer

WARM_UP = 20
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Seconds of CPU, all threads, user's and kernel's."""
    fields = read(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def again(session: Session) -> float:
    """Seconds until it is connected anew."""
    began = time.monotonic()
    await bring_up(session, session.restart, fleet.no_answer, 30.0)
    return time.monotonic() - began


async def measure(here: Machine, profile: str, count: int) -> tuple[list[list[str]], list[str]]:
    """Rows of services with memory and descriptors before, halfway and after; and a line of figures."""
    with ALICE.assumed():
        bus = await Bus.connect(here.sandbox.address)
    (config,) = await fleet.bring_in(bus, profile, 1)
    tunnel = await fleet.start(config)
    for _ in range(WARM_UP):
        await again(tunnel.session)
    client, stages, took = here.clients()[0], [fleet.sizes(here, client=True)], []
    before = cpu_s(client)
    for _ in range(2):
        took += [await again(tunnel.session) for _ in range(count // 2)]
        stages.append(fleet.sizes(here, client=True))
    per_handshake = 1000 * (cpu_s(client) - before) / len(took)
    await tunnel.session.disconnect()
    bus.close()
    rows = [
        [
            name,
            *(number(stage[name].anonymous_mib) for stage in stages),
            *(str(stage[name].descriptors) for stage in stages),
        ]
        for name in stages[0]
        if all(name in stage for stage in stages)  # some leave when they have nothing to do
    ]
    took.sort()
    line = [
        str(len(took)),
        *(number(1000 * t) for t in (took[0], statistics.median(took), took[-1])),
        number(per_handshake),
    ]
    return rows, line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    setup: list[list[str | Path]] = [[BIN / "openvpn3-admin", "install"]]
    with (
        TemporaryDirectory() as directory,
        NamespacePair() as pair,
        SystemBusSandbox(pair.client, setup=setup) as sandbox,
        OpenVpnServer(pair, Pki(Path(directory)), extra=["connect-freq-initial 100000 1"]) as server,
    ):
        rows, line = asyncio.run(measure(Machine(sandbox, pair), server.profile(), arguments.count))
    print(", ".join(f"{what} {value}" for what, value in machine().items()))
    print(columns([["handshakes", "ms least", "median", "most", "CPU ms of the client"], line]))
    head = ["service", *(f"anonymous MiB {when}" for when in ("before", "halfway", "after"))]
    print(columns([[*head, "descriptors before", "halfway", "after"], *rows]))


if __name__ == "__main__":
    main()
