"""The settings file of a service, shown and edited: what `log-service` and `netcfg-service` have in common."""

from collections.abc import Mapping
from pathlib import Path

from ovpn3 import settingsfile
from ovpn3.cli.command import BadValue, CommandError, Option, Options
from ovpn3.cli.text import one_line, to_json, yes_no
from ovpn3.errors import ConfigurationRefused
from ovpn3.files import write_atomically

MODES = ("config-show", "config-set", "config-unset")
UNREADABLE = 2  # exit code
BOOLEAN_WORDS = ("1", "yes", "true")


class ServiceFile:
    """`keys`: field of the file by option key. `booleans` are such fields, of `exclusive` only one may be set.

    `roots` are fields that a service believes in a file of root's only. `labels`: what `--config-show` calls a field,
    if not by its key: front-ends for the original look for some.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        booleans: tuple[str, ...],
        exclusive: tuple[str, ...],
        roots: tuple[str, ...] = (),
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._keys, self._booleans, self._exclusive, self._roots = keys, booleans, exclusive, roots
        self._labels = {field: key for key, field in keys.items()} | dict(labels or {})

    def options(self, unoffered: tuple[str, ...] = ()) -> tuple[Option, ...]:
        """Completion leaves the `unoffered` keys out."""
        file_text = "Another file than the service's own"
        offered = tuple(key for key in self._keys if key not in unoffered)
        set_text = "Set KEY in the settings file to the VALUE that follows"
        return (
            Option("config-show", help="Show the settings file"),
            Option("config-set", "", "KEY", set_text, last=True, values=offered),
            Option("config-unset", "", "KEY", "Remove KEY from the settings file", last=True, values=offered),
            Option("config-file-override", "", "FILE", file_text, last=True, values="files"),
        )

    def edit(self, file: str, options: Options) -> int:
        """Do what one of MODES asks for; the exit code. The service reads its file when it starts."""
        mode = options.exclusive(*MODES)
        path = Path(options.get("config-file-override", file))
        if str(path) == ".":
            raise CommandError("the service has no settings file: name one with --config-file-override")
        try:
            present = settingsfile.read(path)
        except ConfigurationRefused as e:
            print(one_line(e))
            return UNREADABLE
        if mode == "config-show":
            return self._show(path, present, options.has("json"))
        key, settings = options.get(mode), dict(present or {})
        field = self._keys.get(key)
        if field is None:
            raise BadValue(f"there is no key {key!r}; there are {', '.join(self._keys)}")
        if mode == "config-unset":
            settings.pop(field, None)
        else:
            if len(options.arguments) != 1:
                raise CommandError(f"--config-set {key} takes one value")
            if other := self._excluded_by(field, settings):
                raise CommandError(f"{key} and {other} exclude each other: --config-unset {other} first")
            settings[field] = self._value(field, options.arguments[0])
        self._write(path, settings)
        return 0

    def _excluded_by(self, field: str, settings: settingsfile.Settings) -> str:
        """The key of a setting that `field` can't stand beside; empty if there is none."""
        others = {f for f in self._exclusive if f in settings and f != field} if field in self._exclusive else set()
        return next((key for key, f in self._keys.items() if f in others), "")

    def _show(self, path: Path, settings: settingsfile.Settings | None, as_json: bool) -> int:
        if settings is None:
            print(f"there is no {path}")
            return UNREADABLE
        if as_json:
            print(to_json({f: settingsfile.flag(v) if f in self._booleans else v for f, v in settings.items()}))
            return 0
        print(f"Loading configuration file: {one_line(path)}")
        if not settings:
            print("Configuration file is empty")
        for field, value in settings.items():
            shown = yes_no(settingsfile.flag(value)).title() if field in self._booleans else one_line(value)
            print(f"{self._labels.get(field, one_line(field))}: {shown}")
        return 0

    def _value(self, field: str, text: str) -> object:
        return text in BOOLEAN_WORDS if field in self._booleans else text

    def _write(self, path: Path, settings: settingsfile.Settings) -> None:
        """With the owner that the present file has, or else its directory, unless it must be root's."""
        kept = (path if path.exists() else path.parent).stat()
        owner = (0, 0) if settings.keys() & set(self._roots) else (kept.st_uid, kept.st_gid)
        write_atomically(path, settingsfile.dump(settings), mode=0o644, owner=owner)
        print(f"{path} written; the service reads it when it starts the next time")
