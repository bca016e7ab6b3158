"""What introspection must say of our objects: the facts of tests/data/dbus/members.json."""

import json
from dataclasses import dataclass
from pathlib import Path

from dbus_fast.introspection import Arg, Node

from ovpn3.dbus.bus import Bus

_FACTS = json.loads((Path(__file__).parents[1] / "data/dbus/members.json").read_text())
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"


@dataclass(frozen=True)
class PropertyFact:
    type: str  # as announced
    wire: str  # as sent
    read: str  # who may; as `write` one of the words of the rules
    write: str  # empty: nobody


class Facts:
    """Of one object. Arguments are spelt "name:type name:type"."""

    def __init__(self, kind: str) -> None:
        facts = _FACTS[kind]
        methods = facts["methods"].items()
        self.methods: dict[str, tuple[str, str]] = {n: (takes, gives) for n, (takes, gives, _) in methods}
        self.rules: dict[str, str] = {n: rule for n, (_, _, rule) in methods}
        self.signals: dict[str, str] = facts["signals"]
        self.properties = {n: PropertyFact(*row) for n, row in facts["properties"].items()}


async def check_introspection(bus: Bus, service: str, path: str, interface: str, facts: Facts) -> None:
    """The object announces the facts and nothing else."""
    body = await bus.call(service, path, INTROSPECTABLE, "Introspect")
    (found,) = [i for i in Node.parse(body[0]).interfaces if i.name == interface]

    assert {m.name: (_spell(m.in_args), _spell(m.out_args)) for m in found.methods} == facts.methods
    assert {s.name: _spell(s.args) for s in found.signals} == facts.signals
    announced = {p.name: (p.signature, p.access.value) for p in found.properties}
    assert announced == {n: (p.type, "readwrite" if p.write else "read") for n, p in facts.properties.items()}


def _spell(arguments: list[Arg]) -> str:
    return " ".join(f"{a.name}:{a.signature}" for a in arguments)
