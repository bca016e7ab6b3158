"""`stop`: end the services, as an upgrade or a removal needs it."""

import asyncio
import os
import signal
from contextlib import suppress

from ovpn3.cli.command import Command, Option, Options
from ovpn3.cli.selection import system_bus
from ovpn3.cli.verbs.install import check_root, systemctl
from ovpn3.constants import BACKENDS_NAME, CLIENT_NAME_PREFIX, CONFIG_NAME, LOG_NAME, NETCFG_NAME, SESSIONS_NAME
from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH, Bus
from ovpn3.errors import NetworkError, RemoteError

# Clients go before all these: they put the network in order with their help.
STOP_ORDER = (SESSIONS_NAME, BACKENDS_NAME, NETCFG_NAME, CONFIG_NAME, LOG_NAME)
STOP_TIMEOUT_S = 10.0
SERVICES = Option("services", help="Only the services: tunnels go on, and have new services started")


async def run(options: Options) -> int:
    check_root()
    await stop(with_clients=not options.has("services"))
    return 0


async def stop(*, with_clients: bool) -> None:
    """Have every service end, first the clients if they are to, and wait for it."""
    if with_clients:
        systemctl("stop", "openvpn3-*.service")
    with suppress(NetworkError):  # no bus, no services
        async with system_bus() as bus:
            await _stop_services(bus, with_clients)


async def _stop_services(bus: Bus, with_clients: bool) -> None:
    names: list[str] = (await bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "ListNames"))[0]
    clients = [name for name in names if name.startswith(CLIENT_NAME_PREFIX)] if with_clients else []
    # A service that is asked to end tidies up. One that is killed leaves all as it is, for its successor to take over.
    how = signal.SIGTERM if with_clients else signal.SIGKILL
    for name in [*clients, *(name for name in STOP_ORDER if name in names)]:
        print(f"stop {name}", flush=True)
        with suppress(RemoteError, ProcessLookupError, TimeoutError):  # gone already, or not to be had
            body = await bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "GetConnectionUnixProcessID", "s", name)
            await _terminate(body[0], how)


async def _terminate(pid: int, how: signal.Signals) -> None:
    loop = asyncio.get_running_loop()
    handle = os.pidfd_open(pid)
    gone = asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        signal.pidfd_send_signal(handle, how)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await gone.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


ABOUT = """\
Ends all tunnels and services, or with `--services` the services alone: tunnels go on, and the bus starts the services
again when they are needed. Only root can do this.
"""
COMMAND = Command(run, (SERVICES,), about=ABOUT)
