import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ovpn3.dbus.bus import Bus
from tests.support.privatebus import private_bus


@pytest.fixture(scope="session")
def bus_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("bus")
    with private_bus(folder) as address:
        yield address


@pytest.fixture
async def server(bus_address: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(bus_address)
    yield bus
    bus.close()
    await bus.lost()


@pytest.fixture
async def client(bus_address: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(bus_address)
    yield bus
    bus.close()
    await asyncio.wait_for(bus.lost(), 5)
