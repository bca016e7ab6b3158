"""The data path over memory: what is left of its cost without tun and socket, as CPU time of one core.

usage: python -m bench.macro.engine
"""

from bench.macro.report import columns, number
from ovpn3._fast.aead import IPSEC_MB_OBJECTION
from ovpn3._fast.coalesce import coalesce
from ovpn3._fast.engine import Engine
from ovpn3.datapath.engine import AEAD_CIPHERS
from tests.support.packets import EVERYTHING, datagrams, stream

COUNT = 44  # packets in a super packet
RUNS = {1388: stream([1388] * COUNT), 64: datagrams([64] * COUNT)}  # by payload
TRIES, ROUNDS = 5, 200


def main() -> None:
    lines = [["cipher", "library", "payload", "ns/packet out", "in", "CPU s/GB out", "in"]]
    for cipher in AEAD_CIPHERS.values():
        for library in ("libcrypto",) if IPSEC_MB_OBJECTION else ("ipsec-mb", "libcrypto"):
            engine = Engine(cipher.number, fast=library == "ipsec-mb")
            for size, packets in RUNS.items():
                (joined,) = coalesce(packets, EVERYTHING)
                tries = [engine.run(joined, ROUNDS)[:2] for _ in range(TRIES)]
                costs = [min(ns) / ROUNDS / COUNT for ns in zip(*tries, strict=True)]  # what is above is disturbance
                figures = [*(number(ns) for ns in costs), *(number(ns / size) for ns in costs)]
                lines.append([cipher.name, library, str(size), *figures])
    print(columns(lines))
    if IPSEC_MB_OBJECTION:
        print(f"\nipsec-mb: {IPSEC_MB_OBJECTION}")


if __name__ == "__main__":
    main()
