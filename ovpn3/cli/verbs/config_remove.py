"""`config-remove`: remove a profile for good."""

from ovpn3.cli.command import Command, Option, Options
from ovpn3.cli.prompt import confirmed
from ovpn3.cli.selection import PROFILE_OPTIONS, chosen_profile, system_bus


async def run(options: Options) -> int:
    async with system_bus() as bus:
        profile = await chosen_profile(bus, options)
        if not options.has("force") and not await confirmed("The profile will be removed, which can't be undone."):
            print("Nothing was removed.")
            return 0
        await profile.remove()
    print("Configuration removed.")
    return 0


ABOUT = """\
Removes a profile. It asks for the word YES, unless `--force` is given. Sessions that run with it go on.
"""
COMMAND = Command(run, (*PROFILE_OPTIONS, Option("force", help="Don't ask")), about=ABOUT)
