"""One tree of errors. `ovpn3.dbus.errors` alone turns it into D-Bus error names."""

from typing import final


class Ovpn3Error(Exception):
    """Root of everything this package raises on purpose."""


@final
class ProfileError(Ovpn3Error):
    """A profile can't be used: says where, which option, and what to do about it."""

    def __init__(
        self,
        problem: str,
        *,
        option: str = "",
        line: int = 0,
        source: str = "",
        hint: str = "",
    ) -> None:
        self.problem, self.option, self.line, self.source, self.hint = problem, option, line, source, hint
        super().__init__(problem)

    def __str__(self) -> str:
        place = ", ".join(p for p in (self.source, f"line {self.line}" if self.line else "") if p)
        text = ": ".join(p for p in (place, self.option, self.problem) if p)
        return f"{text} ({self.hint})" if self.hint else text


class ProtocolError(Ovpn3Error):
    """The OpenVPN protocol was not kept."""


class PeerError(ProtocolError):
    """By the peer: the packet is dropped or the session ends."""


class UsageError(ProtocolError):
    """By us: an event the state doesn't allow. Nothing has changed."""


class CryptoError(Ovpn3Error):
    """A cryptographic operation isn't possible: bad key, unknown algorithm."""


class AuthenticationFailed(CryptoError):
    """A tag, a signature or a certificate didn't verify."""


class ConfigurationRefused(Ovpn3Error):
    """A request is well formed but not allowed in the present state."""


class NetworkError(Ovpn3Error):
    """The kernel refused a network operation."""

    def __init__(self, text: str, errno: int = 0) -> None:
        self.errno = errno
        super().__init__(text)


class AccessDenied(Ovpn3Error):
    """The caller may not do this."""


class ServiceError(Ovpn3Error):
    """A refusal that carries its own D-Bus error domain, such as net.openvpn.v3.error.ready."""

    def __init__(self, domain: str, text: str) -> None:
        self.domain = domain
        super().__init__(text)


class RemoteError(Ovpn3Error):
    """Another service answered with an error. `name` is the D-Bus error name, the text is theirs."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        super().__init__(text)
