"""The netcfg service on a bus of its own, over a real kernel: what callers see, and what is left when they go."""

import asyncio
import json
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from dbus_fast import Variant
from dbus_fast.introspection import Node

from ovpn3.client.settings import TunSettings
from ovpn3.client.tunbuilder import TunDevice
from ovpn3.constants import LOG_NAME, LOG_PATH, NETCFG_NAME, NETCFG_PATH, NetworkChange, TunOffload
from ovpn3.dbus.bus import Bus, Match
from ovpn3.dbus.dispatch import Call, DBusObject, Dispatcher, anyone, method
from ovpn3.errors import RemoteError
from ovpn3.net.rtnetlink import ANYTHING, rtnetlink_socket
from ovpn3.proxies.netcfg import Device, Network, NetworkConfiguration
from ovpn3.transport.resolve import Endpoint
from ovpn3_services.common.commandline import Options
from ovpn3_services.netcfg.protect import BUFFER_BYTES
from ovpn3_services.netcfg.service import NetCfgService
from ovpn3_services.netcfg.settings import RedirectMethod, parse
from tests.net.test_tun import VNET_HDR, flags
from tests.support.netns import Namespace
from tests.support.privatebus import private_bus

pytestmark = pytest.mark.netns

DOMAIN = "net.openvpn.v3.netcfg.error"
PROPERTIES = "org.freedesktop.DBus.Properties"
SERVER, SERVER_6 = "203.0.113.1", "2001:db8:113::1"


class LogService(DBusObject):
    interface = LOG_NAME

    @method("Attach", "interface:s", rule=anyone)
    async def attach(self, call: Call, interface: str) -> None:
        assert interface == NETCFG_NAME


def unexpected(where: str, error: Exception) -> None:
    raise AssertionError(where) from error


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with private_bus(tmp_path_factory.mktemp("bus")) as address:
        yield address


@pytest.fixture
async def lines(address: str) -> AsyncIterator[list[str]]:
    """What the log service was sent, as "path level text"."""
    bus = await Bus.connect(address)
    Dispatcher(bus, failed=unexpected, active=lambda: None).export(LOG_PATH, LogService())
    await bus.request_name(LOG_NAME)
    lines: list[str] = []
    log = Match(NETCFG_NAME, "Log")
    await bus.subscribe(log, lambda m: lines.append(f"{m.path} {m.body[1]} {m.body[2]}"))
    yield lines
    bus.close()
    await bus.lost()


@pytest.fixture
def options() -> Options:
    options = parse([])
    options.complaints = []
    return options


@pytest.fixture
async def service(net: Namespace, address: str, lines: list[str], options: Options) -> AsyncIterator[NetCfgService]:
    """Running; when it has ended, the network is as before."""
    before = net.state()
    bus = await Bus.connect(address)
    service = NetCfgService(bus, options)
    running = asyncio.ensure_future(service.run())
    witness, owned = await Bus.connect(address), asyncio.Event()
    await witness.watch_name(NETCFG_NAME, lambda owner: owned.set())
    await witness.owner(NETCFG_NAME)
    await asyncio.wait([running, asyncio.ensure_future(owned.wait())], return_when=asyncio.FIRST_COMPLETED)
    assert not running.done()
    witness.close()
    await witness.lost()
    yield service
    service.end()
    assert await asyncio.wait_for(running, 5) == 0
    assert net.state() == before


