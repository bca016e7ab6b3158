"""Profiles."""

from typing import Any

import dbus

from openvpn3.remote import Manager, Remote
from ovpn3.constants import CONFIG_NAME


class Configuration(Remote):
    """One imported profile."""

    SERVICE, GONE = CONFIG_NAME, "configuration"

    def GetConfigName(self) -> str:
        return str(self.GetProperty("name"))

    def Fetch(self) -> str:
        return str(self._call("Fetch"))

    def FetchJSON(self) -> str:
        return str(self._call("FetchJSON"))

    def Validate(self) -> None:
        self._call("Validate")

    def Remove(self) -> None:
        self._last_call("Remove")

    def AddTag(self, tag: str) -> None:
        self._call("AddTag", "s", tag)

    def RemoveTag(self, tag: str) -> None:
        self._call("RemoveTag", "s", tag)

    def GetTags(self) -> list[str]:
        return [str(tag) for tag in self.GetProperty("tags")]

    def SetOverride(self, name: str, value: str | bool) -> None:
        self._call("SetOverride", "sv", name, value)

    def UnsetOverride(self, name: str) -> None:
        self._call("UnsetOverride", "s", name)

    def GetOverrides(self) -> dict[str, Any]:
        return {str(name): value for name, value in self.GetProperty("overrides").items()}

    def Seal(self) -> None:
        self._call("Seal")

    def AccessGrant(self, uid: int) -> None:
        self._call("AccessGrant", "u", uid)

    def AccessRevoke(self, uid: int) -> None:
        self._call("AccessRevoke", "u", uid)

    def SetOwnershipTransfer(self, value: bool) -> None:
        """Whether a session becomes the profile owner's, whoever starts it."""
        self.SetProperty("transfer_owner_session", value)


class ConfigurationManager(Manager):
    SERVICE, TITLE = CONFIG_NAME, "Configuration Manager"

    def Import(
        self, name: str, cfg: str, single_use: bool, persistent: bool, system_tag: str | None = None
    ) -> Configuration:
        profile = Configuration(self._bus, self._call("Import", "ssbb", name, cfg, single_use, persistent))
        if system_tag:
            profile.AddTag(f"system:{system_tag}")
        return profile

    def Retrieve(self, path: str) -> Configuration:
        return Configuration(self._bus, path)

    def FetchAvailableConfigs(self) -> list[Configuration]:
        return [Configuration(self._bus, path) for path in self._call("FetchAvailableConfigs")]

    def LookupConfigName(self, name: str) -> list[dbus.ObjectPath]:
        return list(self._call("LookupConfigName", "s", name))

    def SearchByTag(self, tag: str, only_path: bool = False) -> list[dbus.ObjectPath] | list[Configuration]:
        paths = list(self._call("SearchByTag", "s", tag))
        return paths if only_path else [Configuration(self._bus, path) for path in paths]

    def TransferOwnership(self, path: str, uid: int) -> None:
        self._call("TransferOwnership", "ou", path, uid)
