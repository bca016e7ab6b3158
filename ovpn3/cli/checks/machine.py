"""The machine around us: its way out, its resolver, its clock."""

import ctypes
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ovpn3.cli.checks.finding import Finding, problem, warning
from ovpn3.cli.text import one_line
from ovpn3.dbus.bus import Bus
from ovpn3.proxies import resolved

RESOLV_CONF: Final = Path("/etc/resolv.conf")
SIOCGIFMTU: Final = 0x8921
SMALL_MTU: Final = 1400
TIME_ERROR: Final = 5  # of adjtimex: nobody keeps the clock right


def network() -> Iterator[Finding]:
    ipv4 = {row[0] for row in _rows("/proc/net/route") if row[1] == row[7] == "00000000"}
    ipv6 = {row[-1] for row in _rows("/proc/net/ipv6_route") if row[:2] == ["0" * 32, "00"] and row[-1] != "lo"}
    devices = sorted(ipv4 | ipv6)
    if not devices:
        yield warning("route", "there is no default route", "only servers that a route leads to can be reached")
    for device in devices:
        mtu = _mtu(device)
        if 0 < mtu < SMALL_MTU:
            advice = f"put tun-mtu {mtu - 100} into profiles for UDP, or what is sent whole will travel in fragments"
            yield warning("mtu", f"{one_line(device)}, the way out, carries packets of {mtu} octets only", advice)
        else:
            yield Finding("mtu", f"{one_line(device)}, the way out, carries packets of {mtu} octets")


async def resolver(bus: Bus | None) -> Finding:
    try:
        text = RESOLV_CONF.read_text(errors="replace")
    except OSError as e:
        advice = "write one, or start systemd-resolved: servers with names can't be found, nor names in tunnels"
        return problem("resolver", f"{RESOLV_CONF}: {e.strerror}", advice)
    if resolved.names_stub(text):
        if bus and not await bus.name_owner(resolved.NAME):
            return problem("resolver", f"{RESOLV_CONF} names systemd-resolved, which doesn't run", "start it")
        return Finding("resolver", "systemd-resolved; it is told the servers and domains of tunnels")
    if not any(line.split()[:1] == ["nameserver"] for line in text.splitlines()):
        return warning("resolver", f"{RESOLV_CONF} names no server", "servers with names can't be found")
    if not os.access(RESOLV_CONF.resolve(), os.W_OK) or not os.access(RESOLV_CONF.parent, os.W_OK):
        advice = "name servers of tunnels are left out; make it writable if they matter"
        return warning("resolver", f"{RESOLV_CONF} can't be written", advice)
    return Finding("resolver", f"{RESOLV_CONF}, which is another one while a tunnel has name servers")


def clock() -> Finding:
    now = time.time()
    if now < Path(__file__).stat().st_mtime:
        advice = "set it: certificates look as if they weren't valid yet"
        return problem("clock", f"it says {time.strftime('%F %T')}, before this program was installed", advice)
    state = ctypes.create_string_buffer(512)  # struct timex, which asks without changing while its first field is 0
    if ctypes.CDLL(None).adjtimex(state) == TIME_ERROR:
        advice = "run chrony or systemd-timesyncd: one-time codes and the validity of certificates depend on it"
        return warning("clock", f"it says {time.strftime('%F %T')}, and nothing keeps it right", advice)
    return Finding("clock", f"{time.strftime('%F %T')}, kept right")


def _rows(table: str) -> list[list[str]]:
    """Empty where the family is switched off."""
    try:
        return [line.split() for line in Path(table).read_text().splitlines()]
    except OSError:
        return []


def _mtu(device: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, SIOCGIFMTU, struct.pack("16s16x", device.encode()))
        except OSError:
            return 0
    return int(struct.unpack("16si12x", answer)[1])
