"""The manual: a page for each program and each of its commands, from what the parser knows, in the mdoc language."""

import re
import textwrap
from collections.abc import Iterable
from importlib.metadata import version

from ovpn3.cli import accessserver, autoload, openvpn2args, systemd
from ovpn3.cli.admin import ADMIN
from ovpn3.cli.command import HELP, Command, Option
from ovpn3.cli.completion import NAME as HIDDEN
from ovpn3.cli.openvpn3 import OPENVPN3
from ovpn3.cli.program import ALONE, Program, alone

DATE = "November 25, 2026"
SECTIONS = {
    OPENVPN3.name: 1,
    ADMIN.name: 8,
    "openvpn2": 1,
    systemd.PROGRAM: 8,
    autoload.PROGRAM: 8,
    accessserver.PROGRAM: 1,
}

_ABOUT = {
    OPENVPN3.name: (
        "imports profiles of OpenVPN and starts, manages and ends tunnels",
        """\
What any user does with profiles and sessions. A profile says which server to connect to, and how; a session is a tunnel
that is made from it. Services do the work, which the system bus starts when they are needed: no command needs
root, but `run`.

Each command has a page of its own, and `--help`. Long options may be shortened as long as it stays clear which is
meant. An option that may not be repeated counts where it comes first. Where BOOL is asked for, `true`, `yes`, `false`
and `no` will do.

    openvpn3 config-import --config client.ovpn --name office --persistent
    openvpn3 session-start --config office
    openvpn3 sessions-list
    openvpn3 session-manage --config office --disconnect
""",
    ),
    ADMIN.name: (
        "installs and sets up the services of openvpn3",
        """\
What root does: put the services into the system, see how they are, and change their settings.

Each command has a page of its own, and `--help`.

    openvpn3-admin install
    openvpn3-admin version --services
""",
    ),
    "openvpn2": (
        "starts a session from a command line of OpenVPN 2",
        """\
Takes the options of a profile with `--` before each, as OpenVPN 2 does, and starts a session with them. `--config FILE`
stands for the lines of a file; a single argument without `--` is such a file. Without `--daemon` it shows what
the session says until that ends, or until it is interrupted; the session ends then too.

Options that a profile can't have are errors here too. Those without effect are left out.

    openvpn2 --config client.ovpn --mssfix 1300
""",
    ),
    systemd.PROGRAM: (
        "keeps a session as a systemd service",
        """\
Called by `openvpn3-session@PROFILE.service`, PROFILE being the name of a profile that root has imported. The service
is ready once the tunnel is up, and active for as long as there is a session. Questions are answered from the
credentials of the unit, named as the files of `--credentials`, else by whoever answers `systemd-ask-password`.

    systemctl start openvpn3-session@office.service
""",
    ),
    autoload.PROGRAM: (
        "imports and starts the profiles of a directory",
        """\
Takes every `*.conf` and `*.ovpn` in the directory that has a file beside it with the ending `.autoload`: one JSON
object with what is to be done with the profile. It is for set-ups of old; what is new is better a systemd unit for each
profile. The keys, all of which may be missing, with dots where one object is in another:

`autostart`, `name`; `acl.public`, `acl.locked-down`, `acl.set-owner`; `remote.proto-override`, `remote.port-override`,
`remote.compression`, `remote.timeout`, `remote.proxy.host`, `.port`, `.username`, `.password`, `.allow-plain-text`;
`crypto.tls-params.cert-profile`, `crypto.tls-params.min-version`, `crypto.private-key-passphrase`; `tunnel.persist`,
`tunnel.ipv6`, `tunnel.dns-fallback`, `tunnel.dns-scope`, `tunnel.dns-setup-disabled`; `user-auth`, with an answer by
the name of each question, and `totp`.

    openvpn3-autoload --directory /etc/openvpn3/autoload
""",
    ),
    accessserver.PROGRAM: (
        "imports a profile from an OpenVPN Access Server",
        """\
Downloads the user's profile over HTTPS and imports it. The log-in is answered from stored credentials, named as the
files of `--credentials`, else on the terminal; so is what the server asks beyond it.

    openvpn3-as --username ann https://vpn.example.com
""",
    ),
}
_COMMAND_EXITS = {
    "0": "It is done; or it was not confirmed, and nothing was done.",
    "1": "There is no such command. `config-manage --exists`: there is no such profile. `run --check`: a tunnel is not "
    "connected. `doctor`: there is a problem.",
    "2": "`session-auth`: the session can't be connected. `version --services`: a service doesn't answer. "
    "`--config-show`: the file can't be read.",
    "3": "Access could not be given or taken. `netcfg-service`: the service can't be reached.",
    "7": "The bus can't be reached, or a service refused.",
    "8": "It can't be done: something isn't there, is missing, or failed. Or an option is not known.",
    "9": "A value makes no sense, or options exclude each other.",
    "77": "`run`: the log-in was refused, or there is no answer to a question.",
    "130": "It was interrupted, or nobody reads its output any more.",
}
_EXITS = {
    OPENVPN3.name: _COMMAND_EXITS,
    ADMIN.name: _COMMAND_EXITS,
    "openvpn2": {
        "0": "The session was connected, and has ended.",
        "2": "The arguments, the profile or the services are at fault.",
        "3": "With `--daemon`: the session could not be connected.",
        "8": "It was interrupted.",
    },
    systemd.PROGRAM: {
        "0": "It was told to stop, or somebody has ended the session.",
        "1": "The session has failed, or the bus or a service is gone: worth another try.",
        "77": "The log-in was refused, or there is no answer to a question.",
        "78": "There is no such profile, or it can't be used.",
    },
    autoload.PROGRAM: {
        "0": "All that was to be started has been; what has a bad `.autoload` is left out.",
        "1": "A session could not be started.",
        "2": "A profile could not be imported.",
        "8": "It was interrupted.",
    },
    accessserver.PROGRAM: {
        "0": "The profile is imported.",
        "1": "Only root can do this.",
        "2": "The arguments, the profile or the services are at fault.",
        "3": "The server gives no profile.",
    },
}
_ENVIRONMENT = {
    OPENVPN3.name: {
        "DBUS_SYSTEM_BUS_ADDRESS": "Another bus than the system's.",
        "COLORTERM": "If it is set, and `TERM` is not `dumb`, what `log` shows in a terminal has colours.",
        "NO_COLOR": "If it is set, there are none.",
    },
    "openvpn2": {
        "OPENVPN3_DEBUG": "`DUMP_PARSE`: only show the profile. `IMPORT_ONLY`: only import it. Anything else: keep it."
    },
}
_FILES = {
    ADMIN.name: {
        "/var/lib/openvpn3/configs": "Persistent profiles.",
        "/var/lib/openvpn3/log-service.json": "Settings of the log service.",
        "/var/lib/openvpn3/netcfg.json": "Settings of the network service.",
        "/usr/share/openvpn3/manifest.json": "What was installed.",
    }
}


