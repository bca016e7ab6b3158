"""Write the reference in docs/api.md, between its two marks, from the classes it names: `make docs`."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovpn3.dbus.bus import Bus
from ovpn3.proxies import attention, watch
from ovpn3.proxies.blocking import Blocking
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.session import Session, SessionManager, Status

PAGE = Path(__file__).with_name("api.md")
BEGIN, END = "<!-- reference: made by docs/api.py -->\n", "<!-- end of the reference -->\n"

_NOT_MADE_BY_CALL = (Bus, watch.Watch)
_PROPERTIES = ("get", "get_all", "set")
_QUESTIONS = ("ready", "connect", "pause", "resume", "restart", "disconnect", "statistics")
# What is public, in this order; of a class its methods, all that it defines if none are named.
API: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (Bus, ("connect", "close", "lost")),
    (ConfigurationManager, ("import_profile", "available", "by_name", "by_tag", "by_owner", "transfer_ownership")),
    (
        Configuration,
        (
            *("validate", "fetch", "fetch_json", "set_override", "unset_override", "add_tag", "remove_tag"),
            *("grant", "revoke", "seal", "remove", *_PROPERTIES),
        ),
    ),
    (SessionManager, ("new_tunnel", "available", "by_config_name", "by_interface", "managed_interfaces")),
    (Session, ("status", *_QUESTIONS, "grant", "revoke", *_PROPERTIES)),
    (Status, ()),
    (attention.Slot, ()),
    (attention.unanswered, ()),
    (attention.provide, ()),
    (watch.watching, ()),
    (watch.Watch, ("next",)),
    (watch.LogLine, ()),
    (watch.Ended, ()),
    (Blocking, ("__call__", "within")),
)


def reference() -> str:
    return "\n".join(line for what, methods in API for line in _entry(what, methods))


def page() -> str:
    """The page as it should be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{before}{BEGIN}\n{reference()}\n{END}{rest.partition(END)[2]}"


def _entry(what: Any, methods: tuple[str, ...]) -> Iterator[str]:
    yield f"### `{what.__module__}.{what.__name__}{'' if what in _NOT_MADE_BY_CALL else _signature(what)}`\n"
    if text := _text(what):
        yield f"{text}\n"
    if methods:
        yield "| method | what it does |"
        yield "|---|---|"
        for name in methods:
            method = inspect.getattr_static(what, name)
            function = method.__func__ if isinstance(method, classmethod) else method
            yield f"| `{name}{_signature(function)}` | {_text(function)} |"
        yield ""


def _signature(what: Any) -> str:
    """As it is called: without self, modules and quotes."""
    signature = inspect.signature(what)
    given = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    text = str(signature.replace(parameters=given)).replace(" -> None", "").replace("~T", "T")
    text = re.sub(r"'(\w+)'", r"\1", text)
    return re.sub(r"\b(?:[a-z_0-9]+\.)+(?=[A-Z])", "", text).replace("|", "\\|")


def _text(what: Any) -> str:
    own = what.__doc__ or ""
    return "" if own.startswith(f"{what.__name__}(") else " ".join(own.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
