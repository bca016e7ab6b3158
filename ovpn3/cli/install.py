"""Installation of the services into a system: which files, which account, and how to undo it.

A step knows how to say what it does and how to do it. The manifest lists what was not there before, so that
`uninstall` removes that and nothing else; it lies where only root can write, since root acts on it.
"""

import grp
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from ovpn3.cli.command import CommandError
from ovpn3.cli.environment import render, templates
from ovpn3.files import write_atomically

DATA = "usr/share"
LIBRARIES = "usr/lib"
_OF_LIBRARIES = ("systemd/", "udev/")  # data files that belong there
MANIFEST = "usr/share/openvpn3/manifest.json"
STATE = "var/lib/openvpn3"
CONFIGS = "configs"
STATE_MODE = 0o750


@dataclass(frozen=True)
class Step:
    """One thing to be done, and how it is told."""

    what: str
    do: Callable[[], object]


def account_exists(account: str) -> bool:
    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True


def ids(account: str) -> tuple[int, int]:
    """uid, and gid of the group of the same name, else of the account's own."""
    entry = pwd.getpwnam(account)
    try:
        return entry.pw_uid, grp.getgrnam(account).gr_gid
    except KeyError:
        return entry.pw_uid, entry.pw_gid


def create_account(account: str) -> None:
    """A system account that can't log in, and its group."""
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", f"/{STATE}"]
    try:
        grp.getgrnam(account)
        command[2:3] = ["--gid", account]
    except KeyError:
        pass
    _run([*command, "--shell", shutil.which("nologin") or "/usr/sbin/nologin", account])


def make_state_directories(state: Path, owner: tuple[int, int] | None) -> None:
    """Owned by the services alone. CommandError where a symbolic link stands in for one."""
    for directory in (state, state / CONFIGS):
        if directory.is_symlink():
            raise CommandError(f"{directory} is a symbolic link")
        directory.mkdir(mode=STATE_MODE, parents=True, exist_ok=True)
        directory.chmod(STATE_MODE)
        if owner:
            before = directory.stat().st_uid
            os.chown(directory, *owner)
            if before not in (0, owner[0]):
                _hand_over(directory, before, owner)


def _hand_over(directory: Path, before: int, owner: tuple[int, int]) -> None:
    """Give the owner what was the account's before: Debian's package of the original has another one.

    That account may have put anything there, so links stay what they are.
    """
    for path in directory.iterdir():
        if not stat.S_ISREG(path.lstat().st_mode):
            continue
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_uid == before and found.st_nlink == 1:
                os.fchown(descriptor, *owner)
        finally:
            os.close(descriptor)


def python_module() -> dict[str, str]:
    """Path and target of a link by which the system's Python finds the module `openvpn3`, for front-ends that use it.

    None where this environment is of another Python, or holds the module apart from what it needs.
    """
    spec = find_spec("openvpn3")
    [folder] = spec.submodule_search_locations if spec and spec.submodule_search_locations else [""]
    if sys.base_prefix != "/usr" or not (Path(folder).parent / "ovpn3").is_dir():
        return {}
    scheme = "deb_system" if "deb_system" in sysconfig.get_scheme_names() else "posix_prefix"
    packages = sysconfig.get_path("purelib", scheme, {"base": sys.base_prefix})
    return {f"{packages.lstrip('/')}/openvpn3": folder}


@dataclass(frozen=True)
class Manifest:
    """`account` and `directories` are those we have created; all paths are below the root."""

    account: str = ""
    directories: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


