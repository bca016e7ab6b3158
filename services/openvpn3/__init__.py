"""The original's Python module for front-ends, on a dbus-python connection of the caller.

What was written for it runs unchanged. Errors of the services arrive as `dbus.exceptions.DBusException`. New programs
are better served by `ovpn3.proxies`.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

# The system's Python finds this folder by a link into an environment of which it knows nothing else.
if find_spec("ovpn3") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from openvpn3.ConfigManager import Configuration, ConfigurationManager
from openvpn3.ConfigParser import ConfigParser
from openvpn3.constants import (
    VERSION,
    ClientAttentionGroup,
    ClientAttentionType,
    NetCfgChangeType,
    SessionManagerEventType,
    StatusMajor,
    StatusMinor,
)
from openvpn3.NetCfgManager import NetCfgDevice, NetCfgManager, NetworkChangeSignal
from openvpn3.SessionManager import Session, SessionManager, SessionManagerEvent, UserInputSlot

__all__ = [
    "VERSION",
    "ClientAttentionGroup",
    "ClientAttentionType",
    "ConfigParser",
    "Configuration",
    "ConfigurationManager",
    "NetCfgChangeType",
    "NetCfgDevice",
    "NetCfgManager",
    "NetworkChangeSignal",
    "Session",
    "SessionManager",
    "SessionManagerEvent",
    "SessionManagerEventType",
    "StatusMajor",
    "StatusMinor",
    "UserInputSlot",
]
