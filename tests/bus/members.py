"""What introspection must say of our objects: see tests/support/api.py."""

from dbus_fast.introspection import Arg, Node

from ovpn3.dbus.bus import Bus
from tests.support import api

INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"


class Facts:
    """Of one kind of object. Arguments are spelt "name:type name:type"."""

    def __init__(self, kind: str) -> None:
        found = api.ours()[kind]
        self.methods = {n: (m.takes, m.gives) for n, m in found.methods.items()}
        self.rules = {n: m.rule for n, m in found.methods.items()}
        self.signals = {n: s.args for n, s in found.signals.items() if s.announced}
        self.properties = found.properties


async def check_introspection(bus: Bus, service: str, path: str, interface: str, facts: Facts) -> None:
    """The object announces the facts and nothing else."""
    body = await bus.call(service, path, INTROSPECTABLE, "Introspect")
    check_document(body[0], interface, facts)


def check_document(document: str, interface: str, facts: Facts) -> None:
    (found,) = [i for i in Node.parse(document).interfaces if i.name == interface]

    assert {m.name: (_spell(m.in_args), _spell(m.out_args)) for m in found.methods} == facts.methods
    assert {s.name: _spell(s.args) for s in found.signals} == facts.signals
    announced = {p.name: (p.signature, p.access.value) for p in found.properties}
    assert announced == {n: (p.type, "readwrite" if p.write else "read") for n, p in facts.properties.items()}


def _spell(arguments: list[Arg]) -> str:
    return " ".join(f"{a.name}:{a.signature}" for a in arguments)
