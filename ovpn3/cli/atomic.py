"""Files that are either the old or the new one, whatever happens."""

import os
import tempfile
from pathlib import Path


def write(path: Path, text: str, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace a file: uid and gid of `owner` if given, else ours. Its directory must be there."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with open(fd, "w", encoding="utf-8") as f:
            f.write(text)
            if owner:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
            f.flush()
            os.fsync(fd)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
