"""Our services: installed, allowed to start, of this version; and the sessions they have."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from ovpn3.cli.checks.finding import Finding, problem, warning
from ovpn3.cli.command import CommandError
from ovpn3.cli.environment import check_programs, check_usable_by
from ovpn3.cli.install import Installation, account_exists
from ovpn3.cli.processes import BUS_NAMES
from ovpn3.cli.text import one_line, state_word, status_text, user_name
from ovpn3.constants import API_VERSION, SERVICE_ACCOUNT, SESSIONS_NAME
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.session import SessionManager

ACTIVATION: Final = Path("/usr/share/dbus-1/system-services") / f"{SESSIONS_NAME}.service"
INSTALL: Final = "openvpn3-admin install"
UNHAPPY: Final = ("reconnecting", "failed", "waiting")


def account() -> str:
    """The one that the services are installed for; empty if they aren't."""
    try:
        found = re.search(r"^User=(\S+)$", ACTIVATION.read_text(), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else SERVICE_ACCOUNT


def installed() -> Iterator[Finding]:
    if not (name := account()):
        yield problem("installation", f"there is no {ACTIVATION}: nothing starts the services", INSTALL)
        return
    installation = Installation(Path("/"), name)
    try:
        check_programs()
        different = ", ".join(map(str, installation.differences()))
    except (CommandError, OSError) as e:
        yield problem("installation", one_line(e), f"{INSTALL}, after that is put right")
    else:
        if different:
            advice = INSTALL if installation.manifest.exists() else "install the package of this version again"
            yield warning("installation", f"not as this version has it: {one_line(different)}", advice)
        else:
            yield Finding("installation", "files, bus policy and state directory are as this version has them")
    if not account_exists(name):
        yield problem("account", f"there is no account {one_line(name)}", INSTALL)
        return
    try:
        check_usable_by(name)
    except CommandError as e:
        yield problem("account", one_line(e), "install into /opt/openvpn3 by 'make install', or open the directory")
    else:
        yield Finding("account", f"{name}, which can run the services")


async def running(bus: Bus) -> AsyncIterator[Finding]:
    """Each is started if it doesn't run."""
    for name, bus_name in BUS_NAMES.items():
        path = "/" + bus_name.replace(".", "/")
        try:
            found = one_line(await bus.get_property(bus_name, path, bus_name, "version"))
        except RemoteError as e:
            advice = "see what the bus daemon and the service have logged: openvpn3-admin journal"
            yield problem(name, f"can't be started or asked: {one_line(e)}", advice)
            continue
        if found != API_VERSION:
            advice = "end it, the next call starts the one that is installed; tunnels go on meanwhile"
            yield warning(name, f"{found} runs, {API_VERSION} is installed", advice)
        else:
            yield Finding(name, found)


async def sessions(bus: Bus) -> AsyncIterator[Finding]:
    words: Counter[str] = Counter()
    for session in await SessionManager(bus).everybodys():
        try:
            values = await session.get_all()
        except RemoteError:
            continue  # ended meanwhile
        word = state_word(values["status"])
        words[word] += 1
        if word in UNHAPPY:
            whose = f"{user_name(values['owner'])}'s {one_line(values['config_name'])}"
            yield warning(
                "session",
                f"{whose}: {status_text(values['status'])}",
                f"openvpn3 log --history --session-path {session.path}",
            )
    if not words.keys() & set(UNHAPPY):
        text = ", ".join(f"{count} {word}" for word, count in words.items())
        yield Finding("sessions", text or "none")
