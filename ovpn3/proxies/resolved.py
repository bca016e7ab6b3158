"""Client of org.freedesktop.resolve1, systemd's resolver: what concerns the DNS of one link."""

from collections.abc import Sequence
from typing import Final

from ovpn3.dbus.bus import Bus
from ovpn3.errors import RemoteError
from ovpn3.proxies.proxy import Proxy

NAME: Final = "org.freedesktop.resolve1"
PATH: Final = "/org/freedesktop/resolve1"
NO_SUCH_LINK: Final = "org.freedesktop.resolve1.NoSuchLink"
STUB: Final = "127.0.0.53"  # where it listens


def names_stub(resolv_conf: str) -> bool:
    """Whether programs that go by this text ask systemd-resolved."""
    return any(line.split()[:2] == ["nameserver", STUB] for line in resolv_conf.splitlines())


class ResolvedManager(Proxy):
    service, interface = NAME, f"{NAME}.Manager"

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, PATH)

    async def set_dns(self, index: int, servers: Sequence[tuple[int, bytes]]) -> None:
        """Servers as (address family, octets)."""
        await self.call("SetLinkDNS", "ia(iay)", index, [[family, octets] for family, octets in servers])

    async def set_domains(self, index: int, domains: Sequence[tuple[str, bool]]) -> None:
        """Domains, each with whether it only routes and isn't searched in."""
        await self.call("SetLinkDomains", "ia(sb)", index, [[domain, only] for domain, only in domains])

    async def set_default_route(self, index: int, enable: bool) -> None:
        await self.call("SetLinkDefaultRoute", "ib", index, enable)

    async def set_dnssec(self, index: int, mode: str) -> None:
        await self.call("SetLinkDNSSEC", "is", index, mode)

    async def set_dns_over_tls(self, index: int, mode: str) -> None:
        await self.call("SetLinkDNSOverTLS", "is", index, mode)

    async def revert(self, index: int) -> None:
        """Undo all of it; no error if the link is gone."""
        try:
            await self.call("RevertLink", "i", index)
        except RemoteError as e:
            if e.name != NO_SUCH_LINK:
                raise
