"""DNS settings of a device. They are kept; there is no resolver back end that could apply them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ovpn3.errors import ConfigurationRefused
from ovpn3_services.netcfg import checked

DNSSEC_MODES = ("yes", "no", "optional")
TRANSPORTS = ("plain", "dot", "doh")
MAX_ENTRIES = 256


@dataclass(slots=True)
class DnsSettings:
    servers: list[str] = field(default_factory=list)
    search_domains: list[str] = field(default_factory=list)
    dnssec: str = "unset"
    transport: str = ""

    def add_servers(self, servers: Iterable[str]) -> None:
        _extend(self.servers, [str(checked.host(server, ":" in server)) for server in servers])

    def add_search_domains(self, domains: Iterable[str]) -> None:
        _extend(self.search_domains, [checked.domain(domain) for domain in domains])

    def set_dnssec(self, mode: str) -> None:
        self.dnssec = _one_of(DNSSEC_MODES, mode, "DNSSEC mode")

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
