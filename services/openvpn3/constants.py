"""The original's names for the numbers of the D-Bus API."""

from enum import Enum, IntEnum
from typing import TYPE_CHECKING

from ovpn3 import constants
from ovpn3.constants import API_VERSION as VERSION
from ovpn3.constants import NetworkChange as NetCfgChangeType

if TYPE_CHECKING:
    from ovpn3.constants import AttentionGroup as ClientAttentionGroup
    from ovpn3.constants import AttentionType as ClientAttentionType
    from ovpn3.constants import SessionEvent as SessionManagerEventType
    from ovpn3.constants import StatusMinor

__all__ = [
    "VERSION",
    "ClientAttentionGroup",
    "ClientAttentionType",
    "NetCfgChangeType",
    "SessionManagerEventType",
    "StatusMajor",
    "StatusMinor",
]


class _Named(IntEnum):
    """A number that is shown by its name, as `StatusMinor.CONN_CONNECTED`: what front-ends of the original print."""

    __str__ = Enum.__str__
    __format__ = Enum.__format__


class StatusMajor(_Named):
    """As that of `ovpn3.constants`, but for the name of 1."""

    UNSET = 0
    CFG_ERROR = 1
    CONNECTION = 2
    SESSION = 3
    PKCS11 = 4
    PROCESS = 5


if not TYPE_CHECKING:
    ClientAttentionGroup, ClientAttentionType, SessionManagerEventType, StatusMinor = (
        _Named(name, {member.name: member.value for member in ours}, module=__name__)
        for name, ours in (
            ("ClientAttentionGroup", constants.AttentionGroup),
            ("ClientAttentionType", constants.AttentionType),
            ("SessionManagerEventType", constants.SessionEvent),
            ("StatusMinor", constants.StatusMinor),
        )
    )
