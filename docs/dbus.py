"""Write the reference in docs/dbus.md, between its two marks, from the classes of the services: `make docs`."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from ovpn3.constants import (
    BACKENDS_NAME,
    BACKENDS_PATH,
    CLIENT_NAME_PREFIX,
    CLIENT_PATH,
    CONFIG_NAME,
    CONFIG_PATH,
    LOG_NAME,
    LOG_PATH,
    NETCFG_NAME,
    NETCFG_PATH,
    SESSIONS_NAME,
    SESSIONS_PATH,
)
from ovpn3.dbus.describe import Arg
from ovpn3.dbus.dispatch import DBusObject, Rule
from ovpn3_services.backend.objects import ClientObject
from ovpn3_services.backendstart.service import Starter
from ovpn3_services.configmgr.objects import Manager, ProfileObject
from ovpn3_services.log.objects import ProxyObject, Root
from ovpn3_services.netcfg.device import NetDevice
from ovpn3_services.netcfg.objects import NetCfg
from ovpn3_services.sessionmgr.objects import Manager as SessionRoot
from ovpn3_services.sessionmgr.objects import SessionObject

PAGE = Path(__file__).with_name("dbus.md")
BEGIN, END = "<!-- reference: made by docs/dbus.py -->\n", "<!-- end of the reference -->\n"

OBJECTS: tuple[tuple[str, str, type[DBusObject]], ...] = (
    (CONFIG_NAME, CONFIG_PATH, Manager),
    (CONFIG_NAME, f"{CONFIG_PATH}/<uuid>", ProfileObject),
    (SESSIONS_NAME, SESSIONS_PATH, SessionRoot),
    (SESSIONS_NAME, f"{SESSIONS_PATH}/<uuid>", SessionObject),
    (LOG_NAME, LOG_PATH, Root),
    (LOG_NAME, f"{LOG_PATH}/proxy/<uuid>", ProxyObject),
    (NETCFG_NAME, NETCFG_PATH, NetCfg),
    (NETCFG_NAME, f"{NETCFG_PATH}/<pid>_<name>", NetDevice),
    (BACKENDS_NAME, BACKENDS_PATH, Starter),
    (f"{CLIENT_NAME_PREFIX}<pid>", CLIENT_PATH, ClientObject),
)
_SENDERS = {"default": "everybody", "root": "root", "@USER@": "service account"}


def reference() -> str:
    return "\n".join(line for name, path, kind in OBJECTS for line in _object(name, path, kind)) + "\n"


def page() -> str:
    """The page as it should be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{before}{BEGIN}\n{reference()}\n{END}{rest.partition(END)[2]}"


def _object(name: str, path: str, kind: type[DBusObject]) -> Iterator[str]:
    yield f"### `{path}`"
    yield f"\nOf `{name}`, interface `{kind.interface}`. {_text(kind.__doc__)}\n"
    if kind.methods:
        yield "| method | takes | gives | whom it answers | what it does |"
        yield "|---|---|---|---|---|"
        for m in kind.methods.values():
            takes = [*_arguments(m.takes), *["descriptor"] * (m.fd == "in")]
            gives = [*_arguments(m.gives), *["descriptor"] * (m.fd == "out")]
            who = _narrowed(_who(m.rule), _senders(path if "<pid>" in name else name, m.name))
            yield _row(f"`{m.name}`", ", ".join(takes), ", ".join(gives), who, _text(m.function.__doc__))
        yield ""
    if kind.properties:
        yield "| property | type | who reads it | who writes it | what it is |"
        yield "|---|---|---|---|---|"
        for p in kind.properties.values():
            type_ = f"`{p.wire}`" if p.wire == p.type else f"`{p.wire}`, announced as `{p.type}`"
            writer = _who(p.write) if p.write else ""
            yield _row(f"`{p.name}`", type_, _who(p.read), writer, _text(p.getter.__doc__))
        yield ""
    if kind.signals:
        yield "| signal | arguments |"
        yield "|---|---|"
        for s in kind.signals:
            yield _row(f"`{s.name}`", ", ".join(_spelt(*a.rsplit(":", 1)) for a in s.spec.split()))
        yield ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _arguments(arguments: tuple[Arg, ...]) -> list[str]:
    return [_spelt(a.name, a.type) for a in arguments]


def _spelt(name: str, type_: str) -> str:
    return f"{name} `{type_}`"


def _text(docstring: str | None) -> str:
    return " ".join((docstring or "").split()).replace("<", "&lt;")


def _who(rule: Rule) -> str:
    """A rule in words: the first sentence of what it says of itself."""
    first = _text(rule.__doc__).split(":")[0].rstrip(".")
    return first[:1].lower() + first[1:]


def _narrowed(who: str, senders: set[str]) -> str:
    """Whom an object answers, and whom the bus policy lets through, unless that says no more."""
    if "everybody" in senders or senders == {word for word in _SENDERS.values() if word in who}:
        return who
    return f"{who} (bus: {', '.join(sorted(senders))})"


def _senders(target: str, member: str) -> set[str]:
    """Whom the shipped bus policy lets call a method of a bus name, or for client processes of a path."""
    return {
        _SENDERS[policy.get("user") or policy.get("context") or ""]
        for file in files("ovpn3_services").joinpath("data/dbus-1/system.d").iterdir()
        for policy in ET.fromstring(re.sub("<!DOCTYPE.*?>", "", file.read_text(), flags=re.DOTALL))
        for rule in policy.iter("allow")
        if rule.get("send_member") == member and target in (rule.get("send_destination"), rule.get("send_path"))
    }


if __name__ == "__main__":
    PAGE.write_text(page())