@pytest.fixture
async def client(service: NetCfgService, address: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(address)
    yield bus
    bus.close()
    await bus.lost()


async def refused(bus: Bus, path: str, member: str, signature: str = "", *args: Any) -> str:
    """The text of the error that a call must end with, in netcfg's domain."""
    with pytest.raises(RemoteError) as caught:
        await bus.call(NETCFG_NAME, path, NETCFG_NAME, member, signature, *args)
    assert caught.value.name == DOMAIN
    return str(caught.value)


async def make_device(bus: Bus, name: str = "token") -> Device:
    return await NetworkConfiguration(bus).create_interface(name)


async def establish(device: Device) -> int:
    """The descriptor of a plain device."""
    fd, offloads = await device.establish()
    assert not offloads
    return fd


async def full_tunnel(device: Device) -> int:
    await device.set("layer", "u", 3)
    await device.set("mtu", "q", 1400)
    await device.set("txqueuelen", "q", 55)
    await device.set("reroute_ipv4", "b", True)
    await device.set("reroute_ipv6", "b", True)
    await device.set_remote_address(SERVER, ipv6=False)
    await device.add_address("10.8.0.2", 24, "10.8.0.1", ipv6=False)
    await device.add_address("fd08::2", 64, "fd08::1", ipv6=True)
    await device.add_networks(
        [
            Network("172.16.0.0", 12, ipv6=False, metric=50),
            Network("fd16::", 32, ipv6=True),
            Network("100.64.0.0", 10, ipv6=False, exclude=True),
        ]
    )
    return await establish(device)


def way(net: Namespace, to: str) -> tuple[str, str]:
    (route,) = json.loads(net.run(["ip", "-j", "route", "get", to]).stdout)
    return route["dev"], route.get("gateway", "")


class Changes:
    """The NetworkChange signals one connection has been sent."""

    def __init__(self) -> None:
        self.heard: list[tuple[NetworkChange, str, dict[str, str]]] = []
        self.removal = asyncio.Event()

    async def listen(self, bus: Bus, mask: int) -> None:
        await bus.subscribe(Match(NETCFG_NAME, "NetworkChange"), self._on_change)
        await bus.call(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, "NotificationSubscribe", "u", mask)

    def _on_change(self, m: Any) -> None:
        self.heard.append((NetworkChange(m.body[0]), m.body[1], m.body[2]))
        if m.body[0] == NetworkChange.DEVICE_REMOVED:
            self.removal.set()

    def kinds(self) -> list[NetworkChange]:
        return [kind for kind, _, _ in self.heard]


FORCE = (32, 33)  # SO_SNDBUFFORCE, SO_RCVBUFFORCE


def buffers(s: socket.socket) -> set[int]:
    return {s.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_SNDBUF, socket.SO_RCVBUF)}


async def leave(caller: Bus, witness: Bus) -> None:
    """End a connection; when this returns the service has been told, and hears of `witness` only later."""
    told = asyncio.Event()
    await witness.watch_name(caller.unique_name, lambda owner: told.set())
    await witness.owner(caller.unique_name)
    caller.close()
    await caller.lost()
    await asyncio.wait_for(told.wait(), 5)


async def same(net: Namespace, state: dict[str, list[str]]) -> None:
    """Wait until the network is in that state."""
    with rtnetlink_socket(ANYTHING) as news:
        async with asyncio.timeout(5):
            while net.state() != state:
                await asyncio.get_running_loop().sock_recv(news, 65536)


# -- a device's life ----------------------------------------------------------------------------------
async def test_a_full_tunnel(net: Namespace, client: Bus) -> None:
    before = net.state()
    device = await make_device(client)
    assert device.path == f"{NETCFG_PATH}/{os.getpid()}_token"
    assert await device.get("device_name") == "token"
    assert net.state() == before

    fd = await full_tunnel(device)
    name = await device.get("device_name")
    assert (name, os.get_blocking(fd)) == ("tun0", False)
    assert way(net, "8.8.8.8") == (name, "10.8.0.1")
    assert way(net, SERVER) == ("wan", "192.0.2.1")
    assert way(net, "100.64.0.1") == ("wan", "192.0.2.1")
    (link,) = json.loads(net.run(["ip", "-j", "link", "show", name]).stdout)
    assert (link["mtu"], link["txqlen"]) == (1400, 55)
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", ("8.8.8.8", 9))
    packet = b""
    while packet[:1] != b"\x45":
        assert select.select([fd], [], [], 5)[0]
        packet = os.read(fd, 2000)
    assert packet.endswith(b"hello")

    await device.destroy()
    assert net.state() == before
    with pytest.raises(RemoteError, match="Object does not exist"):
        await device.get("mtu")
    os.close(fd)


