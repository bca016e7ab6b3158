"""The environment this program runs from, as the services would: which account, which programs, which data files."""

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ovpn3.cli.command import CommandError

BIN = Path(sys.executable).parent
SERVICES = ("log", "configmgr", "sessionmgr", "netcfg", "backendstart", "client")
TUN = "/dev/net/tun"
# linux/capability.h. To give files and itself to the account for good; and what the network service keeps.
_CAPABILITIES = {"CHOWN": 0, "SETGID": 6, "SETUID": 7, "SETPCAP": 8, "DAC_OVERRIDE": 1, "NET_ADMIN": 12}
_NEEDED = "import ovpn3._fast.pump, ovpn3_services.common.service"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._+-]+")
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")


def program(service: str) -> Path:
    return BIN / f"openvpn3-service-{service}"


def check_account_name(account: str) -> str:
    if not _ACCOUNT.fullmatch(account) or account == "root":
        raise CommandError(f"not an account for the services: {account!r}")
    return account


def check_programs() -> None:
    """CommandError unless the services are where activation files can name them."""
    for service in SERVICES:
        if not os.access(program(service), os.X_OK):
            raise CommandError(f"{program(service)} is missing: install this package with pip or 'make install'")
    if not _PLAIN_PATH.fullmatch(str(BIN)):
        raise CommandError(f"{BIN} can't stand in a D-Bus activation file; use a path of plain characters")


def check_rights() -> None:
    """CommandError unless root has what the services need, as it may not in a container."""
    status = Path("/proc/self/status").read_text()
    effective = int(re.findall(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)[0], 16)
    if missing := [name for name, number in _CAPABILITIES.items() if not effective >> number & 1]:
        raise CommandError(f"root lacks {', '.join(missing)}: the container has to be started with --cap-add")
    if not os.path.exists(TUN):
        raise CommandError(f"there is no {TUN}: load the module tun, or start the container with --device {TUN}")


def check_usable_by(account: str) -> None:
    """CommandError unless the account can run this very interpreter and our modules."""
    entry = pwd.getpwnam(account)
    try:
        result = subprocess.run(
            [sys.executable, "-c", _NEEDED],
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            cwd="/",
            env={"LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        problem = result.stderr.strip().rpartition("\n")[2] if result.returncode else ""
    except OSError as e:
        problem = e.strerror or str(e)
    if problem:
        raise CommandError(
            f"the account {account} can't use the environment at {sys.prefix}: {problem}. It must not lie below a "
            "closed directory such as /root; 'make install' makes one in /opt/openvpn3"
        )


def templates() -> Iterator[tuple[str, str]]:
    """Path and text of each data file of the services, with its placeholders. CommandError if there are none."""
    found = sorted(_walk(files("ovpn3_services") / "data", ""))
    if not found:
        raise CommandError("the services' data files are missing: install this package anew")
    yield from found


def render(text: str, account: str, state_directory: str) -> str:
    values = {"@USER@": account, "@BINDIR@": str(BIN), "@STATEDIR@": state_directory}
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_text(encoding="utf-8")
