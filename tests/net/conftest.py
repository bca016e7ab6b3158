"""A network namespace with one link to the world, entered by the test's thread."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from ovpn3.net.netlink import Netlink
from tests.support.netns import Namespace

_serial = itertools.count()


@pytest.fixture
def net() -> Iterator[Namespace]:
    """wan: 192.0.2.2/24 and 2001:db8:2::2/64, default routes by .1 and ::1 there. alt: 198.51.100.2/24, none.

    There is nobody at the far ends: the tests look at what the kernel would do.
    """
    with Namespace(f"nc-{os.getpid()}-{next(_serial)}") as net:
        for name, addresses in (
            ("wan", ("192.0.2.2/24", "2001:db8:2::2/64")),
            ("alt", ("198.51.100.2/24", "2001:db8:51::2/64")),
        ):
            net.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
            for end in (name, f"{name}-far"):
                # Link-local addresses appear and settle by themselves, which no comparison could stand.
                net.ip("link", "set", end, "addrgenmode", "none", "up")
            for address in addresses:
                net.ip("address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
        net.ip("route", "add", "default", "via", "192.0.2.1")
        net.ip("-6", "route", "add", "default", "via", "2001:db8:2::1")
        with net.entered():
            yield net


@pytest.fixture
async def netlink(net: Namespace) -> AsyncIterator[Netlink]:
    with Netlink() as netlink:
        yield netlink
