"""Descriptors of tun devices, and their flags as the kernel sees them."""

import fcntl
import os
import socket
import struct
from errno import EINVAL
from typing import Any

import pytest

from ovpn3.constants import TunOffload
from ovpn3.errors import NetworkError
from ovpn3.net.tun import Tun, open_tun
from tests.support.netns import Namespace

pytestmark = pytest.mark.netns

TUNGETIFF = 0x800454D2
IFREQ = struct.Struct("16sH22x")
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
TUN, NO_PI, VNET_HDR = 0x0001, 0x1000, 0x4000

# linux/virtio_net.h: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
VIRTIO_NET_HDR = struct.Struct("=BBHHHH")
NEEDS_CSUM = 1
GSO_TCPV4, GSO_UDP_L4 = 1, 5

UDP_SEGMENT = 103
TCP_REPAIR, TCP_REPAIR_WINDOW = 19, 29

KINDS = TunOffload
TCP = KINDS.CSUM | KINDS.TSO4 | KINDS.TSO6 | KINDS.TSO_ECN
ALL = TCP | KINDS.USO4 | KINDS.USO6

# As ethtool calls them.
FEATURES = {
    "tx-checksumming": KINDS.CSUM,
    "tx-tcp-segmentation": KINDS.TSO4,
    "tx-tcp6-segmentation": KINDS.TSO6,
    "tx-tcp-ecn-segmentation": KINDS.TSO_ECN,
    "tx-udp-segmentation": KINDS.USO4 | KINDS.USO6,
}


def flags(fd: int) -> int:
    return int(IFREQ.unpack(fcntl.ioctl(fd, TUNGETIFF, IFREQ.pack(b"", 0)))[1])


def features(net: Namespace, tun: Tun) -> TunOffload:
    """Those that are on."""
    rows = [line.split() for line in net.run(["ethtool", "-k", tun.name]).stdout.splitlines()]
    on = {words[0].rstrip(":") for words in rows if words[1:2] == ["on"]}
    found = KINDS.NONE
    for name in on & set(FEATURES):
        found |= FEATURES[name]
    return found


def up(net: Namespace, tun: Tun) -> None:
    """10.8.0.2/24; the kernel sends nothing of its own."""
    net.run(["sysctl", "-w", f"net.ipv6.conf.{tun.name}.disable_ipv6=1"])
    net.ip("address", "add", "10.8.0.2/24", "dev", tun.name)
    net.ip("link", "set", tun.name, "up")


@pytest.mark.parametrize(
    ("wanted", "granted"),
    [
        (0, KINDS.NONE),
        (KINDS.CSUM, KINDS.CSUM),
        (TCP, TCP),
        (KINDS.TSO6, KINDS.CSUM | KINDS.TSO6),
        (ALL, ALL),  # needs Linux 6.2
        (KINDS.TSO4 | KINDS.USO4, KINDS.CSUM | KINDS.TSO4),
        (KINDS.TSO_ECN, KINDS.NONE),
        (0xFFFF_FF90, KINDS.NONE),
        (0xFFFF_FFFF, ALL),
    ],
)
def test_flags(net: Namespace, wanted: int, granted: TunOffload) -> None:
    tun = open_tun(offloads=wanted)
    assert tun.offloads == granted
    assert features(net, tun) == granted
    expected = TUN | NO_PI | (VNET_HDR if granted else 0)
    assert flags(tun.fd) & (TUN | NO_PI | VNET_HDR) == expected
    os.close(tun.fd)


@pytest.mark.parametrize(
    ("request_", "refused", "granted"),
    [
        (TUNSETOFFLOAD, KINDS.USO4 | KINDS.USO6, TCP),
        (TUNSETOFFLOAD, KINDS.CSUM, KINDS.NONE),
        (TUNSETIFF, VNET_HDR, KINDS.NONE),
    ],
)
def test_an_older_kernel(
    net: Namespace, monkeypatch: pytest.MonkeyPatch, request_: int, refused: int, granted: TunOffload
) -> None:
    ioctl = fcntl.ioctl

    def old(fd: int, request: int, what: Any) -> Any:
        if request == request_ and refused & (IFREQ.unpack(what)[1] if request == TUNSETIFF else what):
            raise OSError(EINVAL, "Invalid argument")
        return ioctl(fd, request, what)

    count = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "ioctl", old)
        tun = open_tun(offloads=ALL)
    assert (tun.name, tun.offloads) == ("tun0", granted)
    assert features(net, tun) == granted
    assert bool(flags(tun.fd) & VNET_HDR) == bool(granted)
    assert len(os.listdir("/proc/self/fd")) == count + 1
    os.close(tun.fd)


def test_super_packets_of_udp(net: Namespace) -> None:
    tun = open_tun(offloads=ALL)
    up(net, tun)
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        s.sendto(b"x" * 5000, ("10.8.0.1", 9))
    packet = os.read(tun.fd, 70_000)
    assert VIRTIO_NET_HDR.unpack_from(packet) == (NEEDS_CSUM, GSO_UDP_L4, 28, 1000, 20, 6)
    assert packet[VIRTIO_NET_HDR.size + 28 :] == b"x" * 5000
    os.close(tun.fd)


@pytest.mark.parametrize("offloads", [KINDS.NONE, ALL])
def test_super_packets_of_tcp(net: Namespace, offloads: TunOffload) -> None:
    tun = open_tun(offloads=offloads)
    up(net, tun)
    with socket.socket() as s:
        # A connection without a peer: that is what this mode is for.
        s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        s.bind(("10.8.0.2", 0))
        s.connect(("10.8.0.1", 9))
        s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, struct.pack("=5I", 0, 65535, 65535, 65535, 0))
        s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, -1)
        s.send(b"x" * 1072)
        packet = os.read(tun.fd, 70_000)
        s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # closes without a word
    if offloads:
        assert VIRTIO_NET_HDR.unpack_from(packet) == (NEEDS_CSUM, GSO_TCPV4, 40, 536, 20, 16)
        assert packet[VIRTIO_NET_HDR.size + 40 :] == b"x" * 1072
    else:
        assert packet[40:] == b"x" * 536
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
