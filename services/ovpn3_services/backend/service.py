"""Lifetime of a client process: registers with the session manager, and doesn't outlive it."""

import argparse
import os

from ovpn3.constants import BACKENDS_INTERFACE, CLIENT_NAME_PREFIX, CLIENT_PATH, SESSIONS_NAME, LogGroup, StatusMinor
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.errors import INTERNAL
from ovpn3_services.backend.objects import ClientObject
from ovpn3_services.common.service import Service


class BackendClient(Service):
    interface = BACKENDS_INTERFACE
    path, group = CLIENT_PATH, LogGroup.CLIENT

    def __init__(self, bus: Bus, options: argparse.Namespace) -> None:
        super().__init__(bus, options)
        self.name = f"{CLIENT_NAME_PREFIX}{os.getpid()}"
        self.log.session_token = options.token
        self.client = ClientObject(self, options.token, protect_socket=not options.disable_protect_socket)

    async def start(self) -> None:
        self.dispatcher.export(self.path, self.client)
        await self.bus.watch_name(SESSIONS_NAME, self._manager_changed)
        self.log.session_manager = await self.bus.name_owner(SESSIONS_NAME)

    async def named(self) -> None:
        if not self.log.session_manager:
            self._leave()
        self.log.signal(
            "RegistrationRequest", "ssi", self.name, self.options.token, os.getpid(), only=self.log.session_manager
        )

    def _manager_changed(self, owner: str) -> None:
        """Nobody could end a tunnel whose manager is gone."""
        if owner != self.log.session_manager:
            self.log.session_manager = ""
            self._leave()

    def _leave(self) -> None:
        self.log.crit("the session manager is gone: leaving")
        self.end(3)

    def broken(self) -> None:
        self.client.status(StatusMinor.CONN_FAILED, INTERNAL)

    async def stop(self) -> None:
        await self.client.close()
