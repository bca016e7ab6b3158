"""`config-manage`: name, tags and overrides of a profile."""

import sys
from collections.abc import Awaitable, Callable

from ovpn3.cli.command import JSON, BadValue, Command, CommandError, NotFound, Option, Options
from ovpn3.cli.selection import PROFILE_OPTIONS, chosen_profile, system_bus
from ovpn3.cli.text import one_line, to_json
from ovpn3.cli.verbs.configs_list import invalid_reason
from ovpn3.constants import OFFLOADS, OVERRIDES, SECRET_OVERRIDES
from ovpn3.dbus.bus import Bus
from ovpn3.errors import ProfileError, RemoteError
from ovpn3.profile import apply, build, check_name, parse
from ovpn3.profile.override import CHOICES, Overrides, check_override
from ovpn3.proxies.config import Configuration, ConfigurationManager

BOOLEANS = ("false", "true")
RULE = "-" * 60
NOT_FOUND = 1

# Of each override: its argument, and what it is for.
_OVERRIDES = {
    "server-override": ("HOST", "Connect to this host instead"),
    "port-override": ("PORT", "Connect to this port instead"),
    "proto-override": ("PROTO", "Connect by this protocol instead"),
    "ipv6": ("CHOICE", "Use of an address family that the server doesn't set up"),
    "persist-tun": ("BOOL", "Keep the interface while reconnecting"),
    "log-level": ("LEVEL", "How much sessions log"),
    "dns-fallback-google": ("BOOL", "Use Google's name servers if the server gives none"),
    "dns-setup-disabled": ("BOOL", "Leave the system's DNS alone"),
    "dns-scope": ("SCOPE", "Ask the tunnel's name servers for every name, or for its domains only"),
    "dns-sync-lookup": ("BOOL", "Look up the server's name synchronously"),
    "auth-fail-retry": ("BOOL", "Try again when authentication fails"),
    "allow-compression": ("CHOICE", "Whether the server may compress what it sends; what we send never is"),
    "enable-legacy-algorithms": ("BOOL", "Allow CBC ciphers"),
    "tls-version-min": ("VERSION", "Lowest version of TLS"),
    "tls-cert-profile": ("CHOICE", "How strong certificates must be"),
    "proxy-host": ("HOST", "HTTP proxy to connect through"),
    "proxy-port": ("PORT", "Its port"),
    "proxy-username": ("NAME", "User name for the proxy"),
    "proxy-password": ("PASSWORD", "Password for the proxy"),
    "proxy-auth-cleartext": ("BOOL", "Allow the proxy's password to be sent in clear"),
    "enterprise-profile": ("NAME", "Profile for checks of this machine that the server asks for"),
    "automatic-restart": ("CHOICE", "Whether a session is started again when its client process dies"),
    "data-threads": ("NUMBER", "Threads that carry packets, one for all or one for each direction"),
    "offloads": ("LIST", f"Offloads that may be used: auto, none, or some of {','.join(OFFLOADS)}"),
    "kill-switch": ("BOOL", "What the tunnel carries is unreachable without it, until the session is ended"),
    "netns": ("NAME", "Network namespace to put the tunnel into"),
    "route-table": ("NUMBER", "Routing table for the tunnel alone"),
    "route-fwmark": ("MARK[/MASK]", "Packets with this mark take that table"),
    "route-uids": ("UIDS", "Packets of these user ids take that table, as 33,1000-1009"),
    "route-cgroups": ("CGROUPS", "Packets of these cgroups take that table, as vpn.slice,system.slice/backup.service"),
}
_VALUES = {**CHOICES, "offloads": ("auto", "none", *OFFLOADS)}


def override_option(name: str) -> Option:
    argument, text = _OVERRIDES[name]
    if name in CHOICES:
        text += f": {', '.join(CHOICES[name])}"
    return Option(name, "", argument, text, values=BOOLEANS if OVERRIDES[name] == "b" else _VALUES.get(name, ()))


OPTIONS = (
    Option("rename", "r", "NEW-CONFIG-NAME", "Give the profile another name"),
    Option("tag", "", "TAG-NAME", "Add a tag; may be repeated"),
    Option("remove-tag", "", "TAG-NAME", "Remove a tag; may be repeated"),
    Option("dco", "", "BOOL", "Kernel data channel offload; kept, without effect here", values=BOOLEANS),
    *map(override_option, OVERRIDES),
    Option("unset-override", "", "NAME", "Take an override back; may be repeated", values=tuple(OVERRIDES)),
    Option("show", "s", help="Show what is set, after all changes"),
    Option("exists", help=f"Only tell whether there is such a profile; exit code {NOT_FOUND} if not"),
)
QUIET = Option("quiet", help="Don't say what was done")

Say = Callable[[str], None]


async def run(options: Options) -> int:
    operations = [o.name for o in OPTIONS if options.has(o.name)]
    if not operations:
        raise CommandError("nothing to do: see --help")
    if options.has("exists") and len(operations) > 1:
        raise CommandError("--exists changes and shows nothing: give it without other operations")
    as_json = options.json_of_show(operations)
    # A bad value is to be found before anything is changed.
    overrides = {name: override_value(options, name) for name in OVERRIDES if options.has(name)}
    unset = _to_unset(options, overrides)
    name = check_name(options.get("rename")) if options.has("rename") else ""
    if options.has("dco"):
        options.flag("dco")

    def say(text: str) -> None:
        if not options.has("quiet"):
            print(text)

    async with system_bus() as bus:
        if options.has("exists"):
            return await _test(bus, options, say)
        profile = await _visible_profile(bus, options)
        if name:
            await profile.set("name", "s", name)
            say(f"Configuration renamed: {one_line(name)}")
        await _each_tag("removed", profile.remove_tag, options.all("remove-tag"), say)
        await _each_tag("added", profile.add_tag, options.all("tag"), say)
        if options.has("dco"):
            await _set_dco(profile, options.flag("dco"), say)
        if overrides or unset:
            await _override_and_unset(profile, overrides, unset, say)
        if options.has("show"):
            if len(operations) > 1:
                say(RULE)
            await (_show_json if as_json else _show)(profile)
    return 0


