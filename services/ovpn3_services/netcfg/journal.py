"""What a successor needs to know should this process be killed: whose devices, routes and subscriptions there are.

One JSON object a line, the first of which says where the rest holds: on this boot, in this network namespace, on this
bus. What is new is written behind the rest, and counts; now and then the file is replaced as a whole. It is not forced
to the disk, since no boot outlives the kernel. Whoever can write it, the account, can have us do as much by calling us;
it is checked all the same.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from ovpn3.files import write_atomically
from ovpn3.names import is_cgroup
from ovpn3.net.cgroup import Cgroup
from ovpn3.net.guard import OUTSIDE_DNS, Barrier, Exit, Guard
from ovpn3.net.namespace import is_name
from ovpn3.net.nftables import MARK_BITS
from ovpn3.net.plan import AddAddress, Address, AddRoute, Place, Step, TunnelAddress, Wanted, WantedRoute
from ovpn3.net.rule import Rule

FILE_NAME = "netcfg.journal"
MIN_ROOM = 100
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def circumstances(bus_id: str) -> dict[str, str]:
    """What has to be the same for an entry to mean the same."""
    namespace = os.stat("/proc/self/ns/net")
    return {"boot": BOOT_ID.read_text().strip(), "netns": f"{namespace.st_dev}:{namespace.st_ino}", "bus": bus_id}


@dataclass(frozen=True)
class Entry:
    """One thing that a successor has to know; without values one that it hasn't to know any more."""

    kind: str
    key: str
    values: dict[str, Any]


class Journal:
    """Entries by kind and key. Nothing is written before `open`, nor without a path."""

    def __init__(self, path: Path | None, failed: Callable[[str], None]) -> None:
        """`failed` is told once why nothing can be written: a successor will know nothing then."""
        self._path, self._failed = path, failed
        self._header = ""
        self._lines: dict[tuple[str, str], str] = {}
        self._room = 0  # for so many more lines; what a predecessor wrote may end within one
        self._broken = False

    def open(self, where: dict[str, str]) -> None:
        """Begin, with what a predecessor in the same circumstances has left; anything else is dropped."""
        self._header = json.dumps(where)
        try:
            header, *lines = self._path.read_text(encoding="utf-8").splitlines() if self._path else [""]
        except (OSError, ValueError):
            return
        if header == self._header:
            for line in lines:
                if (entry := _entry(line)) and entry.values:
                    self._lines[entry.kind, entry.key] = line
                elif entry:
                    self._lines.pop((entry.kind, entry.key), None)

    def entries(self, kind: str) -> Iterator[Entry]:
        for line in list(self._lines.values()):
            if (entry := _entry(line)) and entry.kind == kind:
                yield entry

    def put(self, kind: str, key: str, **values: Any) -> None:
        """There must be values."""
        self._lines[kind, key] = line = json.dumps([kind, key, values])
        self._write(line)

    def drop(self, kind: str, key: str) -> None:
        if self._lines.pop((kind, key), None) is not None:
            self._write(json.dumps([kind, key, {}]))

    def _write(self, line: str) -> None:
        if self._path is None or not self._header or self._broken:
            return
        try:
            if not self._lines:
                self._path.unlink(missing_ok=True)
                self._room = 0
            elif self._room and self._append(self._path, line):
                self._room -= 1
            else:
                write_atomically(self._path, "\n".join([self._header, *self._lines.values(), ""]), sync=False)
                self._room = max(len(self._lines), MIN_ROOM)
        except OSError as e:
            self._broken = True
            self._failed(f"{self._path} can't be written, no successor would know our devices: {e.strerror}")

    def _append(self, path: Path, line: str) -> bool:
        """False if the file is gone, or has no place for all of it."""
        try:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            octets = f"{line}\n".encode()
            return os.write(file, octets) == len(octets)
        finally:
            os.close(file)


def _entry(line: str) -> Entry | None:
    try:
        kind, key, values = json.loads(line)
    except (ValueError, TypeError):
        return None
    fits = isinstance(kind, str) and isinstance(key, str) and isinstance(values, dict)
    return Entry(kind, key, values) if fits else None


