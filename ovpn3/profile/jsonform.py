"""A profile as JSON: the form in which profiles are stored and exported.

An object keyed by option name. A value is the array of arguments, null without any; an inline block is an
array of one string with line ends. Options that may occur several times have an array of such arrays.
"""

from collections.abc import Iterable

from ovpn3.errors import ProfileError
from ovpn3.profile.dump import render
from ovpn3.profile.lexer import Directive, check_option_name, is_meta_key, parse, split_words
from ovpn3.profile.options import table
from ovpn3.profile.sieve import without_announcements

# Always an array of arrays. Others that are repeatable are only when repeated: each reader of the format takes
# the single form of them. In older forms, an array of lines.
_ALWAYS_MANY = frozenset({"connection", "peer-fingerprint", "pull-filter", "remote", "route", "route-ipv6"})
_MANY = _ALWAYS_MANY | {"dhcp-option", "dns"}  # in 27 of the original; in 24, the arguments of the last one
# To the original it is a block, an empty one where there is none.
_EMPTY_BLOCK = ("auth-user-pass", [""])
_DROPPED_META = (
    "ALLOW_UNSIGNED",
    "APP_VERIFY",
    "AUTOLOGIN_SPEC",
    "CLI_PREF_",
    "DYNAMIC",
    "EXTERNAL_PKI",
    "GENERIC",
    "HOST_FIELD",
    "HOST_LIST",
    "ICON_",
    "IS_",
    "NO_WEB",
    "ORGANIZATION",
    "PORTAL_URL",
    "SITE_LIST",
    "WEB_CA",
    "WSHOST",
)


def to_json(directives: Iterable[Directive]) -> dict[str, object]:
    """The object. Of an option that counts once only its last occurrence is kept."""
    groups: dict[str, list[Directive]] = {}
    for d in without_announcements(directives):
        if not (d.meta and d.name.startswith(_DROPPED_META)):
            groups.setdefault(d.name, []).append(d)
    return {name: _group(name, group) for name, group in groups.items()}


def from_json(document: object) -> tuple[Directive, ...]:
    """Directives of an object of this or the older form, whose values are lines or arrays of lines.

    ProfileError unless every directive could stand in a profile of allowed size as it is.
    """
    if not isinstance(document, dict):
        raise _malformed()
    found = tuple(d for name, value in document.items() for d in _directives(name, value))
    # Whatever would break out of its line or block reads back as something else.
    if parse("".join(map(render, found))) != found:
        raise _malformed()
    return found


def _group(name: str, group: list[Directive]) -> object:
    option = table().get(name)
    many = name in _MANY or (len(group) > 1 and option is not None and option.repeat)
    if many:
        return [_words(d) for d in group]
    words = _words(group[-1])
    return words or (_EMPTY_BLOCK[1] if name == _EMPTY_BLOCK[0] else None)


def _words(d: Directive) -> list[str]:
    return list(d.args) if d.block is None else [d.block]


def _directives(name: object, value: object) -> list[Directive]:
    if not isinstance(name, str):
        raise _malformed()
    check_option_name(name)
    if value is None or (name, value) == _EMPTY_BLOCK:
        return [_directive(name, ())]
    if isinstance(value, str):
        return [_from_line(name, value)]
    if not isinstance(value, list):
        raise _malformed(name)
    if any(item is None or isinstance(item, list) for item in value):
        return [_directive(name, _strings(name, [] if item is None else item)) for item in value]
    strings = _strings(name, value)
    if name in _ALWAYS_MANY:
        return [_from_line(name, line) for line in strings]
    return [_directive(name, strings)]


def _from_line(name: str, line: str) -> Directive:
    if "\n" in line or is_meta_key(name):
        return _directive(name, (line,))
    return Directive(name, split_words(line))


def _directive(name: str, words: tuple[str, ...]) -> Directive:
    meta = is_meta_key(name)
    if len(words) == 1 and "\n" in words[0]:
        return Directive(name, block=words[0].removesuffix("\n") + "\n", meta=meta)
    # A comment's value is one text.
    return Directive(name, (" ".join(words),) if meta else words, meta=meta)


def _strings(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _malformed(name)
    strings = tuple(item for item in value if isinstance(item, str))
    if len(strings) != len(value):
        raise _malformed(name)
    return strings


def _malformed(name: str = "") -> ProfileError:
    return ProfileError("malformed profile in JSON", option=name, hint="import the profile anew")
