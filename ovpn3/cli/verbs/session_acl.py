"""`session-acl`: who may see, use and follow a session."""

from ovpn3.cli.accounts import change_access
from ovpn3.cli.command import JSON, AccessFailed, Command, CommandError, Option, Options
from ovpn3.cli.selection import SESSION_OPTIONS, chosen_session, system_bus
from ovpn3.cli.text import to_json, user_lines, user_name, yes_no
from ovpn3.proxies.session import Session

WORDS = {"true": True, "false": False}
OPTIONS = (
    Option("show", "s", help="Show who has access"),
    Option("grant", "G", "UID|username", "Give a user access; may be repeated", values="users"),
    Option("revoke", "R", "UID|username", "Take a user's access back; may be repeated", values="users"),
    Option("public-access", "", "BOOL", "Give everybody access", values=tuple(WORDS)),
    Option("allow-log-access", "", "BOOL", "Users with access may follow the log", values=("false", "true")),
)


# Properties that --show --json has.
_SHOWN = ("owner", "public_access", "restrict_log_access", "acl")


async def run(options: Options) -> int:
    if not any(options.has(o.name) for o in OPTIONS):
        raise CommandError("nothing to do: see --help")
    as_json = options.json_of_show([o.name for o in OPTIONS])
    public = options.get("public-access")
    if public not in ("", *WORDS):
        raise AccessFailed(f"--public-access takes true or false, not {public!r}")
    log_access = options.flag("allow-log-access") if options.has("allow-log-access") else None
    async with system_bus() as bus:
        session = await chosen_session(bus, options)
        granted = await change_access("granted to", session.grant, options.all("grant"))
        revoked = await change_access("revoked from", session.revoke, options.all("revoke"))
        if public:
            await session.set("public_access", "b", WORDS[public])
            print(f"Public access: {yes_no(WORDS[public])}")
        if log_access is not None:
            await session.set("restrict_log_access", "b", not log_access)
            print(f"Users granted log access: {yes_no(log_access)}")
        if options.has("show"):
            await _show(session, as_json)
    if not (granted and revoked):
        raise AccessFailed("not every change was made")
    return 0


async def _show(session: Session, as_json: bool) -> None:
    values = await session.get_all()
    if "acl" not in values:
        raise CommandError("you may not see who has access")
    if as_json:
        return print(to_json({"path": session.path} | {name: values[name] for name in _SHOWN}))
    fields = {
        "Owner": f"({values['owner']})  {user_name(values['owner'], '(unknown)')}",
        "Public access": yes_no(values["public_access"]),
        "Users granted log access": yes_no(not values["restrict_log_access"]),
    }
    for label, value in fields.items():
        print(f"{label:>26}: {value}")
    if not values["public_access"]:
        first, *rest = user_lines(values["acl"])
        print("\n".join([f"{first:>26}", *(f"{'':28}{line}" for line in rest)]))


ABOUT = """\
The owner of a session may let other users see and manage it. They can't follow its log unless `--allow-log-access`
lets them. The exit code is 3 if access could not be given or taken.

    openvpn3 session-acl --config office --grant alice --allow-log-access true
"""
COMMAND = Command(run, (*SESSION_OPTIONS, *OPTIONS, JSON), about=ABOUT)
