"""`config-dump`: a profile as it is stored."""

import json

from ovpn3.cli.command import Command, Option, Options
from ovpn3.cli.selection import PROFILE_OPTIONS, chosen_profile, system_bus
from ovpn3.cli.text import many_lines, to_json
from ovpn3.proxies.config import Configuration

# JSON key -> property
_PROPERTIES = {
    "owner": "owner",
    "name": "name",
    "import_timestamp": "import_timestamp",
    "last_used_timestamp": "last_used_timestamp",
    "locked_down": "locked_down",
    "transfer_owner_session": "transfer_owner_session",
    "readonly": "readonly",
    "used_count": "used_count",
    "dco": "dco",
    "public_access": "public_access",
}
_UNLESS_EMPTY = ("tags", "acl", "overrides")


async def run(options: Options) -> int:
    async with system_bus() as bus:
        profile = await chosen_profile(bus, options)
        print(to_json(await _to_json(profile)) if options.has("json") else many_lines(await profile.fetch()))
    return 0


async def _to_json(profile: Configuration) -> dict[str, object]:
    content = json.loads(await profile.fetch_json())
    values = await profile.get_all()
    result = {"object_path": profile.path, "profile": [content]}
    result |= {key: values[name] for key, name in _PROPERTIES.items()}
    return result | {name: values[name] for name in _UNLESS_EMPTY if values[name]}


ABOUT = """\
Writes the profile as it was stored, with all files in it. Overrides are no part of it; they are with `--json`. What is
written holds the private key: mind who can read it.
"""
COMMAND = Command(run, (*PROFILE_OPTIONS, Option("json", "j", help="As JSON")), about=ABOUT)
