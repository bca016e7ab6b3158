"""Settings of netcfg: the command line, and <state-dir>/netcfg.json which overrides it."""

import argparse
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from ovpn3.errors import ConfigurationRefused
from ovpn3.settingsfile import flag, read
from ovpn3_services.common.service import argument_parser, duration, log_level

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
        raise argparse.ArgumentTypeError(f"a mark is 0 to {2**32 - 1}, not {text}")
    return value


def parser() -> argparse.ArgumentParser:
    options = argument_parser(PROG, level=4, idle_exit=5)
    resolver = options.add_mutually_exclusive_group()
    resolver.add_argument("--resolv-conf", default="", metavar="FILE", help="put DNS settings into this file")
    resolver.add_argument("--systemd-resolved", action="store_true", help="give DNS settings to systemd-resolved")
    resolver.add_argument(
        "--detect-resolver", action="store_true", help="find out whose DNS settings count, each time there are any"
    )
    options.add_argument(
        "--redirect-method",
        type=RedirectMethod,
        default=RedirectMethod.HOST_ROUTE,
        metavar="METHOD",
        help="keep VPN servers out of the tunnel by host-route (default) or bind-device; or none",
    )
    options.add_argument("--set-somark", type=mark, default=-1, metavar="MARK", help="mark of VPN sockets")
    options.add_argument("--state-dir", default="", metavar="DIR", help=f"read {FILE_NAME} there")
    return options


def config_file(options: argparse.Namespace) -> str:
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


def apply_file(options: argparse.Namespace) -> list[str]:
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
        except (ValueError, argparse.ArgumentTypeError) as e:
            complaints.append(f"{path}: {field} is ignored: {e}")
    return complaints
