"""`sessionmgr-service`: the sessions of all users."""

from typing import Any

from ovpn3.cli.command import JSON, Command, Option, Options
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import local_time, one_line, status_text, to_json, user_name
from ovpn3.cli.verbs.install import check_root
from ovpn3.cli.verbs.sessions_list import as_json
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import Session, SessionManager

OPTIONS = (
    Option("list-sessions", help="List the sessions of all users"),
    Option("list-sessions-verbose", help="The same with more of each"),
    JSON,
)
RULE = "-" * 79
COLUMNS = "{:<18}{:<28}{:<21}{}"
HEADING = COLUMNS.format("Device", "Created", "Owner", "PID")
VERBOSE_HEADING = "\n".join(
    (
        "Device:           Session path",
        COLUMNS.format("", "Created", "Owner", "PID"),
        "                  Config name                 Status",
        "                  Session details",
    )
)


async def run(options: Options) -> int:
    check_root()
    mode = options.exclusive("list-sessions", "list-sessions-verbose")
    if not mode:
        print("Nothing to do: see --help")
        return 0
    async with system_bus() as bus:
        sessions = [values for session in await SessionManager(bus).everybodys() if (values := await _values(session))]
    if options.has("json"):
        print(to_json({values["path"]: as_json(values) for values in sessions}))
        return 0
    if not sessions:
        print("No sessions available")
        return 0
    if mode == "list-sessions":
        print("\n".join((HEADING, RULE, *map(_line, sessions), RULE)))
    else:
        print("\n".join((VERBOSE_HEADING, RULE, "\n\n".join(map(_block, sessions)), RULE)))
    return 0


async def _values(session: Session) -> dict[str, Any]:
    """Empty if it has just ended."""
    try:
        return {"path": session.path} | await session.get_all()
    except RemoteError:
        return {}


def _line(values: dict[str, Any], first: str = "") -> str:
    created, owner = local_time(values["session_created"]), user_name(values["owner"])
    return COLUMNS.format(first or _device(values), created, owner, values["backend_pid"])


def _device(values: dict[str, Any]) -> str:
    return f"{one_line(values['device_name'])}: " if values.get("device_name") else " - "


def _block(values: dict[str, Any]) -> str:
    protocol, address, port = values.get("connected_to") or ("", "", 0)
    lines = [
        f"{_device(values):<18}{values['path']}",
        _line(values, " "),
        f"{'':<18}{one_line(values['config_name']):<27} {status_text(values['status'])}",
    ]
    if address:
        lines.append(f"{'':<18}Connected to: {one_line(protocol)}:{one_line(address)}:{port}")
    return "\n".join(lines)


ABOUT = """\
Lists the sessions of all users; users themselves see their own with `openvpn3 sessions-list`. Only root can do this.
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
