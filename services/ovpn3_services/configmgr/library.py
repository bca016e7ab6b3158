"""All profiles, in memory and on the disk."""

import json
import re
import time
from pathlib import Path

from ovpn3.constants import CONFIG_PATH, DOMAIN_REQUEST, ConfigEvent
from ovpn3.dbus.access import AccessList
from ovpn3.dbus.dispatch import Dispatcher
from ovpn3.errors import ConfigurationRefused, ProfileError, ServiceError
from ovpn3.files import put_aside, write_atomically
from ovpn3.profile import check_name, parse
from ovpn3_services.common.clients import Clients
from ovpn3_services.common.log import Log
from ovpn3_services.common.text import random_uuid
from ovpn3_services.configmgr.objects import ProfileObject
from ovpn3_services.configmgr.record import Record, defects

MAX_PROFILES_PER_OWNER = 1000
MAX_FILE_BYTES = 4 << 20  # a profile of the largest size, each character of it escaped

_FILE_NAME = re.compile(r"[0-9a-fx]{36}\.json")


class Library:
    """`directory` None: nothing is kept on the disk, although profiles may claim to be persistent."""

    def __init__(self, dispatcher: Dispatcher, log: Log, directory: Path | None) -> None:
        self.dispatcher, self.log, self.directory = dispatcher, log, directory
        self.clients = Clients(dispatcher.bus)
        self.profiles: dict[str, ProfileObject] = {}
        self._files: dict[str, Path] = {}  # by object path; a file's name is not bound to it

    def load(self) -> None:
        """Read what is on the disk. A damaged file is put aside and doesn't keep the others away."""
        if self.directory is None:
            return
        try:
            self.directory.mkdir(mode=0o750, exist_ok=True)
            for unfinished in self.directory.glob(".*.json.new"):
                unfinished.unlink()
            for file in sorted(self.directory.iterdir()):
                if _FILE_NAME.fullmatch(file.name):
                    self._load(file)
        except OSError as e:
            self.log.crit(f"the profiles in {self.directory} can't be read: {e.strerror}")

    def _load(self, file: Path) -> None:
        try:
            if file.stat().st_size > MAX_FILE_BYTES:
                raise ProfileError("too large")
            record = Record.from_json(json.loads(file.read_text(encoding="utf-8")))
            self._add(record)
        except OSError as e:
            self.log.crit(f"profile file {file.name} can't be read: {e.strerror}")
        except (ValueError, RecursionError, ProfileError, ConfigurationRefused) as e:
            # The text of a JSON or encoding error may quote the file, which holds keys.
            reason = type(e).__name__ if isinstance(e, ValueError | RecursionError) else str(e)
            self._put_aside(file, reason)
        else:
            self._files[record.path] = file

    def _put_aside(self, file: Path, reason: str) -> None:
        try:
            fate = f"is put aside as {put_aside(file).name}"
        except OSError as e:
            fate = f"can't be put aside: {e.strerror}"
        self.log.crit(f"profile file {file.name} is damaged ({reason}) and {fate}")

    def bring_in(self, name: str, text: str, uid: int, *, single_use: bool, persistent: bool) -> ProfileObject:
        """Import a profile. What can't be read, or holds what nobody can honour, is refused with the reason."""
        if sum(p.access.owner == uid for p in self.profiles.values()) >= MAX_PROFILES_PER_OWNER:
            raise ConfigurationRefused(f"user id {uid} has {MAX_PROFILES_PER_OWNER} profiles already")
        try:
            check_name(name)
            directives = parse(text, source=name)
            if not directives:
                raise ProfileError("the profile is empty", source=name, hint="it needs at least client, remote and ca")
            defects(directives, name)
        except ProfileError as e:
            raise ServiceError(DOMAIN_REQUEST, f"Invalid configuration profile: {e}") from None
        path = f"{CONFIG_PATH}/{random_uuid('x')}"
        record = Record(path, name, directives, AccessList(uid), int(time.time()), single_use, persistent)
        self._store(record)
        profile = self._add(record)
        self._announce(profile, ConfigEvent.CFG_CREATED)
        self.log.verb1(f"profile '{name}' imported by user id {uid}", path=path)
        return profile

    def remove(self, profile: ProfileObject) -> None:
        """Take it off bus and disk. ConfigurationRefused if it is gone, or stays because its file does."""
        record = profile.record
        self._check_present(record)
        if file := self.file_of(record):
            try:
                file.unlink(missing_ok=True)
            except OSError as e:
                raise ConfigurationRefused(f"the profile's file can't be removed: {e.strerror}") from None
        del self.profiles[record.path]
        self.dispatcher.unexport(record.path)
        self._announce(profile, ConfigEvent.CFG_DESTROYED)

    def save(self, record: Record) -> None:
        """Write a changed profile. ConfigurationRefused if it can't be: what has changed in memory holds."""
        self._check_present(record)
        self._store(record)

    def file_of(self, record: Record) -> Path | None:
        if not (record.persistent and self.directory):
            return None
        return self._files.get(record.path) or self.directory / f"{record.path.rsplit('/', 1)[1]}.json"

    def usable_by(self, uid: int) -> list[ProfileObject]:
        return [p for p in self.profiles.values() if p.access.may_use(uid)]

    def _check_present(self, record: Record) -> None:
        """A call may have waited for its caller's credentials while another one removed the profile."""
        if record.path not in self.profiles:
            raise ConfigurationRefused("the profile has been removed")

    def _store(self, record: Record) -> None:
        if file := self.file_of(record):
            try:
                write_atomically(file, json.dumps(record.to_json(), indent="\t", sort_keys=True))
            except OSError as e:
                self.log.crit(f"profile can't be stored: {e.strerror}", path=record.path)
                raise ConfigurationRefused(f"the profile can't be stored: {e.strerror}") from None

    def _add(self, record: Record) -> ProfileObject:
        profile = ProfileObject(self, record)
        self.dispatcher.export(record.path, profile)
        self.profiles[record.path] = profile
        return profile

    def _announce(self, profile: ProfileObject, event: ConfigEvent) -> None:
        self.dispatcher.emit(
            CONFIG_PATH, "ConfigurationManagerEvent", profile.record.path, int(event), profile.access.owner
        )
