"""Figures as people and programs read them: lowest, median, highest, and how they compare; a table, a JSON file."""

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.support.netns import run


@dataclass(frozen=True)
class Sample:
    """`figure` is named by its unit."""

    arm: str
    round: int
    load: str
    figure: str
    value: float


@dataclass(frozen=True)
class Spread:
    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True)
class Result:
    """One figure of one arm. `ratio` is to the first arm's of the same round."""

    arm: str
    load: str
    figure: str
    value: Spread
    ratio: Spread


def results(samples: Sequence[Sample]) -> list[Result]:
    """In the order of the first appearance of load and figure, and within one of the arms."""
    arms = list(dict.fromkeys(s.arm for s in samples))
    found = {(s.arm, s.round, s.load, s.figure): s.value for s in samples}
    rounds = {s.round for s in samples}

    def result(arm: str, load: str, figure: str) -> Result:
        pairs = [[found[name, r, load, figure] for name in (arm, arms[0])] for r in rounds]
        values, ratios = [own for own, _ in pairs], [own / other for own, other in pairs]
        return Result(arm, load, figure, Spread.of(values), Spread.of(ratios))

    return [result(arm, *kind) for kind in dict.fromkeys((s.load, s.figure) for s in samples) for arm in arms]


def table(rows: Sequence[Result]) -> str:
    """Each figure's median (lowest to highest), and the ratio to the first arm's."""
    arms = list(dict.fromkeys(r.arm for r in rows))
    lines = [["", *arms]]
    for load, figure in dict.fromkeys((r.load, r.figure) for r in rows):
        lines.append([f"{load}, {figure}", *(_cell(r, arms[0]) for r in rows if (r.load, r.figure) == (load, figure))])
    return columns(lines)


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Markdown that can be read as it is; the first line is the head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in (lines[0], rule, *lines[1:]))


def _cell(result: Result, first: str) -> str:
    low, median, high = (number(v) for v in (result.value.min, result.value.median, result.value.max))
    return f"{median} ({low} to {high})" + (f" {number(result.ratio.median)}x" if result.arm != first else "")


def number(value: float) -> str:
    """Three digits, more only if they are in front of the point."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


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


def save(path: Path, facts: dict[str, Any], rows: Sequence[Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"facts": facts, "results": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def load(path: Path) -> list[Result]:
    rows = json.loads(path.read_text())["results"]
    return [Result(**{**row, "value": Spread(**row["value"]), "ratio": Spread(**row["ratio"])}) for row in rows]
