"""Callers that want to do harm, on a real bus as real users: refused or bounded, nothing leaks, others are served."""

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from dbus_fast import Message, MessageFlag, Variant

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    CLIENT_PATH,
    CONFIG_INTERFACE,
    CONFIG_NAME,
    CONFIG_PATH,
    SESSIONS_INTERFACE,
    SESSIONS_NAME,
    SESSIONS_PATH,
)
from ovpn3.dbus.bus import Bus, Match
from ovpn3.errors import RemoteError
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.session import SessionManager
from tests.support.account import ALICE, BOB, Account
from tests.support.fleet import anonymous_mib, descriptors
from tests.support.machine import Machine

pytestmark = pytest.mark.system

PROFILE = "client\ndev tun\nremote 192.0.2.1\nauth-user-pass\npeer-fingerprint " + "00:" * 31 + "00\n"
PROPERTIES = "org.freedesktop.DBus.Properties"
LIMITS = "org.freedesktop.DBus.Error.LimitsExceeded"
ANSWER_S = 0.25  # within which others are answered meanwhile, at the median
ROOTS = [(CONFIG_NAME, CONFIG_PATH, CONFIG_INTERFACE), (SESSIONS_NAME, SESSIONS_PATH, SESSIONS_INTERFACE)]


@asynccontextmanager
async def user(machine: Machine, account: Account) -> AsyncIterator[Bus]:
    with account.assumed():
        bus = await Bus.connect(machine.sandbox.address)
    try:
        yield bus
    finally:
        bus.close()
        await bus.lost()


async def version(bus: Bus, name: str, path: str, interface: str) -> str:
    return str(await bus.get_property(name, path, interface, "version"))


@asynccontextmanager
async def unharmed(machine: Machine) -> AsyncIterator[None]:
    """Within the block BOB is answered in time; after it the services are the same and hold no more than before."""
    pids = {}
    async with user(machine, BOB) as bob:
        for root in ROOTS:
            await version(bob, *root)
            await ConfigurationManager(bob).available()
            await SessionManager(bob).available()
        for name in ("configmgr", "sessionmgr", "log"):
            pid = machine.service(name)
            pids[name] = pid, descriptors(pid), anonymous_mib(pid)
        done, times = asyncio.Event(), []

        async def ask() -> None:
            while not done.is_set():
                for root in ROOTS:
                    began = time.monotonic()
                    await version(bob, *root)
                    times.append(time.monotonic() - began)
                await asyncio.sleep(0.005)  # so that the median is one over time

        asking = asyncio.create_task(ask())
        try:
            yield
        finally:
            done.set()
            await asyncio.wait_for(asking, 30)
        for root in ROOTS:
            await version(bob, *root)  # what came before has been dealt with
        assert statistics.median(times) < ANSWER_S
        for name, (pid, fds, size) in pids.items():
            assert machine.service(name) == pid
            assert descriptors(pid) <= fds, name
            assert anonymous_mib(pid) < size + 12, name


