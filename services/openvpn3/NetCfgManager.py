"""Virtual interfaces, and what changes about them."""

from collections.abc import Callable

import dbus

from openvpn3.constants import NetCfgChangeType
from openvpn3.remote import NOT_ALLOWED, Manager, Receiver, Remote
from ovpn3.constants import NETCFG_NAME

ALL_CHANGES = NetCfgChangeType(2 * max(NetCfgChangeType) - 1)


class NetworkChangeSignal:
    """One change."""

    def __init__(self, type: int, device: str, details: dict[str, str]) -> None:
        self._type, self._device = NetCfgChangeType(type), str(device)
        self._details = {str(name): str(value) for name, value in details.items()}

    def GetType(self) -> NetCfgChangeType:
        return self._type

    def GetDevice(self) -> str:
        return self._device

    def GetDetails(self, prop: str) -> str:
        """KeyError if this change has no such detail."""
        return self._details[prop]

    def GetAllDetails(self) -> dict[str, str]:
        return dict(self._details)

    def __repr__(self) -> str:
        return f'<NetworkChangeSignal type="{self._type.name}", device="{self._device}">'


class NetCfgDevice(Remote):
    SERVICE, GONE = NETCFG_NAME, "network device"

    def GetDeviceName(self) -> str:
        return str(self.GetProperty("device_name"))

    def Destroy(self) -> None:
        """DBusException unless we are the service account."""
        self._last_call("Destroy")


class NetCfgManager(Manager):
    SERVICE, TITLE = NETCFG_NAME, "Network Configuration Service"

    def __init__(self, dbuscon: dbus.Bus) -> None:
        super().__init__(dbuscon)
        self._log = Receiver(dbuscon, "Log", NETCFG_NAME, NETCFG_NAME, None)
        self._changes = Receiver(dbuscon, "NetworkChange", NETCFG_NAME, NETCFG_NAME, None)

    def GetConfiguredDNSservers(self) -> list[str]:
        return [str(server) for server in self.GetProperty("global_dns_servers")]

    def GetConfiguredDNSsearch(self) -> list[str]:
        return [str(domain) for domain in self.GetProperty("global_dns_search")]

    def FetchAllDevices(self) -> list[NetCfgDevice]:
        """RuntimeError if we may not see them."""
        try:
            paths = self._call("FetchInterfaceList")
        except dbus.exceptions.DBusException as e:
            if e.get_dbus_name() == NOT_ALLOWED:
                raise RuntimeError(f"Access denied to the {self.TITLE}: {e}") from e
            raise
        return [NetCfgDevice(self._bus, path) for path in paths]

    def Retrieve(self, object_path: str) -> NetCfgDevice:
        return NetCfgDevice(self._bus, object_path)

    def LogCallback(self, cbfnc: Callable[[int, int, str], None] | None) -> None:
        """Call with group, category and text of each line of the log; None for no more."""
        self._log.add(cbfnc) if cbfnc else self._log.clear()

    def SubscribeNetworkChange(self, cbfnc: Callable[[NetworkChangeSignal], None], filter: int = ALL_CHANGES) -> None:
        """Call with each change whose type is one of the filter's bits."""
        self._changes.clear()
        self._changes.add(lambda change, device, details: cbfnc(NetworkChangeSignal(change, device, details)))
        self._call("NotificationSubscribe", "u", int(filter))

    def UnsubscribeNetworkChange(self) -> None:
        if not self._changes:
            return
        self._changes.clear()
        self._call("NotificationUnsubscribe", "s", self._bus.get_unique_name())
