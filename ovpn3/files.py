"""Files that are either the old or the new, whatever happens in between."""

import os
from pathlib import Path


def write_atomically(
    path: Path, text: str, *, mode: int = 0o600, owner: tuple[int, int] | None = None, sync: bool = True
) -> None:
    """Replace `path` by `text`, on the disk when this returns; `owner` is uid and gid, else it is ours.

    OSError leaves the old file. Without `sync` a crash of the whole machine, unlike one of ours, may leave anything.
    """
    # Always the same name: what a crash leaves goes with the next write.
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if owner:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if not sync:
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def put_aside(path: Path) -> Path:
    """Rename a file that can't be used, so that nothing writes over it; its new path. OSError as by rename."""
    return path.rename(path.with_name(f"{path.name}.damaged"))
