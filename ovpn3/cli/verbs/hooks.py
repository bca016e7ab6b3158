"""`hooks`: root's programs, run whenever a tunnel comes up or goes down."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from ovpn3.cli import hooks
from ovpn3.cli.command import Command, Options
from ovpn3.cli.connect import Interrupted, interruptible
from ovpn3.cli.selection import system_bus, visible_sessions
from ovpn3.cli.verbs.install import check_root
from ovpn3.constants import NETCFG_INTERFACE, NETCFG_NAME, NetworkChange, StatusMajor, StatusMinor
from ovpn3.dbus.bus import Bus, Match
from ovpn3.dbus.wire import Message
from ovpn3.errors import NetworkError, RemoteError
from ovpn3.proxies.netcfg import Device, NetworkConfiguration

CHANGES: Final = (
    NetworkChange.DEVICE_ADDED
    | NetworkChange.DEVICE_REMOVED
    | NetworkChange.IPADDR_ADDED
    | NetworkChange.IPADDR_REMOVED
    | NetworkChange.ROUTE_ADDED
    | NetworkChange.ROUTE_REMOVED
)
CONNECTED: Final = (StatusMajor.CONNECTION, StatusMinor.CONN_CONNECTED)
LOOK_S: Final = 0.1  # a device is there a moment before its session is connected, of which only its owner is told


class Hooks:
    """Hears of devices from netcfg, and runs the programs in the order of what has happened."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self._netcfg = bus, NetworkConfiguration(bus)
        self._devices: dict[str, hooks.Device] = {}  # by the path of netcfg's object
        self._were_up: set[str] = set()  # sessions
        self._due: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the bus is gone, which is a NetworkError."""
        changes = await self._bus.subscribe(Match(NETCFG_INTERFACE, "NetworkChange", NETCFG_NAME), self._on_change)
        owner = await self._bus.watch_name(NETCFG_NAME, self._on_netcfg)
        await self._subscribe()
        print(f"Running what is in {hooks.FOLDER}", flush=True)
        running = asyncio.create_task(self._run_due())
        try:
            await self._bus.lost()
            raise NetworkError("the message bus is gone")
        finally:
            for task in (running, *self._tasks):
                task.cancel()
            await asyncio.gather(running, return_exceptions=True)  # what it runs is ended with it
            changes.cancel()
            owner.cancel()

    def _spawn(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_netcfg(self, owner: str | None) -> None:
        if owner:
            self._spawn(asyncio.create_task(self._subscribe()))

    async def _subscribe(self) -> None:
        """At each start of netcfg. One that takes over from a killed one doesn't tell what went meanwhile."""
        with suppress(RemoteError):  # it leaves again; the next one is subscribed to as well
            await self._netcfg.subscribe(CHANGES)
            there = await self._netcfg.interfaces()
            for path in [path for path in self._devices if path not in there]:
                self._gone(path)

    def _on_change(self, m: Message) -> None:
        if m.signature != "usa{ss}" or m.path is None:
            return
        kind, name, details = m.body
        change = NetworkChange(kind)
        if change is NetworkChange.DEVICE_ADDED:
            device = self._devices[m.path] = hooks.Device(name)
            self._spawn(asyncio.create_task(self._came(m.path, device)))
        elif change is NetworkChange.DEVICE_REMOVED:
            self._gone(m.path)
        elif known := self._devices.get(m.path):
            known.change(change, details)

    def _gone(self, path: str) -> None:
        device = self._devices.pop(path, None)
        if device and device.told is not None:
            self._due.put_nowait({**device.told, "script_type": "down"})

    async def _came(self, path: str, device: hooks.Device) -> None:
        while self._devices.get(path) is device:
            with suppress(RemoteError):
                session = await self._session_of(path)
                if session and tuple(session["status"][:2]) == CONNECTED:
                    settings = await Device(self._bus, path).get_all()
                    if self._devices.get(path) is device:
                        self._up(device, session, settings)
                    return
            await asyncio.sleep(LOOK_S)

    async def _session_of(self, device_path: str) -> dict[str, Any] | None:
        """The properties of the session whose client has asked for the device: its process id is in the path."""
        pid = device_path.rpartition("/")[2].partition("_")[0]
        sessions = await visible_sessions(self._bus)
        self._were_up &= {session.path for session in sessions}
        for session in sessions:
            values: dict[str, Any] = await session.get_all()
            if str(values.get("backend_pid")) == pid:
                return {**values, "path": session.path}
        return None

    def _up(self, device: hooks.Device, session: dict[str, Any], settings: dict[str, Any]) -> None:
        device.told = hooks.environment(device, session, settings)
        context = "restart" if session["path"] in self._were_up else "init"
        self._were_up.add(session["path"])
        self._due.put_nowait({**device.told, "script_type": "up", "script_context": context})

    async def _run_due(self) -> None:
        while True:
            variables = await self._due.get()
            print(f"{variables['config']} {variables['dev']} {variables['script_type']}", flush=True)
            await hooks.run_all(hooks.FOLDER, variables, lambda text: print(text, flush=True))


async def run(options: Options) -> int:
    check_root()
    async with system_bus() as bus:
        with suppress(Interrupted), interruptible():
            await Hooks(bus).run()
    return 0


ABOUT = f"""\
Runs every program in {hooks.FOLDER} when a tunnel has come up and when its device is gone, until it is interrupted.
Only root can do this, and the programs run as root, with variables in their environment as OpenVPN 2 gives them to the
scripts of up and down. Directory and programs have to be root's, with no right for others to write. One that takes
more than {hooks.TIMEOUT_S:g} s is killed.

    systemctl enable --now openvpn3-hooks
"""
COMMAND = Command(run, about=ABOUT)
