"""`sessions-list`: the sessions we may see, and how they are."""

from typing import Any

from ovpn3.cli.command import JSON, Command, Options
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import local_time, one_line, status_text, to_json, user_name
from ovpn3.constants import StatusMajor, StatusMinor
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.config import Configuration
from ovpn3.proxies.session import SessionManager

RULE = "-" * 77
PLACES = {"netns": "network namespace", "table": "routing table"}


async def run(options: Options) -> int:
    async with system_bus() as bus:
        sessions = await _sessions(bus)
    if options.has("json"):
        print(to_json({path: as_json(values) for path, values in sessions.items()}))
    elif sessions:
        print(RULE)
        print("\n\n".join("\n".join(_block(path, values)) for path, values in sessions.items()))
        print(RULE)
    else:
        print("No sessions available")
    return 0


async def _sessions(bus: Bus) -> dict[str, dict[str, Any]]:
    """Properties by path, oldest first; `current_name` of the profile is put to them, None where it is gone."""
    sessions = {}
    for session in await SessionManager(bus).available():
        try:
            values = await session.get_all()
        except RemoteError:
            continue  # ended meanwhile
        if "config_path" in values:  # else in public use only: no more is to be seen
            sessions[session.path] = values | {"current_name": await _current_name(bus, values["config_path"])}
    return dict(sorted(sessions.items(), key=lambda item: (item[1]["session_created"], item[0])))


async def _current_name(bus: Bus, config_path: str) -> str | None:
    try:
        return str(await Configuration(bus, config_path).get("name"))
    except RemoteError:
        return None


def _block(path: str, values: dict[str, Any]) -> list[str]:
    name, current = values["config_name"], values["current_name"]
    remark = "  (Config not available)" if current is None else f"  (Current name: {one_line(current)})"
    lines = [
        f"        Path: {path}",
        _pair("Created", local_time(values["session_created"]), "PID", str(values["backend_pid"])),
        _pair("Owner", user_name(values["owner"]), "Device", one_line(values["device_name"])),
        f" Config name: {one_line(name)}{'' if current == name else remark}",
    ]
    protocol, address, port = values["connected_to"]
    if address:
        host = f"[{address}]" if ":" in address else address
        lines.append(f"Connected to: {one_line(protocol)}:{one_line(host)}{f':{port}' if port else ''}")
    elif values["session_name"]:
        lines.append(f"Session name: {one_line(values['session_name'])}")
    if place := values.get("device_place"):  # the original's session manager knows none
        lines.append(f"       Place: {_place_text(place)}")
    return [*lines, f"      Status: {_status_text(values['status'])}"]


def _status_text(status: tuple[int, int, str]) -> str:
    """Where to authenticate tells session-auth."""
    if tuple(status[:2]) == (StatusMajor.SESSION, StatusMinor.SESS_AUTH_URL):
        return "Web authentication required to connect"
    return status_text(status)


def _place_text(place: str) -> str:
    """What the property device_place says, for people."""
    kind, _, name = one_line(place).partition(" ")
    return f"{PLACES.get(kind, kind)} {name}"


def _pair(label: str, value: str, second_label: str, second: str) -> str:
    return f"{label:>12}: {value:<38} {second_label:>6}: {second}"


def as_json(values: dict[str, Any]) -> dict[str, object]:
    """What --json says of a session with these properties."""
    major, minor, message = values["status"]
    protocol, address, port = values["connected_to"]
    return {
        "config_name": values["config_name"],
        "config_path": values["config_path"],
        "connected_to": {"protocol": protocol, "address": address, "port": port},
        "created_tstamp": values["session_created"],
        "device": values["device_name"],
        "device_place": values.get("device_place", ""),
        "owner": user_name(values["owner"]),
        "pid": values["backend_pid"],
        "session_name": values["session_name"],
        "status": {"major": major, "minor": minor, "message": message, "text": status_text(values["status"])},
    }


ABOUT = """\
Lists the sessions the user owns or has access to, the oldest first. The JSON is an object by D-Bus path.
"""
COMMAND = Command(run, (JSON,), about=ABOUT)
