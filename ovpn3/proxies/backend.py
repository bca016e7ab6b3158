"""Clients of net.openvpn.v3.backends and of a client process, net.openvpn.v3.backends.be<pid>."""

from ovpn3.constants import BACKENDS_INTERFACE, BACKENDS_NAME, BACKENDS_PATH, CLIENT_PATH
from ovpn3.dbus.bus import Bus
from ovpn3.proxies.proxy import Proxy
from ovpn3.proxies.tunnel import Tunnel


class BackendStarter(Proxy):
    service, interface = BACKENDS_NAME, BACKENDS_INTERFACE

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, BACKENDS_PATH)

    async def start_client(self, token: str) -> int:
        """Start a client process, which will register with the session manager by `token`; its pid."""
        return int((await self.call("StartClient", "s", token))[0])


class BackendClient(Tunnel):
    """One client process, addressed by its unique bus name."""

    interface = BACKENDS_INTERFACE

    def __init__(self, bus: Bus, unique_name: str) -> None:
        super().__init__(bus, CLIENT_PATH)
        self.service = unique_name

    async def confirm(self, token: str, session_path: str, config_path: str) -> str:
        """Tell the client what it is for; the name of its profile."""
        body = await self.call("RegistrationConfirmation", "soo", token, session_path, config_path)
        return str(body[0])

    def force_shutdown(self) -> None:
        """Have the process end, without waiting for it."""
        self.bus.call_no_reply(self.service, self.path, self.interface, "ForceShutdown")