@pytest.mark.parametrize(("wanted", "granted"), [(0, 0), (0x80, 0), (1, 1), (2, 3), (0xFF, 0x6F)])
async def test_offloads(net: Namespace, client: Bus, wanted: int, granted: int) -> None:
    device = await make_device(client)
    os.close(await full_tunnel(device))
    what = (NETCFG_NAME, device.path, NETCFG_NAME)
    reply = await client.request(*what, "EstablishOffloads", "u", wanted)
    (fd,) = reply.unix_fds
    assert reply.body == [granted]
    assert bool(flags(fd) & VNET_HDR) == bool(granted)
    assert way(net, "8.8.8.8") == (await device.get("device_name"), "10.8.0.1")
    (link,) = json.loads(net.run(["ip", "-j", "-d", "link", "show", "tun0"]).stdout)
    assert (link["mtu"], link["gso_max_segs"]) == (1400, 45 if granted else 65535)
    os.close(fd)

    reply = await client.request(*what, "Establish")
    (fd,) = reply.unix_fds
    assert reply.body == []
    assert not flags(fd) & VNET_HDR
    os.close(fd)


async def test_offloads_are_refused_as_a_plain_device_is(client: Bus) -> None:
    device = await make_device(client)
    await device.set("layer", "u", 2)
    assert "TAP" in await refused(client, device.path, "EstablishOffloads", "u", 1)


async def test_a_client_s_device(client: Bus) -> None:
    server = Endpoint(SERVER, SERVER, 1194, socket.AF_INET, stream=False)
    for wanted in (TunOffload.NONE, TunOffload.CSUM | TunOffload.TSO4):
        device = TunDevice(NetworkConfiguration(client), "token", wanted)
        assert await device.build(TunSettings((), 1500), server)
        assert (device.offloads, bool(flags(device.fd) & VNET_HDR)) == (wanted, bool(wanted))
        await device.remove()
        assert device.offloads == 0


async def test_disable_keeps_the_object(net: Namespace, client: Bus) -> None:
    before = net.state()
    device = await make_device(client)
    os.close(await full_tunnel(device))
    await device.add_dns(["192.0.2.53"])
    await device.call("Disable")
    assert net.state() == before
    assert await device.get("dns_name_servers") == []
    os.close(await establish(device))
    await device.call("Disable")


async def test_a_lost_caller_leaves_nothing(net: Namespace, service: NetCfgService, client: Bus, address: str) -> None:
    before = net.state()
    caller = await Bus.connect(address)
    device = await make_device(caller)
    fd = await full_tunnel(device)
    await NetworkConfiguration(caller).protect_socket(fd, SERVER_6, ipv6=True, device_path=device.path)
    assert service.busy()
    await leave(caller, client)
    await same(net, before)
    assert not service.busy()
    os.close(fd)


@pytest.mark.parametrize(
    ("member", "signature", "args"),
    [
        ("CreateVirtualInterface", "s", ["token"]),
        ("ProtectSocket", "sbo", [SERVER, False, "/"]),
        ("NotificationSubscribe", "u", [2047]),
    ],
)
async def test_a_caller_lost_at_once(
    net: Namespace, service: NetCfgService, client: Bus, address: str, member: str, signature: str, args: list[Any]
) -> None:
    before = net.state()
    caller = await Bus.connect(address)
    caller.call_no_reply(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, member, signature, *args)
    await leave(caller, client)
    await client.call(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, "DcoAvailable")
    await same(net, before)
    assert await client.call(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, "FetchInterfaceList") == [[]]


async def test_a_caller_lost_while_its_device_is_made(
    net: Namespace, service: NetCfgService, client: Bus, address: str
) -> None:
    before = net.state()
    caller = await Bus.connect(address)
    device = await make_device(caller)
    rows = [[f"172.16.{n // 256}.{n % 256}", 32, -1, False, False] for n in range(1000)]
    await device.call("AddNetworks", "a(suibb)", rows)
    changes = Changes()
    await changes.listen(client, 2047)
    caller.call_no_reply(NETCFG_NAME, device.path, NETCFG_NAME, "Establish")
    await leave(caller, client)
    await asyncio.wait_for(changes.removal.wait(), 20)
    assert net.state() == before
    assert await client.call(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, "FetchInterfaceList") == [[]]
    assert len(changes.heard) == 2 * 1001


async def test_cleanup_is_for_the_caller_s_process(net: Namespace, client: Bus) -> None:
    before = net.state()
    netcfg = NetworkConfiguration(client)
    for name in ("one", "two"):
        device = await make_device(client, name)
        os.close(await establish(device))
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        await netcfg.protect_socket(s.fileno(), SERVER, ipv6=False)
    await netcfg.cleanup()
    await netcfg.cleanup()
    assert net.state() == before


