"""Settings of netcfg: the command line, and <state-dir>/netcfg.json which overrides it."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from ovpn3.errors import ConfigurationRefused
from ovpn3.settingsfile import flag, read
from ovpn3_services.common.commandline import BadArgument, Options
from ovpn3_services.common.service import command_line, duration, log_level

PROG = "openvpn3-service-netcfg"
FILE_NAME = "netcfg.json"


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
}


def apply_file(options: Options) -> list[str]:
    """Override the options by the settings file. What is wrong there is left out; the complaints are returned."""
    path = config_file(options)
    complaints = []
    try:
        settings = (path and read(Path(path))) or {}
    except ConfigurationRefused as e:
        complaints.append(str(e))
        settings = {}
    if settings.get("resolv_conf_file") or flag(settings.get("systemd_resolved")):
        options.resolv_conf, options.systemd_resolved, options.detect_resolver = "", False, False
    for field, value in settings.items():
        if field not in _FIELDS:
            continue
        option, value_of = _FIELDS[field]
        try:
            setattr(options, option, value_of(value))
        except ValueError as e:
            complaints.append(f"{path}: {field} is ignored: {e}")
    return complaints
