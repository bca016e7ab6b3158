"""A drawing of results: a panel for each figure, a bar for each arm, whiskers from the lowest to the highest value.

usage: python -m bench.macro.plot RESULTS.json DRAWING.svg
"""

import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from bench.macro.report import Result, load, number

MORE_IS_BETTER = {"Gbit/s", "kpps"}
COLOURS = ("#9aa5b1", "#4c8bf5", "#12a480", "#e0a030", "#b05cc6")  # of the arms, in their order
INK, FAINT = "#1f2933", "#7b8794"
COLUMNS, PANEL_WIDTH, BAR_WIDTH, GAP = 3, 320, 190, 24
HEAD, TITLE, ROW, BAR = 64, 40, 24, 16  # heights


def draw(rows: Sequence[Result]) -> str:
    """An SVG document."""
    arms = list(dict.fromkeys(r.arm for r in rows))
    kinds = list(dict.fromkeys((r.load, r.figure) for r in rows))
    panel_height = TITLE + ROW * len(arms) + GAP
    width = COLUMNS * (PANEL_WIDTH + GAP) + GAP
    height = HEAD + -(-len(kinds) // COLUMNS) * panel_height
    parts = [*_legend(arms)]
    for i, kind in enumerate(kinds):
        x, y = GAP + i % COLUMNS * (PANEL_WIDTH + GAP), HEAD + i // COLUMNS * panel_height
        panel = _panel([r for r in rows if (r.load, r.figure) == kind])
        parts += [f'<g transform="translate({x} {y})">', *panel, "</g>"]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
            f"<style>text {{ font: 13px system-ui, 'DejaVu Sans', sans-serif; fill: {INK} }}</style>",
            '<rect width="100%" height="100%" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _legend(arms: Sequence[str]) -> Iterator[str]:
    """Who is who: the arms are named client-server."""
    for i, arm in enumerate(arms):
        x = GAP + i * 190
        yield f'<rect x="{x}" y="20" width="14" height="14" rx="3" fill="{COLOURS[i]}"/>'
        yield _text(x + 21, 32, arm)


def _panel(rows: Sequence[Result]) -> Iterator[str]:
    figure = rows[0].figure
    better = "more" if figure in MORE_IS_BETTER else "less"
    yield _text(0, 16, rows[0].load, "font-weight: 600")
    yield _text(0, 32, f"{figure}, {better} is better", f"font-size: 11px; fill: {FAINT}")
    scale = BAR_WIDTH / max(r.value.max for r in rows)
    for i, row in enumerate(rows):
        low, median, high = (v * scale for v in (row.value.min, row.value.median, row.value.max))
        y = TITLE + i * ROW
        middle = y + BAR / 2
        yield f'<rect y="{y}" width="{max(median, 1):.1f}" height="{BAR}" rx="2" fill="{COLOURS[i]}"/>'
        whisker = f"M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"
        yield f'<path d="{whisker}" stroke="{INK}" stroke-opacity="0.6" fill="none"/>'
        yield _text(high + 8, middle + 4.5, number(row.value.median))
        if i:
            yield _text(BAR_WIDTH + 54, middle + 4.5, f"{number(row.ratio.median)}x", f"fill: {FAINT}")


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y}"{f" style={style!r}" if style else ""}>{escape(text)}</text>'


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(load(Path(sys.argv[1]))))
