"""Descriptors of tun devices, and their flags as the kernel sees them."""

import fcntl
import os
import struct

import pytest

from ovpn3.errors import NetworkError
from ovpn3.net.tun import open_tun
from tests.support.netns import Namespace

pytestmark = pytest.mark.netns

TUNGETIFF = 0x800454D2
IFREQ = struct.Struct("16sH22x")
TUN, NO_PI, VNET_HDR = 0x0001, 0x1000, 0x4000


def flags(fd: int) -> int:
    return int(IFREQ.unpack(fcntl.ioctl(fd, TUNGETIFF, IFREQ.pack(b"", 0)))[1])


@pytest.mark.parametrize(("offloads", "expected"), [(False, TUN | NO_PI), (True, TUN | NO_PI | VNET_HDR)])
def test_flags(net: Namespace, offloads: bool, expected: int) -> None:
    tun = open_tun(offloads=offloads)
    assert flags(tun.fd) & (TUN | NO_PI | VNET_HDR) == expected
    os.close(tun.fd)


def test_names(net: Namespace) -> None:
    tuns = [open_tun(), open_tun(), open_tun("vpn-%d.x"), open_tun("a" * 15)]
    assert [tun.name for tun in tuns] == ["tun0", "tun1", "vpn-0.x", "a" * 15]
    assert len({tun.index for tun in tuns}) == 4
    for tun in tuns:
        os.close(tun.fd)


def test_a_name_in_use(net: Namespace) -> None:
    tun = open_tun("mine")
    count = len(os.listdir("/proc/self/fd"))
    for name in ("mine", "lo"):
        with pytest.raises(NetworkError, match=f"can't create device {name}: ") as caught:
            open_tun(name)
        assert caught.value.errno
    assert len(os.listdir("/proc/self/fd")) == count
    os.close(tun.fd)
