"""Lifetime of the log service: it stays while somebody is attached, or listens to a session's log."""

import signal
from pathlib import Path

from ovpn3.constants import LOG_NAME, LOG_PATH, LogGroup
from ovpn3.dbus.bus import Bus
from ovpn3_services.common.clients import Clients
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.service import Service
from ovpn3_services.log.objects import Root
from ovpn3_services.log.output import Output
from ovpn3_services.log.senders import Senders
from ovpn3_services.log.settings import config_file, save


class LogService(Service):
    name, path, group = LOG_NAME, LOG_PATH, LogGroup.LOGGER

    def __init__(self, bus: Bus, options: Options) -> None:
        # The file is where others' lines go, not a copy of our own.
        super().__init__(bus, Options(**{**vars(options), "log_file": ""}))
        self.options = options
        self.log = self.output = Output(bus, options)
        self.clients = Clients(bus)
        self.senders = Senders(bus, self.dispatcher, self.output)
        self.signals[signal.SIGHUP] = self.output.reopen

    @property
    def config_file(self) -> Path | None:
        return config_file(self.options)

    async def attach_log(self) -> None:
        """To whom?"""

    async def start(self) -> None:
        for complaint in self.options.complaints:
            self.log.warn(complaint)
        await self.clients.watch()
        await self.senders.watch()
        self.dispatcher.export(self.path, Root(self))

    def busy(self) -> bool:
        return bool(self.senders.attached or self.senders.proxies)

    def change(self, option: str, value: object) -> None:
        """Put a setting in force and keep it."""
        setattr(self.options, option, value)
        self.log.verb1(f"{option} is {value} from now on")
        try:
            save(self.options)
        except OSError as e:
            self.log.error(f"settings can't be saved: {e.strerror}")

    async def stop(self) -> None:
        self.output.close()
