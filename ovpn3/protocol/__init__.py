"""The OpenVPN control channel without I/O: a `Session` takes packets and the time, and returns actions."""

from ovpn3.protocol.auth import Credentials
from ovpn3.protocol.config import PullFilter, SessionConfig, TlsConfig, WrapConfig, WrapMode
from ovpn3.protocol.session import Session
from ovpn3.protocol.states import State

__all__ = [
    "Credentials",
    "PullFilter",
    "Session",
    "SessionConfig",
    "State",
    "TlsConfig",
    "WrapConfig",
    "WrapMode",
]
