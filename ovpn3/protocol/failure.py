"""The one exception that ends a session; `Session` alone turns it into an action."""

from typing import final

from ovpn3.errors import PeerError
from ovpn3.protocol.actions import End, Failed, FailureKind


@final
class SessionEnd(PeerError):
    """Carries the action that says why."""

    def __init__(self, action: End) -> None:
        self.action = action
        super().__init__(type(action).__name__)


def failed(kind: FailureKind, reason: str, *, fatal: bool = False) -> SessionEnd:
    """The usual kind of end, for `raise`."""
    return SessionEnd(Failed(kind, reason, fatal))