async def outcomes(calls: list[Awaitable[object]]) -> list[str]:
    """Error names, empty for success."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(e, RemoteError) for e in found if isinstance(e, BaseException)), found
    return [e.name if isinstance(e, RemoteError) else "" for e in found]


async def test_wrong_types(machine: Machine) -> None:
    values: list[tuple[str, object]] = [
        *(("s", "x"), ("u", 1), ("b", True), ("v", Variant("av", [Variant("s", "x")])), ("ao", ["/"])),
        *(("a{sv}", {"x": Variant("t", 2**64 - 1)}), ("(uus)", [1, 2, "x"]), ("ay", b"x" * 1000), ("x", -1)),
    ]
    async with unharmed(machine), user(machine, ALICE) as alice:
        profile = await ConfigurationManager(alice).import_profile("types", PROFILE)
        members = ("Import", "NewTunnel", "SetOverride", "AddTag", "AccessGrant", "Seal", "LogForward", "Fetch")
        for name, path, interface in [*ROOTS, (CONFIG_NAME, profile.path, CONFIG_INTERFACE)]:
            for member in members:
                for signature, value in values:
                    # Seal takes nothing, so that a call with something is as wrong as the others.
                    if (member, signature) not in (("AddTag", "s"), ("AccessGrant", "u"), ("LogForward", "b")):
                        with pytest.raises(RemoteError, match=r"does not match|No such method|not exist|Rejected"):
                            await alice.call(name, path, interface, member, signature, value)
        for signature, value in values:
            if signature != "b":
                with pytest.raises(RemoteError, match="Expected type"):
                    await profile.set("dco", signature, value)
        await profile.remove()


async def test_huge_texts(machine: Machine) -> None:
    huge = "x" * 12_000_000  # two of them are less than the bus takes
    async with unharmed(machine), user(machine, ALICE) as alice:
        manager = ConfigurationManager(alice)
        profile = await manager.import_profile("huge", PROFILE)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: manager.import_profile("huge", huge),
            lambda: manager.import_profile(huge, PROFILE),
            lambda: manager.by_owner(huge),
            lambda: profile.add_tag(huge),
            lambda: profile.remove_tag(huge),
            lambda: profile.unset_override(huge),
            lambda: profile.call("SetOverride", "sv", huge, Variant("s", huge)),
            lambda: profile.call("SetOverride", "sv", "dns-setup-disabled", Variant("s", huge)),
            lambda: profile.get(huge),
            lambda: profile.set("name", "s", huge),
            lambda: profile.call(f"M{huge[:200]}"),
            lambda: SessionManager(alice).by_interface(huge),
        ]
        for call in calls:
            with pytest.raises(RemoteError) as e:
                await call()
            assert len(str(e.value)) <= 4096
        assert await manager.by_name(huge) == []
        assert await manager.by_tag(huge) == []
        await profile.remove()


async def test_a_flood_of_descriptors(machine: Machine) -> None:
    """16 are the most that a message of the bus can have; 4000 come to each service before it has answered."""
    fds = [os.open("/dev/null", os.O_RDONLY)] * 16
    async with unharmed(machine), user(machine, ALICE) as alice:
        for name, path, interface in ROOTS:
            # The first calls of a connection, and NewTunnel always, are answered only after others were asked.
            calls = [("NewTunnel", "o", ["/none"])] if name == SESSIONS_NAME else [("LookupConfigName", "s", ["none"])]
            for member, signature, body in calls * 250:
                how = {"flags": MessageFlag.NO_REPLY_EXPECTED, "signature": signature, "body": body, "unix_fds": fds}
                alice._connection.send(Message(name, path, interface, member, **how))
            await outcomes([version(alice, name, path, interface)])
    os.close(fds[0])


async def test_more_calls_than_may_be_in_flight(machine: Machine) -> None:
    """The bus refuses those beyond its limit; the others are answered."""
    async with unharmed(machine), user(machine, ALICE) as alice:
        alice._slots = asyncio.Semaphore(1000)
        alice._slots_of[SESSIONS_NAME] = many = asyncio.Semaphore(1000)
        names = await outcomes([SessionManager(alice).new_tunnel(f"{CONFIG_PATH}/none{n}") for n in range(1000)])
        assert many
        assert names.count(LIMITS) > 0
        assert names.count("net.openvpn.gdbuspp.request") + names.count("net.openvpn.gdbuspp") >= 100
        assert "" not in names


async def test_calls_without_reply_and_a_caller_that_never_reads(machine: Machine) -> None:
    async with unharmed(machine):
        async with user(machine, ALICE) as alice:
            for n in range(3000):
                alice.call_no_reply(SESSIONS_NAME, SESSIONS_PATH, SESSIONS_INTERFACE, "NewTunnel", "o", f"/none{n}")
            await outcomes([version(alice, *ROOTS[1])])
        async with user(machine, ALICE) as alice:
            connection = alice._connection
            connection._loop.remove_reader(connection._fd)
            for _ in range(3000):
                for name, path, interface in ROOTS:
                    alice._connection.send(Message(name, path, PROPERTIES, "GetAll", signature="s", body=[interface]))
            await asyncio.sleep(1)  # nothing is to happen: it is BOB's answers meanwhile that count
            connection._end()  # it will not see that the bus hangs up


async def test_a_flood_of_signals(machine: Machine) -> None:
    """Others than client processes can't even send what looks like a client's."""
    seen: list[Message] = []
    account = Account("openvpn", int(machine.sandbox.run(["id", "-u", "openvpn"]).stdout))
    async with unharmed(machine), user(machine, ALICE) as alice, user(machine, account) as witness:
        await witness.subscribe(Match(BACKENDS_INTERFACE), seen.append)
        service = await alice.name_owner(SESSIONS_NAME)
        for destination in (None, service):
            for n in range(5000):
                token = f"guess{n}"
                forged = ("RegistrationRequest", "ssi", f"{BACKENDS_INTERFACE}.be{n}", token, n)
                alice.emit(CLIENT_PATH, BACKENDS_INTERFACE, *forged, destination=destination)
                changed = ("PropertiesChanged", "sa{sv}as", BACKENDS_INTERFACE, {"x": Variant("u", n)}, [])
                alice.emit(CLIENT_PATH, PROPERTIES, *changed, destination=destination)
        await version(alice, *ROOTS[1])
        await version(witness, *ROOTS[1])
    assert seen == []


async def test_what_one_user_may_have(machine: Machine) -> None:
    async with unharmed(machine), user(machine, ALICE) as alice:
        manager = ConfigurationManager(alice)
        first = await manager.import_profile("mine", PROFILE)
        for n in range(999):
            await manager.import_profile(f"mine-{n}", PROFILE)
        with pytest.raises(RemoteError, match="has 1000 profiles already"):
            await manager.import_profile("one more", PROFILE)
        async with user(machine, BOB) as bob:
            await (await ConfigurationManager(bob).import_profile("bob's", PROFILE)).remove()
        for n in range(64):
            await first.add_tag(f"tag{n}")
        with pytest.raises(RemoteError, match="64 tags already"):
            await first.add_tag("one more")
        for n in range(1000):
            await first.grant(50000 + n)
        with pytest.raises(RemoteError, match="1000 users already"):
            await first.grant(60000)
        for profile in await manager.available():
            await profile.remove()


async def test_sessions_of_one_user_have_a_limit(machine: Machine) -> None:
    """101 client processes are asked for at once; the last is refused, and bob has his."""
    async with user(machine, ALICE) as alice, user(machine, BOB) as bob:
        manager = ConfigurationManager(alice)
        profiles = [await manager.import_profile(f"many-{n}", PROFILE) for n in range(101)]
        sessions = []

        async def start(profile: Configuration) -> None:
            sessions.append(await SessionManager(alice).new_tunnel(profile.path))

        names = await outcomes([start(profile) for profile in profiles])
        assert sorted(names) == [*[""] * 100, "net.openvpn.gdbuspp"]
        profile = await ConfigurationManager(bob).import_profile("bob's", PROFILE)
        await (await SessionManager(bob).new_tunnel(profile.path)).disconnect()
        await asyncio.gather(*(session.disconnect() for session in sessions))
        assert await SessionManager(alice).available() == []
