"""What a successor needs to know of a session, in the form in which the session's client keeps it for us.

The client is the one process that lives exactly as long as the session, so there is nothing to store, to find stale
or to clean up. It is also the process that talks to the network: what it hands back is checked, and can only ever
concern its own session.
"""

import re
from dataclasses import dataclass
from typing import Any, Self

from ovpn3.constants import CONFIG_PATH, SESSIONS_PATH
from ovpn3.dbus.access import MAX_GRANTED
from ovpn3.dbus.wire import Variant
from ovpn3.errors import ConfigurationRefused, ProfileError
from ovpn3.names import check_name

MAX_RECEIVERS = 256  # of a session's log

_SIGNATURES = {
    "path": "o",
    "config_path": "o",
    "config_name": "s",
    "owner": "u",
    "granted": "au",
    "public": "b",
    "restrict_log_access": "b",
    "created": "t",
    "connect_asked": "b",
    "automatic_restart": "b",
    "receivers": "as",
}
_PATH = re.compile(rf"{SESSIONS_PATH}/[0-9a-f]{{8}}(s[0-9a-f]{{4}}){{3}}s[0-9a-f]{{12}}")
_CONFIG_PATH = re.compile(rf"{CONFIG_PATH}/\w+", re.ASCII)
_UNIQUE_NAME = re.compile(r":\d+\.\d+", re.ASCII)


@dataclass(frozen=True)
class Record:
    """`granted` are uids, `created` seconds since 1970, `receivers` unique names that the log is forwarded to."""

    path: str
    config_path: str
    config_name: str
    owner: int
    granted: list[int]
    public: bool
    restrict_log_access: bool
    created: int
    connect_asked: bool
    automatic_restart: bool
    receivers: list[str]

    def pack(self) -> dict[str, Variant]:
        return {name: Variant(signature, getattr(self, name)) for name, signature in _SIGNATURES.items()}

    @classmethod
    def unpack(cls, packed: dict[str, Variant]) -> Self:
        """ConfigurationRefused unless it is what `pack` gives; what a later version adds is left out."""
        values: dict[str, Any] = {}
        for name, signature in _SIGNATURES.items():
            if name not in packed or packed[name].signature != signature:
                raise ConfigurationRefused(f"a session's record without a usable {name}")
            values[name] = packed[name].value
        record = cls(**values)
        if flaw := record._flaw():
            raise ConfigurationRefused(f"a session's record with {flaw}")
        return record

    def _flaw(self) -> str:
        if not _PATH.fullmatch(self.path) or not _CONFIG_PATH.fullmatch(self.config_path):
            return "a wrong path"
        try:
            check_name(self.config_name)
        except ProfileError:
            return "an unusable name"
        if len(self.granted) > MAX_GRANTED or len(set(self.granted)) < len(self.granted) or self.owner in self.granted:
            return "a wrong access list"
        if len(self.receivers) > MAX_RECEIVERS or not all(map(_UNIQUE_NAME.fullmatch, self.receivers)):
            return "wrong receivers of the log"
        return ""
