"""Devices and guards in named network namespaces, and in tables of their own, of a real kernel."""

import itertools
import json
import os
import select
from collections.abc import Iterator
from dataclasses import replace
from errno import ENOENT
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from ovpn3.errors import NetworkError
from ovpn3.net.bypass import Bypasses
from ovpn3.net.device import Device
from ovpn3.net.guard import Barrier, Exit, Guards
from ovpn3.net.namespace import Home, Namespaces, is_name
from ovpn3.net.netlink import Netlink
from ovpn3.net.plan import EVERYTHING_IPV4, EVERYTHING_IPV6, Place, Wanted
from ovpn3.net.rule import Selector, rules
from tests.net.test_device import FULL, way
from tests.support.netns import Namespace, run

pytestmark = pytest.mark.netns
_serial = itertools.count()


@pytest.fixture
def inner(net: Namespace) -> Iterator[Namespace]:
    with Namespace(f"{net.name}-in-{next(_serial)}") as inner:
        yield inner


def names(net: Namespace) -> set[str]:
    return {link["ifname"] for link in json.loads(run(["ip", "-n", net.name, "-j", "link"]).stdout)}


async def test_a_device_comes_and_goes(net: Namespace, inner: Namespace, netlink: Netlink) -> None:
    before, before_inside = net.state(), inner.state()
    device = Device(netlink, Bypasses(netlink))
    wanted = replace(FULL, place=Place(netns=inner.name), name="tun-x")
    tun = await device.establish(wanted)
    assert net.state() == before  # no way around it is needed, nor one to the server
    assert tun.name == "tun-x"
    assert way(inner, "8.8.8.8") == ("tun-x", "10.8.0.1")
    assert way(inner, "203.0.113.1") == ("tun-x", "10.8.0.1")

    await device.alter(replace(wanted, routes=(), reroute_ipv4=False, mtu=1300))
    (link,) = json.loads(inner.run(["ip", "-j", "link", "show", "tun-x"]).stdout)
    assert (link["ifindex"], link["mtu"]) == (tun.index, 1300)
    assert inner.run(["ip", "route", "get", "8.8.8.8"], check=False).returncode != 0
    with pytest.raises(NetworkError, match="stays in its network namespace"):
        await device.alter(FULL)
    await device.remove()
    os.close(tun.fd)
    assert (net.state(), inner.state()) == (before, before_inside)


async def test_numbers_and_names_that_are_taken(net: Namespace, inner: Namespace, netlink: Netlink) -> None:
    inner.ip("link", "add", "tun0", "type", "bridge")
    net.ip("link", "add", "tun1", "type", "bridge")
    wanted = Wanted(place=Place(netns=inner.name))
    first, second, third = (
        Device(netlink, Bypasses(netlink)),
        Device(netlink, Bypasses(netlink)),
        Device(netlink, Bypasses(netlink)),
    )
    tuns = [await first.establish(wanted), await second.establish(replace(wanted, name="tun-x"))]
    assert [tun.name for tun in tuns] == ["tun2", "tun-x"]
    tuns.append(await third.establish(replace(wanted, name="tun-x")))
    assert tuns[2].name == "tun3"
    assert names(inner) == {"lo", "tun0", "tun2", "tun-x", "tun3"}
    here = await Device(netlink, Bypasses(netlink)).establish(Wanted(name="tun1"))
    assert here.name == "tun0"
    for tun in (*tuns, here):
        os.close(tun.fd)  # a device that nobody has open is gone, wherever it is
    assert names(inner) == {"lo", "tun0"}


async def test_a_namespace_that_is_gone_or_another(net: Namespace, inner: Namespace, netlink: Netlink) -> None:
    device, namespaces = Device(netlink, Bypasses(netlink)), Namespaces(netlink)
    tun = await device.establish(replace(FULL, place=Place(netns=inner.name)))
    home = device.home
    run(["ip", "netns", "del", inner.name])
    for text in ("there is no network namespace", "is another one now"):
        with pytest.raises(NetworkError, match=text) as caught:
            async with namespaces.inside(home):
                pass
        assert caught.value.errno == ENOENT
        if text.startswith("there"):
            run(["ip", "netns", "add", inner.name])
    errors = select.poll()
    errors.register(tun.fd, 0)
    assert errors.poll(10_000)  # nothing of ours kept the namespace alive, so the device is gone
    await device.remove()
    os.close(tun.fd)
    with pytest.raises(NetworkError, match="there is no network namespace nowhere"):
        await device.establish(replace(FULL, place=Place(netns="nowhere")))
    assert "tun0" not in names(net)


