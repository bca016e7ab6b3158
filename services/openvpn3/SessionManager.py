"""Sessions, and the questions they ask."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dbus

from openvpn3.ConfigManager import Configuration
from openvpn3.constants import (
    ClientAttentionGroup,
    ClientAttentionType,
    SessionManagerEventType,
    StatusMajor,
    StatusMinor,
)
from openvpn3.remote import Manager, Receiver, Remote
from ovpn3.constants import BACKENDS_INTERFACE, LOG_NAME, SESSIONS_NAME


class UserInputSlot:
    """One question."""

    def __init__(self, session: "Session", qtype: int, qgroup: int, qid: int) -> None:
        self._session, self._place = session, (qtype, qgroup, qid)
        *_, self._name, self._label, self._hidden = session._call("UserInputQueueFetch", "uuu", *self._place)

    def GetTypeGroup(self) -> tuple[ClientAttentionType, ClientAttentionGroup]:
        qtype, qgroup, _ = self._place
        return ClientAttentionType(qtype), ClientAttentionGroup(qgroup)

    def GetVariableName(self) -> str:
        return str(self._name)

    def GetLabel(self) -> str:
        return str(self._label)

    def GetInputMask(self) -> bool:
        """Whether what is typed must not be seen."""
        return bool(self._hidden)

    def ProvideInput(self, value: str) -> None:
        self._session._call("UserInputProvide", "uuus", *self._place, value)


class Session(Remote):
    """One tunnel."""

    SERVICE, GONE = SESSIONS_NAME, "session"

    def __init__(self, bus: dbus.Bus, path: str) -> None:
        super().__init__(bus, path)
        self._log = Receiver(bus, "Log", BACKENDS_INTERFACE, LOG_NAME, path)
        self._status = Receiver(bus, "StatusChange", BACKENDS_INTERFACE, LOG_NAME, path)
        self._attention = Receiver(bus, "AttentionRequired", SESSIONS_NAME, SESSIONS_NAME, path)
        self._forwarded: set[str] = set()

    def Ready(self) -> None:
        """DBusException while something is missing."""
        self._call("Ready")

    def Connect(self) -> None:
        self._call("Connect")

    def Pause(self, reason: str = "User request") -> None:
        self._call("Pause", "s", reason)

    def Resume(self) -> None:
        self._call("Resume")

    def Restart(self) -> None:
        self._call("Restart")

    def Disconnect(self) -> None:
        self._last_call("Disconnect")

    def GetStatus(self) -> dict[str, Any]:
        """Its last: major, minor, message."""
        major, minor, message = self.GetProperty("status")
        return {"major": StatusMajor(major), "minor": StatusMinor(minor), "message": str(message)}

    def GetStatistics(self) -> dict[str, int]:
        return {str(name): int(value) for name, value in self.GetProperty("statistics").items()}

    def GetFormattedStatistics(
        self, prefix: str = "Connection statistics:\n", format_str: str = "    %25s: %i\n"
    ) -> str:
        """Empty if there are no counters."""
        lines = [format_str % counter for counter in self.GetStatistics().items()]
        return "".join([prefix, *lines]) if lines else ""

    def LogCallback(self, function: Callable[[int, int, str], None] | None) -> None:
        """Call with group, category and text of each line of the log; None for no more."""
        self._log.set(function)
        self._forward("log", function)

    def StatusChangeCallback(self, function: Callable[[int, int, str], None] | None) -> None:
        """Call with major, minor and message; None for no more. Nothing comes of a log that we may not see."""
        self._status.set(function)
        with suppress(dbus.exceptions.DBusException):
            self._forward("status", function)

    def AttentionRequiredCallback(self, function: Callable[[int, int, str], None] | None) -> None:
        """Call with type, group and text when there is a new question; None for no more."""
        self._attention.set(function)

    def UserInputQueueGetTypeGroup(self) -> list[tuple[ClientAttentionType, ClientAttentionGroup]]:
        found = self._call("UserInputQueueGetTypeGroup")
        return [(ClientAttentionType(qtype), ClientAttentionGroup(qgroup)) for qtype, qgroup in found]

    def UserInputQueueCheck(self, qtype: int, qgroup: int) -> list[int]:
        return [int(qid) for qid in self._call("UserInputQueueCheck", "uu", qtype, qgroup)]

    def UserInputQueueFetch(self, qtype: int, qgroup: int, qid: int) -> UserInputSlot:
        return UserInputSlot(self, qtype, qgroup, qid)

    def FetchUserInputSlots(self) -> list[UserInputSlot]:
        """Those without an answer."""
        return [
            self.UserInputQueueFetch(qtype, qgroup, qid)
            for qtype, qgroup in self.UserInputQueueGetTypeGroup()
            for qid in self.UserInputQueueCheck(qtype, qgroup)
        ]

    def GetDCO(self) -> bool:
        return bool(self.GetProperty("dco"))

    def SetDCO(self, dco: bool) -> None:
        self.SetProperty("dco", dco)

    def _forward(self, what: str, function: Callable[..., None] | None) -> None:
        """Both signals come by the log service, which sends them while one of them is wanted."""
        before = bool(self._forwarded)
        (self._forwarded.add if function else self._forwarded.discard)(what)
        if self._forwarded and not before:
            self._call("LogForward", "b", True)
        elif before and not self._forwarded and not self._gone:
            with suppress(dbus.exceptions.DBusException):  # the session may have ended by itself
                self._call("LogForward", "b", False)


class SessionManagerEvent:
    """A session has come or gone."""

    def __init__(self, path: str, event: int, owner: int) -> None:
        self._path, self._type, self._owner = path, SessionManagerEventType(event), int(owner)

    def GetPath(self) -> str:
        return self._path

    def GetType(self) -> SessionManagerEventType:
        return self._type

    def GetOwner(self) -> int:
        """Its uid."""
        return self._owner

    def __eq__(self, other: object) -> bool:
        """Also with its type, and with its path."""
        if isinstance(other, SessionManagerEvent):
            return (self._path, self._type, self._owner) == (other._path, other._type, other._owner)
        return other == self._type if isinstance(other, SessionManagerEventType) else other == self._path

    def __hash__(self) -> int:
        return hash((self._path, self._type, self._owner))

    def __str__(self) -> str:
        return f"[SESSION] {self._type.name}: {self._path} (owner: {self._owner})"


class SessionManager(Manager):
    SERVICE, TITLE = SESSIONS_NAME, "Session Manager"

    def __init__(self, bus: dbus.Bus) -> None:
        super().__init__(bus)
        self._events = Receiver(bus, "SessionManagerEvent", SESSIONS_NAME, SESSIONS_NAME, self.GetPath())

    def NewTunnel(self, cfg: Configuration) -> Session:
        return Session(self._bus, self._call("NewTunnel", "o", cfg.GetPath()))

    def Retrieve(self, path: str) -> Session:
        return Session(self._bus, path)

    def FetchAvailableSessions(self) -> list[Session]:
        return [Session(self._bus, path) for path in self._call("FetchAvailableSessions")]

    def LookupConfigName(self, name: str) -> list[dbus.ObjectPath]:
        return list(self._call("LookupConfigName", "s", name))

    def LookupInterface(self, name: str) -> dbus.ObjectPath:
        return self._call("LookupInterface", "s", name)

    def TransferOwnership(self, path: str, uid: int) -> None:
        self._call("TransferOwnership", "ou", path, uid)

    def SessionManagerCallback(self, function: Callable[[SessionManagerEvent], None] | None) -> None:
        """Call with each event; None for no more."""
        if function is None:
            return self._events.set(None)
        tell = function
        self._events.set(lambda path, event, owner: tell(SessionManagerEvent(path, event, owner)))
