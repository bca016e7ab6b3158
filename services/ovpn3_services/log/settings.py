"""Settings of the log service: the command line, and <state-dir>/log-service.json which overrides it."""

import argparse
import json
from pathlib import Path

from ovpn3_services.common.files import write_atomically
from ovpn3_services.common.service import argument_parser, log_level
from ovpn3_services.common.settingsfile import flag, load

FILE_NAME = "log-service.json"
DEFAULT_FACILITY = "LOG_DAEMON"
FACILITIES = (
    *("LOG_KERN", "LOG_USER", "LOG_MAIL", "LOG_DAEMON", "LOG_AUTH", "LOG_SYSLOG", "LOG_LPR", "LOG_NEWS", "LOG_UUCP"),
    *("LOG_CRON", "LOG_AUTHPRIV", "LOG_FTP"),
    *(f"LOG_LOCAL{n}" for n in range(8)),
)
_METHODS = ("journald", "syslog", "log_file")
# JSON field -> option, where they differ.
_OPTIONS = {"log_file_colour": "colour", "log_dbus_details": "service_log_dbus_details"}
_FLAGS = ("journald", "syslog", "log_file_colour", "log_dbus_details", "timestamp", "no_logtag_prefix")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Options with the settings file applied; `complaints` says what is wrong with that."""
    parser = argument_parser("openvpn3-service-log", idle_exit=10)
    parser.add_argument("--timestamp", action="store_true", help="begin each line with date and time")
    parser.add_argument("--journald", action="store_true", help="write to the journal")
    parser.add_argument("--syslog", action="store_true", help="write to syslog")
    parser.add_argument("--syslog-facility", choices=FACILITIES, default=DEFAULT_FACILITY, metavar="FACILITY")
    parser.add_argument("--no-logtag-prefix", action="store_true", help="no {tag} before the message (journald)")
    parser.add_argument("--service-log-dbus-details", action="store_true", help="log who sent what from where")
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help=f"keep {FILE_NAME} there")
    options = parser.parse_args(argv)
    if sum(bool(getattr(options, m)) for m in _METHODS) > 1:
        parser.error("--journald, --syslog and --log-file exclude each other")
    if options.colour and (options.journald or options.syslog):
        parser.error("--colour goes with a file or standard output")
    options.complaints = apply_file(options)
    return options


def config_file(options: argparse.Namespace) -> Path | None:
    return options.state_dir / FILE_NAME if options.state_dir else None


def apply_file(options: argparse.Namespace) -> list[str]:
    """Override the options by the settings file; what can't be used there is left out and told."""
    settings, complaint = load(config_file(options))
    complaints = [complaint] if complaint else []
    if any(flag(settings.get(m)) for m in _METHODS):
        options.journald, options.syslog, options.log_file = False, False, ""
    for name in _FLAGS:
        if name in settings:
            setattr(options, _OPTIONS.get(name, name), flag(settings[name]))
    try:
        if "log_level" in settings:
            options.log_level = log_level(str(settings["log_level"]))
        if "idle_exit" in settings:
            options.idle_exit = max(int(str(settings["idle_exit"])), 0)
        options.log_file = str(settings.get("log_file", options.log_file))
        if (facility := settings.get("syslog_facility", options.syslog_facility)) in FACILITIES:
            options.syslog_facility = facility
        else:
            complaints.append(f"syslog_facility is ignored: {facility!r} is none")
    except (ValueError, argparse.ArgumentTypeError) as e:
        complaints.append(f"{FILE_NAME}: {e}")
    return complaints


def save(options: argparse.Namespace) -> None:
    """Write what is in force, in the original's form: booleans that are false are absent, numbers are texts."""
    path = config_file(options)
    if path is None:
        return
    settings: dict[str, object] = {n: True for n in _FLAGS if getattr(options, _OPTIONS.get(n, n))}
    settings |= {"log_level": str(options.log_level), "idle_exit": str(options.idle_exit)}
    if options.log_file:
        settings["log_file"] = options.log_file
    if options.syslog:
        settings["syslog_facility"] = options.syslog_facility
    write_atomically(path, json.dumps(settings, indent="\t", sort_keys=True) + "\n")