class Installation:
    """Below `root`, which is / but for packages."""

    def __init__(self, root: Path, account: str) -> None:
        self.root, self.account = root, account
        self.state = root / STATE
        self.live = root == Path("/")

    @property
    def manifest(self) -> Path:
        return self.root / MANIFEST

    def links(self) -> dict[str, str]:
        """Target by path below the root."""
        return python_module()

    def files(self) -> dict[str, str]:
        """Content by path below the root. What is for systemd or udev only for a package, or where they are."""
        from ovpn3.cli.manual import pages  # loads every command, and other commands load this module

        wanted = {_place(path): render(text, self.account, f"/{STATE}") for path, text in templates()}
        if self.live:
            wanted = {path: text for path, text in wanted.items() if self._has_use_for(path)}
        return wanted | {f"{DATA}/man/man{name[-1]}/{name}": text for name, text in pages().items()}

    def _has_use_for(self, path: str) -> bool:
        return not path.startswith(f"{LIBRARIES}/") or (self.root / path).parent.is_dir()

    def differences(self) -> list[Path]:
        """What is not as this version wants it, whoever has put it there. Manual pages don't matter."""
        files = {path: text for path, text in self.files().items() if not path.startswith(f"{DATA}/man/")}
        found = [self.root / path for path, text in files.items() if _content(self.root / path) != text]
        return found if self._state_is_right() else [*found, self.state]

    # -- install -----------------------------------------------------------------------------------
    def install_steps(self) -> Iterator[Step]:
        """What is still to be done, in order; nothing if all is as it should be."""
        before = self._read_manifest()
        files, links = self.files(), self.links()
        paths = [*files, *links]
        for path in paths:
            if path not in before.files and os.path.lexists(self.root / path):
                raise CommandError(f"{self.root / path} is not ours: remove the package it belongs to first")
        create = self.live and not account_exists(self.account)
        directories = {*before.directories, *self._missing_directories([*paths, MANIFEST, f"{STATE}/{CONFIGS}/"])}
        manifest = Manifest(self.account if create else before.account, sorted(directories), sorted(paths))
        obsolete = [path for path in before.files if path not in paths]
        if manifest != before:
            # Before anything else, with what is still to go: what is interrupted can be undone too.
            text = replace(manifest, files=[*manifest.files, *obsolete]).text()
            yield Step(f"write {self.manifest}", partial(self._write, MANIFEST, text))
        if create:
            yield Step(f"create the system account {self.account}", partial(create_account, self.account))
        for path, text in files.items():
            if _content(self.root / path) != text:
                yield Step(f"write {self.root / path}", partial(self._write, path, text))
        for path, target in links.items():
            if _target(self.root / path) != target:
                yield Step(f"link {self.root / path} to {target}", partial(self._link, path, target))
        for path in obsolete:
            yield Step(f"remove {self.root / path}", partial((self.root / path).unlink, missing_ok=True))
        if not self._state_is_right():
            yield Step(f"set up {self.state}", self._set_up_state)
        if obsolete:
            yield Step(f"write {self.manifest}", partial(self._write, MANIFEST, manifest.text()))

    def _set_up_state(self) -> None:
        make_state_directories(self.state, ids(self.account) if self.live else None)

    def _state_is_right(self) -> bool:
        for directory in (self.state, self.state / CONFIGS):
            try:
                found = directory.lstat()
            except FileNotFoundError:
                return False
            if found.st_mode & 0o7777 != STATE_MODE:
                return False
            if self.live and (not account_exists(self.account) or (found.st_uid, found.st_gid) != ids(self.account)):
                return False
        return True

    # -- uninstall ---------------------------------------------------------------------------------
    def uninstall_steps(self) -> Iterator[Step]:
        """What undoes an installation. The state directory and its owner stay while there is anything in it."""
        manifest = self._read_manifest()
        if not manifest.files:
            raise CommandError(f"nothing is installed here: there is no {self.manifest}")
        for path in manifest.files:
            file = self.root / path
            if os.path.lexists(file):
                yield Step(f"remove {file}", file.unlink)
        # Profiles that stay, stay their account's: without it its number, and so they, could become another's.
        kept = any(not path.is_dir() for path in self.state.rglob("*"))
        if self.live and not kept and manifest.account and account_exists(manifest.account):
            yield Step(
                f"remove the account {manifest.account}", partial(_run, ["userdel", "--force", manifest.account])
            )
        yield Step(f"remove {self.manifest}", self.manifest.unlink)
        for path in reversed(manifest.directories):  # the inner ones first
            if (self.root / path).is_dir():
                yield Step(f"remove {self.root / path} if it is empty", partial(_remove_if_empty, self.root / path))

    # -- both --------------------------------------------------------------------------------------
    def _missing_directories(self, paths: list[str]) -> set[str]:
        """Parents of these paths that have to be made."""
        parents = {str(parent) for path in paths for parent in PurePosixPath(path + "x").parents}
        return {parent for parent in parents if not (self.root / parent).exists()}

    def _write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text, mode=0o644)

    def _link(self, path: str, target: str) -> None:
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def _read_manifest(self) -> Manifest:
        """As it was written, or an empty one."""
        text = _content(self.manifest)
        try:
            return Manifest(**json.loads(text)) if text else Manifest()
        except (ValueError, TypeError):
            raise CommandError(f"{self.manifest} is damaged") from None


def _place(template: str) -> str:
    """Below the root, of a data file."""
    path = template.removesuffix(".in")
    return f"{LIBRARIES if path.startswith(_OF_LIBRARIES) else DATA}/{path}"


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _target(link: Path) -> str | None:
    return str(link.readlink()) if link.is_symlink() else None


def _remove_if_empty(directory: Path) -> None:
    if not any(directory.iterdir()):
        directory.rmdir()


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise CommandError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as e:
        raise CommandError(f"{' '.join(command)}: {e.stderr.strip()}") from None
