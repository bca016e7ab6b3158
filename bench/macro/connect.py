"""Time from a user's command to the tunnel being up, and from asking for its end to that end.

Our services are warm. What is timed is the whole command, `openvpn3 session-start` or `openvpn`, with its own start.

usage: python -m bench.macro.connect [--rounds N] [--json FILE]
"""

import argparse
import time
from pathlib import Path

from bench.macro.clients import CLIENTS, Lab, lab
from bench.macro.report import machine, save, spread, spread_text


def measure(here: Lab, client: str) -> tuple[float, float]:
    """Milliseconds to connect and to disconnect, clean-up of processes included."""
    started = time.monotonic()
    with CLIENTS[client](here):
        connected = time.monotonic()
    return (connected - started) * 1e3, (time.monotonic() - connected) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with lab() as here:
        rounds = [{name: measure(here, name) for name in CLIENTS} for _ in range(arguments.rounds)]
    print(", ".join(f"{what} {value}" for what, value in machine().items()))
    print(f"{'client':<10}{'connect ms min / median / max':<34}disconnect ms min / median / max")
    results = {}
    for name in CLIENTS:
        connect, disconnect = ([r[name][which] for r in rounds] for which in (0, 1))
        print(f"{name:<10}{spread_text(connect, 1):<34}{spread_text(disconnect, 1)}")
        results[name] = {"connect_ms": spread(connect), "disconnect_ms": spread(disconnect)}
    save(arguments.json, {"rounds": arguments.rounds, "results": results})


if __name__ == "__main__":
    main()
