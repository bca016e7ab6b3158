"""openvpn3-as: import one's profile from an OpenVPN Access Server, over HTTPS.

The log-in is answered as that of a session: from stored credentials, else on the terminal. So is a question that the
server asks beyond it.
"""

import asyncio
import base64
import binascii
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ovpn3.cli import answers
from ovpn3.cli.accounts import uid_of
from ovpn3.cli.answers import Answers
from ovpn3.cli.command import BadOption, Command, CommandError, Option, Options
from ovpn3.cli.program import run_alone
from ovpn3.cli.prompt import ask
from ovpn3.cli.selection import system_bus
from ovpn3.cli.text import one_line
from ovpn3.constants import AttentionGroup, AttentionType
from ovpn3.dbus.bus import Bus
from ovpn3.errors import Ovpn3Error
from ovpn3.proxies.attention import Slot
from ovpn3.proxies.config import ConfigurationManager

if TYPE_CHECKING:
    from ovpn3.cli.source import Source

PROGRAM = "openvpn3-as"
SERVER = "OpenVPN Access Server"
NEEDS_ROOT, ERROR, NOT_DOWNLOADED = 1, 2, 3  # exit codes
TAG = "system:openvpn3-as"
TIMEOUT_S = 30.0
MAX_CHALLENGES = 5

OPTIONS = (
    Option("autologin", help="The profile that needs no password"),
    Option("systemd-start", help="Have systemd start it, now and at every boot (root)"),
    Option("impersistent", help="Don't keep it when the configuration manager ends"),
    Option("name", "", "NAME", "Name of the profile; default AS:HOST[:PORT]"),
    Option("owner", "", "USER", "Whose the profile is to be (root)", values="users"),
    Option("username", "", "NAME", "User name at the server"),
    Option("insecure-certs", help="Talk to a server whose certificate nobody vouches for"),
    *answers.OPTIONS,
)


class NotDownloaded(CommandError):
    """The server gives no profile."""

    exit_code = NOT_DOWNLOADED


@dataclass(frozen=True)
class Challenge:
    """A question that comes in place of a refusal: CRV1:flags:state:user:text."""

    state: str
    text: str
    echo: bool


@dataclass(frozen=True)
class Server:
    """`path` goes before those of the interface; `address` is host and port as the user has them."""

    address: str
    host: str
    port: int
    path: str
    insecure: bool

    def get(self, path: str, user: str, password: str) -> tuple[int, str]:
        """Status and text of a page. NotDownloaded if the server can't be had."""
        from http.client import HTTPException, HTTPSConnection  # not for completion and help: loading takes time

        from ovpn3.profile.lexer import MAX_PROFILE_BYTES

        context = ssl.create_default_context()
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        connection = HTTPSConnection(self.host, self.port, timeout=TIMEOUT_S, context=context)
        try:
            connection.request("GET", self.path + path, headers={"Authorization": f"Basic {login}"})
            response = connection.getresponse()
            body = response.read(MAX_PROFILE_BYTES + 1)
        except ssl.SSLCertVerificationError as e:
            raise NotDownloaded(
                f"the certificate of {self.host} is not trusted: {e.verify_message}; --insecure-certs takes it anyway"
            ) from None
        except (OSError, HTTPException) as e:
            raise NotDownloaded(f"can't get a profile from {self.host}: {getattr(e, 'strerror', None) or e}") from None
        finally:
            connection.close()
        if len(body) > MAX_PROFILE_BYTES:
            raise NotDownloaded(f"what {self.host} sends is longer than a profile may be")
        return response.status, body.decode(errors="replace")


async def run(options: Options) -> int:
    if (options.has("owner") or options.has("systemd-start")) and os.geteuid() != 0:
        print(f"{PROGRAM}: only root can use --owner and --systemd-start", file=sys.stderr)
        return NEEDS_ROOT
    server = _server(options)
    name = options.get("name", f"AS:{server.address}")
    owner = uid_of(options.get("owner")) if options.has("owner") else os.geteuid()
    if owner is None:
        return ERROR
    answering = Answers(answers.stored(options), ask)
    async with system_bus(owner) as bus:
        if await ConfigurationManager(bus).by_name(name):
            raise CommandError(f"there is a profile of the name {name!r} already: give another with --name")
        source = await _download(server, options, answering)
        path = await _import(bus, name, source, persistent=not options.has("impersistent"))
    print(f"Profile {one_line(name)!r} imported.  Configuration path: {path}")
    if options.has("systemd-start"):
        _start(name, options.get("owner"))
    return 0


