"""Lifetime of netcfg: it stays while a caller has something of ours, and takes everything down when it leaves.

Killed, it takes nothing down: its successor goes on with what the journal tells.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path

from ovpn3.constants import NETCFG_NAME, NETCFG_PATH, LogGroup, NetworkChange
from ovpn3.dbus.bus import DAEMON_NAME, DAEMON_PATH, Bus
from ovpn3.errors import NetworkError
from ovpn3.net.bypass import Bypasses, Holders
from ovpn3.net.guard import Guard, Guards
from ovpn3.net.guardwatch import GuardWatch
from ovpn3.net.namespace import Namespaces
from ovpn3.net.netlink import Netlink
from ovpn3.net.plan import Network
from ovpn3.net.route import Hop, remove_ours
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.privileges import Cap, raised
from ovpn3_services.common.service import Service
from ovpn3_services.netcfg import journal
from ovpn3_services.netcfg.journal import Journal
from ovpn3_services.netcfg.notify import Subscribers
from ovpn3_services.netcfg.objects import NetCfg
from ovpn3_services.netcfg.resolver import Resolver
from ovpn3_services.netcfg.succession import Succession
from ovpn3_services.netcfg.tools import Tools


class NetCfgService(Service):
    """`options.complaints` is what was wrong with the settings file."""

    name, path, group = NETCFG_NAME, NETCFG_PATH, LogGroup.NETCFG

    def __init__(self, bus: Bus, options: Options) -> None:
        super().__init__(bus, options)
        self._netlink = Netlink()
        path = Path(options.state_dir, journal.FILE_NAME) if options.state_dir else None
        self._journal = Journal(path, self.log.error)
        namespaces = Namespaces(self._netlink, lambda: raised(Cap.SYS_ADMIN))
        self._tools = Tools(
            netlink=self._netlink,
            namespaces=namespaces,
            bypasses=Bypasses(self._netlink, self._note_bypass),
            guards=Guards(self._netlink, namespaces, self._note_guard, self.log.error),
            dispatcher=self.dispatcher,
            subscribers=Subscribers(bus, self._journal),
            journal=self._journal,
            resolver=Resolver(bus, options, self.log, self._tell_dns),
            log=self.log,
            options=options,
        )
        self._root = NetCfg(self._tools)
        self._guard_watch: GuardWatch | None = None
        self._restoring: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for complaint in self.options.complaints:
            self.log.warn(complaint)
        await self._tools.resolver.start()
        await self._root.callers.watch()
        # Not while another netcfg runs: we shall be refused its name.
        if not await self.bus.name_owner(self.name):
            await self._succeed()
        self._guard_watch = GuardWatch(self._on_guards_gone)
        await self._restore_guards(None)  # what went while nobody watched
        self.dispatcher.export(self.path, self._root)

    async def _succeed(self) -> None:
        (bus_id,) = await self.bus.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "GetId")
        self._journal.open(journal.circumstances(bus_id))
        await Succession(self._root, self._tools).begin()
        await self._tools.resolver.update()
        if not self._root.busy() and (stale := await remove_ours(self._netlink)):
            self.log.warn(f"{stale} routes of an earlier run removed")

    def _on_guards_gone(self, networks: frozenset[Network] | None) -> None:
        if self._tools.guards.held:
            task = asyncio.get_running_loop().create_task(self._restore_guards(networks))
            self._restoring.add(task)
            task.add_done_callback(self._restoring.discard)

    async def _restore_guards(self, networks: frozenset[Network] | None) -> None:
        try:
            restored = await self._tools.guards.restore(networks)
        except NetworkError as e:
            self.log.error(str(e))
        else:
            if restored:
                self.log.warn(f"{restored} routes or rules of tunnels had been removed, they are there again")

    def _note_guard(self, holder: str, guards: Collection[Guard]) -> None:
        if guards:
            self._journal.put("guard", holder, guards=journal.pack_guards(guards))
        else:
            self._journal.drop("guard", holder)

    def _tell_dns(self, device: str, change: NetworkChange, details: dict[str, str]) -> None:
        self._tools.subscribers.tell(NETCFG_PATH, device, change, details)

    def _note_bypass(self, network: Network, hop: Hop, holders: Holders) -> None:
        if holders:
            where = [hop.index, str(hop.gateway or "")]
            avoided = {str(holder): sorted(avoid) for holder, avoid in holders.items()}
            self._journal.put("bypass", str(network), hop=where, holders=avoided)
        else:
            self._journal.drop("bypass", str(network))

    def busy(self) -> bool:
        """Also while there are guards: somebody might take them away, and cgroups are looked for."""
        return self._root.busy() or bool(self._tools.guards.held)

    async def stop(self) -> None:
        if self._guard_watch:
            self._guard_watch.close()
        if self._restoring:
            await asyncio.wait(self._restoring)
        await self._root.callers.forget_all()
        self._tools.resolver.close()
        self._tools.guards.close()
        self._netlink.close()
