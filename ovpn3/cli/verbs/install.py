"""`install`: put the services of this environment into the system."""

import os
import shutil
import subprocess
from pathlib import Path

from ovpn3.cli.command import Command, CommandError, Option, Options
from ovpn3.cli.environment import check_account_name, check_programs, check_usable_by
from ovpn3.cli.install import Installation, Step, account_exists
from ovpn3.cli.selection import system_bus
from ovpn3.constants import SERVICE_ACCOUNT
from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH
from ovpn3.errors import NetworkError

BOOTED = Path("/run/systemd/system")  # sd_booted(3)

ROOT = Option("root", "", "DIR", "Write files below DIR only, as for a package; default /", values="folders")
DRY_RUN = Option("dry-run", help="Only say what would be done")


async def run(options: Options) -> int:
    check_root()
    account = check_account_name(options.get("user", SERVICE_ACCOUNT))
    installation = Installation(Path(options.get("root", "/")), account)
    check_programs()
    if installation.live:
        # An account that is still to be made will have no more rights than nobody.
        check_usable_by(account if account_exists(account) else "nobody")
    dry = options.has("dry-run")
    done = perform(list(installation.install_steps()), dry)
    if not done:
        print("Everything is installed already.")
    elif installation.live and not dry:
        await reload_bus()
        systemctl("daemon-reload")
        if systemctl("is-active", "--quiet", "systemd-networkd"):  # udev sees by itself what is new
            systemctl("reload", "systemd-networkd")
    return 0


def check_root() -> None:
    if os.geteuid() != 0:
        raise CommandError("only root can do this")


def perform(steps: list[Step], dry: bool) -> int:
    """Say what is done and, unless `dry`, do it; the number of steps."""
    for step in steps:
        print(f"{'would ' if dry else ''}{step.what}", flush=True)
        if not dry:
            step.do()
    return len(steps)


async def reload_bus() -> None:
    """Have a running bus read its files anew."""
    try:
        async with system_bus() as bus:
            await bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "ReloadConfig")
    except NetworkError:
        print("No system bus is running; it will read the new files when it starts.")
    else:
        print("The system bus has read the new files.")


def systemctl(*arguments: str) -> bool:
    """Tell systemd, if it runs this machine; whether it says yes."""
    program = shutil.which("systemctl")
    if not program or not BOOTED.is_dir():
        return False
    return subprocess.run([program, *arguments], check=False).returncode == 0


USER = Option("user", "", "ACCOUNT", f"Account of the services; default {SERVICE_ACCOUNT}", values="users")
ABOUT = """\
Makes the account of the services, their state directory, the files by which the system bus starts them and guards
them, those by which systemd and udev know of them, the completion of the shells, and these pages. It does what is still
missing, and may be run again at any time.
What it has put there is noted in `/usr/share/openvpn3/manifest.json`.
"""
COMMAND = Command(run, (ROOT, USER, DRY_RUN), about=ABOUT)