async def test_cleanup_doesn_t_wait_for_what_it_undoes(net: Namespace, client: Bus) -> None:
    """A device that takes seconds is given up half-way, and what waits behind it isn't begun."""
    before = net.state()
    device = await make_device(client)
    rows = [[f"172.{16 + n // 65536}.{n // 256 % 256}.{n % 256}", 32, -1, False, False] for n in range(20_000)]
    await device.call("AddNetworks", "a(suibb)", rows)
    calls = [asyncio.create_task(refused(client, device.path, "Establish")) for _ in range(3)]
    while "tun0" not in net.run(["ip", "link"]).stdout:
        await NetworkConfiguration(client).get("version")  # until the first is at work
    started = time.monotonic()
    await NetworkConfiguration(client).cleanup()
    assert time.monotonic() - started < 1
    assert net.state() == before
    assert await asyncio.gather(*calls) == ["cut short"] + ["cut short by Cleanup"] * 2


async def test_a_device_that_cannot_be(net: Namespace, client: Bus, lines: list[str]) -> None:
    device = await make_device(client)
    await device.add_address("fd08::2", 64, "", ipv6=True)
    await device.set("mtu", "q", 1000)  # less than IPv6 needs
    text = await refused(client, device.path, "Establish")
    assert text.startswith("can't add address fd08::2/64: ")
    assert any(text in line and line.startswith(f"{device.path} 6") for line in lines)
    assert "tun0" not in net.run(["ip", "link"]).stdout


async def test_no_descriptor_is_lost(client: Bus) -> None:
    device = await make_device(client)
    os.close(await establish(device))
    count = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        os.close(await establish(device))
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        for _ in range(5):
            await NetworkConfiguration(client).protect_socket(s.fileno(), SERVER, ipv6=False)
            with pytest.raises(RemoteError):
                await NetworkConfiguration(client).protect_socket(s.fileno(), "nonsense", ipv6=False)
    assert len(os.listdir("/proc/self/fd")) == count


# -- the server's way ---------------------------------------------------------------------------------
@pytest.mark.parametrize(("server", "ipv6"), [(SERVER, False), (SERVER_6, True)])
async def test_host_route(net: Namespace, client: Bus, server: str, ipv6: bool) -> None:
    family = "-6" if ipv6 else "-4"

    def hosts() -> list[str]:
        shown = json.loads(net.run(["ip", "-j", family, "route", "show", "proto", "170"]).stdout)
        return [route["dst"] for route in shown]

    netcfg = NetworkConfiguration(client)
    with socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as s:
        await netcfg.protect_socket(s.fileno(), server, ipv6=ipv6)
        assert hosts() == [server]
        other = server[:-1] + "2"
        await netcfg.protect_socket(s.fileno(), other, ipv6=ipv6)
        assert hosts() == [other]
    # No descriptor is needed where the socket itself stays as it is.
    body = await client.call(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, "ProtectSocket", "sbo", server, ipv6, "/")
    assert (body, hosts()) == ([True], [server])


async def test_a_reconnect_is_not_led_into_the_tunnel(net: Namespace, client: Bus) -> None:
    device = await make_device(client)
    fd = await full_tunnel(device)
    netcfg = NetworkConfiguration(client)
    for path in ("/", device.path):
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            await netcfg.protect_socket(s.fileno(), "203.0.113.9", ipv6=False, device_path=path)
        assert way(net, "203.0.113.9") == ("wan", "192.0.2.1")
        assert way(net, SERVER) == ("wan", "192.0.2.1")
    os.close(fd)


async def test_mark_and_bind(net: Namespace, client: Bus, options: Options) -> None:
    netcfg = NetworkConfiguration(client)
    options.redirect_method = RedirectMethod.BIND_DEVICE
    options.set_somark = 77
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        await netcfg.protect_socket(s.fileno(), SERVER, ipv6=False)
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 77
        options.set_somark = 2**32 - 1
        named = ("ProtectSocket", "sboh", SERVER, False, "/", 0)
        assert await client.call(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, *named, fds=[s.fileno()]) == [True]
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == -1  # Python takes it as signed
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"wan"
    assert "no socket was passed" in await refused(client, NETCFG_PATH, "ProtectSocket", "sbo", SERVER, False, "/")
    read, write = os.pipe()
    count = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RemoteError, match="can't protect the socket"):
        await netcfg.protect_socket(read, SERVER, ipv6=False)
    assert len(os.listdir("/proc/self/fd")) == count
    os.close(read)
    os.close(write)
    device = await make_device(client)
    fd = await full_tunnel(device)
    assert way(net, SERVER) == ("tun0", "10.8.0.1")  # the socket is bound, its address has no route
    os.close(fd)


