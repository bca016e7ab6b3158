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

    def __init__(self, session: "Session", qtype: ClientAttentionType, qgroup: ClientAttentionGroup, qid: int) -> None:
        self._session, self._type, self._group = session, qtype, qgroup
        self._place = (qtype.value, qgroup.value, qid)
        *_, self._name, self._label, self._hidden = session._call("UserInputQueueFetch", "uuu", *self._place)

    def GetTypeGroup(self) -> tuple[ClientAttentionType, ClientAttentionGroup]:
        return self._type, self._group

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

    def __init__(self, dbuscon: dbus.Bus, objpath: str) -> None:
        self._forwarded = False
        super().__init__(dbuscon, objpath)
        self._log = Receiver(dbuscon, "Log", BACKENDS_INTERFACE, LOG_NAME, objpath)
        self._status = Receiver(dbuscon, "StatusChange", BACKENDS_INTERFACE, LOG_NAME, objpath)
        self._attention = Receiver(dbuscon, "AttentionRequired", SESSIONS_NAME, SESSIONS_NAME, objpath)

    def __del__(self) -> None:
        """Log and status come for as long as there is this object."""
        if self._forwarded:
            self._log.clear()
            self._status.clear()
            self._forward()

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
        try:
            self._call("Disconnect")
        finally:
            self._gone = True  # if it fails, too: the session may have ended by itself

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

    def LogCallback(self, cbfnc: Callable[[int, int, str], None] | None) -> None:
        """Call with group, category and text of each line of the log; None for no more. RuntimeError for a second."""
        self._only(self._log, "LogCallback", cbfnc)
        self._forward()

    def StatusChangeCallback(self, cbfnc: Callable[[int, int, str], None] | None) -> None:
        """Call with major, minor and message; None for no more. Nothing comes of a log that we may not see."""
        self._only(self._status, "StatusChangeCallback", cbfnc)
        with suppress(dbus.exceptions.DBusException):
            self._forward()

    def AttentionRequiredCallback(self, cbfnc: Callable[[int, int, str], None] | None) -> None:
        """Call this too with type, group and text when there is a new question; None for no more calls at all."""
        self._attention.add(cbfnc) if cbfnc else self._attention.clear()

    def UserInputQueueGetTypeGroup(self) -> list[tuple[ClientAttentionType, ClientAttentionGroup]]:
        found = self._call("UserInputQueueGetTypeGroup")
        return [(ClientAttentionType(qtype), ClientAttentionGroup(qgroup)) for qtype, qgroup in found]

    def UserInputQueueCheck(self, qtype: ClientAttentionType, qgroup: ClientAttentionGroup) -> list[int]:
        return [int(qid) for qid in self._call("UserInputQueueCheck", "uu", qtype.value, qgroup.value)]

    def UserInputQueueFetch(self, qtype: ClientAttentionType, qgroup: ClientAttentionGroup, qid: int) -> UserInputSlot:
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

    @staticmethod
    def _only(receiver: Receiver, name: str, function: Callable[[int, int, str], None] | None) -> None:
        if not function:
            receiver.clear()
        elif receiver:
            raise RuntimeError(f"{name}() is already enabled")
        else:
            receiver.add(function)

    def _forward(self) -> None:
        """Both signals come by the log service, which sends them while one of them is wanted."""
        wanted = bool(self._log or self._status)
        if wanted and not self._forwarded:
            self._call("LogForward", "b", True)
        elif self._forwarded and not wanted and not self._gone:
            with suppress(dbus.exceptions.DBusException):  # the session may have ended by itself
                self._call("LogForward", "b", False)
        self._forwarded = wanted


class SessionManagerEvent:
    """A session has come or gone."""

    def __init__(self, path: str, type: int, owner: int) -> None:
        self._path, self._type, self._owner = path, SessionManagerEventType(type), int(owner)

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

    def __repr__(self) -> str:
        return f'<SessionManagerEvent type="{self._type.name}", path="{self._path}", owner_uid={self._owner}>'

    def __str__(self) -> str:
        return f"[SESSION] {self._type.name}: {self._path} (owner: {self._owner})"


class SessionManager(Manager):
    SERVICE, TITLE = SESSIONS_NAME, "Session Manager"

    def __init__(self, dbuscon: dbus.Bus) -> None:
        super().__init__(dbuscon)
        self._events = Receiver(dbuscon, "SessionManagerEvent", SESSIONS_NAME, SESSIONS_NAME, self.GetPath())

    def NewTunnel(self, cfgobj: Configuration) -> Session:
        return Session(self._bus, self._call("NewTunnel", "o", cfgobj.GetPath()))

    def Retrieve(self, objpath: str) -> Session:
        return Session(self._bus, objpath)

    def FetchAvailableSessions(self) -> list[Session]:
        return [Session(self._bus, path) for path in self._call("FetchAvailableSessions")]

    def LookupConfigName(self, cfgname: str) -> list[dbus.ObjectPath]:
        return list(self._call("LookupConfigName", "s", cfgname))

    def LookupInterface(self, name: str) -> dbus.ObjectPath:
        return self._call("LookupInterface", "s", name)

    def TransferOwnership(self, sesspath: str, new_uid: int) -> None:
        self._call("TransferOwnership", "ou", sesspath, new_uid)

    def SessionManagerCallback(self, cbfnc: Callable[[SessionManagerEvent], None] | None) -> None:
        """Call with each event, in place of the function before; None for no more."""
        self._events.clear()
        if cbfnc:
            self._events.add(lambda path, event, owner: cbfnc(SessionManagerEvent(path, event, owner)))
