"""`configs-list`: the profiles we may see."""

from typing import Any

from ovpn3.cli.command import JSON, BadValue, Command, Option, Options
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import local_time, one_line, to_json, user_name, wrapped
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.config import Configuration, ConfigurationManager

RULE = "-" * 78
HEADING = f"""\
Configuration path
{"Imported":<32}{"Last used":<26}Used
{"Configuration Name":<58}Owner
Tags"""  # of --verbose
INVALID = "!! "  # before the name of a profile that can't be used
OPTIONS = (
    Option("count", help="Only say how many there are"),
    JSON,
    Option("verbose", "v", help="With paths, owners and tags"),
    Option("filter-config", "", "NAME-PREFIX", "Only those whose name starts so", values="config-names"),
    Option("filter-tag", "", "TAG-VALUE", "Only those with this tag"),
    Option("filter-owner", "", "OWNER", "Only those of this user", values="users"),
)


async def run(options: Options) -> int:
    options.exclusive("json", "verbose", error=BadValue)
    options.exclusive("json", "count", error=BadValue)
    options.exclusive("filter-tag", "filter-owner", error=BadValue)
    async with system_bus() as bus:
        profiles = await _profiles(bus, options)
    if options.has("json"):
        print(to_json({path: _to_json(values) for path, values in profiles.items()}))
    elif options.has("count"):
        print(f"Configurations found: {len(profiles)}")
    elif options.has("verbose"):
        blocks = ["\n".join(_long(path, values)) + "\n" for path, values in profiles.items()]
        print(f"{HEADING}\n{RULE}\n" + "\n".join(blocks) + RULE)
    else:
        rows = [f"{_name(v)}{local_time(v['last_used_timestamp']) or '-'}" for v in profiles.values()]
        print("\n".join([f"{'Configuration Name':<58}Last used", RULE, *rows, RULE]))
    return 0


async def _profiles(bus: Bus, options: Options) -> dict[str, dict[str, Any]]:
    """Properties by path, of those that pass the filters, sorted by name; `invalid_reason` is put to them."""
    manager = ConfigurationManager(bus)
    if options.has("filter-tag"):
        found = await manager.by_tag(options.get("filter-tag"))
    elif options.has("filter-owner"):
        found = await manager.by_owner(options.get("filter-owner"))
    else:
        found = await manager.available()
    profiles = {}
    for profile in found:
        try:
            values = await profile.get_all()
        except RemoteError:
            continue  # removed meanwhile
        if values["name"].startswith(options.get("filter-config")):
            profiles[profile.path] = values | {"invalid_reason": await invalid_reason(profile, values)}
    return dict(sorted(profiles.items(), key=lambda item: (item[1]["name"], item[0])))


async def invalid_reason(profile: Configuration, values: dict[str, Any]) -> str:
    """Why no session can be started with it, empty if one can; `values` are its properties."""
    if values["valid"]:
        return ""
    try:
        await profile.validate()
    except RemoteError as e:
        return one_line(e)
    return ""


def _name(values: dict[str, Any]) -> str:
    """As a column; a longer one is not cut off, and parted from the next all the same."""
    return f"{('' if values['valid'] else INVALID) + one_line(values['name']):<57} "


def _long(path: str, values: dict[str, Any]) -> list[str]:
    imported, used = local_time(values["import_timestamp"]), local_time(values["last_used_timestamp"])
    lines = [
        path,
        f"{imported:<32}{used:<26}{values['used_count']}",
        f"{_name(values)}{user_name(values['owner'])}",
    ]
    if values["invalid_reason"]:
        lines.append(f"Invalid: {values['invalid_reason']}")
    return [*lines, wrapped("Tags", values["tags"])]


def _to_json(values: dict[str, Any]) -> dict[str, object]:
    access: dict[str, object] = {
        "owner": user_name(values["owner"]),
        "locked_down": values["locked_down"],
        "public_access": values["public_access"],
    }
    if values["acl"]:
        access["granted_access"] = [user_name(uid) for uid in values["acl"]]
    result: dict[str, object] = {
        "name": values["name"],
        "imported_tstamp": values["import_timestamp"],
        "imported": local_time(values["import_timestamp"]),
        "lastused_tstamp": values["last_used_timestamp"],
        "lastused": local_time(values["last_used_timestamp"]),
        "use_count": values["used_count"],
        "valid": values["valid"],
        "dco": values["dco"],
        "transfer_owner_session": values["transfer_owner_session"],
        "acl": access,
    }
    if not values["valid"]:
        result["invalid_reason"] = values["invalid_reason"]
    if values["tags"]:
        result["tags"] = values["tags"]
    return result


ABOUT = """\
Lists the profiles the user owns or has access to, sorted by name. `!!` stands before the name of one that can't be
used.

The JSON is an object by D-Bus path. `invalid_reason`, `tags` and `acl.granted_access` are only there if there is
something to tell.

    openvpn3 configs-list --json --filter-tag work
"""
COMMAND = Command(run, OPTIONS, about=ABOUT, refused=7)
