"""The original's names for the numbers of the D-Bus API."""

from enum import IntEnum

from ovpn3.constants import API_VERSION as VERSION
from ovpn3.constants import AttentionGroup as ClientAttentionGroup
from ovpn3.constants import AttentionType as ClientAttentionType
from ovpn3.constants import NetworkChange as NetCfgChangeType
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


class StatusMajor(IntEnum):
    """As that of `ovpn3.constants`, but for the name of 1."""

    UNSET = 0
    CFG_ERROR = 1
    CONNECTION = 2
    SESSION = 3
    PKCS11 = 4
    PROCESS = 5