async def test_guards_there(net: Namespace, inner: Namespace, netlink: Netlink) -> None:
    """A namespace may have ways of its own, which are closed as they would be here."""
    net.ip("link", "set", "alt", "netns", inner.name)
    inner.ip("address", "add", "198.51.100.2/24", "dev", "alt")
    inner.ip("link", "set", "alt", "up")
    inner.ip("route", "add", "default", "via", "198.51.100.1")
    before, before_inside = net.state(), inner.state()
    guards = Guards(netlink, Namespaces(netlink))
    await guards.hold("session", [Barrier(network, Place(netns=inner.name)) for network in EVERYTHING_IPV4])
    assert net.state() == before
    assert inner.run(["ip", "route", "get", "8.8.8.8"], check=False).returncode != 0
    assert way(inner, "198.51.100.9") == ("alt", "")
    await guards.release("session")
    assert inner.state() == before_inside
    await guards.hold("session", [Barrier(network, Place(netns=inner.name)) for network in EVERYTHING_IPV6])
    run(["ip", "netns", "del", inner.name])
    await guards.release("session")  # they went with it
    run(["ip", "netns", "add", inner.name])


async def test_a_table(net: Namespace, netlink: Netlink) -> None:
    def leads(to: str, uid: int) -> str:
        answer = net.run(["ip", "-j", "route", "get", to, "uid", str(uid)], check=False)
        return str(json.loads(answer.stdout)[0].get("dev")) if answer.returncode == 0 else ""

    before = net.state()
    device, guards = Device(netlink, Bypasses(netlink)), Guards(netlink, Namespaces(netlink))
    wanted = replace(FULL, place=Place(table=1000))
    await guards.hold("device", [*rules(1000, [Selector(uids=(33, 40))], 35), Exit(ip_network("100.64.0.0/10"), 1000)])
    tun = await device.establish(wanted)
    assert [leads("8.8.8.8", uid) for uid in (32, 33, 34, 35, 40, 41)] == ["wan", *["tun0"] * 2, "wan", "tun0", "wan"]
    assert [leads("10.8.0.9", uid) for uid in (32, 33)] == ["wan", "tun0"]
    assert [leads("2001:db8:99::1", uid) for uid in (32, 33)] == ["wan", "tun0"]
    assert leads("100.64.0.1", 33) == "wan"
    assert leads("203.0.113.1", 33) == "tun0"
    assert net.run(["sysctl", "-n", "net.ipv4.conf.tun0.rp_filter"]).stdout == "2\n"

    await guards.hold("session", [Barrier(network, wanted.place) for network in EVERYTHING_IPV4])
    addresses = (replace(wanted.addresses[0], interface=ip_interface("10.9.0.2/24"), gateway=ip_address("10.9.0.1")),)
    await device.alter(replace(wanted, addresses=addresses, routes=()))
    assert leads("10.9.0.9", 33) == "tun0"
    await device.remove()
    os.close(tun.fd)
    assert [leads("8.8.8.8", uid) for uid in (32, 33)] == ["wan", ""]
    await guards.release("session")
    await guards.release("device")
    assert net.state() == before


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("vpn", True), ("a.b-c_D9", True), ("..", False), (".x", False), ("a/b", False), ("", False), ("a" * 65, False)],
)
def test_names(text: str, is_one: bool) -> None:
    assert is_name(text) is is_one


@pytest.fixture
def plain_file(net: Namespace) -> Iterator[str]:
    path = Path("/run/netns", f"{net.name}-file")
    path.touch()
    yield path.name
    path.unlink()


async def test_a_file_that_is_no_namespace(plain_file: str, netlink: Netlink) -> None:
    with pytest.raises(NetworkError, match="can't enter a network namespace: Invalid argument"):
        async with Namespaces(netlink).inside(Home(plain_file)):
            pass
