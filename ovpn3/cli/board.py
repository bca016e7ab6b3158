"""Sessions with the rates between two looks at them, as `top` shows them."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ovpn3.cli.metrics import STATISTICS
from ovpn3.cli.selection import visible_sessions
from ovpn3.cli.text import one_line, state_word, status_text, user_name
from ovpn3.constants import SESSIONS_NAME
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import Session, Status

UNKNOWN: Final = Status(0, 0)
HISTORY: Final = 60  # looks
LOSSES: Final = {
    name: label["reason"].replace("_", " ")
    for name, (metric, label) in STATISTICS.items()
    if metric == "session_dropped_packets_total" and label["reason"] != "superseded_ack"
}
OFFLOADS: Final = {
    name: label["offload"] for name, (metric, label) in STATISTICS.items() if metric == "session_offload_active"
}


@dataclass
class Row:
    """One session. Rates are per second, of what was inside the tunnel; texts are harmless to a terminal."""

    session: Session
    name: str
    owner: str
    created: int
    device: str = ""
    server: str = ""
    status: Status = UNKNOWN
    statistics: Mapping[str, int] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)  # by name of the statistic
    history: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))  # bits per second, both ways
    looked: float = 0.0

    @property
    def state(self) -> str:
        return state_word(self.status)

    @property
    def status_text(self) -> str:
        return status_text(self.status)

    @property
    def bits_in(self) -> float:
        return 8 * self.rates.get("TUN_BYTES_OUT", 0.0)  # out of the tunnel, to us

    @property
    def bits_out(self) -> float:
        return 8 * self.rates.get("TUN_BYTES_IN", 0.0)

    @property
    def packets(self) -> float:
        """Both ways."""
        return self.rates.get("TUN_PACKETS_OUT", 0.0) + self.rates.get("TUN_PACKETS_IN", 0.0)

    @property
    def offloads(self) -> list[str]:
        return [offload for name, offload in OFFLOADS.items() if self.statistics.get(name)]

    @property
    def losses(self) -> dict[str, int]:
        """Packets that went no further, by reason."""
        return {reason: self.statistics[name] for name, reason in LOSSES.items() if name in self.statistics}

    def since(self, name: str) -> float | None:
        """Seconds since one of the statistics that are times; None if there is none."""
        return max(0.0, time.time() - self.statistics[name]) if name in self.statistics else None

    def update(self, values: Mapping[str, Any], now: float) -> None:
        """Take the session's properties as they are at `now`."""
        protocol, address, port = values["connected_to"]
        host = f"[{address}]" if ":" in address else address
        self.device = one_line(values["device_name"])
        self.server = one_line(f"{host}:{port} {protocol}") if address else ""
        self.status = Status(*values["status"])
        before, self.statistics = self.statistics, values["statistics"]
        if self.looked and now > self.looked:
            passed = now - self.looked
            names = ("TUN_BYTES_IN", "TUN_BYTES_OUT", "TUN_PACKETS_IN", "TUN_PACKETS_OUT")
            self.rates = {n: max(0, self.statistics.get(n, 0) - before.get(n, 0)) / passed for n in names}
            self.history.append(self.bits_in + self.bits_out)
        self.looked = now


class Board:
    """The sessions that we may see, oldest first."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._rows: dict[str, Row] = {}

    @property
    def rows(self) -> list[Row]:
        return sorted(self._rows.values(), key=lambda row: (row.created, row.name, row.session.path))

    async def look(self) -> None:
        """Bring all rows to what is now. No service is started for it."""
        sessions = await visible_sessions(self._bus) if await self._bus.name_owner(SESSIONS_NAME) else []
        found = await asyncio.gather(*map(self._row, sessions))
        self._rows = {row.session.path: row for row in found if row}

    async def _row(self, session: Session) -> Row | None:
        """None if it has just ended, or is in public use only: no more is to be seen then."""
        try:
            values = await session.get_all()
        except RemoteError:
            return None
        if "config_name" not in values:
            return None
        row = self._rows.get(session.path) or Row(
            session, one_line(values["config_name"]), user_name(values["owner"]), values["session_created"]
        )
        row.update(values, time.monotonic())
        return row
