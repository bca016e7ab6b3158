"""`top`: sessions live, with their rates; keys to pause, restart and end them."""

import asyncio
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable

from ovpn3.cli import terminal
from ovpn3.cli.board import HISTORY, Board, Row
from ovpn3.cli.command import JSON, BadValue, Command, Option, Options
from ovpn3.cli.connect import Interrupted, interruptible
from ovpn3.cli.screen import Key, Screen, whole_screen
from ovpn3.cli.selection import system_bus
from ovpn3.cli.table import (
    BARS,
    BARS_ASCII,
    Column,
    cells,
    chosen,
    duration,
    fitted,
    latency,
    short,
    spark,
    table,
    total_width,
)
from ovpn3.cli.text import one_line, to_json
from ovpn3.cli.verbs.session_manage import PAUSE_REASON
from ovpn3.errors import NetworkError, RemoteError

MAX_INTERVAL_S = 3600
MIN_GRAPH_WIDTH = 8
NARROW = 100
FULL_BAR = 20_000  # bits per second at least, else what a quiet tunnel says to its server looks like traffic
REMEMBERED_S = 5.0  # what came of an order
MARK_WIDTH = 2  # before the row that is selected
COLOURS = {
    "connected": terminal.GREEN,
    "connecting": terminal.YELLOW,
    "reconnecting": terminal.YELLOW,
    "waiting": terminal.YELLOW,
    "paused": terminal.CYAN,
    "failed": terminal.RED,
}
KEYS = "up/down select   p pause or resume   r restart   d disconnect   q quit"
NO_SESSIONS = "No sessions available"
OPTIONS = (
    JSON,
    Option("once", help="Print one table and end, which is what happens in a pipe too"),
    Option("interval", "i", "SECS", "Look again after so many seconds; default 1"),
)


async def run(options: Options) -> int:
    interval = options.number("interval", 1)
    if not 1 <= interval <= MAX_INTERVAL_S:
        raise BadValue(f"--interval takes 1 to {MAX_INTERVAL_S} seconds")
    live = sys.stdout.isatty() and not options.has("once") and not options.has("json")
    async with system_bus() as bus:
        board = Board(bus)
        try:
            with interruptible():
                await board.look()
                if not live:
                    await _once(board, interval, options.has("json"))
                    return 0
                with whole_screen() as screen:
                    lost = asyncio.ensure_future(bus.lost())
                    await Top(board, screen, interval).run(lost)
                    if lost.done():
                        raise NetworkError("the message bus is gone")
                    lost.cancel()
        except Interrupted:
            pass
    return 0


async def _once(board: Board, interval: int, as_json: bool) -> None:
    if board.rows:
        await asyncio.sleep(interval)
        await board.look()
    if as_json:
        return print(to_json({row.session.path: _to_json(row) for row in board.rows}))
    if not board.rows:
        return print(NO_SESSIONS)
    width = terminal.width() if sys.stdout.isatty() else 0
    columns = chosen(_columns(board.rows, width, graph_width=0), width)
    print("\n".join(line.rstrip() for line in table(columns, board.rows, terminal.colours())))


def _to_json(row: Row) -> dict[str, object]:
    return {
        "config_name": row.name,
        "owner": row.owner,
        "device": row.device,
        "server": row.server,
        "state": row.state,
        "status": row.status_text,
        "bits_in": row.bits_in,
        "bits_out": row.bits_out,
        "packets": row.packets,
        "offloads": row.offloads,
        "lost": row.losses,
        "statistics": row.statistics,
    }