@pytest.mark.parametrize(("server", "ipv6"), [(SERVER, False), (SERVER_6, True)])
async def test_a_profile_s_own_mark(net: Namespace, client: Bus, options: Options, server: str, ipv6: bool) -> None:
    family = "-6" if ipv6 else "-4"
    netcfg = NetworkConfiguration(client)
    options.set_somark, options.marks_allowed = 77, (range(0x20, 0x30), range(1, 2))
    with socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as s:

        async def led_by_rules(mark: int) -> bool:
            led = await netcfg.protect_socket(s.fileno(), server, ipv6=ipv6, mark=mark)
            assert s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == mark
            return led

        def around() -> bool:
            return server in net.run(["ip", family, "route", "show", "proto", "170"]).stdout

        # For a firewall: the way is that of all packets.
        assert not await led_by_rules(0x21)
        assert around()
        net.ip(family, "rule", "add", "fwmark", "0x20/0xf0", "lookup", "300")
        assert not await led_by_rules(0x21)  # there is nothing in that table
        net.ip(family, "route", "add", "default", "dev", "alt", "table", "300")
        assert await led_by_rules(0x21)
        assert not around()
        options.redirect_method = RedirectMethod.BIND_DEVICE
        assert await led_by_rules(0x2F)
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b""
        options.redirect_method = RedirectMethod.HOST_ROUTE
        assert not await led_by_rules(1)
        assert around()
        with pytest.raises(RemoteError, match=r"the mark 48 is not open to profiles; root: .* marks-allowed"):
            await netcfg.protect_socket(s.fileno(), server, ipv6=ipv6, mark=0x30)
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 1
        net.ip(family, "route", "del", "default", "dev", "alt", "table", "300")
        net.ip(family, "rule", "del", "fwmark", "0x20/0xf0", "lookup", "300")


@pytest.mark.parametrize("method", RedirectMethod)
async def test_a_udp_socket_gets_large_buffers(client: Bus, options: Options, method: RedirectMethod) -> None:
    netcfg = NetworkConfiguration(client)
    options.redirect_method = method
    for kind, expected in ((socket.SOCK_DGRAM, {2 * BUFFER_BYTES}), (socket.SOCK_STREAM, None)):
        with socket.socket(type=kind) as s:
            before = buffers(s)
            await netcfg.protect_socket(s.fileno(), SERVER, ipv6=False)
            assert buffers(s) == (expected or before)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        for option in FORCE:
            s.setsockopt(socket.SOL_SOCKET, option, 3 * BUFFER_BYTES)
        await netcfg.protect_socket(s.fileno(), SERVER_6, ipv6=True)
        assert buffers(s) == {6 * BUFFER_BYTES}


async def test_no_redirect(net: Namespace, client: Bus, options: Options) -> None:
    options.redirect_method = RedirectMethod.NONE
    fd = await full_tunnel(await make_device(client))
    assert way(net, "8.8.8.8") == ("wan", "192.0.2.1")
    assert way(net, "172.16.0.1") == ("tun0", "10.8.0.1")
    os.close(fd)


async def test_a_server_out_of_reach(net: Namespace, client: Bus) -> None:
    net.ip("route", "del", "default")
    text = await refused(client, NETCFG_PATH, "ProtectSocket", "sbo", SERVER, False, "/")
    assert text == f"can't find a route to {SERVER}/32: Network is unreachable"
    net.ip("route", "add", "default", "via", "192.0.2.1")