def pages() -> dict[str, str]:
    """All pages, by the names of their files."""
    made = {"openvpn2.1": _openvpn2()}
    made |= {f"{name}.{SECTIONS[name]}": _single(name, alone(name)) for name in ALONE}
    for program in (OPENVPN3, ADMIN):
        section = SECTIONS[program.name]
        made[f"{program.name}.{section}"] = _program(program)
        for name in _shown(program):
            made[f"{program.name}-{name}.{section}"] = _command(program, name)
    return made


def _shown(program: Program) -> list[str]:
    return [name for name in program.commands if name != HIDDEN]


def _program(program: Program) -> str:
    section = SECTIONS[program.name]
    commands = [f".It Xr {program.name}-{n} {section}\n{_text(program.commands[n])}." for n in _shown(program)]
    synopsis = ".Nm\n.Ar COMMAND\n.Op Ar OPTIONS\n.Nm\n.Cm help"
    return _page(program.name, synopsis, [".Sh COMMANDS", *_list(commands)])


def _openvpn2() -> str:
    synopsis = ".Nm\n.Op Fl \\-config\n.Ar FILE\n.Op Fl \\-OPTION Op Ar ARGUMENT ..."
    return _page("openvpn2", synopsis, _options(openvpn2args.OPTIONS))


def _single(name: str, command: Command) -> str:
    argument = f"\n.Ar {_word(command.argument)}" if command.argument else ""
    return _page(name, f".Nm\n.Op Ar OPTIONS{argument}", _options((*command.options, HELP)))


