"""Figures as people and programs read them: lowest, median, highest; the facts of the machine; a JSON file."""

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.netns import run


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def spread_text(values: Sequence[float], digits: int = 2) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in spread(values).values())


def machine() -> dict[str, str]:
    """What a figure depends on and a reader has to know."""
    cpus = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")]
    version = run(["openvpn", "--version"], check=False).stdout.split()
    return {
        "cpu": f"{len(models)} x {models[0]}" if models else platform.machine(),
        "kernel": platform.release(),
        "openvpn": version[1],
    }


def save(path: Path | None, results: Mapping[str, object]) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n")
