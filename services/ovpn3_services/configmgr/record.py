"""What is known of one profile, and its form on the disk, which is the original's."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ovpn3.constants import CONFIG_PATH, OVERRIDES
from ovpn3.dbus.access import AccessList
from ovpn3.errors import ConfigurationRefused, ProfileError
from ovpn3.profile import Directive, build, from_json, missing, to_json
from ovpn3_services.common.log import clean
from ovpn3_services.common.text import stripped

MAX_TAG_CHARS = 128
MAX_TAGS = 64
MAX_OVERRIDE_CHARS = 512
OVERRIDE_TYPES = {"s": str, "b": bool}

_PATH = re.compile(rf"{CONFIG_PATH}/\w+", re.ASCII)


def defects(directives: Iterable[Directive], source: str = "") -> list[str]:
    """What a profile lacks for a tunnel, in words. ProfileError if a line of it can't be honoured."""
    directives = tuple(directives)
    lacking = missing(directives)
    try:
        build(directives, source=source)
    except ProfileError as e:
        if e.line and e.problem not in lacking:
            raise
        return lacking or [str(e)]
    return lacking


@dataclass
class Record:
    """A profile with all that belongs to it."""

    path: str
    name: str
    directives: tuple[Directive, ...] = field(repr=False)
    access: AccessList
    import_timestamp: int
    single_use: bool = False
    persistent: bool = False
    tags: list[str] = field(default_factory=list)
    overrides: dict[str, str | bool] = field(default_factory=dict, repr=False)
    last_used_timestamp: int = 0
    used_count: int = 0
    locked_down: bool = False
    transfer_owner_session: bool = False
    readonly: bool = False
    dco: bool = False

    @cached_property
    def reasons(self) -> list[str]:
        """Why no tunnel can be started with it; empty if one can. The directives never change."""
        return defects(self.directives)

    def add_tag(self, tag: str) -> None:
        if not 1 <= len(tag) <= MAX_TAG_CHARS or not tag.isprintable():
            raise ConfigurationRefused(f"a tag has 1 to {MAX_TAG_CHARS} printable characters")
        if tag in self.tags:
            raise ConfigurationRefused("Tag already exists")
        if len(self.tags) >= MAX_TAGS:
            raise ConfigurationRefused(f"the profile has {MAX_TAGS} tags already")
        self.tags.append(tag)

    def remove_tag(self, tag: str) -> None:
        if tag not in self.tags:
            raise ConfigurationRefused("Non-existing tag")
        self.tags.remove(tag)

    def set_override(self, name: str, signature: str, value: object) -> None:
        """`signature` is the D-Bus type that `value` came with."""
        if name not in OVERRIDES:
            raise ConfigurationRefused(f"Invalid override key '{clean(name[:MAX_OVERRIDE_CHARS])}'")
        if signature != OVERRIDES[name] or not isinstance(value, str | bool):
            raise ConfigurationRefused(f"Invalid override data type for '{name}'")
        if isinstance(value, str):
            value = stripped(value)
        if isinstance(value, str) and (len(value) > MAX_OVERRIDE_CHARS or not value.isprintable()):
            raise ConfigurationRefused(f"'{name}' takes up to {MAX_OVERRIDE_CHARS} printable characters")
        self.overrides[name] = value

    def unset_override(self, name: str) -> None:
        if name not in self.overrides:
            raise ConfigurationRefused(f"Override '{clean(name[:MAX_OVERRIDE_CHARS])}' has not been set")
        del self.overrides[name]

    def to_json(self) -> dict[str, object]:
        document: dict[str, object] = {
            "object_path": self.path,
            "owner": self.access.owner,
            "name": self.name,
            "import_timestamp": self.import_timestamp,
            "last_used_timestamp": self.last_used_timestamp,
            "locked_down": self.locked_down,
            "transfer_owner_session": self.transfer_owner_session,
            "readonly": self.readonly,
            "single_use": self.single_use,
            "used_count": self.used_count,
            "valid": not self.reasons,
            "profile": to_json(self.directives),
            "dco": self.dco,
            "public_access": self.access.public,
            "overrides": self.overrides,
        }
        if self.tags:
            document["tags"] = self.tags
        if self.access.granted:
            document["acl"] = self.access.granted
        return document

    @classmethod
    def from_json(cls, document: object) -> "Record":
        """ProfileError if the document isn't one of ours or the original's."""
        if not isinstance(document, dict):
            raise ProfileError("not a JSON object")
        read = _Reader(document)
        path = read.text("object_path")
        if not _PATH.fullmatch(path):
            raise ProfileError("object_path is not one of a profile")
        return cls(
            path=path,
            name=clean(read.text("name")),
            directives=from_json(document.get("profile")),
            access=AccessList(read.number("owner", bits=32), read.uids("acl"), read.flag("public_access")),
            import_timestamp=read.number("import_timestamp", bits=64),
            single_use=read.flag("single_use"),
            persistent=True,
            tags=[clean(tag) for tag in read.texts("tags")],
            overrides=read.overrides("overrides"),
            last_used_timestamp=read.number("last_used_timestamp", bits=64),
            used_count=read.number("used_count", bits=32),
            locked_down=read.flag("locked_down"),
            transfer_owner_session=read.flag("transfer_owner_session"),
            readonly=read.flag("readonly"),
            dco=read.flag("dco"),
        )


class _Reader:
    """Values of a JSON object by type; ProfileError names the key that has another."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document

    def text(self, key: str) -> str:
        value = self._document.get(key)
        if not isinstance(value, str):
            raise ProfileError(f"{key} is not a text")
        return value

    def number(self, key: str, *, bits: int) -> int:
        return _unsigned(key, self._document.get(key, 0), bits)

    def flag(self, key: str) -> bool:
        value = self._document.get(key, False)
        if not isinstance(value, bool):
            raise ProfileError(f"{key} is neither true nor false")
        return value

    def texts(self, key: str) -> list[str]:
        found = [value for value in self._list(key) if isinstance(value, str)]
        if len(found) != len(self._list(key)):
            raise ProfileError(f"{key} is not a list of texts")
        return found

    def uids(self, key: str) -> list[int]:
        return [_unsigned(key, value, 32) for value in self._list(key)]

    def overrides(self, key: str) -> dict[str, str | bool]:
        """Those we know; a newer release may have had others."""
        value = self._document.get(key, {})
        if not isinstance(value, dict):
            raise ProfileError(f"{key} is not an object")
        found: dict[str, str | bool] = {}
        for name, setting in value.items():
            if not isinstance(setting, str | bool):
                raise ProfileError(f"override {clean(str(name))} is neither text nor boolean")
            if name in OVERRIDES and isinstance(setting, OVERRIDE_TYPES[OVERRIDES[name]]):
                found[name] = setting
        return found

    def _list(self, key: str) -> list[object]:
        value = self._document.get(key, [])
        if not isinstance(value, list):
            raise ProfileError(f"{key} is not a list")
        return value


def _unsigned(key: str, value: object, bits: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
        raise ProfileError(f"{key} is not a number of {bits} bits")
    return value
