"""OpenVPN profiles: read, check, make self-contained, store and write them. No I/O."""

from ovpn3.names import check_name
from ovpn3.profile.check import build, missing
from ovpn3.profile.dump import to_text
from ovpn3.profile.jsonform import from_json, to_json
from ovpn3.profile.lexer import Directive, decode, parse
from ovpn3.profile.merge import inline
from ovpn3.profile.model import Profile, Remote
from ovpn3.profile.override import apply

__all__ = [
    "Directive",
    "Profile",
    "Remote",
    "apply",
    "build",
    "check_name",
    "decode",
    "from_json",
    "inline",
    "missing",
    "parse",
    "to_json",
    "to_text",
]
