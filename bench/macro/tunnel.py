"""Tunnels of different makers under the same loads, paired round by round.

usage: python -m bench.macro.tunnel [--arms LIST] [--loads LIST] [--rounds N] [--seconds N] [--json FILE] ...
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.macro.lab import ARMS, Lab, Setting, lab, theirs
from bench.macro.loads import LOADS, Ends, Tunnel, way
from bench.macro.plot import draw
from bench.macro.report import Sample, machine, results, save, table


def visit(here: Lab, number: int, name: str, arguments: argparse.Namespace) -> Iterator[Sample]:
    """One arm's turn: connect, load, disconnect."""
    arm = ARMS[name]
    with arm.server(here) as server:
        address = server.TUNNEL_V6 if arguments.ipv6 else server.TUNNEL_V4
        started = time.monotonic()
        with arm.client(here, server) as pid:
            yield Sample(name, number, "connect", "ms", (time.monotonic() - started) * 1e3)
            ends = Ends(arm.users(here), here.pair.server)
            device, own = way(ends.client, address)
            tunnel = Tunnel(ends, pid, device, own, address, here.udpload, arguments.seconds, arguments.streams)
            for load in arguments.loads:
                for figure, value in LOADS[load](tunnel).items():
                    yield Sample(name, number, load, figure, value)
            ended = time.monotonic()
        yield Sample(name, number, "disconnect", "ms", (time.monotonic() - ended) * 1e3)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", default="openvpn-openvpn,ovpn3-openvpn,ovpn3-ovpn3", help=f"of: {', '.join(ARMS)}")
    parser.add_argument("--loads", default=",".join(LOADS), help=f"of: {', '.join(LOADS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--cipher", default="AES-256-GCM")
    parser.add_argument("--proto", choices=["udp", "tcp", "udp6", "tcp6"], default="udp")
    parser.add_argument("--ipv6", action="store_true", help="inside the tunnel")
    parser.add_argument("--streams", type=int, default=1, help="of TCP, at the same time")
    parser.add_argument("--offloads", default="auto", help="of our client: auto, none, or a comma list")
    parser.add_argument("--threads", type=int, choices=[1, 2], default=1, help="of our client")
    parser.add_argument("--server-offloads", default="auto", help="of our server")
    parser.add_argument("--server-threads", type=int, choices=[1, 2], default=1, help="of our server")
    parser.add_argument("--no-offloads", action="store_true", help="the link cuts and joins packets as a card would")
    parser.add_argument("--original", type=Path, metavar="TREE", help="has OpenVPN 3 Linux: tests/support/original.py")
    parser.add_argument("--json", type=Path, help="the figures; a drawing of them is put beside it")
    arguments = parser.parse_args()
    arguments.arms = arguments.arms.split(",")
    arguments.loads = arguments.loads.split(",")
    if unknown := [*(a for a in arguments.arms if a not in ARMS), *(x for x in arguments.loads if x not in LOADS)]:
        parser.error(f"no such arm or load: {', '.join(unknown)}")
    if not arguments.original and any(ARMS[name].client is theirs for name in arguments.arms):
        parser.error("an arm named original-... needs --original")
    return arguments


def main() -> None:
    arguments = parsed()
    setting = Setting(
        cipher=arguments.cipher,
        proto=arguments.proto,
        offloads=arguments.offloads,
        threads=arguments.threads,
        server_offloads=arguments.server_offloads,
        server_threads=arguments.server_threads,
        link_offloads=not arguments.no_offloads,
        original=arguments.original,
    )
    samples: list[Sample] = []
    with lab(setting) as here:
        for number in range(arguments.rounds):
            # Who goes first changes, so that drift of the machine falls on everybody.
            for name in arguments.arms[:: -1 if number % 2 else 1]:
                print(f"round {number + 1} of {arguments.rounds}: {name}", file=sys.stderr)
                samples += visit(here, number, name, arguments)
    rows = results(sorted(samples, key=lambda sample: arguments.arms.index(sample.arm)))
    facts = {
        **machine(),
        **{k: v for k, v in vars(arguments).items() if k not in ("arms", "loads", "json", "original")},
    }
    print(", ".join(f"{what} {value}" for what, value in facts.items()), table(rows), sep="\n\n")
    if arguments.json:
        save(arguments.json, facts, rows)
        arguments.json.with_suffix(".svg").write_text(draw(rows))


if __name__ == "__main__":
    main()
