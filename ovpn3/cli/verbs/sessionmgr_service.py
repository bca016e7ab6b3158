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
COLUMNS = "{:<18} {:<28} {:<21} {}"


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
    print(COLUMNS.format("Device", "Created", "Owner", "PID"))
    for values in sessions:
        print(RULE)
        device = f"{one_line(values['device_name'])}: " if values.get("device_name") else " - "
        created, owner = local_time(values["session_created"]), user_name(values["owner"])
        print(COLUMNS.format(device, created, owner, values["backend_pid"]))
        if mode == "list-sessions-verbose":
            _more(values)
    print(RULE)
    return 0


async def _values(session: Session) -> dict[str, Any]:
    """Empty if it has just ended."""
    try:
        return {"path": session.path} | await session.get_all()
    except RemoteError:
        return {}


def _more(values: dict[str, Any]) -> None:
    protocol, address, port = values.get("connected_to") or ("", "", 0)
    fields = {
        "Session path": values["path"],
        "Config name": one_line(values["config_name"]),
        "Status": status_text(values["status"]),
        "Connected to": f"{one_line(protocol)}:{one_line(address)}:{port}" if address else "",
    }
    for label, value in fields.items():
        if value:
            print(f"    {label:>12}: {value}")


ABOUT = """\
Lists the sessions of all users; users themselves see their own with `openvpn3 sessions-list`. Only root can do this.
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
