"""Lifetime of the configuration manager: it stays while it holds profiles that are on no disk."""

from ovpn3.constants import CONFIG_NAME, CONFIG_PATH, LogGroup
from ovpn3_services.common.service import Service
from ovpn3_services.configmgr.library import Library
from ovpn3_services.configmgr.objects import Manager


class ConfigManager(Service):
    name, path, group = CONFIG_NAME, CONFIG_PATH, LogGroup.CONFIGMGR

    async def start(self) -> None:
        self.library = Library(self.dispatcher, self.log, self.options.state_dir)
        await self.library.clients.watch()
        self.library.load()
        self.dispatcher.export(self.path, Manager(self.library))

    def busy(self) -> bool:
        return any(not profile.stored for profile in self.library.profiles.values())