class Top:
    def __init__(self, board: Board, screen: Screen, interval: int) -> None:
        self._board, self._screen, self._interval = board, screen, interval
        self._on = terminal.colours()
        self._selected = ""  # path of the session
        self._first = 0  # of the rows that are shown
        self._question: tuple[str, Callable[[], Awaitable[None]]] | None = None
        self._said, self._said_at = "", 0.0  # what came of the last order
        self._orders: set[asyncio.Task[None]] = set()

    async def run(self, lost: asyncio.Future[None]) -> None:
        due = time.monotonic() + self._interval
        while not lost.done():
            self._draw()
            key = await self._screen.next(max(0.0, due - time.monotonic()))
            if key == "q" and not self._question:
                return
            if key is not None:
                self._on_key(key)
            if time.monotonic() >= due:
                try:
                    await self._board.look()
                except RemoteError as e:  # a session manager that was killed, perhaps
                    self._say(str(e))
                due = time.monotonic() + self._interval

    # -- keys -------------------------------------------------------------------------------------
    def _on_key(self, key: Key | str) -> None:
        if self._question:
            text, order = self._question
            self._question = None
            if key in ("y", "Y"):
                self._give(text, order)
            return
        rows = self._board.rows
        if not rows:
            return
        at = self._position(rows)
        row = rows[at]
        match key:
            case Key.UP | "k":
                self._selected = rows[max(0, at - 1)].session.path
            case Key.DOWN | "j":
                self._selected = rows[min(len(rows) - 1, at + 1)].session.path
            case "p" if row.state == "paused":
                self._give(f"Resume {row.name}", row.session.resume)
            case "p":
                self._give(f"Pause {row.name}", lambda: row.session.pause(PAUSE_REASON))
            case "r":
                self._give(f"Restart {row.name}", row.session.restart)
            case "d":
                self._question = (f"Disconnect {row.name}", row.session.disconnect)

    def _give(self, text: str, order: Callable[[], Awaitable[None]]) -> None:
        async def perform() -> None:
            try:
                await order()
                self._say(f"{text}: done")
            except RemoteError as e:
                self._say(f"{text}: {e}")

        self._say(f"{text} ...")
        task = asyncio.get_running_loop().create_task(perform())
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)

    def _say(self, text: str) -> None:
        self._said, self._said_at = one_line(text), time.monotonic()

    # -- drawing ----------------------------------------------------------------------------------
    def _draw(self) -> None:
        width, height = self._screen.size
        rows = self._board.rows
        at = self._position(rows)
        lines = [*self._heading(rows, width), ""]
        details = _details(rows[at], width, self._on) if rows else []
        room = max(1, height - len(lines) - len(details) - 4)  # the table's heading, keys, empty lines
        self._first = max(min(self._first, at), at - room + 1)
        shown = rows[self._first : self._first + room]
        if rows:
            heading, *body = table(_fitting(rows, width - MARK_WIDTH), shown, self._on)
            marks = ["> " if row is rows[at] else "  " for row in shown]
            lines += [f"  {heading}", *(f"{mark}{line}" for mark, line in zip(marks, body, strict=True)), "", *details]
        else:
            lines.append(NO_SESSIONS)
        lines += [""] * (height - 1 - len(lines))
        self._screen.show([*lines[: height - 1], self._foot(width)])

    def _position(self, rows: list[Row]) -> int:
        return next((i for i, row in enumerate(rows) if row.session.path == self._selected), 0)

    def _heading(self, rows: list[Row], width: int) -> list[str]:
        connected = sum(row.state == "connected" for row in rows)
        count = f"{len(rows)} session{'' if len(rows) == 1 else 's'}, {connected} connected"
        into, out = (short(sum(rates)) for rates in ([r.bits_in for r in rows], [r.bits_out for r in rows]))
        left, right = f"openvpn3 top   {count}", f"in {into}bit/s   out {out}bit/s   {time.strftime('%X')}"
        gap = " " * max(3, width - cells(left) - cells(right))
        return [terminal.painted(fitted(left + gap + right, width), terminal.BOLD, self._on)]

    def _foot(self, width: int) -> str:
        said = self._said if time.monotonic() - self._said_at < REMEMBERED_S else ""
        text = f"{self._question[0]}? y/n" if self._question else said or KEYS
        return terminal.painted(fitted(text, width), terminal.REVERSE, self._on)


