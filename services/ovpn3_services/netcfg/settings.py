"""Settings of netcfg: the command line, and <state-dir>/netcfg.json which overrides it."""

import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from ovpn3.errors import ConfigurationRefused
from ovpn3.net.namespace import is_name
from ovpn3.net.plan import MAIN_TABLE
from ovpn3.settingsfile import flag, read_with_owner
from ovpn3_services.common.commandline import BadArgument, Options
from ovpn3_services.common.service import command_line, duration, log_level

PROG = "openvpn3-service-netcfg"
FILE_NAME = "netcfg.json"
_NUMBER = r"(\d{1,10}|0x[0-9a-fA-F]{1,8})"
_NUMBERS = re.compile(f"{_NUMBER}(-{_NUMBER})?", re.ASCII)


class RedirectMethod(Enum):
    """How packets to the VPN server are kept out of the tunnel."""

    HOST_ROUTE = "host-route"
    BIND_DEVICE = "bind-device"
    NONE = "none"


def mark(text: str) -> int:
    """A socket mark, decimal or 0x…; -1 sets none."""
    value = int(text, 0)
    if not -1 <= value < 2**32:
        raise BadArgument(f"a mark is 0 to {2**32 - 1}, not {text}")
    return value


def netns_names(text: str) -> frozenset[str]:
    """Names of network namespaces, with commas between them."""
    names = _words(text)
    for name in names:
        if not is_name(name):
            raise BadArgument(f"not the name of a network namespace: {name[:60]!r}")
    return frozenset(names)


def ranges(text: str) -> tuple[range, ...]:
    """Numbers, decimal or 0x…, single ones and FIRST-LAST, with commas between them."""
    found = []
    for word in _words(text):
        match = _NUMBERS.fullmatch(word)
        if not match:
            raise BadArgument(f"not a number, nor a range FIRST-LAST of them: {word[:60]!r}")
        first, _, last = match.groups()
        found.append(range(_number(first), _number(last or first) + 1))
    return tuple(found)


def _number(text: str) -> int:
    return int(text, 16 if text.startswith("0x") else 10)


def is_table(number: int) -> bool:
    """Whether a routing table can be a tunnel's own: not those that every machine has, nor what is no number of one."""
    return 0 < number < 2**32 and number not in range(MAIN_TABLE - 1, MAIN_TABLE + 2)


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def parse(argv: list[str] | None) -> Options:
    line = command_line(PROG, level=4, idle_exit=5)
    line.value("--resolv-conf", "FILE", "put DNS settings into this file")
    line.switch("--systemd-resolved", "give DNS settings to systemd-resolved")
    line.switch("--detect-resolver", "find out whose DNS settings count, each time there are any")
    line.value(
        "--redirect-method",
        "METHOD",
        "keep VPN servers out of the tunnel by host-route (default) or bind-device; or none",
        default=RedirectMethod.HOST_ROUTE,
        read=RedirectMethod,
    )
    line.value("--set-somark", "MARK", "mark of VPN sockets", default=-1, read=mark)
    line.value(
        "--netns-allowed",
        "NAMES",
        "network namespaces that users' tunnels may be put into",
        default=frozenset(),
        read=netns_names,
    )
    line.value(
        "--route-tables-allowed",
        "NUMBERS",
        "routing tables that users' tunnels may have for themselves, as 100,200-209",
        default=(),
        read=ranges,
    )
    line.value(
        "--marks-allowed",
        "NUMBERS",
        "marks that profiles may give the socket to the server, as 32,0x100-0x1ff",
        default=(),
        read=ranges,
    )
    line.value("--state-dir", "DIR", f"read {FILE_NAME} there")
    options = line.parse(argv)
    if sum(map(bool, (options.resolv_conf, options.systemd_resolved, options.detect_resolver))) > 1:
        line.error("--resolv-conf, --systemd-resolved and --detect-resolver exclude each other")
    return options


def config_file(options: Options) -> str:
    """Path of the settings file; empty without a state directory."""
    return str(Path(options.state_dir, FILE_NAME)) if options.state_dir else ""


# JSON field -> option it overrides, reader of its value.
_FIELDS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "log_level": ("log_level", lambda value: log_level(str(value))),
    "log_file": ("log_file", str),
    "idle_exit": ("idle_exit", lambda value: duration(str(value))),
    "resolv_conf_file": ("resolv_conf", str),
    "systemd_resolved": ("systemd_resolved", flag),
    "redirect_method": ("redirect_method", RedirectMethod),
    "set_somark": ("set_somark", lambda value: mark(str(value))),
    "netns_allowed": ("netns_allowed", lambda value: netns_names(str(value))),
    "route_tables_allowed": ("route_tables_allowed", lambda value: ranges(str(value))),
    "marks_allowed": ("marks_allowed", lambda value: ranges(str(value))),
}
# What these allow, nobody else may: the account owns the directory and could put there what it likes.
_ROOTS_OWN = ("netns_allowed", "route_tables_allowed", "marks_allowed")


def apply_file(options: Options) -> list[str]:
    """Override the options by the settings file. What is wrong there is left out; the complaints are returned."""
    path = config_file(options)
    complaints = []
    settings, is_roots = None, False
    try:
        if path:
            settings, is_roots = read_with_owner(Path(path))
    except ConfigurationRefused as e:
        complaints.append(str(e))
    settings = settings or {}
    if settings.get("resolv_conf_file") or flag(settings.get("systemd_resolved")):
        options.resolv_conf, options.systemd_resolved, options.detect_resolver = "", False, False
    for field, value in settings.items():
        if field not in _FIELDS:
            continue
        if field in _ROOTS_OWN and not is_roots:
            complaints.append(f"{path}: {field} is ignored: only root may have written the file")
            continue
        option, value_of = _FIELDS[field]
        try:
            setattr(options, option, value_of(value))
        except ValueError as e:
            complaints.append(f"{path}: {field} is ignored: {e}")
    return complaints
