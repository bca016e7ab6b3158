"""Drives the targets of `control` by coverage, with atheris: `make fuzz-control SECONDS=900`.

usage: python -m tests.fuzz.guided {profile,push,packets,messages} [--seconds N]

A failure leaves its input in the working directory; `python -m tests.fuzz.guided TARGET --input FILE` repeats it.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ovpn3"]):
    from tests.fuzz.control import TARGETS

MAX_INPUT_BYTES = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--input", type=Path)
    arguments = parser.parse_args()
    target, seeds = TARGETS[arguments.target]
    if arguments.input:
        target(arguments.input.read_bytes())
        return
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [
            f"-max_total_time={arguments.seconds}",
            f"-max_len={MAX_INPUT_BYTES}",
            "-timeout=10",
            "-rss_limit_mb=2048",
        ]
        atheris.Setup([sys.argv[0], *limits, corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
