"""Whether services grow: memory and descriptors of each before and after long use.

usage: python -m bench.macro.soak [--imports N] [--sessions N]
"""

import argparse
import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.macro.report import columns, machine, number
from ovpn3.dbus.bus import Bus
from tests.support import fleet
from tests.support.account import ALICE
from tests.support.bus import BIN, SystemBusSandbox
from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer


async def measure(here: Machine, profile: str, imports: int, sessions: int) -> list[list[str]]:
    """Rows of the table: service, anonymous memory and descriptors before, halfway and after."""
    async with AsyncExitStack() as stack:
        with ALICE.assumed():
            bus = await Bus.connect(here.sandbox.address)
        stack.callback(bus.close)
        await fleet.use(bus, profile, imports=20, sessions=5)  # everything is loaded
        stages = [fleet.sizes(here)]
        for _ in range(2):
            await fleet.use(bus, profile, imports=imports // 2, sessions=sessions // 2)
            stages.append(fleet.sizes(here))
    return [
        [
            name,
            *(number(stage[name].anonymous_mib) for stage in stages),
            *(str(stage[name].descriptors) for stage in stages),
        ]
        for name in stages[0]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--imports", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=100)
    arguments = parser.parse_args()
    setup: list[list[str | Path]] = [[BIN / "openvpn3-admin", "install"]]
    with (
        TemporaryDirectory() as directory,
        NamespacePair() as pair,
        SystemBusSandbox(pair.client, setup=setup) as sandbox,
        OpenVpnServer(pair, Pki(Path(directory))) as server,
    ):
        here = Machine(sandbox, pair)
        rows = asyncio.run(measure(here, server.profile(), arguments.imports, arguments.sessions))
    print(", ".join(f"{what} {value}" for what, value in machine().items()))
    head = ["service", *(f"anonymous MiB {when}" for when in ("before", "halfway", "after"))]
    print(columns([[*head, "descriptors before", "halfway", "after"], *rows]))


if __name__ == "__main__":
    main()
