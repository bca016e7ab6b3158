"""The configuration manager's objects: /net/openvpn/v3/configuration and one below it for each profile."""

import json
import pwd
import time
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from ovpn3.constants import API_VERSION, CONFIG_INTERFACE, OVERRIDES, SECRET_OVERRIDES
from ovpn3.dbus.access import (
    Governed,
    owner,
    owner_or_granted,
    refusal,
    root,
    same_uid,
    service_uid,
    user,
    user_or_service,
)
from ovpn3.dbus.describe import Signal
from ovpn3.dbus.dispatch import Call, DBusObject, anyone, method, prop
from ovpn3.dbus.wire import Variant
from ovpn3.errors import ConfigurationRefused
from ovpn3.profile import check_name, to_json, to_text
from ovpn3_services.common.log import clean
from ovpn3_services.common.text import stripped
from ovpn3_services.configmgr.record import Record

if TYPE_CHECKING:
    from ovpn3_services.configmgr.library import Library

MAX_USED_COUNT = 2**32 - 1
MAX_USER_CHARS = 256  # LOGIN_NAME_MAX


class Manager(DBusObject):
    """The root object."""

    interface = CONFIG_INTERFACE
    signals = (Signal("Log", "group:u level:u message:s"), Signal("ConfigurationManagerEvent", "path:o type:q owner:u"))

    def __init__(self, library: "Library") -> None:
        self.library = library

    @method("Import", "name:s config_str:s single_use:b persistent:b", "config_path:o", rule=anyone)
    async def bring_in(self, call: Call, name: str, text: str, single_use: bool, persistent: bool) -> str:
        """Take in a profile, all files inline; it is the caller's. Others may have the same name."""
        uid = await call.uid()
        profile = self.library.bring_in(name.rstrip("\n"), text, uid, single_use=single_use, persistent=persistent)
        return profile.record.path

    @method("FetchAvailableConfigs", "", "paths:ao", rule=anyone)
    async def fetch_available(self, call: Call) -> list[str]:
        """Profiles that the caller may use."""
        return [p.record.path for p in self.library.usable_by(await call.uid())]

    @method("LookupConfigName", "config_name:s", "config_paths:ao", rule=anyone)
    async def lookup_name(self, call: Call, name: str) -> list[str]:
        """Those among them with this very name."""
        return [p.record.path for p in self.library.usable_by(await call.uid()) if p.record.name == name]

    @method("SearchByTag", "tag:s", "paths:ao", rule=anyone)
    async def search_tag(self, call: Call, tag: str) -> list[str]:
        """Those among them with this tag."""
        return [p.record.path for p in self.library.usable_by(await call.uid()) if tag in p.record.tags]

    @method("SearchByOwner", "owner:s", "paths:ao", rule=anyone)
    async def search_owner(self, call: Call, name: str) -> list[str]:
        """Those among them that belong to a user, given by name or by uid in digits."""
        uid = _uid(name)
        return [p.record.path for p in self.library.usable_by(await call.uid()) if p.access.owner == uid]

    @method("TransferOwnership", "path:o new_owner_uid:u", rule=root)
    async def transfer(self, call: Call, path: str, new_owner: int) -> None:
        """Give a profile to another user. That there is no such profile is no error in the original either."""
        if profile := self.library.profiles.get(path):
            profile.access.owner = new_owner
            profile.save()
            self.library.log.info(f"given to user id {new_owner} by root", path=path)

    @prop("version", "s", read=anyone)
    def version(self, call: Call) -> str:
        """What these services are compatible with, as v<number>, and whose they are."""
        return API_VERSION


def _uid(who: str) -> int:
    """Of a user name, or of an uid in digits."""
    try:
        if len(who) > MAX_USER_CHARS:  # the look-up ends the process at some length, with systemd's module
            raise KeyError(who)
        return int(who) if who.isdecimal() and who.isascii() else pwd.getpwnam(who).pw_uid
    except (KeyError, ValueError):
        raise ConfigurationRefused(f"there is no user '{clean(who[:64])}'") from None


def _refuse_if_sealed(profile: "ProfileObject", call: Call) -> None:
    if profile.record.readonly:
        raise refusal(call, "the profile is sealed and read-only")


async def unsealed_owner(profile: "ProfileObject", call: Call) -> None:
    """The owner, until the profile is sealed."""
    await owner(profile, call)
    _refuse_if_sealed(profile, call)


async def unsealed_owner_or_granted(profile: "ProfileObject", call: Call) -> None:
    """Owner and granted users, until the profile is sealed."""
    await owner_or_granted(profile, call)
    _refuse_if_sealed(profile, call)


async def reader(profile: "ProfileObject", call: Call) -> None:
    """Owner and service account; granted users unless the profile is locked down."""
    if not profile.readable_by(await call.uid()):
        raise refusal(call, "you may not read this profile")