# -- notifications --------------------------------------------------------------------------------------
async def test_what_subscribers_hear(client: Bus, address: str) -> None:
    everything, removals = Changes(), Changes()
    other = await Bus.connect(address)
    await everything.listen(client, 2047)
    await removals.listen(other, NetworkChange.DEVICE_REMOVED)
    device = await make_device(client)
    fd = await full_tunnel(device)
    await device.destroy()
    kinds = NetworkChange
    assert everything.kinds() == [
        kinds.DEVICE_ADDED,
        kinds.ROUTE_EXCLUDED,
        *[kinds.IPADDR_ADDED] * 2,
        *[kinds.ROUTE_ADDED] * 6,
        *[kinds.ROUTE_REMOVED] * 6,
        *[kinds.IPADDR_REMOVED] * 2,
        kinds.DEVICE_REMOVED,
    ]
    assert {name for _, name, _ in everything.heard} == {"tun0"}
    details = [d for _, _, d in everything.heard]
    size = {"prefix": "10", "prefix_size": "10"}
    assert details[1] == {"ip_version": "4", "subnet": "100.64.0.0", "gateway": "192.0.2.1", **size}
    size = {"prefix": "24", "prefix_size": "24"}
    assert details[2] == {"ip_version": "4", "ip_address": "10.8.0.2", **size}
    size = {"prefix": "12", "prefix_size": "12"}
    assert details[4] == {"ip_version": "4", "subnet": "172.16.0.0", "gateway": "10.8.0.1", **size}
    assert details[10] == {"ip_version": "4", "subnet": "172.16.0.0", **size}
    assert details[-1] == {}
    await other.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus.Peer", "Ping")
    assert removals.kinds() == [kinds.DEVICE_REMOVED]
    os.close(fd)
    other.close()
    await other.lost()


async def test_subscriptions(service: NetCfgService, client: Bus, address: str) -> None:
    async def listed() -> list[tuple[str, int]]:
        body = await client.call(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, "NotificationSubscriberList")
        return [(name, mask) for name, mask in body[0]]

    other = await Bus.connect(address)
    for bad in (0, 65536):
        await refused(client, NETCFG_PATH, "NotificationSubscribe", "u", bad)
    for bus, mask in ((client, 1), (client, 65535), (other, 2)):
        await bus.call(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, "NotificationSubscribe", "u", mask)
    assert await listed() == [(client.unique_name, 65535), (other.unique_name, 2)]
    assert service.busy()
    assert "name the subscriber" in await refused(client, NETCFG_PATH, "NotificationUnsubscribe", "s", "")
    assert "no subscription" in await refused(client, NETCFG_PATH, "NotificationUnsubscribe", "s", ":9.9")
    await client.call(NETCFG_NAME, NETCFG_PATH, NETCFG_NAME, "NotificationUnsubscribe", "s", client.unique_name)
    assert await listed() == [(other.unique_name, 2)]
    await leave(other, client)
    assert await listed() == []


# -- everything else ------------------------------------------------------------------------------------
async def test_arguments_are_checked(client: Bus) -> None:
    for name in ("", "a/b", "ä", "x" * 200):
        await refused(client, NETCFG_PATH, "CreateVirtualInterface", "s", name)
    device = await make_device(client)
    assert "exists at" in await refused(client, NETCFG_PATH, "CreateVirtualInterface", "s", "token")
    for member, signature, *args in (
        ("AddIPAddress", "susb", "10.8.0.300", 24, "", False),
        ("AddIPAddress", "susb", "10.8.0.3", 33, "", False),
        ("AddIPAddress", "susb", "10.8.0.3", 24, "", True),
        ("AddIPAddress", "susb", "fe80::1%lo", 64, "", True),
        ("AddIPAddress", "susb", "10.8.0.3", 24, "fd08::1", False),
        ("AddIPAddress", "susb", "127.0.0.5", 8, "", False),
        ("AddIPAddress", "susb", "224.0.0.1", 8, "", False),
        ("AddIPAddress", "susb", "::", 64, "", True),
        ("SetRemoteAddress", "sb", "vpn.example", False),
        ("SetRemoteAddress", "sb", "0.0.0.0", False),
        ("AddNetworks", "a(suibb)", [["10.0.0.0", 8, -2, False, False]]),
        ("AddNetworks", "a(suibb)", [["10.0.0.0", 8, -1, False, False], ["", 8, -1, False, False]]),
        *(("AddRouteCgroup", "s", path) for path in ("", "/", "..", "a/../b", "/a", "a,b", "ä", "a" * 256)),
        ("AddRouteCgroup", "s", "no-such/cgroup"),
        ("AddDNS", "as", ["resolver.example"]),
        ("AddDNSSearch", "as", ["a b"]),
        ("AddDNSSearch", "as", ["a" * 300]),
        ("SetDNSSEC", "s", "maybe"),
        ("SetDNSTransport", "s", "pigeon"),
        ("EnableDCO", "s", "tun7"),
    ):
        await refused(client, device.path, member, signature, *args)
    for name, value in (("layer", Variant("u", 1)), ("mtu", Variant("q", 67)), ("dns_scope", Variant("s", "global"))):
        with pytest.raises(RemoteError) as caught:
            await client.call(NETCFG_NAME, device.path, PROPERTIES, "Set", "ssv", NETCFG_NAME, name, value)
        assert caught.value.name == "org.freedesktop.DBus.Error.Failed"
    await device.set("layer", "u", 2)
    assert "TAP" in await refused(client, device.path, "Establish")
    await refused(client, NETCFG_PATH, "ProtectSocket", "sbo", SERVER, True, "/")
    await refused(client, NETCFG_PATH, "ProtectSocket", "sbo", SERVER, False, f"{NETCFG_PATH}/1_none")


