"""Exported objects on a real bus: members, rules, errors, properties, descriptors, introspection."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest
from dbus_fast import Variant
from dbus_fast.introspection import Node

from ovpn3.dbus.access import AccessList, owner
from ovpn3.dbus.bus import Bus, Match
from ovpn3.dbus.connection import close_all
from ovpn3.dbus.describe import Signal
from ovpn3.dbus.dispatch import MAX_CALLS_OF_ONE, Call, DBusObject, Dispatcher, anyone, method, prop
from ovpn3.errors import AccessDenied, ConfigurationRefused, RemoteError, ServiceError

PATH, IFACE = "/org/example/thing", "org.example.Thing"
PROPERTIES = "org.freedesktop.DBus.Properties"


async def nobody(obj: object, call: Call) -> None:
    raise AccessDenied("not for you")


class Thing(DBusObject):
    interface = IFACE
    signals = (Signal("Happened", "what:s"),)

    def __init__(self) -> None:
        self.mood_now = "calm"
        self.access = AccessList(os.geteuid())
        self.let_go = asyncio.Event()

    @method("Echo", "text:s", "text:s times:u", rule=owner)
    async def echo(self, call: Call, text: str) -> tuple[str, int]:
        return text, 1

    @method("Refuse", "how:s", rule=anyone)
    async def refuse(self, call: Call, how: str) -> None:
        raise {
            "ready": ServiceError("net.openvpn.v3.error.ready", "Missing user credentials"),
            "state": ConfigurationRefused("not now"),
            "bug": ValueError("a secret text"),
        }[how]

    @method("Denied", rule=nobody)
    async def denied(self, call: Call) -> None:
        raise AssertionError("the rule was not asked")

    @method("Slow", rule=anyone)
    async def slow(self, call: Call) -> None:
        await self.let_go.wait()

    @method("GiveFd", rule=anyone, fd="out")
    async def give_fd(self, call: Call) -> int:
        return os.memfd_create("given")

    @method("GiveFdAndMore", "", "text:s number:u", rule=anyone, fd="out")
    async def give_fd_and_more(self, call: Call) -> tuple[int, str, int]:
        return os.memfd_create("given"), "more", 5

    @method("TakeFd", "", "size:t", rule=anyone, fd="in")
    async def take_fd(self, call: Call) -> int:
        fd = call.take_fd()
        assert fd is not None
        size = os.fstat(fd).st_size
        os.close(fd)
        return size

    @prop("mood", "s", read=anyone, write=anyone)
    def mood(self, call: Call) -> str:
        return self.mood_now

    @mood.setter
    def set_mood(self, call: Call, value: str) -> None:
        if not value:
            raise ConfigurationRefused("a mood is needed")
        self.mood_now = value

    @prop("hidden", "s", read=nobody)
    def hidden(self, call: Call) -> str:
        return "x"

    @prop("odd", "s", read=anyone, wire="o")
    async def odd(self, call: Call) -> str:
        return "/"


@pytest.fixture
async def thing(server: Bus) -> AsyncIterator[Thing]:
    thing = Thing()
    failures: list[str] = []
    dispatcher = Dispatcher(server, failed=lambda where, e: failures.append(where), active=lambda: None)
    dispatcher.export(PATH, thing)
    yield thing
    await dispatcher.drain()


async def call(client: Bus, server: Bus, member: str, signature: str = "", *args: object) -> list[object]:
    return await client.call(server.unique_name, PATH, IFACE, member, signature, *args)


async def test_method_answers(client: Bus, server: Bus, thing: Thing) -> None:
    assert await call(client, server, "Echo", "s", "hé") == ["hé", 1]


@pytest.mark.parametrize(
    ("how", "name", "text"),
    [
        ("ready", "net.openvpn.v3.error.ready", "Missing user credentials"),
        ("state", "net.openvpn.gdbuspp", "not now"),
        ("bug", "net.openvpn.gdbuspp.request", "internal error; the service's log has the details"),
    ],
)
async def test_errors_carry_their_domain(
    client: Bus, server: Bus, thing: Thing, how: str, name: str, text: str
) -> None:
    with pytest.raises(RemoteError) as e:
        await call(client, server, "Refuse", "s", how)
    assert (e.value.name, str(e.value)) == (name, text)


@pytest.mark.parametrize(
    ("path", "iface", "member", "signature", "args", "name"),
    [
        (PATH, IFACE, "Denied", "", (), "net.openvpn.gdbuspp"),
        (PATH, IFACE, "Nothing", "", (), "org.freedesktop.DBus.Error.UnknownMethod"),
        (PATH, "org.example.Other", "Echo", "s", ("",), "org.freedesktop.DBus.Error.UnknownMethod"),
        ("/nowhere", IFACE, "Echo", "s", ("",), "org.freedesktop.DBus.Error.UnknownMethod"),
        (PATH, IFACE, "Echo", "u", (1,), "org.freedesktop.DBus.Error.InvalidArgs"),
        (PATH, PROPERTIES, "Get", "ss", (IFACE, "none"), "org.freedesktop.DBus.Error.InvalidArgs"),
        (PATH, PROPERTIES, "Get", "ss", (IFACE, "hidden"), "org.freedesktop.DBus.Error.AccessDenied"),
        (
            PATH,
            PROPERTIES,
            "Set",
            "ssv",
            (IFACE, "odd", Variant("s", "x")),
            "org.freedesktop.DBus.Error.InvalidArgs",
        ),
        (
            PATH,
            PROPERTIES,
            "Set",
            "ssv",
            (IFACE, "mood", Variant("u", 1)),
            "org.freedesktop.DBus.Error.InvalidArgs",
        ),
        (
            PATH,
            PROPERTIES,
            "Set",
            "ssv",
            (IFACE, "mood", Variant("s", "")),
            "org.freedesktop.DBus.Error.Failed",
        ),
    ],
)
async def test_refusals(
    client: Bus,
    server: Bus,
    thing: Thing,
    path: str,
    iface: str,
    member: str,
    signature: str,
    args: tuple[object, ...],
    name: str,
) -> None:
    with pytest.raises(RemoteError) as e:
        await client.call(server.unique_name, path, iface, member, signature, *args)
    assert e.value.name == name


@pytest.mark.parametrize(
    ("path", "iface", "member", "signature", "args", "text"),
    [
        ("/nowhere", IFACE, "Echo", "s", ("",), "Object does not exist at path “/nowhere”"),
        (PATH, "a.b", "Echo", "s", ("",), f"No such interface “a.b” on object at path {PATH}"),
        (PATH, IFACE, "Nothing", "", (), "No such method “Nothing”"),
        (PATH, IFACE, "Echo", "u", (1,), "Type of message, “(u)”, does not match expected type “(s)”"),
        (PATH, PROPERTIES, "Get", "s", (IFACE,), f"No such interface “{PROPERTIES}” on object at path {PATH}"),
        (PATH, PROPERTIES, "Get", "ss", ("a.b", "mood"), "No such interface “a.b”"),
        (PATH, PROPERTIES, "GetAll", "s", ("a.b",), "No such interface “a.b”"),
        (PATH, PROPERTIES, "Get", "ss", (IFACE, "none"), "No such property “none”"),
        (PATH, PROPERTIES, "Set", "ssv", (IFACE, "odd", Variant("s", "x")), "Property “odd” is not writable"),
        (
            *(PATH, PROPERTIES, "Set", "ssv", (IFACE, "mood", Variant("u", 1))),
            "Error setting property “mood”: Expected type “s” but got “u”",
        ),
    ],
)
async def test_errors_are_worded_as_gdbus_does(
    client: Bus,
    server: Bus,
    thing: Thing,
    path: str,
    iface: str,
    member: str,
    signature: str,
    args: tuple[object, ...],
    text: str,
) -> None:
    """As seen of a service on GLib 2.74: front-ends look for some of these."""
    with pytest.raises(RemoteError) as e:
        await client.call(server.unique_name, path, iface, member, signature, *args)
    assert str(e.value) == text


async def test_an_object_that_is_not_there_has_nothing_to_show(client: Bus, server: Bus, thing: Thing) -> None:
    body = await client.call(server.unique_name, "/nowhere", "org.freedesktop.DBus.Introspectable", "Introspect")
    found = Node.parse(body[0])
    assert all(interface.name.startswith("org.freedesktop.DBus.") for interface in found.interfaces)
    assert not found.nodes


async def test_get_all_leaves_out_what_is_refused(client: Bus, server: Bus, thing: Thing) -> None:
    body = await client.call(server.unique_name, PATH, PROPERTIES, "GetAll", "s", IFACE)
    assert {k: (v.signature, v.value) for k, v in body[0].items()} == {"mood": ("s", "calm"), "odd": ("o", "/")}


async def test_set_is_announced(client: Bus, server: Bus, thing: Thing) -> None:
    seen: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()
    await client.subscribe(Match(PROPERTIES, "PropertiesChanged"), lambda m: seen.set_result(m.body))
    await client.call(server.unique_name, PATH, PROPERTIES, "Set", "ssv", IFACE, "mood", Variant("s", "gay"))
    interface, changed, gone = await asyncio.wait_for(seen, 5)
    assert (interface, changed, gone) == (IFACE, {"mood": Variant("s", "gay")}, [])


async def test_a_descriptor_may_be_named(client: Bus, server: Bus, thing: Thing) -> None:
    """By an index at the end, which not every library can do without."""
    fds = [os.memfd_create(str(size)) for size in (1, 2)]
    for size, fd in enumerate(fds, 1):
        os.ftruncate(fd, size)
    before = len(os.listdir("/proc/self/fd"))
    for index, size in enumerate((1, 2)):
        assert await client.call(server.unique_name, PATH, IFACE, "TakeFd", "h", index, fds=fds) == [size]
    with pytest.raises(RemoteError, match="There is no descriptor 2"):
        await client.call(server.unique_name, PATH, IFACE, "TakeFd", "h", 2, fds=fds)
    with pytest.raises(RemoteError, match="does not match expected type") as e:
        await client.call(server.unique_name, PATH, IFACE, "GiveFd", "h", 0, fds=fds)
    assert e.value.name == "org.freedesktop.DBus.Error.InvalidArgs"
    assert len(os.listdir("/proc/self/fd")) == before
    for fd in fds:
        os.close(fd)


async def test_descriptors_travel_and_none_stays_behind(client: Bus, server: Bus, thing: Thing) -> None:
    fd = os.memfd_create("sent")
    os.ftruncate(fd, 4711)
    body = await client.call(server.unique_name, PATH, IFACE, "TakeFd", fds=[fd])
    assert body == [4711]
    reply = await client.request(server.unique_name, PATH, IFACE, "GiveFd")
    assert len(reply.unix_fds) == 1
    os.close(reply.unix_fds[0])
    reply = await client.request(server.unique_name, PATH, IFACE, "GiveFdAndMore")
    assert (reply.body, len(reply.unix_fds)) == (["more", 5], 1)
    os.close(reply.unix_fds[0])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(40):
        with pytest.raises(RemoteError):
            await client.call(server.unique_name, PATH, IFACE, "Nothing", fds=[fd])
        await client.call(server.unique_name, PATH, IFACE, "Echo", "s", "x", fds=[fd])
        await client.call(server.unique_name, PATH, IFACE, "GiveFd")
    os.close(fd)
    assert len(os.listdir("/proc/self/fd")) <= before


class Waiting(DBusObject):
    interface = IFACE

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher, self.asked = dispatcher, 0
        self.ten_asked, self.let_go = asyncio.Event(), asyncio.Event()

    @prop("late", "b", read=anyone)
    async def late(self, call: Call) -> bool:
        self.asked += 1
        if self.asked == 10:
            self.ten_asked.set()
        return await self.let_go.wait()


@pytest.fixture
async def waiting(server: Bus) -> AsyncIterator[Waiting]:
    dispatcher = Dispatcher(server, failed=lambda where, e: None, active=lambda: None)
    waiting = Waiting(dispatcher)
    dispatcher.export(PATH, waiting)
    yield waiting
    await dispatcher.drain()


async def test_calls_that_wait_hold_no_descriptors(client: Bus, server: Bus, waiting: Waiting) -> None:
    fds = [os.memfd_create("sent") for _ in range(16)]
    before = len(os.listdir("/proc/self/fd"))
    late = (server.unique_name, PATH, PROPERTIES, "Get", "ss", IFACE, "late")
    calls = [asyncio.ensure_future(client.call(*late, fds=fds)) for _ in range(10)]
    await asyncio.wait_for(waiting.ten_asked.wait(), 5)
    assert len(os.listdir("/proc/self/fd")) <= before
    waiting.let_go.set()
    await asyncio.gather(*calls)
    close_all(fds)


async def test_calls_in_hand_of_one_connection_have_a_limit(client: Bus, server: Bus, waiting: Waiting) -> None:
    """The bus doesn't count those that want no reply."""
    for _ in range(MAX_CALLS_OF_ONE + 50):
        client.call_no_reply(server.unique_name, PATH, PROPERTIES, "Get", "ss", IFACE, "late")
    with pytest.raises(RemoteError) as e:
        await client.get_property(server.unique_name, PATH, IFACE, "late")
    assert e.value.name == "org.freedesktop.DBus.Error.LimitsExceeded"
    assert waiting.asked == MAX_CALLS_OF_ONE
    waiting.let_go.set()
    await waiting.dispatcher.drain()
    assert await client.get_property(server.unique_name, PATH, IFACE, "late") is True


