"""A profile from a file, made self-contained by this very process and its rights."""

from collections.abc import Callable
from dataclasses import dataclass
from errno import EPERM
from pathlib import Path

from ovpn3.cli.command import CommandError
from ovpn3.errors import ProfileError
from ovpn3.profile import build, decode, inline, missing, parse
from ovpn3.profile.lexer import MAX_PROFILE_BYTES


@dataclass(frozen=True)
class Source:
    """A checked profile with all the files it names put in. `missing`: what it lacks to be used."""

    text: str
    persist_tun: bool
    missing: list[str]


def read_profile(file: str) -> Source:
    """ProfileError names file, line and option; CommandError if the file can't be read."""
    try:
        data = _read(Path(file))
    except OSError as e:
        raise CommandError(f"can't read {file}: {e.strerror or e}") from None
    folder = Path(file).parent
    return _source(decode(data, file), file, lambda name: _read(folder / name))


def from_text(text: str, source: str) -> Source:
    """As `read_profile`, of a profile that comes from elsewhere: it is to name no files of ours."""
    return _source(text, source, _no_file)


def _no_file(name: str) -> bytes:
    raise PermissionError(EPERM, "it names a file, and comes from elsewhere")


def _source(text: str, source: str, read: Callable[[str], bytes]) -> Source:
    merged = inline(text, read, source=source)
    directives = parse(merged, source=source)
    lacks = missing(directives)
    if not lacks:
        try:
            build(directives, source=source)
        except ProfileError as e:
            line = _line_of(e.option, text)
            raise ProfileError(e.problem, option=e.option, line=line, source=source, hint=e.hint) from None
    return Source(merged, any(d.name == "persist-tun" for d in directives), lacks)


def usable_profile(file: str) -> Source | None:
    """As `read_profile`, None if there is no such file; CommandError says what the profile lacks."""
    if not Path(file).exists() or Path(file).is_dir():
        return None
    source = read_profile(file)
    if source.missing:
        raise CommandError(f"the profile can't be used: {'; '.join(source.missing)}")
    return source


def _line_of(option: str, text: str) -> int:
    """Where an option stands in the text as the user has it, 0 if that isn't clear."""
    lines = [d.line for d in parse(text) if d.name == option]
    return lines[0] if len(lines) == 1 else 0


def _read(path: Path) -> bytes:
    with path.open("rb") as f:
        return f.read(MAX_PROFILE_BYTES + 1)
