"""Lifetime and root object of the backend starter."""

from ovpn3.constants import API_VERSION, BACKENDS_INTERFACE, BACKENDS_NAME, BACKENDS_PATH, DOMAIN_REQUEST, LogGroup
from ovpn3.dbus.access import same_uid
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.describe import Signal
from ovpn3.dbus.dispatch import Call, DBusObject, anyone, method, prop
from ovpn3.errors import ConfigurationRefused, ServiceError
from ovpn3_services.backendstart.nursery import MAX_TOKEN_BYTES, Nursery
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.service import Service


class Starter(DBusObject):
    """The root object."""

    interface = BACKENDS_INTERFACE
    signals = (
        Signal("Log", "group:u level:u message:s"),
        Signal("StatusChange", "code_major:u code_minor:u message:s"),
    )

    def __init__(self, service: "BackendStart") -> None:
        self.service = service

    @method("StartClient", "token:s", "pid:u", rule=same_uid)
    async def start_client(self, call: Call, token: str) -> int:
        """Fork a client, which registers by the token; its pid, unlike the original's that of the lasting process."""
        if not 0 < len(token.encode()) <= MAX_TOKEN_BYTES:
            raise ConfigurationRefused(f"a token has 1 to {MAX_TOKEN_BYTES} octets")
        try:
            pid = self.service.nursery.start(token)
        except OSError as e:
            raise ServiceError(DOMAIN_REQUEST, f"no client process can be made: {e.strerror}") from None
        self.service.log.verb1(f"client process {pid} started")
        return pid

    @prop("version", "s", read=anyone)
    def version(self, call: Call) -> str:
        """What these services are compatible with, as v<number>, and whose they are."""
        return API_VERSION


class BackendStart(Service):
    name, path, group = BACKENDS_NAME, BACKENDS_PATH, LogGroup.BACKENDSTART
    idle_unit_s = 1

    def __init__(self, bus: Bus, options: Options, nursery: Nursery) -> None:
        super().__init__(bus, options)
        self.nursery = nursery

    async def start(self) -> None:
        self.dispatcher.export(self.path, Starter(self))