# -- plans as JSON; what is no plan is a ValueError, TypeError, KeyError or AttributeError --------------
def pack_wanted(wanted: Wanted) -> dict[str, Any]:
    return {
        "addresses": [[str(a.interface), _text(a.gateway)] for a in wanted.addresses],
        "routes": [[str(r.network), r.metric, r.exclude] for r in wanted.routes],
        "remote": _text(wanted.remote),
        "mtu": wanted.mtu,
        "txqueuelen": wanted.txqueuelen,
        "reroute": [wanted.reroute_ipv4, wanted.reroute_ipv6],
        "name": wanted.name,
        "place": [wanted.place.netns, wanted.place.table],
    }


def unpack_wanted(packed: dict[str, Any]) -> Wanted:
    reroute_ipv4, reroute_ipv6 = packed["reroute"]
    return Wanted(
        addresses=tuple(TunnelAddress(ip_interface(a), _address(gateway)) for a, gateway in packed["addresses"]),
        routes=tuple(WantedRoute(ip_network(n), _number(m), bool(exclude)) for n, m, exclude in packed["routes"]),
        remote=_address(packed["remote"]),
        mtu=int(packed["mtu"]),
        txqueuelen=int(packed["txqueuelen"]),
        reroute_ipv4=bool(reroute_ipv4),
        reroute_ipv6=bool(reroute_ipv6),
        name=str(packed["name"]),
        place=_place(*packed["place"]),
    )


def pack_steps(steps: list[Step]) -> list[list[Any]]:
    """Those that are told to subscribers when a device goes."""
    rows: list[list[Any]] = []
    for step in steps:
        match step:
            case AddAddress(interface, peer, routed):
                rows.append(["address", str(interface), _text(peer), None, routed])
            case AddRoute(network, gateway, metric, table):
                rows.append(["route", str(network), _text(gateway), metric, table])
    return rows


def unpack_steps(rows: list[list[Any]]) -> list[Step]:
    steps: list[Step] = []
    for kind, what, by, metric, rest in rows:
        if kind == "address":
            steps.append(AddAddress(ip_interface(what), _address(by), bool(rest)))
        else:
            steps.append(AddRoute(ip_network(what), _address(by), _number(metric), int(rest)))
    return steps


def pack_guards(guards: Collection[Guard]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for guard in guards:
        match guard:
            case str():
                rows.append([guard])
            case Barrier(network, place):
                rows.append(["barrier", str(network), place.netns, place.table])
            case Exit(network, table):
                rows.append(["exit", str(network), table])
            case Rule(table, ipv6, uids, mark, mask):
                rows.append(["rule", table, ipv6, list(uids), mark, mask])
            case Cgroup(path, table, mark):
                rows.append(["cgroup", path, table, mark])
    return sorted(rows, key=str)


def unpack_guards(rows: list[list[Any]]) -> list[Guard]:
    guards: list[Guard] = []
    for row in rows:
        match row:
            case [name] if name == OUTSIDE_DNS:
                guards.append(OUTSIDE_DNS)
            case ["barrier", network, netns, table]:
                guards.append(Barrier(ip_network(network), _place(netns, table)))
            case ["exit", network, table]:
                guards.append(Exit(ip_network(network), int(table)))
            case ["rule", table, ipv6, [first, last], mark, mask]:
                guards.append(Rule(int(table), bool(ipv6), (int(first), int(last)), int(mark), int(mask)))
            case ["cgroup", str(path), table, int(mark)] if is_cgroup(path) and mark & MARK_BITS == mark != 0:
                guards.append(Cgroup(path, int(table), mark))
            case _:
                raise ValueError("no guard")
    return guards


def _place(netns: Any, table: Any) -> Place:
    if netns and not is_name(str(netns)):
        raise ValueError("no name of a network namespace")
    return Place(str(netns), int(table))


def _text(address: Address | None) -> str:
    return "" if address is None else str(address)


def _address(text: str) -> Address | None:
    return ip_address(text) if text else None


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
