"""Virtual interfaces, and what changes about them."""

from collections.abc import Callable

import dbus

from openvpn3.constants import NetCfgChangeType
from openvpn3.remote import Manager, Receiver, Remote
from ovpn3.constants import NETCFG_NAME

ALL_CHANGES = NetCfgChangeType(2 * max(NetCfgChangeType) - 1)


class NetworkChangeSignal:
    """One change."""

    def __init__(self, change: int, device: str, details: dict[str, str]) -> None:
        self._type, self._device = NetCfgChangeType(change), str(device)
        self._details = {str(name): str(value) for name, value in details.items()}

    def GetType(self) -> NetCfgChangeType:
        return self._type

    def GetDevice(self) -> str:
        return self._device

    def GetDetails(self, key: str) -> str:
        """KeyError if this change has no such detail."""
        return self._details[key]

    def GetAllDetails(self) -> dict[str, str]:
        return dict(self._details)

    def __str__(self) -> str:
        details = ", ".join(f"{name}={value}" for name, value in self._details.items())
        return f"{self._type.name} {self._device}: {details}"


class NetCfgDevice(Remote):
    SERVICE, GONE = NETCFG_NAME, "network device"

    def GetDeviceName(self) -> str:
        return str(self.GetProperty("device_name"))


class NetCfgManager(Manager):
    SERVICE, TITLE = NETCFG_NAME, "Network Configuration Service"

    def __init__(self, bus: dbus.Bus) -> None:
        super().__init__(bus)
        self._log = Receiver(bus, "Log", NETCFG_NAME, NETCFG_NAME, None)
        self._changes = Receiver(bus, "NetworkChange", NETCFG_NAME, NETCFG_NAME, None)

    def GetConfiguredDNSservers(self) -> list[str]:
        return [str(server) for server in self.GetProperty("global_dns_servers")]

    def GetConfiguredDNSsearch(self) -> list[str]:
        return [str(domain) for domain in self.GetProperty("global_dns_search")]

    def FetchAllDevices(self) -> list[NetCfgDevice]:
        return [NetCfgDevice(self._bus, path) for path in self._call("FetchInterfaceList")]

    def Retrieve(self, path: str) -> NetCfgDevice:
        return NetCfgDevice(self._bus, path)

    def LogCallback(self, function: Callable[[int, int, str], None] | None) -> None:
        self._log.set(function)

    def SubscribeNetworkChange(self, function: Callable[[NetworkChangeSignal], None], mask: int = ALL_CHANGES) -> None:
        """Call with each change whose type is one of the mask's bits."""
        self._changes.set(lambda change, device, details: function(NetworkChangeSignal(change, device, details)))
        self._call("NotificationSubscribe", "u", int(mask))

    def UnsubscribeNetworkChange(self) -> None:
        self._changes.set(None)
        self._call("NotificationUnsubscribe", "s", self._bus.get_unique_name())
