"""DNS settings of a device: collected over the bus, and what a resolver is told of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from ovpn3.errors import ConfigurationRefused
from ovpn3_services.netcfg import checked

DNSSEC_MODES = ("yes", "no", "optional")
TRANSPORTS = ("plain", "dot", "doh")
MAX_ENTRIES = 256


class Scope(StrEnum):
    """Which names the servers of a tunnel are asked for: all, or those in its own domains."""

    GLOBAL = "global"
    TUNNEL = "tunnel"


@dataclass(frozen=True, slots=True)
class TunnelDns:
    """Of a device that is up."""

    index: int
    name: str
    servers: tuple[str, ...]
    domains: tuple[str, ...]
    scope: Scope = Scope.GLOBAL
    dnssec: str = "unset"
    transport: str = ""
    netns: str = ""  # its network namespace; empty: ours


@dataclass(slots=True)
class DnsSettings:
    """What a tunnel wants of the resolver."""

    servers: list[str] = field(default_factory=list)
    search_domains: list[str] = field(default_factory=list)
    dnssec: str = "unset"
    transport: str = ""
    scope: str = Scope.GLOBAL.value

    def add_servers(self, servers: Iterable[str]) -> None:
        _extend(self.servers, [str(checked.host(server, ":" in server)) for server in servers])

    def add_search_domains(self, domains: Iterable[str]) -> None:
        _extend(self.search_domains, [checked.domain(domain) for domain in domains])

    def set_dnssec(self, mode: str) -> None:
        self.dnssec = _one_of(DNSSEC_MODES, mode, "DNSSEC mode")

    def set_scope(self, scope: str) -> None:
        self.scope = _one_of(tuple(Scope), scope, "DNS scope")

    def of_tunnel(self, index: int, name: str, netns: str) -> TunnelDns:
        servers, domains = tuple(self.servers), tuple(self.search_domains)
        scope = Scope.GLOBAL if netns else Scope(self.scope)  # nobody else can be asked there
        return TunnelDns(index, name, servers, domains, scope, self.dnssec, self.transport, netns)

    def set_transport(self, mode: str) -> None:
        self.transport = _one_of(TRANSPORTS, mode, "DNS transport")


def _one_of(allowed: tuple[str, ...], value: str, what: str) -> str:
    if value not in allowed:
        raise ConfigurationRefused(f"not a {what}: {value[:40]!r}; it is one of {', '.join(allowed)}")
    return value


def _extend(present: list[str], more: list[str]) -> None:
    """Append what isn't there yet, in order."""
    merged = list(dict.fromkeys([*present, *more]))
    if len(merged) > MAX_ENTRIES:
        raise ConfigurationRefused(f"more than {MAX_ENTRIES} DNS entries")
    present[:] = merged
