"""The shipped policy as the daemon understands it."""

import asyncio
from collections.abc import Iterator

import pytest

from ovpn3.constants import BACKENDS_INTERFACE, CLIENT_PATH, LOG_NAME
from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH, Bus, Match
from ovpn3.errors import RemoteError
from tests.bus.running import ALICE, connected, policed_bus

NAMES = ("log", "configuration", "sessions", "backends", "backends.be1", "netcfg")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with policed_bus() as address:
        yield address


@pytest.mark.parametrize("name", NAMES)
async def test_only_the_account_owns_our_names(address: str, name: str) -> None:
    async with connected(address) as account, connected(address, ALICE) as alice:
        with pytest.raises(RemoteError, match="not allowed to own"):
            await alice.request_name(f"net.openvpn.v3.{name}")
        await account.request_name(f"net.openvpn.v3.{name}")


@pytest.mark.parametrize("member", ["Log", "StatusChange", "AttentionRequired", "RegistrationRequest"])
async def test_a_client_s_signals_reach_the_account_only(address: str, member: str) -> None:
    async with connected(address) as client, connected(address) as account, connected(address, ALICE) as alice:
        heard = await listen(account), await listen(alice)
        client.emit(CLIENT_PATH, BACKENDS_INTERFACE, member, "s", "x")
        for bus in (client, account, alice):
            await round_trip(bus)
        assert [queue.qsize() for queue in heard] == [1, 0]


async def test_what_the_log_passes_on_reaches_everybody(address: str) -> None:
    async with connected(address) as log, connected(address, ALICE) as alice:
        await log.request_name(LOG_NAME)
        heard = await listen(alice)
        for member in ("Log", "StatusChange", "AttentionRequired"):
            log.emit("/a", BACKENDS_INTERFACE, member, "s", member, destination=alice.unique_name)
        await round_trip(log)
        await round_trip(alice)
        assert [heard.get_nowait() for _ in range(heard.qsize())] == ["Log", "StatusChange"]


async def listen(bus: Bus) -> "asyncio.Queue[str]":
    heard: asyncio.Queue[str] = asyncio.Queue()
    await bus.subscribe(Match(BACKENDS_INTERFACE), lambda m: heard.put_nowait(m.member or ""))
    return heard


async def round_trip(bus: Bus) -> None:
    """The daemon has dealt with all that was sent before, and we with all that it had sent."""
    await bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "GetId")
