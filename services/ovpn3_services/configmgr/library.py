"""All profiles, in memory and on the disk."""

import json
import re
import time
import uuid
from pathlib import Path

from ovpn3.constants import CONFIG_INTERFACE, CONFIG_PATH, DOMAIN_REQUEST, ConfigEvent
from ovpn3.dbus.access import AccessList
from ovpn3.dbus.dispatch import Dispatcher
from ovpn3.errors import ConfigurationRefused, ProfileError, ServiceError
from ovpn3.profile import build, check_name, missing, parse
from ovpn3_services.common.files import write_atomically
from ovpn3_services.common.log import Log
from ovpn3_services.configmgr.objects import ProfileObject
from ovpn3_services.configmgr.record import Record

FILE_NAME = re.compile(r"[0-9a-fx]{36}\.json")


class Library:
    """`directory` None: nothing is kept on the disk, although profiles may claim to be persistent."""

    def __init__(self, dispatcher: Dispatcher, log: Log, directory: Path | None) -> None:
        self.dispatcher, self.log, self.directory = dispatcher, log, directory
        self.profiles: dict[str, ProfileObject] = {}

    def load(self) -> None:
        """Read what is on the disk. A damaged file is put aside and doesn't keep the others away."""
        files = sorted(self.directory.iterdir()) if self.directory and self.directory.is_dir() else []
        for file in files:
            if not FILE_NAME.fullmatch(file.name):
                continue
            try:
                record = Record.from_json(json.loads(file.read_text(encoding="utf-8")))
                self._add(record)
            except (OSError, ValueError, ProfileError, ConfigurationRefused) as e:
                reason = e if isinstance(e, ProfileError) else type(e).__name__
                self.log.crit(f"profile file {file.name} is damaged and was put aside: {reason}")
                file.rename(file.with_suffix(".damaged"))

    def bring_in(self, name: str, text: str, uid: int, *, single_use: bool, persistent: bool) -> ProfileObject:
        """Import a profile. What can't be read, or holds what nobody can honour, is refused with the reason."""
        try:
            check_name(name)
            directives = parse(text, source=name)
            if not missing(directives):
                build(directives, source=name)
        except ProfileError as e:
            raise ServiceError(DOMAIN_REQUEST, f"Invalid configuration profile: {e}") from None
        path = f"{CONFIG_PATH}/{str(uuid.uuid4()).replace('-', 'x')}"
        record = Record(path, name, directives, AccessList(uid), int(time.time()), single_use, persistent)
        profile = self._add(record)
        profile.save()
        self._announce(profile, ConfigEvent.CFG_CREATED)
        self.log.verb1(f"profile '{name}' imported by user id {uid}", path=path)
        return profile

    def remove(self, profile: ProfileObject) -> None:
        if self.profiles.pop(profile.record.path, None) is None:
            return
        self.dispatcher.unexport(profile.record.path)
        if file := self.file_of(profile.record):
            file.unlink(missing_ok=True)
        self._announce(profile, ConfigEvent.CFG_DESTROYED)

    def save(self, record: Record) -> None:
        """Write a persistent profile; a failure is logged, the profile stays as it is in memory."""
        if file := self.file_of(record):
            try:
                write_atomically(file, json.dumps(record.to_json(), indent="\t", sort_keys=True))
            except OSError as e:
                self.log.crit(f"profile can't be saved: {e.strerror}", path=record.path)

    def file_of(self, record: Record) -> Path | None:
        if not (record.persistent and self.directory):
            return None
        return self.directory / f"{record.path.rsplit('/', 1)[1]}.json"

    def usable_by(self, uid: int) -> list[ProfileObject]:
        return [p for p in self.profiles.values() if p.access.may_use(uid)]

    def _add(self, record: Record) -> ProfileObject:
        profile = ProfileObject(self, record)
        self.dispatcher.export(record.path, profile)
        self.profiles[record.path] = profile
        return profile

    def _announce(self, profile: ProfileObject, event: ConfigEvent) -> None:
        self.dispatcher.bus.emit(
            CONFIG_PATH,
            CONFIG_INTERFACE,
            "ConfigurationManagerEvent",
            "oqu",
            profile.record.path,
            int(event),
            profile.access.owner,
        )
