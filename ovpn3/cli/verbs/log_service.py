"""`log-service`: how and where the log service logs."""

from ovpn3.cli import servicefile
from ovpn3.cli.command import JSON, Command, Option, Options
from ovpn3.cli.selection import system_bus
from ovpn3.cli.servicefile import ServiceFile
from ovpn3.cli.text import one_line, to_json
from ovpn3.proxies.log import Log

FILE = ServiceFile(
    {
        "journald": "journald",
        "syslog": "syslog",
        "log-file": "log_file",
        "syslog-facility": "syslog_facility",
        "colour": "log_file_colour",
        "log-level": "log_level",
        "service-log-dbus-details": "log_dbus_details",
        "timestamp": "timestamp",
        "no-logtag-prefix": "no_logtag_prefix",
        "idle-exit": "idle_exit",
    },
    ("journald", "syslog", "log_file_colour", "log_dbus_details", "timestamp", "no_logtag_prefix"),
    ("journald", "syslog", "log_file"),
)
BOOLEAN = ("false", "true")
OPTIONS = (
    Option("log-level", "", "LEVEL", "Write lines up to this level", values=tuple("0123456")),
    Option("timestamp", "", "BOOL", "Begin each line with date and time", values=BOOLEAN),
    Option("dbus-details", "", "BOOL", "Log who sent what from where", values=BOOLEAN),
    Option("enable-log-prefix", "", "BOOL", "Begin lines in the journal with their sender's tag", values=BOOLEAN),
    Option("list-subscriptions", help="List who is attached"),
    JSON,
    # Those that are set while the service runs, it writes itself.
    *FILE.options(unoffered=("log-level", "timestamp", "service-log-dbus-details", "no-logtag-prefix")),
)
# Option, property, label.
SWITCHES = (
    ("timestamp", "timestamp", "Log timestamps"),
    ("enable-log-prefix", "log_prefix_logtag", "Log tag prefix enabled"),
    ("dbus-details", "log_dbus_details", "Log D-Bus details"),
)
# Properties that --json has.
SHOWN = ("log_method", "num_attached", "log_level", "config_file", *(prop for _, prop, _ in SWITCHES))
STATES = ("disabled", "enabled")
COLUMNS = "{:<22} {:>8} {:<12} {:<36} {}"
RULE = "-" * 120


async def run(options: Options) -> int:
    wanted = {prop: options.flag(name) for name, prop, _ in SWITCHES if options.has(name)}
    level = options.log_level() if options.has("log-level") else None
    if any(options.has(mode) for mode in servicefile.MODES) and options.has("config-file-override"):
        return FILE.edit("", options)
    async with system_bus() as bus:
        log = Log(bus)
        if any(options.has(mode) for mode in servicefile.MODES):
            return FILE.edit(str(await log.get("config_file")), options)
        if options.has("list-subscriptions"):
            return await _list(log, options.has("json"))
        before = await log.get_all()
        for prop, value in wanted.items():
            if value != before[prop]:
                await log.set(prop, "b", value)
        if level is not None and level != before["log_level"]:
            await log.set("log_level", "u", level)
        now = await log.get_all()
    if options.has("json"):
        print(to_json({name: now[name] for name in SHOWN}))
    else:
        _show(before, now)
    return 0


def _show(before: dict[str, object], now: dict[str, object]) -> None:
    lines = [
        ("Log method", one_line(now["log_method"]), ""),
        ("Attached log subscriptions", str(now["num_attached"]), ""),
    ]
    for _, prop, label in SWITCHES:
        if prop != "log_prefix_logtag" or now["log_method"] == "journald":
            lines.append((label, STATES[bool(now[prop])], STATES[bool(before[prop])]))
    lines.append(("Current log level", str(now["log_level"]), str(before["log_level"])))
    for label, value, old in lines:
        print(f"{label:>26}: {value}{f' (was {old})' if old and old != value else ''}")


async def _list(log: Log, as_json: bool) -> int:
    found = [(tag, await log.bus.pid_of(name), name, *rest) for tag, name, *rest in await log.subscribers()]
    if as_json:
        fields = ("tag", "pid", "bus_name", "interface", "path")
        print(to_json([dict(zip(fields, row, strict=True)) for row in found]))
        return 0
    if not found:
        print("No attached log subscriptions")
        return 0
    print(COLUMNS.format("Tag", "PID", "Bus name", "Interface", "Object path"))
    print(RULE)
    for tag, pid, name, interface, path in found:
        print(COLUMNS.format(*map(one_line, (tag, pid or "", name, interface, path))).rstrip())
    print(RULE)
    return 0


ABOUT = """\
Shows how the log service logs, after the changes asked for. Those hold at once, and are kept in its settings file. The
other options show and edit that file, which the service reads when it starts the next time: `log-service.json` in its
state directory.

    openvpn3-admin log-service --log-level 4 --timestamp true
    openvpn3-admin log-service --config-set journald true
"""
COMMAND = Command(run, OPTIONS, "[VALUE]", about=ABOUT)
