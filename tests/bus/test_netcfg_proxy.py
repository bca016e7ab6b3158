"""Asking a network service for offloads: ours, and the original's, which has no such method."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ovpn3.constants import NETCFG_NAME, NETCFG_PATH, TunOffload
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.dispatch import Call, DBusObject, Dispatcher, anyone, method
from ovpn3.errors import ConfigurationRefused, NetworkError, RemoteError
from ovpn3.proxies.netcfg import Device, NetworkConfiguration
from tests.support import privatebus

WANTED = TunOffload.CSUM | TunOffload.TSO4


class Original(DBusObject):
    interface = NETCFG_NAME

    @method("Establish", rule=anyone, fd="out")
    async def establish(self, call: Call) -> int:
        return os.memfd_create("plain")


class Ours(Original):
    @method("EstablishOffloads", "wanted:u", "granted:u", rule=anyone, fd="out")
    async def establish_offloads(self, call: Call, wanted: int) -> tuple[int, int]:
        return os.memfd_create("offloads"), wanted & TunOffload.CSUM


class Failing(Original):
    @method("EstablishOffloads", "wanted:u", "granted:u", rule=anyone, fd="out")
    async def establish_offloads(self, call: Call, wanted: int) -> tuple[None, int]:
        return None, 0


class Refusing(Original):
    @method("EstablishOffloads", "wanted:u", "granted:u", rule=anyone, fd="out")
    async def establish_offloads(self, call: Call, wanted: int) -> tuple[int, int]:
        raise ConfigurationRefused("not now")


def serve(server: Bus, service: DBusObject, client: Bus) -> Device:
    Dispatcher(server, failed=lambda where, error: None, active=lambda: None).export(NETCFG_PATH, service)
    device = Device(client, NETCFG_PATH)
    device.service = server.unique_name
    return device


def name(fd: int) -> str:
    """What the descriptor was made as; it is closed."""
    link = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return link.removeprefix("/memfd:").removesuffix(" (deleted)")


@pytest.mark.parametrize(
    ("service", "wanted", "expected"),
    [
        (Ours(), 0, ("plain", TunOffload.NONE)),
        (Ours(), WANTED, ("offloads", TunOffload.CSUM)),
        (Original(), 0, ("plain", TunOffload.NONE)),
        (Original(), WANTED, ("plain", TunOffload.NONE)),
    ],
    ids=["ours, plain", "ours", "the original's, plain", "the original's"],
)
async def test_what_is_asked_for(
    server: Bus, client: Bus, service: DBusObject, wanted: int, expected: tuple[str, TunOffload]
) -> None:
    fd, granted = await serve(server, service, client).establish(wanted)
    assert (name(fd), granted) == expected


async def test_a_service_whose_object_is_late_is_asked_again(server: Bus, client: Bus) -> None:
    """As the original's services at their start: the name is there before the object."""
    network = NetworkConfiguration(client)
    network.service = server.unique_name
    dispatcher = Dispatcher(server, failed=lambda where, error: None, active=lambda: None)
    asking = asyncio.create_task(network.call("Establish"))
    await asyncio.sleep(0)  # it has asked; the next call is answered later
    with pytest.raises(RemoteError, match="does not exist"):
        await client.call(server.unique_name, NETCFG_PATH, NETCFG_NAME, "Establish")
    dispatcher.export(NETCFG_PATH, Original())
    await asyncio.wait_for(asking, 5)


async def test_failures_are_no_reason_to_ask_again(server: Bus, client: Bus) -> None:
    with pytest.raises(NetworkError, match="could not be set up"):
        await serve(server, Failing(), client).establish(WANTED)


async def test_refusals_are_no_reason_to_ask_again(server: Bus, client: Bus) -> None:
    with pytest.raises(RemoteError, match="not now"):
        await serve(server, Refusing(), client).establish(WANTED)


@pytest.fixture
async def strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Bus, Bus]]:
    """Server and client on a bus with the original's policy: members that it doesn't list can't be called."""
    rule = f'<deny send_interface="{NETCFG_NAME}" send_member="EstablishOffloads"/>'
    monkeypatch.setattr(privatebus, "CONFIG", privatebus.CONFIG.replace("<allow own", f"{rule}<allow own"))
    with privatebus.private_bus(tmp_path) as address:
        buses = await Bus.connect(address), await Bus.connect(address)
        yield buses
        for bus in buses:
            bus.close()
            await bus.lost()


async def test_a_policy_that_doesn_t_know_it(strict: tuple[Bus, Bus]) -> None:
    server, client = strict
    fd, granted = await serve(server, Original(), client).establish(WANTED)
    assert (name(fd), granted) == ("plain", TunOffload.NONE)
