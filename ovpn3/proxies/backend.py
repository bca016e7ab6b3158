"""Clients of net.openvpn.v3.backends and of a client process, net.openvpn.v3.backends.be<pid>."""

from typing import Any

from ovpn3.constants import BACKENDS_INTERFACE, BACKENDS_NAME, BACKENDS_PATH, CLIENT_PATH
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.wire import Variant
from ovpn3.errors import ConfigurationRefused, RemoteError
from ovpn3.proxies.proxy import PROPERTIES, Proxy
from ovpn3.proxies.tunnel import Tunnel

# How a bus says that who was called is no longer there: error names, and the text of one that also means a time-out.
_GONE = ("org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner")
_GONE_MEANWHILE = "Message recipient disconnected"


class BackendStarter(Proxy):
    service, interface = BACKENDS_NAME, BACKENDS_INTERFACE

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, BACKENDS_PATH)

    async def start_client(self, token: str) -> int:
        """Start a client process, which will register with the session manager by `token`; its pid."""
        return int((await self.call("StartClient", "s", token))[0])


class BackendClient(Tunnel):
    """One client process, addressed by its unique bus name. Once it is gone, calls end with ConfigurationRefused."""

    interface = BACKENDS_INTERFACE

    def __init__(self, bus: Bus, unique_name: str) -> None:
        super().__init__(bus, CLIENT_PATH)
        self.service = unique_name

    async def call(self, member: str, signature: str = "", *args: Any, **how: Any) -> list[Any]:
        try:
            return await super().call(member, signature, *args, **how)
        except RemoteError as e:
            if e.name in _GONE or str(e).startswith(_GONE_MEANWHILE):
                raise ConfigurationRefused("VPN session is stopped") from None
            raise

    async def confirm(self, token: str, session_path: str, config_path: str) -> str:
        """Tell the client what it is for; the name of its profile."""
        body = await self.call("RegistrationConfirmation", "soo", token, session_path, config_path)
        return str(body[0])

    def keep_record(self, record: dict[str, Variant]) -> None:
        """Have the client keep what a successor of ours needs to take the session back, in place of the last record.

        Nobody waits for this: the bus delivers it before whatever we send next, to whomever.
        """
        self.bus.call_no_reply(self.service, self.path, self.interface, "KeepRecord", "a{sv}", record)

    async def fetch_record(self) -> dict[str, Variant]:
        """What the client keeps, as it is; empty if it was never given anything."""
        record: dict[str, Variant] = (await self.call("FetchRecord"))[0]
        return record

    async def state(self) -> dict[str, Variant]:
        """All properties, as they are."""
        values: dict[str, Variant] = (
            await self.bus.call(self.service, self.path, PROPERTIES, "GetAll", "s", self.interface)
        )[0]
        return values

    def force_shutdown(self) -> None:
        """Have the process end, without waiting for it."""
        self.bus.call_no_reply(self.service, self.path, self.interface, "ForceShutdown")
