"""Objects of the services, called by bus name and path: what a service is started anew is the same object then.

Arguments have the original's names here and in all of the module: programs may give them by name.
"""

import time
from collections.abc import Callable
from typing import Any

import dbus

PROPERTIES = "org.freedesktop.DBus.Properties"
PEER = "org.freedesktop.DBus.Peer"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
NOT_ALLOWED = "org.freedesktop.DBus.Error.AccessDenied"
TRIES, FIRST_DELAY_S, LONGER = 10, 0.5, 1.33


class Remote:
    """One object. The interface is spelt as the service's bus name."""

    SERVICE = ""
    GONE = ""  # what to call it once it has been removed

    def __init__(self, dbuscon: dbus.Bus, objpath: str) -> None:
        self._bus = dbuscon
        self._path = dbus.ObjectPath(objpath)
        self._gone = False

    def GetPath(self) -> dbus.ObjectPath:
        self._check()
        return self._path

    def GetProperty(self, propname: str) -> Any:
        return self._call("Get", "ss", self.SERVICE, propname, interface=PROPERTIES)

    def SetProperty(self, propname: str, propvalue: object) -> None:
        if type(propvalue) is int:
            propvalue = dbus.UInt32(propvalue)  # dbus-python would send it signed, and no property is that
        self._call("Set", "ssv", self.SERVICE, propname, propvalue, interface=PROPERTIES)

    def _check(self) -> None:
        """RuntimeError if we have removed the object ourselves."""
        if self._gone:
            raise RuntimeError(f"This {self.GONE} object is unavailable")

    def _call(self, member: str, signature: str = "", *args: object, interface: str = "") -> Any:
        """Its answer. RuntimeError if we have removed the object ourselves, DBusException as the service says."""
        self._check()
        return self._bus.call_blocking(self.SERVICE, self._path, interface or self.SERVICE, member, signature, args)

    def _last_call(self, member: str) -> None:
        """One that removes the object."""
        self._call(member)
        self._gone = True


class Manager(Remote):
    """Root object of a service. It is pinged before anything else, which starts it."""

    TITLE = ""

    def __init__(self, dbuscon: dbus.Bus) -> None:
        """RuntimeError if the service can't be reached."""
        super().__init__(dbuscon, "/" + self.SERVICE.replace(".", "/"))
        self._ping()

    def GetObjectPath(self) -> dbus.ObjectPath:
        return self.GetPath()

    def Introspect(self) -> str:
        """XML."""
        return str(self._call("Introspect", interface=INTROSPECTABLE))

    def _ping(self) -> None:
        delay = FIRST_DELAY_S
        for attempt in range(1, TRIES + 1):
            try:
                self._call("Ping", interface=PEER)
                self.GetProperty("version")
                return
            except dbus.exceptions.DBusException as e:
                if attempt == TRIES or e.get_dbus_name() == NOT_ALLOWED:
                    raise RuntimeError(f"Could not establish contact with the {self.TITLE}: {e}") from e
            time.sleep(delay)
            delay *= LONGER


class Receiver:
    """Functions for a signal of an object; without a path, of any object of the service."""

    def __init__(self, bus: dbus.Bus, signal: str, interface: str, service: str, path: str | None) -> None:
        self._bus, self._what = bus, (signal, interface, service, path)
        self._matches: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._matches)

    def add(self, function: Callable[..., None]) -> None:
        self._matches.append(self._bus.add_signal_receiver(function, *self._what))

    def clear(self) -> None:
        while self._matches:
            self._matches.pop().remove()
