"""The D-Bus API of tests/data/dbus: api.toml is the original's, additions.toml ours beyond it."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parents[1] / "data/dbus"


def signature(arguments: str) -> str:
    """Of arguments spelt "name:type name:type"."""
    return "".join(a.split(":")[1] for a in arguments.split())


@dataclass(frozen=True)
class Method:
    name: str
    takes: str
    gives: str
    rule: str
    policy: str
    filter: str
    fd: str


@dataclass(frozen=True)
class Property:
    name: str
    type: str  # as announced
    wire: str  # as sent
    read: str
    write: str  # empty: nobody


@dataclass(frozen=True)
class Signal:
    name: str
    args: str
    to: str
    announced: bool


@dataclass
class Kind:
    """A kind of object."""

    id: str
    service: str
    path: str  # {...} is a variable part
    interface: str
    standard: dict[str, str]  # policy of the members of the standard interfaces
    methods: dict[str, Method] = field(default_factory=dict)
    properties: dict[str, Property] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    absent_methods: dict[str, Method] = field(default_factory=dict)
    absent_properties: list[str] = field(default_factory=list)

    def add(self, table: dict[str, Any]) -> None:
        self.methods |= {n: _method(n, row) for n, row in table.get("methods", {}).items()}
        self.absent_methods |= {n: _method(n, row) for n, row in table.get("absent_methods", {}).items()}
        self.absent_properties += table.get("absent_properties", [])
        for n, row in table.get("properties", {}).items():
            self.properties[n] = Property(
                n, row["type"], row.get("wire", row["type"]), row["read"], row.get("write", "")
            )
        for n, row in table.get("signals", {}).items():
            self.signals[n] = Signal(n, row["args"], row["to"], row.get("announced", True))


def _method(name: str, row: dict[str, str]) -> Method:
    return Method(
        name,
        row.get("in", ""),
        row.get("out", ""),
        row.get("rule", "any"),
        row["policy"],
        row.get("filter", ""),
        row.get("fd", ""),
    )


def _tables(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads((_DATA / name).read_text())


def original() -> dict[str, Kind]:
    """The original's objects by their id."""
    found = {}
    for id_, table in _tables("api.toml").items():
        kind = found[id_] = Kind(id_, table["service"], table["path"], table["interface"], table.get("standard", {}))
        kind.add(table)
    return found


def ours() -> dict[str, Kind]:
    """The same with our additions."""
    found = original()
    for id_, table in _tables("additions.toml").items():
        found[id_].add(table)
    return found
