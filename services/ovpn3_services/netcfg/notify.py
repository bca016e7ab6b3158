"""NetworkChange: who wants to hear of what, and what is said."""

from collections.abc import Iterator

from ovpn3.constants import NETCFG_INTERFACE, NetworkChange
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.describe import Signal
from ovpn3.errors import ConfigurationRefused
from ovpn3.net.plan import AddAddress, Address, AddRoute, Bypass, Network, Step
from ovpn3_services.netcfg.journal import Journal

SIGNAL = Signal("NetworkChange", "type:u device:s details:a{ss}")
MAX_FILTER = 0xFFFF

Change = tuple[NetworkChange, dict[str, str]]


class Subscribers:
    """One subscription, a mask of NetworkChange, per unique bus name."""

    def __init__(self, bus: Bus, journal: Journal) -> None:
        self._bus, self._journal = bus, journal
        self._masks: dict[str, int] = {}

    def add(self, name: str, mask: int) -> None:
        if not 0 < mask <= MAX_FILTER:
            raise ConfigurationRefused(f"a notification filter is 1 to {MAX_FILTER}, not {mask}")
        self._masks[name] = mask
        self._journal.put("subscriber", name, mask=mask)

    def remove(self, name: str) -> None:
        if name not in self._masks:
            raise ConfigurationRefused(f"{name[:60]!r} has no subscription")
        self.forget(name)

    def forget(self, name: str) -> None:
        self._masks.pop(name, None)
        self._journal.drop("subscriber", name)

    def list(self) -> list[tuple[str, int]]:
        return list(self._masks.items())

    def tell(self, path: str, device: str, change: NetworkChange, details: dict[str, str]) -> None:
        """From the object at `path`, to all who subscribed to that kind of change."""
        for name, mask in self._masks.items():
            if mask & change:
                self._bus.emit(
                    path,
                    NETCFG_INTERFACE,
                    SIGNAL.name,
                    SIGNAL.signature,
                    int(change),
                    device,
                    details,
                    destination=name,
                )


def added(steps: list[Step]) -> Iterator[Change]:
    """What the steps of a plan changed."""
    for step in steps:
        match step:
            case AddAddress():
                yield NetworkChange.IPADDR_ADDED, _address(step)
            case AddRoute(network, gateway):
                yield NetworkChange.ROUTE_ADDED, {**_route(network), "gateway": _text(gateway)}
            case Bypass(network, announced=True, gateway=gateway):
                yield NetworkChange.ROUTE_EXCLUDED, {**_route(network), "gateway": _text(gateway)}


def removed(steps: list[Step]) -> Iterator[Change]:
    """What goes with them."""
    for step in steps:
        if isinstance(step, AddRoute):
            yield NetworkChange.ROUTE_REMOVED, _route(step.network)
    for step in steps:
        if isinstance(step, AddAddress):
            yield NetworkChange.IPADDR_REMOVED, _address(step)


def _address(step: AddAddress) -> dict[str, str]:
    network = step.interface.network
    return {"ip_version": str(network.version), "ip_address": str(step.interface.ip), **_prefix(network)}


def _route(network: Network) -> dict[str, str]:
    return {"ip_version": str(network.version), "subnet": str(network.network_address), **_prefix(network)}


def _prefix(network: Network) -> dict[str, str]:
    size = str(network.prefixlen)
    return {"prefix": size, "prefix_size": size}  # the first is what older subscribers look for


def _text(address: Address | None) -> str:
    return "" if address is None else str(address)
