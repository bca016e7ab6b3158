"""Lifetime of the session manager: it stays while there is a session or one is being started."""

from ovpn3.constants import BACKENDS_INTERFACE, CLIENT_PATH, SESSIONS_NAME, SESSIONS_PATH, LogGroup
from ovpn3.dbus.bus import Bus, Match
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.service import Service
from ovpn3_services.sessionmgr.objects import Manager
from ovpn3_services.sessionmgr.registry import Registry


class SessionManager(Service):
    name, path, group = SESSIONS_NAME, SESSIONS_PATH, LogGroup.SESSIONMGR

    def __init__(self, bus: Bus, options: Options) -> None:
        super().__init__(bus, options)
        self.registry = Registry(bus, self.dispatcher, self.log)

    async def start(self) -> None:
        await self.registry.watch()
        self.dispatcher.hold()  # a call may be meant for a session that is about to be taken back
        self.log.renewed = self.registry.renew_forwards
        self.dispatcher.export(self.path, Manager(self.registry))
        # One subscription for every client there will ever be; the registry knows which sender may say what.
        await self.bus.subscribe(Match(BACKENDS_INTERFACE, path=CLIENT_PATH), self.registry.on_backend_signal)
        changes = Match("org.freedesktop.DBus.Properties", "PropertiesChanged", path=CLIENT_PATH)
        await self.bus.subscribe(changes, self.registry.on_backend_signal)

    async def named(self) -> None:
        try:
            await self.registry.take_back()
        finally:
            self.dispatcher.release()
        if not self.registry.sessions:
            self.registry.spawn(self.registry.restore_network())

    def busy(self) -> bool:
        return self.registry.busy()

    async def stop(self) -> None:
        self.registry.give_up_starts()
