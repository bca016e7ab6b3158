"""What tunnels cost: memory of all services with one and with each further one, time to connect, all up at once.

usage: python -m bench.macro.scale [--tunnels N]
"""

import argparse
import asyncio
import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.macro.report import columns, machine, number
from ovpn3.dbus.bus import Bus
from ovpn3.proxies.config import Configuration
from tests.support import fleet
from tests.support.account import ALICE
from tests.support.bus import BIN, SystemBusSandbox
from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer

# All connect within a second or two. By default a server takes 100 in ten seconds, and doesn't answer the others.
SERVER = ("duplicate-cn", "max-clients 500", "connect-freq-initial 1000 1")


async def measure(here: Machine, server: OpenVpnServer, count: int) -> list[list[str]]:
    """Rows of the table: figure, value."""
    async with AsyncExitStack() as stack:

        async def connection() -> Bus:
            with ALICE.assumed():
                bus = await Bus.connect(here.sandbox.address)
            stack.callback(bus.close)
            return bus

        imported = await fleet.bring_in(await connection(), server.profile(), count)
        # Of each tunnel one front-end: on one connection their calls would wait for each other.
        profiles = [Configuration(await connection(), profile.path) for profile in imported]
        await fleet.end([await fleet.start(profiles[0])])  # services are warm
        tunnels = [await fleet.start(profiles[0])]
        one = memory(here)
        tunnels += [await fleet.start(profile) for profile in profiles[1:]]
        many = memory(here)
        silent = await fleet.ping(here, tunnels, server.TUNNEL_V4)
        times = [tunnel.seconds * 1e3 for tunnel in tunnels]
        began = time.monotonic()
        await fleet.end(tunnels)
        ended = time.monotonic() - began
        began = time.monotonic()
        tunnels = await asyncio.gather(*map(fleet.start, profiles))
        together = time.monotonic() - began
        at_once = [tunnel.seconds * 1e3 for tunnel in tunnels]
        silent += await fleet.ping(here, tunnels, server.TUNNEL_V4)
        await fleet.end(tunnels)
    one_total, many_total = sum(map(sum, one.values())), sum(map(sum, many.values()))
    rows = [[f"PSS with one tunnel, {name}, MiB", number(sum(sizes))] for name, sizes in one.items()]
    rows.append(["PSS with one tunnel, all, MiB", number(one_total)])
    if count > 1:
        rows.append(["PSS of each further tunnel, MiB", number((many_total - one_total) / (count - 1))])
        rows.append([f"PSS of a client among {count}, MiB", number(statistics.mean(many["openvpn3-client"]))])
    rows.append(["connect one after the other, median, ms", number(statistics.median(times))])
    rows.append(["the same, highest", number(max(times))])
    rows.append([f"connect {count} at once, median, ms", number(statistics.median(at_once))])
    rows.append(["the same, highest", number(max(at_once))])
    rows.append(["all up after, s", number(together)])
    rows.append([f"disconnect {count} at once, s", number(ended)])
    rows.append(["tunnels without an answer to ping", str(len(silent))])
    return rows


def memory(here: Machine) -> dict[str, list[float]]:
    """PSS of each process by kind."""
    found: dict[str, list[float]] = {}
    for pid, name in sorted(fleet.processes(here).items()):
        found.setdefault(name, []).append(fleet.pss_mib(pid))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tunnels", type=int, default=50)
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory, NamespacePair() as pair:
        setup: list[list[str | Path]] = [[BIN / "openvpn3-admin", "install"]]
        with (
            SystemBusSandbox(pair.client, setup=setup) as sandbox,
            OpenVpnServer(pair, Pki(Path(directory)), extra=SERVER) as server,
        ):
            rows = asyncio.run(measure(Machine(sandbox, pair), server, arguments.tunnels))
    print(", ".join(f"{what} {value}" for what, value in machine().items()))
    print(columns([["figure", "value"], *rows]))


if __name__ == "__main__":
    main()
