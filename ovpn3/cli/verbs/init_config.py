"""`init-config`: the state directory, and settings of the services that fit this machine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from ovpn3 import settingsfile
from ovpn3.cli.command import Command, CommandError, Option, Options
from ovpn3.cli.install import STATE, account_exists, ids, make_state_directories
from ovpn3.cli.selection import system_bus
from ovpn3.cli.verbs.install import check_root
from ovpn3.constants import SERVICE_ACCOUNT
from ovpn3.dbus.bus import Bus
from ovpn3.errors import NetworkError, RemoteError
from ovpn3.files import write_atomically
from ovpn3.proxies.resolved import names_stub
from ovpn3.settingsfile import Settings

OPTIONS = (
    Option("write-configs", help="Write the settings; without it they are only shown"),
    Option("force", help="Change files that exist already"),
    Option("state-dir", "", "DIR", f"State directory; default /{STATE}", last=True, values="folders"),
    Option("debug", help="Say how the settings were found"),
)
RESOLV_CONF = Path("/etc/resolv.conf")
STUB_RESOLV_CONF = Path("/run/systemd/resolve/stub-resolv.conf")


async def run(options: Options) -> int:
    check_root()
    if not account_exists(SERVICE_ACCOUNT):
        raise CommandError(f"there is no account {SERVICE_ACCOUNT}; 'openvpn3-admin install' makes it")
    owner = ids(SERVICE_ACCOUNT)
    state = Path(options.get("state-dir", f"/{STATE}"))
    make_state_directories(state, owner)
    try:
        async with system_bus() as bus:
            journald, resolved = await _journald_active(bus), await _resolved_answers(bus)
    except NetworkError as e:
        print(f"{e}: assuming neither systemd-journald nor systemd-resolved", file=sys.stderr)
        journald = resolved = False
    used = resolved and any(map(_names_stub, (RESOLV_CONF, STUB_RESOLV_CONF)))
    if options.has("debug"):
        print(f"systemd-journald active: {journald}; systemd-resolved answers: {resolved}, is the nameserver: {used}")
    log: Settings = {"journald": True, "log_dbus_details": True} if journald else {"syslog": True}
    netcfg: Settings = {"systemd_resolved": True} if used else {"resolv_conf_file": str(RESOLV_CONF)}
    _settle(state / "log-service.json", log, ("journald", "syslog", "log_file"), owner, options)
    _settle(state / "netcfg.json", netcfg, ("systemd_resolved", "resolv_conf_file"), owner, options)
    _relabel(state)
    return 0


async def _journald_active(bus: Bus) -> bool:
    systemd, manager = "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager"
    try:
        unit = await bus.call(
            systemd, "/org/freedesktop/systemd1", manager, "GetUnit", "s", "systemd-journald.service", start=False
        )
        return str(await bus.get_property(systemd, unit[0], f"{systemd}.Unit", "ActiveState")) == "active"
    except RemoteError:
        return False


async def _resolved_answers(bus: Bus) -> bool:
    name, peer = "org.freedesktop.resolve1", "org.freedesktop.DBus.Peer"
    try:
        await bus.call(name, "/org/freedesktop/resolve1", peer, "Ping")
    except RemoteError:
        return False
    return True


def _names_stub(file: Path) -> bool:
    try:
        return names_stub(file.read_text(errors="replace"))
    except OSError:
        return False


def _settle(file: Path, wanted: Settings, exclusive: tuple[str, ...], owner: tuple[int, int], options: Options) -> None:
    """Bring a service's file to the wanted settings; its other ones stay, but for those `exclusive` of the wanted."""
    present = settingsfile.read(file)
    if present is not None and not options.has("force"):
        print(f"{file} exists; left as it is without --force")
        return
    kept = {key: value for key, value in (present or {}).items() if key not in exclusive}
    write = options.has("write-configs")
    settings = ", ".join(f"{key} = {json.dumps(value)}" for key, value in wanted.items())
    print(f"{'' if write else 'would '}write {file}: {settings}")
    if write:
        write_atomically(file, settingsfile.dump(kept | wanted), mode=0o644, owner=owner)


def _relabel(state: Path) -> None:
    """Give the files their SELinux labels, on machines that have such."""
    if restorecon := shutil.which("restorecon"):
        subprocess.run([restorecon, "-R", str(state)], check=False)


ABOUT = """\
Makes the state directory, and finds out how this machine logs and which name servers it asks: through systemd-journald
or syslog, systemd-resolved or `/etc/resolv.conf`. The settings are shown; `--write-configs` writes them, over files
that exist with `--force` only. Only root can do this.
"""
COMMAND = Command(run, OPTIONS, about=ABOUT)
