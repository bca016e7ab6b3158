"""`uninstall`: undo `install`, and nothing else."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from ovpn3.cli.command import Command, Options
from ovpn3.cli.install import Installation
from ovpn3.cli.selection import system_bus
from ovpn3.cli.verbs.install import DRY_RUN, ROOT, check_root, perform, reload_bus
from ovpn3.constants import (
    BACKENDS_NAME,
    CLIENT_NAME_PREFIX,
    CONFIG_NAME,
    LOG_NAME,
    NETCFG_NAME,
    SERVICE_ACCOUNT,
    SESSIONS_NAME,
)
from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH, Bus
from ovpn3.errors import NetworkError, RemoteError

# Clients go before all these: they put the network in order with their help.
STOP_ORDER = (SESSIONS_NAME, BACKENDS_NAME, NETCFG_NAME, CONFIG_NAME, LOG_NAME)
STOP_TIMEOUT_S = 10.0


async def run(options: Options) -> int:
    check_root()
    installation = Installation(Path(options.get("root", "/")), SERVICE_ACCOUNT)
    steps = list(installation.uninstall_steps())
    dry = options.has("dry-run")
    if installation.live and not dry:
        with suppress(NetworkError):  # no bus, no services
            async with system_bus() as bus:
                await _stop_services(bus)
    perform(steps, dry)
    if installation.live and not dry:
        await reload_bus()
    return 0


async def _stop_services(bus: Bus) -> None:
    """Have every client and service end, and wait for it."""
    names: list[str] = (await bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "ListNames"))[0]
    clients = [name for name in names if name.startswith(CLIENT_NAME_PREFIX)]
    for name in [*clients, *(name for name in STOP_ORDER if name in names)]:
        print(f"stop {name}", flush=True)
        with suppress(RemoteError, ProcessLookupError, TimeoutError):  # gone already, or not to be had
            body = await bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "GetConnectionUnixProcessID", "s", name)
            await _stop(body[0])


async def _stop(pid: int) -> None:
    loop = asyncio.get_running_loop()
    handle = os.pidfd_open(pid)
    gone = asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await gone.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


ABOUT = """\
Stops the services, removes what `install` has put there and nothing else. Persistent profiles stay, and with them the
account that owns them.
"""
COMMAND = Command(run, (ROOT, DRY_RUN), about=ABOUT)
