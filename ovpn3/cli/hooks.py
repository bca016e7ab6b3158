"""Programs of root's that are run when a tunnel comes up and goes down, as OpenVPN 2 runs its scripts.

They are those of one directory, which nobody but root can have written. Nothing in a profile, and nothing that a server
sends, names a program; both only give values of variables.
"""

import asyncio
import ipaddress
import os
import re
import signal
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ovpn3.cli.text import one_line
from ovpn3.constants import NetworkChange

FOLDER: Final = Path("/etc/openvpn3/hooks.d")
TIMEOUT_S: Final = 30.0
MAX_OUTPUT_BYTES: Final = 64 << 10  # of one program

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)  # as run-parts has it: no backups of editors
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Say = Callable[[str], None]


@dataclass
class Device:
    """What netcfg has told of a device that there is. `told` is what the last `up` said, None if there was none."""

    name: str
    addresses: list[dict[str, str]] = field(default_factory=list)
    routes: list[dict[str, str]] = field(default_factory=list)
    told: dict[str, str] | None = None

    def change(self, change: NetworkChange, details: dict[str, str]) -> None:
        match change:
            case NetworkChange.IPADDR_ADDED:
                self.addresses.append(details)
            case NetworkChange.ROUTE_ADDED:
                self.routes.append(details)
            case NetworkChange.IPADDR_REMOVED:
                self.addresses = [a for a in self.addresses if not _same(a, details, "ip_address")]
            case NetworkChange.ROUTE_REMOVED:
                self.routes = [r for r in self.routes if not _same(r, details, "subnet")]


def _same(one: Mapping[str, str], other: Mapping[str, str], key: str) -> bool:
    return (one.get(key), one.get("prefix")) == (other.get(key), other.get("prefix"))


def environment(device: Device, session: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """Variables by the names that OpenVPN 2 gives them, of a device, its session's properties, and netcfg's of it."""
    _, address, port = session["connected_to"]
    found = {
        "dev": device.name,
        "dev_type": "tun",
        "tun_mtu": str(settings["mtu"]),
        "trusted_ip6" if ":" in address else "trusted_ip": address,
        "trusted_port": str(port),
        "config": one_line(session["config_name"]),
        "OPENVPN3_SESSION": session["path"],
        "OPENVPN3_OWNER": str(session["owner"]),
        "OPENVPN3_PLACE": one_line(session.get("device_place", "")),
    }
    for a in reversed(device.addresses):  # the first of a family is the one that counts
        if a["ip_version"] == "4":
            found |= {"ifconfig_local": a["ip_address"], "ifconfig_netmask": _netmask(a["prefix"])}
        else:
            found |= {"ifconfig_ipv6_local": a["ip_address"], "ifconfig_ipv6_netbits": a["prefix"]}
    numbers = {"4": 0, "6": 0}
    for r in device.routes:
        numbers[r["ip_version"]] += 1
        number, gateway = numbers[r["ip_version"]], r.get("gateway", "")
        if r["ip_version"] == "4":
            found |= {f"route_network_{number}": r["subnet"], f"route_netmask_{number}": _netmask(r["prefix"])}
            found |= {f"route_gateway_{number}": gateway} if gateway else {}
            found |= {"route_vpn_gateway": gateway} if gateway and "route_vpn_gateway" not in found else {}
        else:
            found |= {f"route_ipv6_network_{number}": f"{r['subnet']}/{r['prefix']}"}
            found |= {f"route_ipv6_gateway_{number}": gateway} if gateway else {}
    options = [f"dhcp-option {'DNS6' if ':' in s else 'DNS'} {s}" for s in settings["dns_name_servers"]]
    options += [f"dhcp-option DOMAIN {domain}" for domain in settings["dns_search_domains"]]
    return found | {f"foreign_option_{number}": option for number, option in enumerate(options, 1)}


def _netmask(prefix: str) -> str:
    return str(ipaddress.IPv4Network(f"0.0.0.0/{prefix}").netmask)


def programs(folder: Path, say: Say) -> list[Path]:
    """Those to be run, in the order of their names; why others aren't is told."""
    if complaint := _not_root_s_own(folder, stat.S_ISDIR):
        if folder.exists():
            say(f"{folder} is left out: {complaint}")
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if not _NAME.fullmatch(path.name):
            say(f"{one_line(str(path))} is left out: a name is of letters, digits, - and _")
        elif complaint := _not_root_s_own(path, stat.S_ISREG):
            say(f"{path} is left out: {complaint}")
        elif os.access(path, os.X_OK):
            found.append(path)
    return found


def _not_root_s_own(path: Path, is_kind: Callable[[int], bool]) -> str:
    """Why others than root can have a say in it. Links are not followed: they may lead to where others can write."""
    try:
        for place in (path, *path.parents):
            status = place.lstat()
            if not (is_kind if place == path else stat.S_ISDIR)(status.st_mode):
                return f"{place} is of another kind, or a link"
            if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return f"{place} can be written by others than root"
    except OSError as e:
        return str(e.strerror)
    return ""


async def run_all(folder: Path, variables: Mapping[str, str], say: Say, timeout_s: float = TIMEOUT_S) -> None:
    """Run the programs one after the other. What they print, and how they fail, is told."""
    for path in programs(folder, say):
        arguments = [variables.get("dev", ""), variables.get("tun_mtu", ""), "0"]  # as OpenVPN 2 gives them
        arguments += [variables.get("ifconfig_local", ""), variables.get("ifconfig_netmask", "")]
        arguments += [variables.get("script_context", "init")]
        await _run(path, arguments, {"PATH": _PATH, "LANG": "C.UTF-8", **variables}, say, timeout_s)


async def _run(path: Path, arguments: Iterable[str], variables: Mapping[str, str], say: Say, timeout_s: float) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            *arguments,
            env=variables,
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as e:
        return say(f"{path.name} can't be run: {e.strerror}")
    assert process.stdout
    try:
        async with asyncio.timeout(timeout_s):
            output = await _output(process.stdout)
            code = await process.wait()
    except TimeoutError:
        say(f"{path.name} took more than {timeout_s:g} s and was killed")
        return
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it has left behind too
        await process.wait()
    for line in output.decode(errors="replace").splitlines():
        say(f"{path.name}: {one_line(line)}")
    if code:
        say(f"{path.name} ended with {code}" if code > 0 else f"{path.name} was ended by signal {-code}")


async def _output(stream: asyncio.StreamReader) -> bytes:
    """Up to its end; what is too much is thrown away."""
    kept = b""
    while data := await stream.read(4096):
        kept += data[: MAX_OUTPUT_BYTES - len(kept)]
    return kept