async def test_dns_is_kept_and_its_lack_logged(client: Bus, lines: list[str]) -> None:
    device = await make_device(client)
    await device.add_dns(["192.0.2.53", "2001:db8::53", "192.0.2.53"])
    await device.add_dns_search(["corp.example", "corp.example"])
    await device.call("SetDNSSEC", "s", "optional")
    await device.call("SetDNSTransport", "s", "dot")
    assert await device.get("dns_name_servers") == ["192.0.2.53", "2001:db8::53"]
    assert await device.get("dns_search_domains") == ["corp.example"]
    assert await device.get("dnssec_mode") == "optional"
    assert [line.split()[2] for line in lines if line.startswith(f"{device.path} 6")] == [
        "AddDNS",
        "AddDNSSearch",
        "SetDNSSEC",
        "SetDNSTransport",
    ]
    assert any("no DNS resolver back end" in line for line in lines)


async def test_properties(client: Bus, options: Options) -> None:
    device = await make_device(client)
    assert await device.get_all() == {
        "device_name": "token",
        "mtu": 1500,
        "layer": 0,
        "txqueuelen": 0,
        "reroute_ipv4": False,
        "reroute_ipv6": False,
        "owner": os.geteuid(),
        "acl": [],
        "dns_scope": "",
        "dns_name_servers": [],
        "dns_search_domains": [],
        "kill_switch": False,
        "block_ipv4": False,
        "block_ipv6": False,
        "block_local": False,
        "block_outside_dns": False,
        "interface_name": "",
        "network_namespace": "",
        "route_table": 0,
        "dnssec_mode": "unset",
    }
    netcfg = NetworkConfiguration(client)
    options.state_dir = "/var/lib/openvpn3"
    shown = await netcfg.get_all()
    assert shown.pop("version").startswith("v")
    assert shown == {
        "global_dns_servers": [],
        "global_dns_search": [],
        "log_level": 4,
        "config_file": "/var/lib/openvpn3/netcfg.json",
    }
    await netcfg.set("log_level", "u", 6)
    assert await netcfg.get("log_level") == 6
    with pytest.raises(RemoteError, match="0 to 6"):
        await netcfg.set("log_level", "u", 7)
    assert await netcfg.call("DcoAvailable") == [False]


async def test_introspection(client: Bus) -> None:
    introspectable = "org.freedesktop.DBus.Introspectable"

    async def node(path: str) -> Node:
        return Node.parse((await client.call(NETCFG_NAME, path, introspectable, "Introspect"))[0])

    await make_device(client)
    top, here = await node("/net/openvpn/v3"), await node(NETCFG_PATH)
    assert [child.name for child in top.nodes] == ["netcfg"]
    assert [child.name for child in here.nodes] == [f"{os.getpid()}_token"]


async def test_many_tunnels_at_once(net: Namespace, service: NetCfgService, client: Bus, address: str) -> None:
    before = net.state()

    async def one(number: int) -> None:
        bus = await Bus.connect(address)
        device = await make_device(bus, f"t{number}")
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            await NetworkConfiguration(bus).protect_socket(s.fileno(), SERVER, ipv6=False)
        await device.add_address(f"10.{number}.0.2", 24, "", ipv6=False)
        fd = await establish(device)
        if number % 2:
            await device.destroy()
        await leave(bus, client)
        os.close(fd)

    await asyncio.gather(*(one(number) for number in range(20)))
    await same(net, before)
    assert not service.busy()
