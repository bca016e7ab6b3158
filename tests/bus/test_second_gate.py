"""Where the bus policy lets everything pass, the services themselves refuse."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dbus_fast import Variant

from ovpn3.constants import BACKENDS_INTERFACE, CONFIG_INTERFACE, CONFIG_PATH, LOG_NAME, SESSIONS_PATH
from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.config import Configuration, ConfigurationManager
from ovpn3.proxies.log import Log as LogClient
from ovpn3_services.common.commandline import Options
from ovpn3_services.configmgr.service import ConfigManager
from ovpn3_services.log.service import LogService
from ovpn3_services.log.settings import parse
from tests.bus.running import ALICE, BOB, connected, policed_bus, running

PROFILE = "client\ndev tun\nremote 192.0.2.1\n"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with policed_bus(everything_allowed=True) as address:
        yield address


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
async def alice(address: str, output: Path) -> AsyncIterator[Bus]:
    options = Options(log_level=6, log_file="", idle_exit=0, state_dir=None)
    async with (
        running(LogService, address, parse(["--log-file", str(output), "--log-level", "6"])),
        running(ConfigManager, address, options),
        connected(address, ALICE) as bus,
    ):
        yield bus


async def test_logging_is_the_account_s(alice: Bus) -> None:
    log = LogClient(alice)
    session = f"{SESSIONS_PATH}/0s1"
    for work in (
        log.attach("a.b"),
        log.detach("a.b"),
        log.assign_session(session, BACKENDS_INTERFACE),
        log.proxy_log_events(alice.unique_name, session),
        log.call("GetSubscriberList"),
        log.set("log_level", "u", 0),
        log.set("log_dbus_details", "b", True),
        log.set("log_prefix_logtag", "b", False),
        log.set("timestamp", "b", True),
    ):
        with pytest.raises(RemoteError, match=r"may not use|only client|session manager|not attached"):
            await work
    values = await log.get_all()
    assert (values["log_level"], values["num_attached"]) == (6, 1)


async def test_forged_log_lines_are_not_written(alice: Bus, output: Path) -> None:
    await ConfigurationManager(alice).import_profile("genuine", PROFILE)
    receiver = await alice.name_owner(LOG_NAME)
    alice.emit(CONFIG_PATH, CONFIG_INTERFACE, "Log", "uus", 2, 7, "forged", destination=receiver)
    await LogClient(alice).get("version")
    assert written(output, "genuine", "forged") == [True, False]


def written(output: Path, *words: str) -> list[bool]:
    text = output.read_text()
    return [word in text for word in words]


async def test_profiles_are_their_owners(alice: Bus, address: str) -> None:
    async with connected(address, BOB) as bob:
        profile = await ConfigurationManager(bob).import_profile("bob's", PROFILE)
        theirs = Configuration(alice, profile.path)
        for work in (
            theirs.session_terms(ALICE.uid),
            theirs.fetch_for_client(),
            ConfigurationManager(alice).transfer_ownership(profile.path, ALICE.uid),
            theirs.fetch(),
            theirs.call("SetOverride", "sv", "ipv6", Variant("s", "no")),
        ):
            with pytest.raises(RemoteError, match="may not"):
                await work
        assert await profile.get("owner") == BOB.uid
