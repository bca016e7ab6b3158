"""Tables of as many columns as fit, and numbers short enough for them."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ovpn3.cli.terminal import BOLD, painted

T = TypeVar("T")
BARS = " ▁▂▃▄▅▆▇█"
BARS_ASCII = " .:-=+*#@"


@dataclass(frozen=True)
class Column(Generic[T]):
    """Columns of the lowest `rank` stay longest when there is little room. `colour` gives ANSI numbers."""

    title: str
    width: int
    rank: int
    text: Callable[[T], str]
    right: bool = False
    colour: Callable[[T], str] = lambda _: ""


def chosen(columns: Sequence[Column[T]], width: int) -> list[Column[T]]:
    """Those that fit with a space between them, in their order; all if there is no limit (0)."""
    taken: list[Column[T]] = []
    for column in sorted(columns, key=lambda column: column.rank):
        if not width or total_width([*taken, column]) <= width:
            taken.append(column)
    return [column for column in columns if column in taken]


def total_width(columns: Sequence[Column[T]]) -> int:
    return sum(column.width + 1 for column in columns) - 1


def table(columns: Sequence[Column[T]], rows: Iterable[T], on: bool) -> list[str]:
    """The heading and a line for each row; `on`: with colours."""
    lines = [painted(" ".join(fitted(c.title, c.width, right=c.right) for c in columns), BOLD, on)]
    for row in rows:
        cells = [painted(fitted(c.text(row), c.width, right=c.right), c.colour(row), on) for c in columns]
        lines.append(" ".join(cells))
    return lines


def cells(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Exactly so wide; what is cut off is replaced by a tilde."""
    if cells(text) > width:
        while text and cells(text) > width - 1:
            text = text[:-1]
        text += "~"
    room = " " * (width - cells(text))
    return room + text if right else text + room


def spark(values: Iterable[float], width: int, bars: str = BARS, least: float = 0.0) -> str:
    """The last `width` values as bars: full for the highest of them or `least`, the lowest for anything above zero."""
    last = list(values)[-width:]
    top = max(least, *last, 0.0)
    steps = len(bars) - 1
    return "".join(bars[max(1, round(v / top * steps)) if v > 0 else 0] for v in last).rjust(width)


def short(number: float) -> str:
    """Of at most four characters: 0, 12, 1.2k, 340M."""
    if number < 999.5:
        return f"{number:.0f}"
    for unit in "kMGTP":
        number /= 1000
        if number < 9.95:
            return f"{number:.1f}{unit}"
        if number < 999.5:
            return f"{number:.0f}{unit}"
    return "lots"


def duration(seconds: float | None) -> str:
    """Of at most four characters: 45s, 12m, 23h, 5d; a dash for None."""
    if seconds is None:
        return "-"
    for limit, unit, size in ((100, "s", 1), (6000, "m", 60), (360_000, "h", 3600)):
        if seconds < limit:
            return f"{int(seconds) // size}{unit}"
    return f"{int(seconds) // 86400}d"


def latency(microseconds: int | None) -> str:
    """Of at most five characters: 0.3ms, 42ms, 1.2s; a dash for None."""
    if microseconds is None:
        return "-"
    if microseconds < 9950:
        return f"{microseconds / 1e3:.1f}ms"
    if microseconds < 999_500:
        return f"{microseconds / 1e3:.0f}ms"
    return f"{microseconds / 1e6:.1f}s"
