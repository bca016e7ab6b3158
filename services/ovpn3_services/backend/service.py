"""Lifetime of a client process: registers with the session manager, and doesn't outlive it for long.

A session manager may be killed: the tunnel goes on, we have the bus start a successor and show it the record of our
session, which it then manages. Without one for MANAGER_TIMEOUT_S nobody could end the tunnel: we end it ourselves.
"""

import asyncio
import os

from ovpn3.constants import BACKENDS_INTERFACE, CLIENT_NAME_PREFIX, CLIENT_PATH, SESSIONS_NAME, LogGroup, StatusMinor
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.errors import INTERNAL
from ovpn3_services.backend.objects import ClientObject
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.service import Service

MANAGER_TIMEOUT_S = 30.0  # from the loss of the session manager until a successor must have taken the session back


class BackendClient(Service):
    interface = BACKENDS_INTERFACE
    path, group = CLIENT_PATH, LogGroup.CLIENT

    def __init__(self, bus: Bus, options: Options) -> None:
        super().__init__(bus, options)
        self.name = f"{CLIENT_NAME_PREFIX}{os.getpid()}"
        self.log.session_token = options.token
        self.client = ClientObject(self, options.token, protect_socket=not options.disable_protect_socket)
        self._patience: asyncio.TimerHandle | None = None  # runs while no manager knows us
        self._recovery: asyncio.Task[bool] | None = None

    async def start(self) -> None:
        self.dispatcher.export(self.path, self.client)
        await self.bus.follow_name(SESSIONS_NAME, self._on_manager)

    async def named(self) -> None:
        if not self.log.session_manager:
            return self._leave()
        self.log.signal(
            "RegistrationRequest", "ssi", self.name, self.options.token, os.getpid(), only=self.log.session_manager
        )

    # -- the session manager ----------------------------------------------------------------------
    def _on_manager(self, owner: str) -> None:
        """In its turn: a call that arrived before the news, such as the last of a lost manager, is answered before."""
        asyncio.get_running_loop().call_soon(self._manager_changed, owner)

    def _manager_changed(self, owner: str) -> None:
        lost, self.log.session_manager = self.log.session_manager, owner
        if not lost:
            return
        if not self.client.record:
            return self._leave()  # no successor could know what we are for
        loop = asyncio.get_running_loop()
        if self._patience is None:
            self._patience = loop.call_later(MANAGER_TIMEOUT_S, self._leave)
        self._recovery = loop.create_task(self.bus.bring_back(SESSIONS_NAME, MANAGER_TIMEOUT_S))

    def managed(self) -> None:
        """The present session manager knows our session."""
        if self._patience:
            self._patience.cancel()
            self._patience = None
            self.log.info("the session is managed again")

    def _leave(self) -> None:
        self.log.crit("there is no session manager: leaving")
        self.end(3)

    def broken(self) -> None:
        self.client.status(StatusMinor.CONN_FAILED, INTERNAL)

    async def stop(self) -> None:
        if self._patience:
            self._patience.cancel()
        if self._recovery:
            self._recovery.cancel()
        await self.client.close()