def _columns(rows: list[Row], width: int, graph_width: int) -> list[Column[Row]]:
    """All there are, names as wide as these rows' and whole where there is no limit; no graph without a width."""
    most = 1000 if not width else 16 if width < NARROW else 24
    name = min(most, max(4, *(cells(row.name) for row in rows)))
    owner = min(most, max(5, *(cells(row.owner) for row in rows)))
    bars = BARS if (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" else BARS_ASCII
    several = len({row.owner for row in rows}) > 1
    columns: list[Column[Row]] = [
        Column("NAME", name, 0, lambda row: row.name),
        Column("OWNER", owner, 6 if several else 14, lambda row: row.owner),
        Column("DEVICE", 7, 8, lambda row: row.device or "-"),
        Column("STATE", 12, 1, lambda row: row.state, colour=lambda row: COLOURS.get(row.state, "")),
        Column("IN b/s", 6, 2, lambda row: short(row.bits_in), right=True),
        Column("OUT b/s", 7, 3, lambda row: short(row.bits_out), right=True),
        Column("PKT/s", 5, 5, lambda row: short(row.packets), right=True),
        Column("RTT", 5, 4, lambda row: latency(row.statistics.get("ROUND_TRIP_US")), right=True),
        Column("KEYS", 4, 5, lambda row: duration(row.since("LAST_HANDSHAKE")), right=True),
        Column("UP", 4, 9, lambda row: duration(row.since("CONNECTED_SINCE")), right=True),
        Column("LOST", 4, 10, lambda row: short(sum(row.losses.values())), right=True),
        Column("RECONN", 6, 11, lambda row: short(row.statistics.get("N_RECONNECT", 0)), right=True),
        Column("OFFLOADS", 24, 13, lambda row: " ".join(row.offloads) or "-"),
        Column("SERVER", 25, 12, lambda row: row.server or "-"),
    ]
    if graph_width:
        graph = Column[Row](
            "TRAFFIC",
            graph_width,
            7,
            lambda row: spark(row.history, graph_width, bars, FULL_BAR),
            right=True,
            colour=lambda _: terminal.CYAN,
        )
        columns.insert(-2, graph)
    return columns


def _fitting(rows: list[Row], width: int) -> list[Column[Row]]:
    """With a graph that takes the room which is left."""
    left = width - total_width(chosen(_columns(rows, width, MIN_GRAPH_WIDTH), width))
    return chosen(_columns(rows, width, min(MIN_GRAPH_WIDTH + max(0, left), HISTORY)), width)


def _details(row: Row, width: int, on: bool) -> list[str]:
    """What doesn't fit into the table, of the session that is selected."""
    counted = row.statistics
    handshake, trip = latency(counted.get("HANDSHAKE_US")), latency(counted.get("ROUND_TRIP_US"))
    losses = ", ".join(f"{count} {reason}" for reason, count in row.losses.items())
    facts = {
        "Session": f"{row.name}, of {row.owner}, for {duration(time.time() - row.created)}",
        "Status": row.status_text,
        "Server": f"{row.server or '-'}; handshake {handshake}, round trip {trip}",
        "Total": f"{short(counted.get('TUN_BYTES_OUT', 0))}B in, {short(counted.get('TUN_BYTES_IN', 0))}B out; "
        f"{counted.get('N_RECONNECT', 0)} reconnects, {counted.get('N_RENEGOTIATE', 0)} renegotiations",
        "Lost": losses or "nothing",
        "Offloads": " ".join(row.offloads) or "none",
    }
    lines = []
    for label, text in facts.items():
        margin = " " * 10
        wrapped = textwrap.wrap(text, max(20, width - len(margin)), max_lines=2, placeholder=" ~")
        first = f"{terminal.painted(f'{label:>8}', terminal.BOLD, on)}  {wrapped[0] if wrapped else ''}"
        lines += [first, *(margin + line for line in wrapped[1:])]
    return lines


ABOUT = """\
Shows the sessions the user may see, root everybody's, with their rates. Keys select a session, pause it, resume it,
restart it or end it. In a pipe one table is printed.

    openvpn3 top --interval 5
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