def _server(options: Options) -> Server:
    [url] = options.arguments or [""]
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise CommandError("which server? Give its address as https://HOST")
    return Server(parts.netloc, parts.hostname, port, parts.path.rstrip("/"), options.has("insecure-certs"))


async def _download(server: Server, options: Options, answering: Answers) -> "Source":
    group = AttentionGroup.USER_PASSWORD
    credentials = AttentionType.CREDENTIALS
    user = options.get("username") or await answering(
        Slot(credentials, group, 0, "username", f"{SERVER} Username", False)
    )
    password = await answering(Slot(credentials, group, 1, "password", f"{SERVER} Password", True))
    page = f"/rest/{'GetAutologin' if options.has('autologin') else 'GetUserlogin'}?tls-cryptv2=1&action=import"
    for _ in range(MAX_CHALLENGES):
        status, text = await asyncio.to_thread(server.get, page, user, password)
        if status == 200:
            return _checked(text, server.host)
        challenge = _challenge(text)
        if challenge is None:
            raise NotDownloaded(f"{server.host} gives no profile: {_message(status, text)}")
        answering.renew()  # another question than the last
        slot = Slot(
            credentials,
            AttentionGroup.CHALLENGE_DYNAMIC,
            0,
            "dynamic_challenge",
            one_line(challenge.text),
            not challenge.echo,
        )
        password = f"CRV1::{challenge.state}::{await answering(slot)}"
    raise NotDownloaded(f"{server.host} asks for more and more")


def _checked(text: str, host: str) -> "Source":
    from ovpn3.cli.source import from_text

    source = from_text(text, host)
    if source.missing:
        raise NotDownloaded(f"what {host} sends is no profile: {'; '.join(source.missing)}")
    return source


def _message(status: int, text: str) -> str:
    """What the server says of a failure, made harmless."""
    import html

    found = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    return one_line(html.unescape(found[1]).strip()) if found else f"HTTP status {status}"


def _challenge(text: str) -> Challenge | None:
    kind, _, rest = _message(0, text).partition(":")
    parts = rest.split(":", 3)
    if kind != "CRV1" or len(parts) != 4:
        return None
    flags, state, user, question = parts
    try:
        base64.b64decode(user, validate=True)
    except binascii.Error:
        return None
    return Challenge(state, question, "E" in flags.split(","))


async def _import(bus: Bus, name: str, source: "Source", *, persistent: bool) -> str:
    profile = await ConfigurationManager(bus).import_profile(name, source.text, persistent=persistent)
    if source.persist_tun:
        await profile.set_override("persist-tun", True)
    await profile.add_tag(TAG)
    await profile.set("locked_down", "b", True)
    return profile.path


def _start(name: str, owner: str) -> None:
    from ovpn3.cli.systemd import unit_of

    unit, systemctl = unit_of(name), shutil.which("systemctl")
    if not systemctl:
        raise CommandError("there is no systemctl: the profile is imported, but not started")
    if owner:  # the session is to be that user's too
        folder = Path("/etc/systemd/system", f"{unit}.d")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "owner.conf").write_text(f"[Service]\nUser={owner}\n")
        subprocess.run([systemctl, "daemon-reload"], check=False)
    if subprocess.run([systemctl, "enable", "--now", "--", unit], check=False).returncode:
        raise CommandError(f"systemd could not start {unit}: journalctl -u '{unit}' has the reason")
    print(f"Started as {unit}")


COMMAND = Command(run, OPTIONS, argument="https://HOST")


def main(argv: Sequence[str] | None = None) -> int:
    return run_alone(PROGRAM, COMMAND, argv, _exit_code, unwritable=ERROR)


def _exit_code(error: BadOption | Ovpn3Error) -> int:
    return NOT_DOWNLOADED if isinstance(error, NotDownloaded) else ERROR
