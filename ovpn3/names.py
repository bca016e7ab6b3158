"""What names of profiles and tags may look like. Apart from profiles themselves: not who asks for it reads them too."""

from ovpn3.errors import ProfileError

MAX_NAME_CHARS = 200


def check_name(name: str) -> str:
    """The name of a profile or tag: 1 to 200 printable characters, not all blank. ProfileError otherwise."""
    if not name.strip():
        raise ProfileError("the name is empty", hint="give it at least one letter")
    if len(name) > MAX_NAME_CHARS:
        raise ProfileError(f"the name is longer than {MAX_NAME_CHARS} characters", hint="shorten it")
    if not name.isprintable():
        raise ProfileError("the name has characters that can't be printed", hint="use letters, digits, punctuation")
    return name
