"""What is known of one profile, and its form on the disk, which is the original's."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpn3.constants import CONFIG_PATH, OVERRIDES
from ovpn3.dbus.access import AccessList
from ovpn3.errors import ConfigurationRefused, ProfileError
from ovpn3.profile import Directive, from_json, missing, to_json

MAX_TAG_CHARS = 128
OVERRIDE_TYPES = {"s": str, "b": bool}


@dataclass
class Record:
    path: str
    name: str
    directives: tuple[Directive, ...] = field(repr=False)
    access: AccessList
    import_timestamp: int
    single_use: bool = False
    persistent: bool = False
    tags: list[str] = field(default_factory=list)
    overrides: dict[str, str | bool] = field(default_factory=dict)
    last_used_timestamp: int = 0
    used_count: int = 0
    locked_down: bool = False
    transfer_owner_session: bool = False
    readonly: bool = False
    dco: bool = False

    def reasons(self) -> list[str]:
        """Why no tunnel can be started with it; empty if one can."""
        return missing(self.directives)

    def add_tag(self, tag: str) -> None:
        if not 1 <= len(tag) <= MAX_TAG_CHARS or not tag.isprintable():
            raise ConfigurationRefused(f"a tag has 1 to {MAX_TAG_CHARS} printable characters")
        if tag in self.tags:
            raise ConfigurationRefused(f"tag '{tag}' exists already")
        self.tags.append(tag)

    def remove_tag(self, tag: str) -> None:
        if tag not in self.tags:
            raise ConfigurationRefused(f"tag '{tag}' does not exist")
        self.tags.remove(tag)

    def set_override(self, name: str, signature: str, value: object) -> None:
        """`signature` is the D-Bus type that `value` came with."""
        if name not in OVERRIDES:
            raise ConfigurationRefused(f"Invalid override key '{name}'")
        if signature != OVERRIDES[name] or not isinstance(value, str | bool):
            raise ConfigurationRefused(f"Invalid override data type for '{name}'")
        self.overrides[name] = value.translate(_NO_CONTROLS) if isinstance(value, str) else value

    def unset_override(self, name: str) -> None:
        if name not in self.overrides:
            raise ConfigurationRefused(f"Override '{name}' has not been set")
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
            "valid": not self.reasons(),
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
        if not path.startswith(f"{CONFIG_PATH}/") or not path.replace("/", "").isalnum():
            raise ProfileError("object_path is not one of a profile")
        access = AccessList(read.number("owner"), read.numbers("acl"), read.flag("public_access"))
        overrides = {
            name: value
            for name, value in read.mapping("overrides").items()
            if isinstance(value, str | bool) and isinstance(value, OVERRIDE_TYPES.get(OVERRIDES.get(name, ""), ()))
        }
        return cls(
            path,
            read.text("name"),
            from_json(document.get("profile")),
            access,
            read.number("import_timestamp"),
            read.flag("single_use"),
            True,
            read.texts("tags"),
            overrides,
            read.number("last_used_timestamp"),
            read.number("used_count"),
            read.flag("locked_down"),
            read.flag("transfer_owner_session"),
            read.flag("readonly"),
            read.flag("dco"),
        )


_NO_CONTROLS = dict.fromkeys(range(32))


class _Reader:
    """Values of a JSON object by type; ProfileError names the key that has another."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document

    def text(self, key: str) -> str:
        value = self._document.get(key)
        if not isinstance(value, str):
            raise ProfileError(f"{key} is not a text")
        return value

    def number(self, key: str) -> int:
        value = self._document.get(key, 0)
        if not isinstance(value, int) or not 0 <= value < 1 << 63:
            raise ProfileError(f"{key} is not a number")
        return value

    def flag(self, key: str) -> bool:
        value = self._document.get(key, False)
        if not isinstance(value, bool):
            raise ProfileError(f"{key} is neither true nor false")
        return value

    def texts(self, key: str) -> list[str]:
        value = self._document.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise ProfileError(f"{key} is not a list of texts")
        return value

    def numbers(self, key: str) -> list[int]:
        value = self._document.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, int) and 0 <= v < 1 << 32 for v in value):
            raise ProfileError(f"{key} is not a list of user ids")
        return value

    def mapping(self, key: str) -> Mapping[str, object]:
        value = self._document.get(key, {})
        if not isinstance(value, dict):
            raise ProfileError(f"{key} is not an object")
        return value
