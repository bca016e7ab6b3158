"""Throughput and CPU per gigabyte of each client against one real server, rounds alternating.

usage: python -m bench.macro.tunnel [--rounds N] [--seconds N] [--cipher NAME] [--no-offloads] [--json FILE]
"""

import argparse
import json
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.macro.clients import CLIENTS, Lab, cpu_seconds, lab
from bench.macro.report import machine, save, spread, spread_text
from tests.support.netns import NamespacePair, end

DIRECTIONS = {"up": [], "down": ["--reverse"]}
BASELINE = "openvpn"


@dataclass(frozen=True)
class Sample:
    client: str
    direction: str
    seconds: float
    cpu_s: float
    gb: float

    @property
    def gbit_per_s(self) -> float:
        return self.gb * 8 / self.seconds

    @property
    def cpu_s_per_gb(self) -> float:
        return self.cpu_s / self.gb

    def __add__(self, other: "Sample") -> "Sample":
        """One after the other."""
        return Sample(self.client, "both", self.seconds + other.seconds, self.cpu_s + other.cpu_s, self.gb + other.gb)


def measure(here: Lab, client: str, pid: int, direction: str, seconds: int) -> Sample:
    """One TCP stream through the tunnel. The congestion control is named: machines differ in their default."""
    address = here.server.TUNNEL_V4
    command = ["iperf3", "--server", "--one-off", "--forceflush", "--bind", address]
    sink = here.pair.server.popen(command, stdout=subprocess.PIPE)
    try:
        assert sink.stdout
        while "listening" not in sink.stdout.readline():
            if sink.poll() is not None:
                raise SystemExit("iperf3 ended before it listened")
        load = ["iperf3", "--client", address, "--time", str(seconds), "--congestion", "cubic", "--json"]
        before = cpu_seconds(pid)
        report = here.pair.client.run([*load, *DIRECTIONS[direction]], timeout=seconds + 30).stdout
        cpu = cpu_seconds(pid) - before
    finally:
        end(sink)
        sink.communicate()
    received = json.loads(report)["end"]["sum_received"]
    return Sample(client, direction, received["seconds"], cpu, received["bytes"] / 1e9)


def without_offloads(pair: NamespacePair) -> None:
    """Make the kernel cut large buffers before the link and join them after it, as with a real card."""
    for side in (pair.client, pair.server):
        features = ["tx", "off", "tso", "off", "tx-udp-segmentation", "off", "gro", "on"]
        side.run(["ethtool", "-K", "eth0", *features])


def ratios(samples: list[Sample], client: str, direction: str, figure: str) -> list[float]:
    """The client's figure over the baseline's of the same round."""
    ours, theirs = (
        [getattr(s, figure) for s in samples if (s.client, s.direction) == (name, direction)]
        for name in (client, BASELINE)
    )
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of load per direction")
    parser.add_argument("--cipher", default="AES-256-GCM")
    parser.add_argument("--no-offloads", action="store_true", help="veth cuts and joins packets as a card would")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    samples: list[Sample] = []
    prepare = without_offloads if arguments.no_offloads else lambda pair: None
    with lab(cipher=arguments.cipher, prepare=prepare) as here:
        for number in range(arguments.rounds):
            # Who goes first changes, so that drift of the machine falls on everybody.
            for name in list(CLIENTS)[:: -1 if number % 2 else 1]:
                with CLIENTS[name](here) as pid:
                    up, down = (measure(here, name, pid, way, arguments.seconds) for way in DIRECTIONS)
                    samples += [up, down, up + down]
    print(", ".join(f"{what} {value}" for what, value in machine().items()), f", {arguments.cipher}", sep="")
    print(f"{'client':<10}{'':<6}{'Gbit/s min / median / max':<30}{'CPU s/GB min / median / max':<32}CPU ratio")
    results = []
    for name in CLIENTS:
        for direction in (*DIRECTIONS, "both"):
            chosen = [s for s in samples if (s.client, s.direction) == (name, direction)]
            rate, cpu = [s.gbit_per_s for s in chosen], [s.cpu_s_per_gb for s in chosen]
            ratio = ratios(samples, name, direction, "cpu_s_per_gb")
            print(
                f"{name:<10}{direction:<6}{spread_text(rate):<30}{spread_text(cpu):<32}{statistics.median(ratio):.2f}"
            )
            row = {"client": name, "direction": direction, "gbit_per_s": spread(rate), "cpu_s_per_gb": spread(cpu)}
            rate_ratio = ratios(samples, name, direction, "gbit_per_s")
            results.append({**row, "cpu_ratio": spread(ratio), "rate_ratio": spread(rate_ratio)})
    save(arguments.json, {"cipher": arguments.cipher, "rounds": arguments.rounds, "results": results})


if __name__ == "__main__":
    main()
