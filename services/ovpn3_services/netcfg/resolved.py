"""DNS through systemd-resolved: servers and domains per link. What a link had goes with the link."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final, final

from ovpn3.dbus.bus import Bus
from ovpn3.errors import NetworkError, RemoteError
from ovpn3.proxies.resolved import ResolvedManager
from ovpn3_services.netcfg.dns import Scope, TunnelDns

EVERYTHING: Final = "."
DNSSEC: Final = {"yes": "yes", "no": "no", "optional": "allow-downgrade"}
OVER_TLS: Final = {"plain": "no", "dot": "yes"}


@final
class Resolved:
    name = "systemd-resolved"

    def __init__(self, bus: Bus) -> None:
        self._manager = ResolvedManager(bus)
        self._applied: dict[int, TunnelDns] = {}  # by index

    async def apply(self, tunnels: Sequence[TunnelDns]) -> None:
        """Set up the links of these tunnels; others of ours are given back. NetworkError if it refuses."""
        present = {t.index: t for t in tunnels}
        try:
            for index in set(self._applied) - set(present):
                del self._applied[index]
                await self._manager.revert(index)
            for index, tunnel in present.items():
                if self._applied.get(index) != tunnel:
                    await self._set(tunnel)
                    self._applied[index] = tunnel
        except RemoteError as e:
            raise NetworkError(f"systemd-resolved refuses: {e}") from None

    async def refresh(self) -> None:
        """It was started anew, and knows nothing."""
        tunnels, self._applied = list(self._applied.values()), {}
        await self.apply(tunnels)

    async def _set(self, tunnel: TunnelDns) -> None:
        manager, index, everything = self._manager, tunnel.index, tunnel.scope is Scope.GLOBAL
        await manager.set_dns(index, [_packed(server) for server in tunnel.servers])
        routing = [(EVERYTHING, True)] if everything else []
        await manager.set_domains(index, [*((domain, False) for domain in tunnel.domains), *routing])
        await manager.set_default_route(index, everything)
        if mode := DNSSEC.get(tunnel.dnssec):
            await manager.set_dnssec(index, mode)
        if mode := OVER_TLS.get(tunnel.transport):
            await manager.set_dns_over_tls(index, mode)


def _packed(server: str) -> tuple[int, bytes]:
    address = ipaddress.ip_address(server)
    return (socket.AF_INET if address.version == 4 else socket.AF_INET6), address.packed
