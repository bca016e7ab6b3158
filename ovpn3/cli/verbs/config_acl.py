"""`config-acl`: who may see, use and change a profile."""

from ovpn3.cli.accounts import change_access
from ovpn3.cli.command import JSON, AccessFailed, Command, CommandError, Option, Options
from ovpn3.cli.prompt import confirmed
from ovpn3.cli.selection import PROFILE_OPTIONS, chosen_profile, system_bus
from ovpn3.cli.text import one_line, to_json, user_lines, user_name, yes_no
from ovpn3.proxies.config import Configuration

OPTIONS = (
    Option("show", "s", help="Show who has access"),
    Option("grant", "G", "UID|username", "Give a user access; may be repeated", values="users"),
    Option("revoke", "R", "UID|username", "Take a user's access back; may be repeated", values="users"),
    Option("public-access", "", "BOOL", "Give everybody access", values=("false", "true")),
    Option("transfer-owner-session", "T", "BOOL", "Sessions belong to the profile's owner", values=("false", "true")),
    Option("lock-down", "", "BOOL", "Users with access may not read the profile", values=("false", "true")),
    Option("seal", "S", help="Make the profile read-only for good"),
)


# Properties that --show --json has.
_SHOWN = ("name", "owner", "readonly", "locked_down", "transfer_owner_session", "public_access", "acl")


async def run(options: Options) -> int:
    if not any(options.has(o.name) for o in OPTIONS):
        raise CommandError("nothing to do: see --help")
    as_json = options.json_of_show([o.name for o in OPTIONS])
    # A bad value is to be found before anything is changed. Set in this order.
    properties = {"transfer-owner-session": "transfer_owner_session", "lock-down": "locked_down"}
    properties["public-access"] = "public_access"
    wanted = {properties[name]: options.flag(name) for name in properties if options.has(name)}
    async with system_bus() as bus:
        profile = await chosen_profile(bus, options)
        granted = await change_access("granted to", profile.grant, options.all("grant"))
        revoked = await change_access("revoked from", profile.revoke, options.all("revoke"))
        for name, value in wanted.items():
            await profile.set(name, "b", value)
            print(f"{name.replace('_', ' ').capitalize()}: {yes_no(value)}")
        if options.has("seal"):
            await _seal(profile)
        if options.has("show"):
            await _show(profile, as_json)
    if not (granted and revoked):
        raise AccessFailed("not every change was made")
    return 0


async def _seal(profile: Configuration) -> None:
    if await confirmed("The profile becomes read-only, which can't be undone."):
        await profile.seal()
        print("Configuration sealed.")
    else:
        print("Nothing was sealed.")


async def _show(profile: Configuration, as_json: bool) -> None:
    values = await profile.get_all()
    if "acl" not in values:
        raise CommandError("you may not see who has access")
    if as_json:
        return print(to_json({"path": profile.path} | {name: values[name] for name in _SHOWN}))
    fields = {
        "Configuration path": profile.path,
        "Name": one_line(values["name"]),
        "Owner": f"({values['owner']})  {user_name(values['owner'], '(unknown)')}",
        "Read-only": yes_no(values["readonly"]),
        "Locked down": yes_no(values["locked_down"]),
        "Ownership transfer": yes_no(values["transfer_owner_session"]),
        "Public access": yes_no(values["public_access"]),
    }
    for label, value in fields.items():
        print(f"{label:>20}: {value}")
    if not values["public_access"]:
        first, *rest = user_lines(values["acl"])
        print("\n".join([first, *(f"{'':22}{line}" for line in rest)]))


ABOUT = """\
The owner of a profile may give other users access to it, who may then see it and start sessions with it. They can't
read what is in it once it is locked down. `--seal` makes it read-only for everybody, for good; it asks for the word
YES.

Changes are made in this order: grant, revoke, transfer, lock down, public access, seal; then it is shown. The exit
code is 3 if access could not be given or taken.

    openvpn3 config-acl --config office --grant alice --lock-down true --show
"""
COMMAND = Command(run, (*PROFILE_OPTIONS, *OPTIONS, JSON), about=ABOUT, refused=7)
