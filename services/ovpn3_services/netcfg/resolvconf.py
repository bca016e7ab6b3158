"""DNS through /etc/resolv.conf, for machines without a resolver of their own.

The file as it was stays beside it, with `.ovpn3bak` after its name, and is put back when no tunnel needs ours any more:
the very file, or symbolic link, that it was. The copy is the journal too: whoever starts after a crash finds it. Ours
begins with a digest of its text, so what somebody else has written meanwhile is told from it. That is noticed, and is
what counts from then on: with the tunnels' servers put before it, and by itself once they have gone.
"""

import os
from _blake2 import blake2b  # by way of hashlib it brings libcrypto along
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import EBUSY, ENOENT, EXDEV
from pathlib import Path
from typing import Final, final

from ovpn3.errors import NetworkError
from ovpn3_services.common.privileges import Cap, raised
from ovpn3_services.netcfg.dns import Scope, TunnelDns
from ovpn3_services.netcfg.filewatch import FileWatch

PREFIX: Final = "# openvpn3 "
MAX_BYTES: Final = 65536
MOUNTED: Final = (EBUSY, EXDEV)  # a file of a container's, mounted over: it can't be replaced, only written


@final
class ResolvConf:
    """Merges the settings of tunnels of global scope; the file has no place for others."""

    name = "resolv.conf"

    def __init__(
        self, path: Path, overwritten: Callable[[], None] = lambda: None, *, backup: Path | None = None
    ) -> None:
        """`overwritten` is called when somebody else has put another file in place of ours; `apply` is due then.

        With a `backup` elsewhere the file is written over, not replaced: others have it mounted over their own.
        """
        self._path, self._in_place, self._overwritten = path, backup is not None, overwritten
        self._watch: FileWatch | None = None
        self._backup = backup or path.with_name(f"{path.name}.ovpn3bak")

    async def apply(self, tunnels: Sequence[TunnelDns]) -> None:
        """Have the file say what these tunnels want, the later ones first. NetworkError if it can't be written."""
        wanted = [t for t in reversed(tunnels) if t.scope is Scope.GLOBAL]
        with _as_root(self._path):
            if wanted:
                self._write(wanted)
                self._watch = self._watch or FileWatch(self._path, self._on_change)
            else:
                self.close()
                self._restore()

    async def refresh(self) -> None:
        """Nothing of ours is lost while somebody else restarts."""

    def close(self) -> None:
        """Notice nothing any more."""
        if self._watch:
            self._watch.close()
            self._watch = None

    def _on_change(self) -> None:
        with suppress(NetworkError), _as_root(self._path):
            if not is_ours(_read(self._path)):
                self._overwritten()

    def _write(self, wanted: Sequence[TunnelDns]) -> None:
        present = _read(self._path)
        ours = is_ours(present)
        text = render(_read(self._backup) if ours else present, wanted, self._backup)
        if text == present:
            return
        if self._in_place and not self._path.is_symlink():
            return self._overwrite(text, None if ours else present)
        temporary = self._path.with_name(f"{self._path.name}.ovpn3new")
        _store(temporary, text)
        temporary.chmod(0o644)
        try:
            if not ours:
                self._save()
            os.replace(temporary, self._path)
        except OSError as e:
            if e.errno not in MOUNTED:
                raise
            _store(self._path, text)
        finally:
            temporary.unlink(missing_ok=True)

    def _overwrite(self, text: str, others: str | None) -> None:
        """`others` is what is to be restored, None if that is saved already."""
        new = not self._path.exists()
        if new:
            self._backup.unlink(missing_ok=True)
        elif others is not None:
            _store(self._backup, others)
        _store(self._path, text)
        if new:
            self._path.chmod(0o644)

    def _save(self) -> None:
        """Another's file, or none at all, becomes what is to be restored."""
        self._backup.unlink(missing_ok=True)
        if self._path.is_symlink():
            os.rename(self._path, self._backup)  # it can't have a second name; for a moment there is none
        elif self._path.exists():
            try:
                os.link(self._path, self._backup)
            except OSError as e:
                if e.errno not in MOUNTED:
                    raise
                _store(self._backup, _read(self._path))

    def _restore(self) -> None:
        saved, there = os.path.lexists(self._backup), os.path.lexists(self._path)
        if there and not is_ours(_read(self._path)):
            self._backup.unlink(missing_ok=True)  # theirs is newer
        elif not saved:
            self._path.unlink(missing_ok=True)  # there was none
        else:
            try:
                if self._in_place and not self._backup.is_symlink():
                    raise OSError(EBUSY, "others have it in view")
                os.replace(self._backup, self._path)
            except OSError as e:
                if e.errno not in MOUNTED:
                    raise
                _store(self._path, _read(self._backup))
                self._backup.unlink()


def render(original: str, wanted: Sequence[TunnelDns], backup: Path) -> str:
    """Servers and domains of the tunnels before those of the file, and the rest of it but for comments.

    By a comment in the first line programs such as openresolv know that the file is theirs to replace.
    """
    servers = [server for t in wanted for server in t.servers]
    domains = [domain for t in wanted for domain in t.domains]
    rest = []
    for line in original.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver":
            servers += words[1:2]
        elif words[0] in ("search", "domain"):
            domains += words[1:]
        else:
            rest.append(line)
    lines = [f"# For {', '.join(t.name for t in wanted)}. What was here before is in {backup.name}, and comes back."]
    if domains:
        lines.append(f"search {' '.join(dict.fromkeys(domains))}")
    lines += [f"nameserver {server}" for server in dict.fromkeys(servers)]
    text = "".join(f"{line}\n" for line in [*lines, *rest])
    owner = [line for line in original.splitlines()[:1] if line.startswith("#")]
    return "\n".join([*owner, f"{PREFIX}{_digest(text)}", text])


def is_ours(text: str) -> bool:
    first, _, rest = text.partition("\n")
    if not first.startswith(PREFIX):
        first, _, rest = rest.partition("\n")
    return first == f"{PREFIX}{_digest(rest)}"


def _digest(text: str) -> str:
    return blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _read(path: Path) -> str:
    """Empty if there is none, or one that leads nowhere."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        return file.read(MAX_BYTES).decode(errors="surrogateescape")
    return ""


def _store(path: Path, text: str) -> None:
    path.write_bytes(text.encode(errors="surrogateescape"))


@contextmanager
def _as_root(path: Path) -> Iterator[None]:
    """The file and its directory are root's."""
    try:
        with raised(Cap.DAC_OVERRIDE):
            yield
    except OSError as e:
        raise NetworkError(f"can't change {path}: {e.strerror}", e.errno or ENOENT) from None
