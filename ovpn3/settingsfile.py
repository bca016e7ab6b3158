"""The services' settings files: a JSON object, in which the original puts // comments and numbers as texts."""

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from ovpn3.errors import ConfigurationRefused

Settings = dict[str, object]

# What is written before each field, of log-service.json and of netcfg.json.
_COMMENTS = {
    "journald": "Log to the journal",
    "syslog": "Log to syslog",
    "syslog_facility": "Facility of what goes to syslog",
    "log_file": "Log to this file; stdout: is standard output",
    "log_file_colour": "Colours in the log file",
    "log_level": "Log level, 0 to 6",
    "log_dbus_details": "Log who sent what from where",
    "timestamp": "Begin each line with date and time",
    "no_logtag_prefix": "No {tag} before the message",
    "idle_exit": "Minutes without work after which the service leaves; 0 is never",
    "resolv_conf_file": "Put DNS settings into this file",
    "systemd_resolved": "Give DNS settings to systemd-resolved",
    "redirect_method": "Keep VPN servers out of the tunnel by host-route or bind-device; or none",
    "set_somark": "Mark of VPN sockets",
    "netns_allowed": "Network namespaces that users' tunnels may be put into; counts in a file of root's only",
    "route_tables_allowed": "Routing tables that users' tunnels may have; counts in a file of root's only",
    "marks_allowed": "Marks that profiles may give the socket to the server; counts in a file of root's only",
}
_COMMENT_LINE = re.compile(r"^\s*//.*$", re.MULTILINE)


def read(path: Path) -> Settings | None:
    """What the file holds, None without one; ConfigurationRefused if it can't be used."""
    return read_with_owner(path)[0]


def read_with_owner(path: Path) -> tuple[Settings | None, bool]:
    """As `read`, and whether nobody but root can have written it."""
    try:
        with path.open(encoding="utf-8") as file:
            status, text = os.fstat(file.fileno()), file.read()
        settings = json.loads(_COMMENT_LINE.sub("", text).strip() or "{}")
    except FileNotFoundError:
        return None, False
    except (OSError, ValueError, RecursionError) as e:
        raise ConfigurationRefused(f"{path} can't be read: {e}") from None
    if not isinstance(settings, dict):
        raise ConfigurationRefused(f"{path} can't be read: it is no JSON object")
    return settings, status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def dump(settings: Mapping[str, object]) -> str:
    """The text of a file that the original reads too."""
    fields = []
    for name, value in settings.items():
        comment = f"\t// {_COMMENTS[name]}\n" if name in _COMMENTS else ""
        text = json.dumps(str(value) if type(value) is int else value)
        fields.append(f"{comment}\t{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def flag(value: object) -> bool:
    """A boolean setting; files of older releases have text there, and any text meant yes."""
    return value is True or isinstance(value, str)