async def test_one_that_never_answers_holds_up_nobody(client: Bus, server: Bus, thing: Thing, bus_address: str) -> None:
    mute = await Bus.connect(bus_address)
    mute.serve(lambda m: None)
    calls = [asyncio.ensure_future(client.call(mute.unique_name, PATH, IFACE, "Echo")) for _ in range(200)]
    assert await asyncio.wait_for(call(client, server, "Echo", "s", "x"), 5) == ["x", 1]
    assert await asyncio.wait_for(client.name_owner(server.unique_name), 5) == server.unique_name
    with pytest.raises(RemoteError, match="did not answer Slow in time"):
        await client.call(server.unique_name, PATH, IFACE, "Slow", timeout_s=0.01)
    thing.let_go.set()
    mute.close()
    await mute.lost()
    gone = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(e, RemoteError) for e in gone)


async def test_a_name_that_another_holds_is_not_waited_for(client: Bus, server: Bus) -> None:
    name = "net.openvpn.v3.taken"
    await client.request_name(name)
    with pytest.raises(RemoteError, match="owned by another process"):
        await server.request_name(name)
    lost = asyncio.Event()
    await server.watch_name(name, lambda owner: lost.set())
    await server.owner(name)
    client.close()
    await asyncio.wait_for(lost.wait(), 5)
    assert await server.name_owner(name) == ""  # nor queued for


