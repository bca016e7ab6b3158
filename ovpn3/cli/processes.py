"""What the services' processes take of the machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ovpn3.constants import BACKENDS_NAME, CONFIG_NAME, LOG_NAME, NETCFG_NAME, SESSIONS_NAME
from ovpn3.dbus.bus import Bus

# By the last word of their programs' names.
BUS_NAMES: Final[Mapping[str, str]] = {
    "backendstart": BACKENDS_NAME,
    "configmgr": CONFIG_NAME,
    "log": LOG_NAME,
    "netcfg": NETCFG_NAME,
    "sessionmgr": SESSIONS_NAME,
}


@dataclass(frozen=True)
class Usage:
    """`memory` is in octets: its own pages, and its share of those that it has together with others."""

    memory: int
    cpu_s: float


async def running(bus: Bus) -> dict[str, int]:
    """Pids of the services that run now, by name. None is started for it."""
    return {name: pid for name, bus_name in BUS_NAMES.items() if (pid := await bus.pid_of(bus_name))}


def usage(pid: int) -> Usage | None:
    """None if it has ended, or isn't ours to look at: root may."""
    process = Path(f"/proc/{pid}")
    try:
        memory = [line.split()[1] for line in (process / "smaps_rollup").read_text().splitlines() if line[:4] == "Pss:"]
        # Fields are counted from behind the name, which may have spaces and brackets in it.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return Usage(int(memory[0]) * 1024, ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, IndexError, ValueError):
        return None
