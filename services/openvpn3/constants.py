"""The original's names for the numbers of the D-Bus API."""

from enum import Enum, IntFlag
from typing import TYPE_CHECKING

import dbus

from ovpn3 import constants
from ovpn3.constants import API_VERSION as VERSION

if TYPE_CHECKING:
    from ovpn3.constants import AttentionGroup as ClientAttentionGroup
    from ovpn3.constants import AttentionType as ClientAttentionType
    from ovpn3.constants import NetworkChange as NetCfgChangeType
    from ovpn3.constants import SessionEvent as SessionManagerEventType
    from ovpn3.constants import StatusMajor, StatusMinor
else:
    # No integers, as the original's are none: UNSET is true, and a major status equals no minor one of the same number.
    def _enum(name, ours, number=dbus.UInt32):
        names = {"CFG_ERROR" if member is constants.StatusMajor.CONFIG else member.name: member for member in ours}
        return Enum(name, {name: number(member) for name, member in names.items()}, module=__name__)

    ClientAttentionGroup = _enum("ClientAttentionGroup", constants.AttentionGroup)
    ClientAttentionType = _enum("ClientAttentionType", constants.AttentionType)
    SessionManagerEventType = _enum("SessionManagerEventType", constants.SessionEvent, dbus.UInt16)
    StatusMajor = _enum("StatusMajor", constants.StatusMajor)
    StatusMinor = _enum("StatusMinor", constants.StatusMinor)
    _changes = {"UNSET": 0} | {change.name: change.value for change in constants.NetworkChange}
    NetCfgChangeType = IntFlag("NetCfgChangeType", _changes, module=__name__)

__all__ = [
    "VERSION",
    "ClientAttentionGroup",
    "ClientAttentionType",
    "NetCfgChangeType",
    "SessionManagerEventType",
    "StatusMajor",
    "StatusMinor",
]
