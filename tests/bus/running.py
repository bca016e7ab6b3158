"""Services of ours in this process, on a bus with the shipped policy, and callers who are other users."""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from ovpn3.dbus.bus import Bus
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.service import Service
from tests.support.account import Account

_S = TypeVar("_S", bound=Service)

# Users that every machine has. We are root: in this place the service account is root too.
ALICE, BOB = Account("nobody", 65534), Account("daemon", 1)

# What a distribution's system.conf says before it reads the services' files.
_SYSTEM = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={folder}/bus</listen>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <includedir>{folder}/system.d</includedir>
</busconfig>
"""
_OPEN = """<busconfig>
  <policy context="default"><allow own="*"/><allow send_destination="*"/></policy>
</busconfig>
"""


@contextmanager
def policed_bus(*, everything_allowed: bool = False) -> Iterator[str]:
    """Address of a bus with our policy for the account root, which every user can reach."""
    with tempfile.TemporaryDirectory(prefix="bus-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "system.d").mkdir()
        for source in files("ovpn3_services").joinpath("data/dbus-1/system.d").iterdir():
            (folder / "system.d" / source.name).write_text(source.read_text().replace("@USER@", "root"))
        if everything_allowed:
            (folder / "system.d" / "z-open.conf").write_text(_OPEN)
        (folder / "bus.conf").write_text(_SYSTEM.format(folder=folder))
        with subprocess.Popen(
            ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--print-address"],
            stdout=subprocess.PIPE,
            text=True,
        ) as daemon:
            assert daemon.stdout
            try:
                yield daemon.stdout.readline().strip()
            finally:
                daemon.terminate()


@asynccontextmanager
async def connected(address: str, account: Account | None = None) -> AsyncIterator[Bus]:
    """A connection of a user's, ours by default."""
    if account:
        with account.assumed():
            bus = await Bus.connect(address)
    else:
        bus = await Bus.connect(address)
    try:
        yield bus
    finally:
        bus.close()
        await asyncio.wait_for(bus.lost(), 5)


@asynccontextmanager
async def running(kind: type[_S], address: str, options: Options) -> AsyncIterator[_S]:
    """The service owns its name within the block."""
    async with connected(address) as watcher:
        named = asyncio.Event()
        await watcher.watch_name(kind.name, lambda owner: named.set())
        await watcher.owner(kind.name)
        owned = asyncio.create_task(named.wait())
        service = kind(await Bus.connect(address), options)
        life = asyncio.create_task(service.run())
        await asyncio.wait({life, owned}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        assert owned.done(), await life
        try:
            yield service
        finally:
            service.end()
            assert await asyncio.wait_for(life, 10) == 0
