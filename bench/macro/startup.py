"""How long a command takes from its start to its end: lists, and completion, which a person waits for.

Sessions are connected and services warm. Programs run with real-time priority: a busy machine is to count little.

usage: python -m bench.macro.startup [--runs N]
"""

import argparse
import os
import statistics
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.macro.report import columns, machine, number
from tests.support.account import ROOT
from tests.support.bus import BIN, SystemBusSandbox
from tests.support.machine import Machine
from tests.support.netns import NamespacePair
from tests.support.pki import Pki
from tests.support.server import OpenVpnServer

SESSIONS = 3
COMMANDS = (
    ["version"],
    ["sessions-list"],
    ["configs-list"],
    ["session-stats", "--config", "office0"],
    ["shell-completion", "--line", "openvpn3 "],
    ["shell-completion", "--line", "openvpn3 config-manage --"],
    ["shell-completion", "--line", "openvpn3 session-manage --config "],
    ["shell-completion", "--line", "openvpn2 --"],
)


def measure(command: list[str], runs: int, environment: dict[str, str]) -> float:
    """Median, in milliseconds."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        argv = ["chrt", "--fifo", "10", str(BIN / "openvpn3"), *command]
        subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=21)
    runs: int = parser.parse_args().runs
    install: list[str | Path] = [BIN / "openvpn3-admin", "install"]
    with (
        TemporaryDirectory() as folder,
        NamespacePair() as pair,
        SystemBusSandbox(pair.client, setup=[install]) as sandbox,
        OpenVpnServer(pair, Pki(Path(folder))) as server,
    ):
        host = Machine(sandbox, pair)
        for n in range(SESSIONS):
            host.connect(server.profile(), f"office{n}", ROOT)
        environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": sandbox.address}
        rows = [[f"openvpn3 {' '.join(c)}", number(measure(c, runs, environment))] for c in COMMANDS]
    print(", ".join(f"{what} {value}" for what, value in machine().items()))
    print(columns([["command", "ms, median"], *rows]))


if __name__ == "__main__":
    main()
