"""What the data path asks of the kernel and the processor, tried out."""

import ctypes
import os
import platform
import socket
import threading
from collections.abc import Iterator
from typing import Final

from ovpn3._fast import aead
from ovpn3.cli.checks.finding import Finding, problem, warning
from ovpn3.constants import TunOffload
from ovpn3.datapath.offloads import tun_offloads
from ovpn3.errors import NetworkError
from ovpn3.net.tun import DEVICE, open_tun

CLONE_NEWNET: Final = 0x40000000
UDP_SEGMENT, UDP_GRO = 103, 104  # linux/udp.h
SLOWER: Final = "more processor time for the same data"


def check() -> Iterator[Finding]:
    yield Finding("version", f"Linux {platform.release()}, {platform.machine()}")
    yield _tun()
    yield _udp("udp send", "gso", UDP_SEGMENT, "4.18")
    yield _udp("udp receive", "gro", UDP_GRO, "5.0")
    if aead.IPSEC_MB_OBJECTION:
        advice = f"install libipsec-mb1, or the like, for faster AES-GCM; without it: {SLOWER}"
        yield warning("cipher", f"libcrypto only, no ipsec-mb: {aead.IPSEC_MB_OBJECTION}", advice)
    else:
        yield Finding("cipher", "libcrypto and ipsec-mb")


def _tun() -> Finding:
    wanted = tun_offloads(("tso", "uso"))
    try:
        granted = _tried_tun(wanted)
    except NetworkError as e:
        if DEVICE.exists():
            return problem("tun", str(e), "a container needs the capability NET_ADMIN, and the device allowed")
        advice = "modprobe tun; a container is given it with --device /dev/net/tun"
        return problem("tun", f"there is no {DEVICE}", advice)
    if granted is None:
        return Finding("tun", f"{DEVICE} can be opened; what it can do shows in a session's log, level 4")
    missing = [name for name in ("tso", "uso") if not granted & tun_offloads((name,))]
    if missing:
        advice = f"Linux 6.2 has them all; with an older one: {SLOWER}"
        return warning("tun", f"{DEVICE}, without the offloads {' and '.join(missing)}", advice)
    return Finding("tun", f"{DEVICE}, with TCP and UDP super packets (tso, uso)")


def _tried_tun(wanted: TunOffload) -> TunOffload | None:
    """What a new device grants. It is made out of everybody's sight; None where that can't be.

    A thread has a network namespace of its own if it wants, which ends with it.
    """
    found: list[TunOffload | NetworkError | None] = []

    def attempt() -> None:
        try:
            if ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0:
                tun = open_tun(offloads=wanted)
                os.close(tun.fd)
                found.append(tun.offloads)
            else:
                os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
                found.append(None)
        except NetworkError as e:
            found.append(e)
        except OSError as e:
            found.append(NetworkError(f"can't open {DEVICE}: {e.strerror}"))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    (outcome,) = found
    if isinstance(outcome, NetworkError):
        raise outcome
    return outcome


def _udp(subject: str, name: str, option: int, since: str) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_UDP, option, 1)
        except OSError as e:
            return warning(subject, f"without {name}: {e.strerror}", f"Linux {since} has it; without it: {SLOWER}")
    return Finding(subject, f"many packets at once ({name})")
