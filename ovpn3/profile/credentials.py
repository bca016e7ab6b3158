"""User names, passwords and the questions asked with them."""

from ovpn3.errors import ProfileError
from ovpn3.profile.model import AuthUserPass, StaticChallenge
from ovpn3.profile.values import Values, one_of
from ovpn3.secret import Secret

MAX_CHARS = 1024
MAX_SHORT_CHARS = 256


def read_credentials(values: Values, name: str) -> tuple[str, Secret | None]:
    """User and password, one a line, of an inline block; ("", None) where they are to be asked."""
    d = values.last(name)
    if d is None or d.block is None:
        return "", None
    lines = d.block.split("\n")
    if any(len(line) > MAX_CHARS for line in lines):
        values.fail(d, f"user name or password longer than {MAX_CHARS} characters")
    return lines[0], Secret(lines[1]) if lines[1] else None


def read_auth_user_pass(values: Values) -> AuthUserPass | None:
    d = values.last("auth-user-pass")
    if d is None:
        return None
    # The original stores it with an empty argument if it names no file.
    if d.block is None and d.args not in ((), ("",), ("username-only",)):
        values.fail(d, "names a file", "put user and password into <auth-user-pass>; import does that")
    username, password = read_credentials(values, "auth-user-pass")
    return AuthUserPass(username, password, username_only=d.args == ("username-only",))


def read_static_challenge(values: Values) -> StaticChallenge | None:
    d = values.last("static-challenge")
    if d is None:
        return None
    return StaticChallenge(
        short(d.args[0], d.name, values.source),
        echo=values.argument(d, 1, one_of(("0", "1")), "0") == "1",
        concat=values.argument(d, 2, one_of(("scrv1", "concat")), "scrv1") == "concat",
    )


def short(text: str, name: str, source: str) -> str:
    """The text, if it has at most 256 characters."""
    if len(text) > MAX_SHORT_CHARS:
        raise ProfileError(f"longer than {MAX_SHORT_CHARS} characters", option=name, source=source)
    return text
