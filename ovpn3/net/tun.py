"""Open a tun device: the one thing netlink can't do."""

import fcntl
import os
import re
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ovpn3.constants import TunOffload
from ovpn3.errors import NetworkError

DEVICE = Path("/dev/net/tun")

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_TUNGETIFF = 0x800454D2
_TUNSETOFFLOAD = 0x400454D0
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_TUN_EXCL = 0x8000
_IFF_VNET_HDR = 0x4000
_IFREQ = struct.Struct("16sH22x")

# IFNAMSIZ holds 15 characters and a zero; one %d lets the kernel number the device.
_NAME = re.compile(r"(?!\.{1,2}\Z)(?=.{1,15}\Z)[A-Za-z0-9_.-]+(?:%d)?[A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Tun:
    """An open tun device. Whoever holds `fd` owns it: the device lives until all copies are closed.

    Reads and writes don't block. Without `offloads` each is a bare IP packet; with any, a virtio_net_hdr of 10 octets
    precedes it, and packets may be super packets or lack their checksum.
    """

    fd: int
    name: str
    index: int
    offloads: TunOffload


def open_tun(name: str = "tun%d", *, offloads: int = 0) -> Tun:
    """Create a tun device, with as many of the `offloads` as the kernel grants.

    They are bits of TunOffload; CSUM is implied by any other, and of USO4 and USO6 only both together can be had.
    Raises NetworkError, with EBUSY if there is a device of that name; needs CAP_NET_ADMIN and access to /dev/net/tun.
    """
    if not _NAME.fullmatch(name):
        raise NetworkError(f"not a device name: {name[:40]!r}")
    wanted = TunOffload(offloads)
    if wanted:
        wanted |= TunOffload.CSUM
    # A kernel that doesn't know one of them refuses all. The latest are those of UDP, with Linux 6.2.
    for fewer in (wanted, wanted & ~(TunOffload.USO4 | TunOffload.USO6)):
        if fewer:
            with suppress(NetworkError):
                return _open(name, fewer)
    return _open(name, TunOffload.NONE)


def _open(name: str, offloads: TunOffload) -> Tun:
    """With exactly these offloads, or NetworkError."""
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL | (_IFF_VNET_HDR if offloads else 0)
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise NetworkError(f"can't open {DEVICE}: {e.strerror}", e.errno or 0) from e
    try:
        answer = fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
        if offloads:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, offloads)
        given = _name_in(answer)
        return Tun(fd, given, socket.if_nametoindex(given), offloads)
    except OSError as e:
        os.close(fd)
        raise NetworkError(f"can't create device {name}: {e.strerror}", e.errno or 0) from e


def name_of(fd: int) -> str:
    """The kernel's name of an open tun device; NetworkError if it is none."""
    try:
        return _name_in(fcntl.ioctl(fd, _TUNGETIFF, bytes(_IFREQ.size)))
    except OSError as e:
        raise NetworkError(f"what should be a tun device isn't one: {e.strerror}", e.errno or 0) from e


def _name_in(request: bytes) -> str:
    name: bytes = _IFREQ.unpack(request)[0]
    return name.rstrip(b"\0").decode()
