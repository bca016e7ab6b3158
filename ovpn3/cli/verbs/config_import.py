"""`config-import`: store a profile with the configuration manager."""

import sys

from ovpn3.cli.command import Command, CommandError, Option, Options
from ovpn3.cli.selection import system_bus
from ovpn3.cli.source import read_profile
from ovpn3.errors import RemoteError
from ovpn3.proxies.config import ConfigurationManager

OPTIONS = (
    Option("config", "c", "CFG-FILE", "File of the profile", values="profile-files"),
    Option("name", "n", "NAME", "Name of the profile; default: as the file is given"),
    Option("persistent", "p", help="Keep it when the configuration manager ends"),
    Option("tag", "", "TAG-NAME", "Tag of the profile; may be repeated"),
)


async def run(options: Options) -> int:
    file = options.get("config")
    if not file:
        raise CommandError("which file? Give --config")
    source = read_profile(file)
    async with system_bus() as bus:
        manager = ConfigurationManager(bus)
        name = options.get("name", file)
        profile = await manager.import_profile(name, source.text, persistent=options.has("persistent"))
        if source.persist_tun:
            await profile.set_override("persist-tun", True)
        for tag in options.all("tag"):
            try:
                await profile.add_tag(tag)
            except RemoteError as e:
                print(f"tag {tag!r} not added: {e}", file=sys.stderr)
        print(f"Configuration imported.  Configuration path: {profile.path}")
        if source.missing:
            print(f"The profile can't be used as it is: {'; '.join(source.missing)}", file=sys.stderr)
    return 0


ABOUT = """\
Reads a profile and hands it to the configuration manager, under the name of its file or the one given. What the
profile names (`ca`, `cert`, `key` and others) is read now, beside the profile and with the user's own rights, and
stored in it.

A profile that lacks something, such as `remote`, is imported with a warning; one that can't be understood is refused
with file, line and option. With `--persistent` it outlives the configuration manager and the machine's next start.

    openvpn3 config-import --config client.ovpn --name office --persistent
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
