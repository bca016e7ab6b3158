"""The driver's orders, against a network service that is only pretended."""

import asyncio
from typing import Any, cast

import pytest

from ovpn3.client.driver import Driver
from ovpn3.constants import LogCategory, StatusMinor
from ovpn3.errors import NetworkError
from ovpn3.profile import build, parse
from ovpn3.protocol.auth import Credentials

PROFILE = """client
dev tun
connect-retry 1
remote 127.0.0.1 1 tcp
setenv CLIENT_CERT 0
peer-fingerprint 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00
"""


class Watch:
    def cancel(self) -> None:
        pass


class Network:
    """Notes what it is asked for. The way to the server is protected once `may_protect` is set."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.asked, self.may_protect = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    async def on_loss(self, lost: Any) -> Watch:
        return Watch()

    async def protect_socket(self, fd: int, remote: str, *, ipv6: bool, device_path: str, mark: int) -> bool:
        self.asked.set()
        await self.may_protect.wait()
        if self.error:
            raise self.error
        self.done.append("protect")
        return False

    async def cleanup(self) -> None:
        self.done.append("cleanup")


class Listener:
    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[StatusMinor, str]] = asyncio.Queue()

    def log(self, category: LogCategory, text: str) -> None:
        pass

    def status(self, minor: StatusMinor, text: str = "") -> None:
        self.told.put_nowait((minor, text))

    def changed(self) -> None:
        pass


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def driver(network: Network, listener: Listener, request: pytest.FixtureRequest) -> Driver:
    profile = build(parse(PROFILE + getattr(request, "param", "connect-retry-max 1\n")))
    driver = Driver(profile, Credentials(), cast(Any, network), cast(Any, listener), name="t")
    driver.start()
    return driver


async def test_what_netcfg_is_doing_is_done_before_the_cleanup(driver: Driver, network: Network) -> None:
    await network.asked.wait()
    stopping = asyncio.create_task(driver.stop())
    await asyncio.sleep(0)
    network.may_protect.set()
    await stopping
    assert network.done == ["protect", "cleanup"]
    assert not driver.running


async def test_a_server_that_refuses_is_told_once_all_is_clean(
    driver: Driver, network: Network, listener: Listener
) -> None:
    network.may_protect.set()
    minor, text = await listener.told.get()
    assert network.done == ["protect", "cleanup"]
    assert minor == StatusMinor.CONN_FAILED
    assert "refused" in text


@pytest.mark.parametrize("driver", [""], indirect=True)
async def test_a_server_is_tried_until_somebody_stops(driver: Driver, network: Network, listener: Listener) -> None:
    network.may_protect.set()
    for _ in range(2):
        minor, text = await listener.told.get()
        assert minor == StatusMinor.CONN_CONNECTING
        assert "refused" in text
    assert driver.running
    await driver.stop()
    assert network.done == ["protect", "protect", "cleanup"]


async def test_an_unexpected_exception_is_told_to_the_loop(driver: Driver, network: Network) -> None:
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.set_result(context["exception"]))
    network.error = ZeroDivisionError()
    network.may_protect.set()
    assert await told is network.error
    await driver.stop()
    assert network.done == ["cleanup"]


async def test_pause_during_the_start(driver: Driver, network: Network, listener: Listener) -> None:
    network.may_protect.set()
    driver.pause()
    assert await listener.told.get() == (StatusMinor.CONN_PAUSED, "")
    assert driver.paused
    await driver.stop()
    assert network.done == ["protect", "cleanup"]


async def test_a_restart_ends_a_pause(driver: Driver, network: Network, listener: Listener) -> None:
    network.may_protect.set()
    driver.pause()
    assert await listener.told.get() == (StatusMinor.CONN_PAUSED, "")
    driver.restart()
    assert not driver.paused
    minor, _ = await listener.told.get()
    assert minor == StatusMinor.CONN_FAILED, "it has tried again"


async def test_a_refusal_of_netcfg_ends_the_start(driver: Driver, network: Network, listener: Listener) -> None:
    network.error = NetworkError("no way")
    network.may_protect.set()
    assert await listener.told.get() == (StatusMinor.CONN_FAILED, "no way")