async def client_process(profile: "ProfileObject", call: Call) -> None:
    """Client processes."""
    if not await profile.library.clients.include(await call.peer()):
        raise refusal(call, "you are no client process")


class ProfileObject(DBusObject, Governed):
    """One profile."""

    interface = CONFIG_INTERFACE

    def __init__(self, library: "Library", record: Record) -> None:
        self.library, self.record = library, record
        self.access = record.access

    @property
    def stored(self) -> bool:
        """Whether it would survive the end of this process."""
        return self.library.file_of(self.record) is not None

    def save(self) -> None:
        self.library.save(self.record)

    async def visible(self, call: Call) -> bool:
        return self.access.may_use(await call.uid())

    def readable_by(self, uid: int) -> bool:
        """Who may have the text: owner and service account; granted users unless it is locked down."""
        granted = uid in self.access.granted and not self.record.locked_down
        return uid in (self.access.owner, service_uid()) or granted

    def _note(self, what: str) -> None:
        self.save()
        self.library.log.info(what, path=self.record.path)

    # -- content ----------------------------------------------------------------------------------
    @method("Validate", rule=user)
    async def validate(self, call: Call) -> None:
        """An error says what the profile lacks for a tunnel."""
        if self.record.reasons:
            raise ConfigurationRefused("; ".join(self.record.reasons))

    @method("Fetch", "", "config:s", rule=reader)
    async def fetch(self, call: Call) -> str:
        """The profile's text. A client process counts as a use: a profile for single use goes with it."""
        if await self.library.clients.include(await call.peer()):
            self._count_use()
        return to_text(self.record.directives)

    def _count_use(self) -> None:
        """A client process takes the text: once only if the profile is for single use."""
        if self.record.single_use:
            self.library.remove(self)
            return
        self.record.used_count = min(self.record.used_count + 1, MAX_USED_COUNT)
        self.record.last_used_timestamp = int(time.time())
        with suppress(ConfigurationRefused):  # logged; no reason to refuse a tunnel
            self.save()

    @method("FetchJSON", "", "config_json:s", rule=reader)
    async def fetch_json(self, call: Call) -> str:
        """The profile as JSON: options with arrays of their arguments."""
        return json.dumps(to_json(self.record.directives), sort_keys=True)

    @method(
        "SessionTerms",
        "uid:u",
        "allowed:b owner:u transfer_owner_session:b automatic_restart:s",
        rule=same_uid,
    )
    async def session_terms(self, call: Call, uid: int) -> tuple[bool, int, bool, str]:
        """Ours: what the session manager has to know before it starts a tunnel for somebody. Whether the user may have
        one; the profile's owner and whether the session is the owner's; the override `automatic-restart`, or none."""
        restart = str(self.record.overrides.get("automatic-restart", ""))
        return self.access.may_use(uid), self.access.owner, self.record.transfer_owner_session, restart

    @method("FetchForClient", "", "name:s overrides:a{sv} config:s", rule=client_process)
    async def fetch_for_client(self, call: Call) -> tuple[str, dict[str, Variant], str]:
        """Ours: all that a client process needs. As Fetch by one, it counts as a use."""
        self._count_use()
        return self.record.name, self._overrides_without(), to_text(self.record.directives)

    # -- changes ----------------------------------------------------------------------------------
    @method("SetOption", "option:s value:s", rule=unsealed_owner)
    async def set_option(self, call: Call, option: str, value: str) -> None:
        """Accepted, and without effect in the original either."""

    @method("SetOverride", "name:s value:v", rule=unsealed_owner)
    async def set_override(self, call: Call, name: str, value: Variant) -> None:
        """Put a setting in place of the profile's: text or boolean, by name."""
        name = stripped(name)
        self.record.set_override(name, value.signature, value.value)
        self._note(f"override '{name}' set by user id {await call.uid()}")

    @method("UnsetOverride", "name:s", rule=unsealed_owner)
    async def unset_override(self, call: Call, name: str) -> None:
        """Take an override away."""
        name = stripped(name)
        self.record.unset_override(name)
        self._note(f"override '{name}' unset by user id {await call.uid()}")

    @method("AddTag", "tag:s", rule=unsealed_owner)
    async def add_tag(self, call: Call, tag: str) -> None:
        """Add a tag of 1 to 128 characters that isn't there yet."""
        self.record.add_tag(stripped(tag))
        self.save()

    @method("RemoveTag", "tag:s", rule=unsealed_owner)
    async def remove_tag(self, call: Call, tag: str) -> None:
        """Take a tag away."""
        self.record.remove_tag(stripped(tag))
        self.save()

    @method("AccessGrant", "uid:u", rule=unsealed_owner)
    async def access_grant(self, call: Call, uid: int) -> None:
        """Let a user start tunnels with the profile, and read it unless it is locked down."""
        self.access.grant(uid)
        self._note(f"access granted to user id {uid} by user id {await call.uid()}")

    @method("AccessRevoke", "uid:u", rule=unsealed_owner)
    async def access_revoke(self, call: Call, uid: int) -> None:
        """Take that away again."""
        self.access.revoke(uid)
        self._note(f"access revoked from user id {uid} by user id {await call.uid()}")

    @method("Seal", rule=owner)
    async def seal(self, call: Call) -> None:
        """Make a valid profile read-only for good. It can still be removed."""
        if self.record.reasons:
            raise ConfigurationRefused(f"an invalid profile can't be sealed: {'; '.join(self.record.reasons)}")
        self.record.readonly = True
        self._note(f"sealed by user id {await call.uid()}")

    @method("Remove", rule=owner)
    async def remove(self, call: Call) -> None:
        """Remove the profile. Tunnels go on."""
        self.library.remove(self)

    # -- properties -------------------------------------------------------------------------------
    @prop("owner", "u", read=anyone)
    def owner_uid(self, call: Call) -> int:
        """uid."""
        return self.access.owner

    @prop("acl", "au", read=user)
    def acl(self, call: Call) -> list[int]:
        """uids that access was granted to; not the owner's."""
        return self.access.granted

    @prop("name", "s", read=user_or_service, write=unsealed_owner)
    def name(self, call: Call) -> str:
        """What the user calls it: 1 to 200 printable characters."""
        return self.record.name

    @name.setter
    def set_name(self, call: Call, value: str) -> None:
        self.record.name = check_name(value)
        self.save()

    @prop("public_access", "b", read=user, write=unsealed_owner)
    def public_access(self, call: Call) -> bool:
        """Whether everybody may use the profile; reading or changing it they may not."""
        return self.access.public

    @public_access.setter
    def set_public_access(self, call: Call, value: bool) -> None:
        self.access.public = value
        self._note(f"public access {'granted' if value else 'withdrawn'}")

    @prop("persistent", "b", read=user_or_service)
    def persistent(self, call: Call) -> bool:
        """Whether it is kept on the disk."""
        return self.record.persistent

    @prop("import_timestamp", "t", read=user_or_service)
    def import_timestamp(self, call: Call) -> int:
        """Seconds since 1970."""
        return self.record.import_timestamp

    @prop("last_used_timestamp", "t", read=user_or_service)
    def last_used_timestamp(self, call: Call) -> int:
        """When a tunnel was last started with it, in seconds since 1970; 0 if never."""
        return self.record.last_used_timestamp

    @prop("locked_down", "b", read=user_or_service, write=unsealed_owner)
    def locked_down(self, call: Call) -> bool:
        """Whether granted users may use the profile without reading it."""
        return self.record.locked_down

    @locked_down.setter
    def set_locked_down(self, call: Call, value: bool) -> None:
        self.record.locked_down = value
        self._note("locked down" if value else "no longer locked down")

    @prop("overrides", "a{sv}", read=user_or_service)
    async def overrides(self, call: Call) -> dict[str, Variant]:
        """Settings in place of the profile's. Who may not read that isn't told the secrets among them."""
        return self._overrides_without(() if self.readable_by(await call.uid()) else SECRET_OVERRIDES)

    def _overrides_without(self, hidden: Collection[str] = ()) -> dict[str, Variant]:
        return {n: Variant(OVERRIDES[n], value) for n, value in self.record.overrides.items() if n not in hidden}

    @prop("readonly", "b", read=user_or_service)
    def readonly(self, call: Call) -> bool:
        """Whether it is sealed."""
        return self.record.readonly

    @prop("single_use", "b", read=user)
    def single_use(self, call: Call) -> bool:
        """Whether it goes with the first tunnel that is started."""
        return self.record.single_use

    @prop("tags", "as", read=user_or_service)
    def tags(self, call: Call) -> list[str]:
        """Its tags."""
        return self.record.tags

    @prop("transfer_owner_session", "b", read=user_or_service, write=unsealed_owner_or_granted)
    def transfer_owner_session(self, call: Call) -> bool:
        """Whether sessions belong to the profile's owner, whoever starts them."""
        return self.record.transfer_owner_session

    @transfer_owner_session.setter
    def set_transfer_owner_session(self, call: Call, value: bool) -> None:
        self.record.transfer_owner_session = value
        self.save()

    @prop("used_count", "u", read=user_or_service)
    def used_count(self, call: Call) -> int:
        """How many tunnels were started with it."""
        return self.record.used_count

    @prop("dco", "b", read=user_or_service, write=unsealed_owner_or_granted)
    def dco(self, call: Call) -> bool:
        """Whether the kernel's data channel is wanted. Kept; there is none."""
        return self.record.dco

    @dco.setter
    def set_dco(self, call: Call, value: bool) -> None:
        self.record.dco = value
        self.save()

    @prop("valid", "b", read=user_or_service)
    def valid(self, call: Call) -> bool:
        """Whether a tunnel can be started with it."""
        return not self.record.reasons
