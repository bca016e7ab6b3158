"""Profiles."""

import json
from typing import Any

import dbus

from openvpn3.remote import Manager, Remote
from ovpn3.constants import CONFIG_NAME

SYSTEM = "system:"


class Configuration(Remote):
    """One imported profile."""

    SERVICE, GONE = CONFIG_NAME, "configuration"

    def GetConfigName(self) -> str:
        return str(self.GetProperty("name"))

    def Fetch(self) -> str:
        return str(self._call("Fetch"))

    def FetchJSON(self) -> dict[str, Any]:
        """What the service says in JSON, read."""
        found: dict[str, Any] = json.loads(self._call("FetchJSON"))
        return found

    def Validate(self) -> None:
        self._call("Validate")

    def Remove(self) -> None:
        self._last_call("Remove")

    def AddTag(self, tagvalue: str) -> None:
        self._call("AddTag", "s", _of_users(tagvalue))

    def RemoveTag(self, tagvalue: str) -> None:
        self._call("RemoveTag", "s", _of_users(tagvalue))

    def GetTags(self) -> tuple[str, ...]:
        """Those of users; the property has those of programs too."""
        return tuple(str(tag) for tag in self.GetProperty("tags") if not tag.startswith(SYSTEM))

    def SetOverride(self, override: str, value: str | bool) -> None:
        self._call("SetOverride", "sv", override, value)

    def UnsetOverride(self, override: str) -> None:
        self._call("UnsetOverride", "s", override)

    def GetOverrides(self) -> dict[str, Any]:
        return {str(name): value for name, value in self.GetProperty("overrides").items()}

    def Seal(self) -> None:
        self._call("Seal")

    def AccessGrant(self, uid: int) -> None:
        self._call("AccessGrant", "u", uid)

    def AccessRevoke(self, uid: int) -> None:
        self._call("AccessRevoke", "u", uid)

    def SetOwnershipTransfer(self, val: bool) -> None:
        """Whether a session becomes the profile owner's, whoever starts it."""
        self.SetProperty("transfer_owner_session", val)


class ConfigurationManager(Manager):
    SERVICE, TITLE = CONFIG_NAME, "Configuration Manager"

    def Import(
        self, cfgname: str, cfg: str, single_use: bool, persistent: bool, system_tag: str | None = None
    ) -> Configuration:
        profile = Configuration(self._bus, self._call("Import", "ssbb", cfgname, cfg, single_use, persistent))
        if system_tag:
            profile._call("AddTag", "s", f"{SYSTEM}{system_tag}")
        return profile

    def Retrieve(self, objpath: str) -> Configuration:
        return Configuration(self._bus, objpath)

    def FetchAvailableConfigs(self) -> list[Configuration]:
        return [Configuration(self._bus, path) for path in self._call("FetchAvailableConfigs")]

    def LookupConfigName(self, cfgname: str) -> list[dbus.ObjectPath]:
        return list(self._call("LookupConfigName", "s", cfgname))

    def SearchByTag(self, tagvalue: str, only_path: bool = False) -> list[dbus.ObjectPath] | list[Configuration]:
        paths = list(self._call("SearchByTag", "s", tagvalue))
        return paths if only_path else [Configuration(self._bus, path) for path in paths]

    def TransferOwnership(self, cfgpath: str, new_uid: int) -> None:
        self._call("TransferOwnership", "ou", cfgpath, new_uid)


def _of_users(tag: str) -> str:
    """RuntimeError for one that programs give."""
    if tag.startswith(SYSTEM):
        raise RuntimeError(f"a tag that begins with {SYSTEM} is not for users")
    return tag
