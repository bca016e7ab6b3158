"""The services' settings files: a JSON object, in which the original puts // comments and numbers as texts."""

import json
import re
from pathlib import Path

_COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)


def load(path: Path | None) -> tuple[dict[str, object], str]:
    """What the file holds, and a complaint if it can't be used. A missing file holds nothing."""
    try:
        text = path.read_text(encoding="utf-8") if path else ""
        settings = json.loads(_COMMENT.sub("", text) or "{}")
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as e:
        return {}, f"{path} is ignored: {e}"
    if not isinstance(settings, dict):
        return {}, f"{path} is ignored: not a JSON object"
    return settings, ""


def flag(value: object) -> bool:
    """A boolean setting; files of older releases have text there, and any text meant yes."""
    return value is True or isinstance(value, str)
