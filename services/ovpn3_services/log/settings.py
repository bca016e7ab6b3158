"""Settings of the log service: the command line, and <state-dir>/log-service.json which overrides it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ovpn3.errors import ConfigurationRefused
from ovpn3.files import put_aside, write_atomically
from ovpn3.settingsfile import Settings, dump, flag, read
from ovpn3_services.common.commandline import BadArgument, Options
from ovpn3_services.common.service import command_line, log_level

FILE_NAME = "log-service.json"
MAX_IDLE_MINUTES = 1_000_000
DEFAULT_FACILITY = "LOG_DAEMON"
FACILITIES = (
    *("LOG_KERN", "LOG_USER", "LOG_MAIL", "LOG_DAEMON", "LOG_AUTH", "LOG_SYSLOG", "LOG_LPR", "LOG_NEWS", "LOG_UUCP"),
    *("LOG_CRON", "LOG_AUTHPRIV", "LOG_FTP"),
    *(f"LOG_LOCAL{n}" for n in range(8)),
)
_METHODS = ("syslog", "journald", "log_file")


def facility(text: str) -> str:
    if text not in FACILITIES:
        raise BadArgument(f"not a syslog facility: {text}")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _minutes(value: object) -> int:
    return min(max(int(str(value)), 0), MAX_IDLE_MINUTES)


# JSON field -> option it overrides, reader of its value.
_FIELDS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "syslog": ("syslog", flag),
    "syslog_facility": ("syslog_facility", facility),
    "journald": ("journald", flag),
    "log_file": ("log_file", _text),
    "log_file_colour": ("colour", flag),
    "log_level": ("log_level", lambda value: log_level(str(value))),
    "log_dbus_details": ("service_log_dbus_details", flag),
    "timestamp": ("timestamp", flag),
    "no_logtag_prefix": ("no_logtag_prefix", flag),
    "idle_exit": ("idle_exit", _minutes),
}


def parse(argv: list[str] | None) -> Options:
    """Options with the settings file applied; `complaints` says what is wrong with that."""
    line = command_line("openvpn3-service-log", idle_exit=10)
    line.switch("--timestamp", "begin each line with date and time")
    line.switch("--journald", "write to the journal")
    line.switch("--syslog", "write to syslog")
    line.value("--syslog-facility", "FACILITY", "of syslog", default=DEFAULT_FACILITY, read=facility)
    line.switch("--no-logtag-prefix", "no {tag} before the message (journald)")
    line.switch("--service-log-dbus-details", "log who sent what from where")
    line.value("--state-dir", "DIR", f"keep {FILE_NAME} there", default=None, read=Path)
    options = line.parse(argv)
    if sum(bool(getattr(options, m)) for m in _METHODS) > 1:
        line.error("--journald, --syslog and --log-file exclude each other")
    if options.colour and (options.journald or options.syslog):
        line.error("--colour goes with a file or standard output")
    options.switched_on = {name for name, value in vars(options).items() if value is True and name not in _METHODS}
    options.complaints = apply_file(options)
    return options


def config_file(options: Options) -> Path | None:
    return options.state_dir / FILE_NAME if options.state_dir else None


def apply_file(options: Options) -> list[str]:
    """Override the options by the settings file. What is wrong there is left out; the complaints are returned."""
    path = config_file(options)
    settings, complaints = _read(path) if path else ({}, [])
    if flag(settings.get("syslog")) or flag(settings.get("journald")) or settings.get("log_file"):
        options.syslog, options.journald, options.log_file = False, False, ""
    for field, (option, value_of) in _FIELDS.items():
        try:
            if field in settings:
                setattr(options, option, value_of(settings[field]))
        except ValueError as e:
            complaints.append(f"{path}: {field} is ignored: {e}")
    options.unknown = {field: value for field, value in settings.items() if field not in _FIELDS}
    return complaints


def _read(path: Path) -> tuple[Settings, list[str]]:
    """What the file holds, and complaints if it can't be used; it is put aside, for a later save would overwrite it."""
    try:
        return read(path) or {}, []
    except ConfigurationRefused as e:
        complaints = [str(e)]
    try:
        complaints.append(f"it is put aside as {put_aside(path).name}")
    except OSError as e:
        complaints.append(f"it can't be put aside: {e.strerror}")
    return {}, complaints


def save(options: Options) -> None:
    """Write what is in force and the fields we don't know. OSError.

    What is off or empty is absent, unless that has to overrule the command line: the original would take it for on.
    """
    if path := config_file(options):
        values = {field: getattr(options, option) for field, (option, _) in _FIELDS.items()}
        kept = {f: v for f, v in values.items() if v or type(v) is int or _FIELDS[f][0] in options.switched_on}
        write_atomically(path, dump(kept | options.unknown))
