"""Lifetime of netcfg: it stays while a caller has something of ours, and takes everything down when it leaves."""

from argparse import Namespace

from ovpn3.constants import NETCFG_NAME, NETCFG_PATH, LogGroup
from ovpn3.dbus.bus import Bus
from ovpn3.net.bypass import Bypasses
from ovpn3.net.netlink import AsyncIPRoute
from ovpn3.net.route import remove_ours
from ovpn3_services.common.service import Service
from ovpn3_services.netcfg.notify import Subscribers
from ovpn3_services.netcfg.objects import NetCfg
from ovpn3_services.netcfg.tools import Tools


class NetCfgService(Service):
    """`options.complaints` is what was wrong with the settings file."""

    name, path, group = NETCFG_NAME, NETCFG_PATH, LogGroup.NETCFG

    def __init__(self, bus: Bus, options: Namespace) -> None:
        super().__init__(bus, options)
        self._ipr = AsyncIPRoute()
        tools = Tools(
            ipr=self._ipr,
            bypasses=Bypasses(self._ipr),
            dispatcher=self.dispatcher,
            subscribers=Subscribers(bus),
            log=self.log,
            options=options,
        )
        self._root = NetCfg(tools)

    async def start(self) -> None:
        for complaint in self.options.complaints:
            self.log.warn(complaint)
        if self.options.resolv_conf or self.options.systemd_resolved:
            self.log.warn("the configured DNS resolver back end is not available")
        self.log.warn("no DNS resolver back end: DNS settings are ignored")
        # Not while another netcfg runs: we shall be refused its name.
        if not await self.bus.name_owner(self.name) and (stale := await remove_ours(self._ipr)):
            self.log.warn(f"{stale} routes of an earlier run removed")
        await self._root.callers.watch()
        self.dispatcher.export(self.path, self._root)

    def busy(self) -> bool:
        return self._root.busy()

    async def stop(self) -> None:
        await self._root.callers.forget_all()
        self._ipr.close()