async def test_slow_calls_hold_up_nobody(client: Bus, server: Bus, thing: Thing) -> None:
    slow = asyncio.ensure_future(call(client, server, "Slow"))
    assert await call(client, server, "Echo", "s", "x") == ["x", 1]
    assert not slow.done()
    thing.let_go.set()
    await slow


async def test_introspection_names_every_argument(client: Bus, server: Bus, thing: Thing) -> None:
    body = await client.call(server.unique_name, PATH, "org.freedesktop.DBus.Introspectable", "Introspect")
    described = next(i for i in Node.parse(body[0]).interfaces if i.name == IFACE)
    echo = next(m for m in described.methods if m.name == "Echo")
    assert [(a.name, a.signature) for a in echo.in_args] == [("text", "s")]
    assert [(a.name, a.signature) for a in echo.out_args] == [("text", "s"), ("times", "u")]
    assert [(p.name, p.signature, p.access.value) for p in described.properties] == [
        ("mood", "s", "readwrite"),
        ("hidden", "s", "read"),
        ("odd", "s", "read"),
    ]
    root = await client.call(server.unique_name, "/org", "org.freedesktop.DBus.Introspectable", "Introspect")
    assert [n.name for n in Node.parse(root[0]).nodes] == ["example"]


async def test_bursts_fill_the_socket_and_all_arrive(client: Bus, server: Bus, thing: Thing) -> None:
    got: list[int] = []
    done = asyncio.get_running_loop().create_future()

    def seen(m: object) -> None:
        got.append(1)
        if len(got) == 5300 and not done.done():
            done.set_result(None)

    await client.subscribe(Match(IFACE, "Happened"), seen)
    for _ in range(300):
        server.emit(PATH, IFACE, "Happened", "s", "x" * 100_000)
    for _ in range(5000):
        server.emit(PATH, IFACE, "Happened", "s", "x")
    await asyncio.wait_for(done, 30)


async def test_a_cut_connection_fails_what_waits(server: Bus, client: Bus, thing: Thing) -> None:
    waiting = asyncio.ensure_future(call(client, server, "Slow"))
    await call(client, server, "Echo", "s", "x")
    assert client._connection._sock
    client._connection._sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(RemoteError, match="bus is gone"):
        await waiting
    with pytest.raises(RemoteError, match="bus is gone"):
        await call(client, server, "Echo", "s", "x")
    thing.let_go.set()