def _page(name: str, synopsis: str, more: list[str]) -> str:
    """Of a program."""
    title, about = _ABOUT[name]
    others = [f"{other} {section}" for other, section in SECTIONS.items() if other != name]
    return _joined(
        _head(name, SECTIONS[name], title),
        [".Sh SYNOPSIS", synopsis],
        _description(about),
        more,
        _table("ENVIRONMENT", "Ev", _ENVIRONMENT.get(name, {})),
        _table("FILES", "Pa", _FILES.get(name, {})),
        _table("EXIT STATUS", "Li", _EXITS[name]),
        _examples(about),
        _see_also(others),
    )


def _command(program: Program, name: str) -> str:
    command, section = program.command(name), SECTIONS[program.name]
    title = program.commands[name]
    about = command.about or f"{title}.\n"
    argument = [f".Ar {_word(command.argument)}"] if command.argument else []
    return _joined(
        _head(f"{program.name}-{name}", section, title[0].lower() + title[1:]),
        [".Sh SYNOPSIS", f'.Nm "{_name(program.name)} {_name(name)}"', ".Op Ar OPTIONS", *argument],
        _description(about),
        _options((*command.options, HELP)),
        [".Sh EXIT STATUS", "See", f".Xr {program.name} {section} ."],
        _examples(about),
        _see_also([f"{program.name} {section}"]),
    )


def _head(name: str, section: int, title: str) -> list[str]:
    head = [f".Dd {DATE}", f".Dt {name.upper()} {section}", f".Os ovpn3 {version('ovpn3')}"]
    return [*head, ".Sh NAME", f".Nm {_name(name)}", f".Nd {_text(title)}"]


def _description(about: str) -> list[str]:
    paragraphs = [p for p in about.rstrip("\n").split("\n\n") if not p.startswith("    ")]
    lines = [_text(" ".join(p.split("\n"))) for p in paragraphs]
    return [".Sh DESCRIPTION", "\n.Pp\n".join(lines)]


def _examples(about: str) -> list[str]:
    found = [line[4:] for line in about.split("\n") if line.startswith("    ")]
    return [".Sh EXAMPLES", ".Bd -literal", *map(_literal, found), ".Ed"] if found else []


def _options(options: Iterable[Option]) -> list[str]:
    return [".Sh OPTIONS", *_list(f"{_heading(option)}\n{_text(option.help)}." for option in options)]


def _heading(option: Option) -> str:
    spellings = " , ".join(f"Fl {_word(spelling[1:])}" for spelling in option.spellings)
    if not option.argument:
        return f".It {spellings}"
    value = _word(option.argument)
    return f".It {spellings} Ns Op = Ns Ar {value}" if option.optional else f".It {spellings} Ar {value}"


def _table(title: str, macro: str, rows: dict[str, str]) -> list[str]:
    items = (f".It {macro} {_word(name)}\n{_text(text)}" for name, text in rows.items())
    return [f".Sh {title}", *_list(items)] if rows else []


def _list(items: Iterable[str]) -> list[str]:
    return [".Bl -tag -width Ds", *items, ".El"]


def _see_also(others: list[str]) -> list[str]:
    references = [f".Xr {other}" for other in sorted(others, key=lambda other: other.split()[::-1])]
    return [".Sh SEE ALSO", " ,\n".join(references)]


def _joined(*parts: list[str]) -> str:
    return "\n".join(line for part in parts for line in part) + "\n"


def _name(text: str) -> str:
    return text.replace("-", "\\-")


def _word(text: str) -> str:
    """An argument of a macro that is no macro itself."""
    return "\\&" + _literal(text)


def _literal(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def _text(text: str) -> str:
    """Prose, each sentence on a line of its own; what stands in backquotes is to be typed."""
    sentences = re.split(r"(?<=[.!?]) +(?=[A-Z`])", text.strip())
    lines = "\n".join(textwrap.fill(s, 60, break_long_words=False, break_on_hyphens=False) for s in sentences)
    pieces = [piece.replace("\\", "\\e") for piece in lines.split("`")]
    pieces[0::2] = [piece.replace("--", "\\-\\-") for piece in pieces[0::2]]
    pieces[1::2] = ["\\fB" + piece.replace("-", "\\-") + "\\fP" for piece in pieces[1::2]]
    return re.sub(r"^(?=[.'])", r"\\&", "".join(pieces), flags=re.MULTILINE)