def override_value(options: Options, name: str) -> str | bool:
    """The value of an option that is an override."""
    if OVERRIDES[name] == "b":
        return options.flag(name)
    value = options.get(name)
    try:
        check_override(name, value)
    except ProfileError as e:
        raise BadValue(f"--{name} {e.problem}") from None
    return value


def _to_unset(options: Options, overrides: Overrides) -> list[str]:
    names = list(dict.fromkeys(name.lower() for name in options.all("unset-override")))
    for name in names:
        if name not in OVERRIDES:
            raise CommandError(f"there is no override {name!r}: --help lists those there are")
        if name in overrides:
            raise CommandError(f"--{name} and --unset-override {name} exclude each other")
    return names


async def _visible_profile(bus: Bus, options: Options) -> Configuration:
    profile = await chosen_profile(bus, options)
    if profile.path not in [p.path for p in await ConfigurationManager(bus).available()]:
        raise NotFound(f"there is no profile {profile.path}, or you have no access to it")
    return profile


async def _test(bus: Bus, options: Options, say: Say) -> int:
    try:
        profile = await _visible_profile(bus, options)
    except NotFound as e:
        say(f"Configuration not found: {one_line(e)}")
        return NOT_FOUND
    say(f"Configuration found: {profile.path}")
    return 0


async def _each_tag(what: str, change: Callable[[str], Awaitable[None]], tags: list[str], say: Say) -> None:
    for tag in tags:
        try:
            await change(tag)
            say(f"Tag {what}: {one_line(tag)}")
        except RemoteError as e:
            print(f"tag {tag!r} not {what}: {one_line(e)}", file=sys.stderr)


async def _set_dco(profile: Configuration, on: bool, say: Say) -> None:
    await profile.set("dco", "b", on)
    say(f"Data channel offload: {_yes_no(on).lower()}")
    if on:
        print("The kernel's data channel is not available here: sessions do without", file=sys.stderr)


async def _override_and_unset(profile: Configuration, overrides: Overrides, unset: list[str], say: Say) -> None:
    for name, value in overrides.items():
        await profile.set_override(name, value)
        say(f"Override set: {name}")
    present = await profile.get("overrides")
    for name in unset:
        if name in present:
            await profile.unset_override(name)
        say(f"Override {'unset' if name in present else 'was not set'}: {name}")
    if overrides or present.keys() & unset:
        await _warn(profile)


async def _warn(profile: Configuration) -> None:
    """Each override may be fine and all of them, with this profile, not. The next command may complete them."""
    try:
        apply(build(parse(await profile.fetch())), await profile.get("overrides"))
    except ProfileError as e:
        print(f"No session can be started with the profile as it is now: {one_line(e)}", file=sys.stderr)


async def _show(profile: Configuration) -> None:
    values = await profile.get_all()
    overrides = values["overrides"]
    fields = {"Configuration path": profile.path, "Name": values["name"]}
    if values["tags"]:
        fields["Tags"] = ", ".join(values["tags"])
    fields |= {
        "Read only": _yes_no(values["readonly"]),
        "Persistent config": _yes_no(values["persistent"]),
        "Data Channel Offload": _yes_no(values["dco"]),
        "DNS Resolver Scope": overrides.pop("dns-scope", "") or "global (default)",
    }
    if enterprise := overrides.pop("enterprise-profile", ""):
        fields["Enterprise Profile"] = enterprise
    for label, value in fields.items():
        print(f"{label:>20}: {one_line(value)}")
    if reason := await invalid_reason(profile, values):
        print(f"The profile can't be used: {reason}")
    print("Overrides:" if overrides else "Overrides: No overrides set.")
    for name, value in sorted(overrides.items()):
        print(f"  {name}: {_shown(name, value)}")


async def _show_json(profile: Configuration) -> None:
    values = await profile.get_all()
    overrides = {name: "(hidden)" if name in SECRET_OVERRIDES else v for name, v in values["overrides"].items()}
    shown = {name: values[name] for name in ("name", "tags", "readonly", "persistent", "dco", "valid")}
    if reason := await invalid_reason(profile, values):
        shown["invalid_reason"] = reason
    print(to_json({"path": profile.path, "overrides": overrides} | shown))


def _shown(name: str, value: str | bool) -> str:
    if name in SECRET_OVERRIDES:
        return "(hidden)"
    return one_line(value) if isinstance(value, str) else BOOLEANS[value]


def _yes_no(value: object) -> str:
    return "Yes" if value else "No"


ABOUT = """\
Changes the name, the tags and the overrides of a profile. An override stands in the place of what the profile says,
for every session that is started from then on.

Tags are removed before others are added. `--show` comes last and shows the outcome. All values are checked before the
first change is made.

    openvpn3 config-manage --config office --tls-version-min tls_1_3 --show
    openvpn3 config-manage --config office --unset-override tls-version-min
    openvpn3 config-manage --config office --exists --quiet || echo none
"""
COMMAND = Command(run, (*PROFILE_OPTIONS, *OPTIONS, JSON, QUIET), about=ABOUT)
