"""A .autoload file: one JSON object with what to do with the profile beside it. Every part may be missing.

autostart             start it: true or false
name                  of the profile; default: that of its file
acl                   public, locked-down: true or false; set-owner: uid
remote                proto-override, port-override, compression, timeout (seconds to wait at start);
                      proxy: host, port, username, password, allow-plain-text
crypto.tls-params     cert-profile, min-version
tunnel                persist, ipv6, dns-fallback, dns-scope, dns-setup-disabled
user-auth             answers by the names of the questions, and totp: see ovpn3.cli.answers
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovpn3.cli.answers import NAMES
from ovpn3.cli.command import CommandError
from ovpn3.profile.override import CHOICES
from ovpn3.secret import Secret

MAX_BYTES = 65536
MAX_UID = 2**32 - 1
ANSWERS = (*NAMES, "dynamic_challenge", "auth_pending")

_OVERRIDES = {
    "remote.proto-override": "proto-override",
    "remote.port-override": "port-override",
    "remote.compression": "allow-compression",
    "remote.proxy.host": "proxy-host",
    "remote.proxy.port": "proxy-port",
    "remote.proxy.username": "proxy-username",
    "remote.proxy.password": "proxy-password",
    "remote.proxy.allow-plain-text": "proxy-auth-cleartext",
    "crypto.tls-params.cert-profile": "tls-cert-profile",
    "crypto.tls-params.min-version": "tls-version-min",
    "tunnel.persist": "persist-tun",
    "tunnel.ipv6": "ipv6",
    "tunnel.dns-scope": "dns-scope",
    "tunnel.dns-setup-disabled": "dns-setup-disabled",
}
_BOOLEAN = {
    *("autostart", "acl.public", "acl.locked-down", "remote.proxy.allow-plain-text"),
    *("tunnel.persist", "tunnel.dns-setup-disabled"),
}
_NUMBER = {"acl.set-owner", "remote.port-override", "remote.proxy.port", "remote.timeout"}
_IGNORED = {"crypto.default-key-direction", "tunnel.dco", "user-auth.autologin"}  # the original does so too
_RENAMED = {"crypto.private-key-passphrase": "user-auth.pk_passphrase"}


@dataclass
class Autoload:
    """`notes` are what is left out of account, in words."""

    autostart: bool = False
    name: str = ""
    public: bool = False
    locked_down: bool = False
    owner: int | None = None
    timeout_s: float | None = None
    overrides: dict[str, str | bool] = field(default_factory=dict)
    answers: dict[str, Secret] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read(file: Path) -> Autoload:
    """CommandError says what is wrong with it, never with a value."""
    try:
        with file.open("rb") as f:
            content = json.loads(f.read(MAX_BYTES))
    except OSError as e:
        raise CommandError(f"can't read {file.name}: {e.strerror or e}") from None
    except (ValueError, RecursionError):
        raise CommandError(f"{file.name} is not JSON") from None
    if not isinstance(content, dict):
        raise CommandError(f"{file.name} is not a JSON object")
    wanted = Autoload()
    for key, value in _flat(content):
        _take(wanted, _RENAMED.get(key, key), value)
    return wanted


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values by their keys with dots between; what is empty is not there."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None and value != "":
            yield prefix + key, value


def _take(wanted: Autoload, key: str, value: Any) -> None:
    if key in _IGNORED:
        return
    value = _typed(key, value)
    section, _, variable = key.partition(".")
    match key:
        case "autostart":
            wanted.autostart = value
        case "name":
            wanted.name = value
        case "acl.public":
            wanted.public = value
        case "acl.locked-down":
            wanted.locked_down = value
        case "acl.set-owner" if value < MAX_UID:
            wanted.owner = value
        case "remote.timeout":
            wanted.timeout_s = float(value)
        case "tunnel.dns-fallback" if value == "google":
            wanted.overrides["dns-fallback-google"] = True
        case _ if key in _OVERRIDES:
            _override(wanted, key, value)
        case _ if section == "user-auth" and variable in ANSWERS:
            wanted.answers[variable] = Secret(value)
        case _:
            wanted.notes.append(f"{key} is not known")


def _typed(key: str, value: Any) -> Any:
    """Of the type that the key has; numbers may be written as texts. CommandError if it isn't."""
    if key in _BOOLEAN:
        if isinstance(value, bool):
            return value
        raise CommandError(f"{key} takes true or false")
    if key in _NUMBER:
        digits = str(value)
        if not isinstance(value, bool) and digits.isascii() and digits.isdecimal() and len(digits) <= 10:
            return int(value)
        raise CommandError(f"{key} takes a number")
    if not isinstance(value, str):
        raise CommandError(f"{key} takes a text")
    return value


def _override(wanted: Autoload, key: str, value: Any) -> None:
    name = _OVERRIDES[key]
    allowed = CHOICES.get(name)
    if allowed and value not in allowed:
        wanted.notes.append(f"{key} is left out: it takes one of {', '.join(allowed)}")
    else:
        wanted.overrides[name] = str(value) if key in _NUMBER else value
