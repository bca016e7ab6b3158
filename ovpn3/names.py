"""What names may look like. Apart from those who have them: not who asks for it loads them too."""

import re

from ovpn3.errors import ProfileError

MAX_NAME_CHARS = 200
MAX_CGROUP_CHARS = 1000

_CGROUP = r"(?!\.\.?(?:/|\Z))[!-+\-.0-~]{1,255}"  # printable, without commas, which stand between two of them
_CGROUP_PATH = re.compile(f"{_CGROUP}(?:/{_CGROUP}){{0,31}}", re.ASCII)


def check_name(name: str) -> str:
    """The name of a profile or tag: 1 to 200 printable characters, not all blank. ProfileError otherwise."""
    if not name.strip():
        raise ProfileError("the name is empty", hint="give it at least one letter")
    if len(name) > MAX_NAME_CHARS:
        raise ProfileError(f"the name is longer than {MAX_NAME_CHARS} characters", hint="shorten it")
    if not name.isprintable():
        raise ProfileError("the name has characters that can't be printed", hint="use letters, digits, punctuation")
    return name


def is_cgroup(path: str) -> bool:
    """Whether a cgroup may have that path below the root of the tree, which is none itself."""
    return len(path) <= MAX_CGROUP_CHARS and _CGROUP_PATH.fullmatch(path) is not None
