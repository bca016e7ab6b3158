"""Typed, checked access to a profile's options. Every failure is a ProfileError that names the line."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from ovpn3.errors import ProfileError
from ovpn3.profile.lexer import Directive
from ovpn3.profile.model import Arguments, Proto

LONGEST_SECONDS = 7 * 24 * 3600.0
MAX_HOST_CHARS = 256

_T = TypeVar("_T")
_D = TypeVar("_D")
_ALGORITHM = re.compile(r"[A-Za-z0-9/_-]{1,64}")
_HOST = re.compile(r"[\w.:%-]+")
_PROTO = re.compile(r"(udp|tcp)(?:v?([46]))?(?:-client)?", re.IGNORECASE)
_PROTOS: dict[str, Proto] = {"udp": "udp", "udp4": "udp4", "udp6": "udp6", "tcp": "tcp", "tcp4": "tcp4", "tcp6": "tcp6"}


def to_number(text: str, low: int, high: int) -> int:
    """A decimal number within bounds; ValueError says what is wanted."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and low <= int(text) <= high):
        raise ValueError(f"needs a number from {low} to {high}, not {text[:24]!r}")
    return int(text)


def to_port(text: str) -> int:
    return to_number(text, 1, 65535)


def to_seconds(text: str) -> float:
    """A duration; 0 stands for the longest, as in OpenVPN 3. ValueError if it is no number."""
    return min(float(to_number(text, 0, 2**32 - 1)) or LONGEST_SECONDS, LONGEST_SECONDS)


def to_host(text: str) -> str:
    if len(text) > MAX_HOST_CHARS or not _HOST.fullmatch(text):
        raise ValueError("needs a host name or an address")
    return text


def to_proto(text: str) -> Proto:
    """Protocol by any of its spellings, such as TCPv4-client."""
    match = _PROTO.fullmatch(text)
    if not match:
        raise ValueError("needs a protocol: udp or tcp, with 4 or 6 added for one address family")
    return _PROTOS[match[1].lower() + (match[2] or "")]


def one_of(allowed: tuple[_T, ...]) -> Callable[[str], _T]:
    """A converter for words of a list."""

    def pick(text: str) -> _T:
        for word in allowed:
            if word == text:
                return word
        raise ValueError(f"needs one of: {' '.join(str(word) for word in allowed)}")

    return pick


def to_algorithm(text: str) -> str:
    """A cipher's or digest's name in upper case."""
    if not _ALGORITHM.fullmatch(text):
        raise ValueError("needs the name of an algorithm")
    return text.upper()


@dataclass(frozen=True, slots=True)
class Values:
    """Options in use by name. Of an option given several times the last counts unless `every` is asked."""

    used: Mapping[str, tuple[Directive, ...]]
    source: str = ""

    def every(self, name: str) -> tuple[Directive, ...]:
        return self.used.get(name, ())

    def last(self, name: str) -> Directive | None:
        return self.every(name)[-1] if name in self.used else None

    def has(self, name: str) -> bool:
        return name in self.used

    def arguments(self, name: str) -> tuple[Arguments, ...]:
        """Arguments of every occurrence."""
        return tuple(d.args for d in self.every(name))

    def argument(self, d: Directive, position: int, to: Callable[[str], _T], default: _D) -> _T | _D:
        """One argument through a converter that raises ValueError; `default` if it isn't there."""
        if len(d.args) <= position:
            return default
        try:
            return to(d.args[position])
        except ValueError as e:
            raise self._error(d, str(e)) from None

    def convert(self, name: str, to: Callable[[str], _T], default: _D, position: int = 0) -> _T | _D:
        """The same for the last occurrence of an option."""
        d = self.last(name)
        return default if d is None else self.argument(d, position, to, default)

    def number(self, name: str, low: int, high: int, default: _D, position: int = 0) -> int | _D:
        return self.convert(name, lambda text: to_number(text, low, high), default, position)

    def seconds(self, name: str, default: _D, *, least: float = 1.0) -> float | _D:
        return self.convert(name, lambda text: max(to_seconds(text), least), default)

    def word(self, name: str, default: _D) -> str | _D:
        return self.convert(name, _not_empty, default)

    def choice(self, name: str, allowed: tuple[_T, ...], default: _D, position: int = 0) -> _T | _D:
        return self.convert(name, one_of(allowed), default, position)

    def text(self, name: str, marker: str = "-----BEGIN ") -> str:
        """Blocks of an option joined, "" if there is none; each must contain `marker`."""
        return "".join(self.block(d, marker) for d in self.every(name))

    def last_text(self, name: str, marker: str = "-----BEGIN ") -> str:
        """Block of the option, "" if there is none."""
        d = self.last(name)
        return self.block(d, marker) if d else ""

    def block(self, d: Directive, marker: str = "") -> str:
        if d.block is None:
            self.fail(d, "names a file", f"put its text between <{d.name}> and </{d.name}>; import does that")
        if marker not in d.block:
            self.fail(d, f"has no {marker.strip(' -')!r} in it", "the block must hold PEM text of the right kind")
        return d.block

    def fail(self, d: Directive, problem: str, hint: str = "") -> NoReturn:
        raise self._error(d, problem, hint)

    def _error(self, d: Directive, problem: str, hint: str = "") -> ProfileError:
        return ProfileError(problem, option=d.name, line=d.line, source=self.source, hint=hint)


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("needs a value")
    return text
