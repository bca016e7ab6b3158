"""First pass over a profile: the option table decides what is used, warned about or refused."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from ovpn3.errors import ProfileError
from ovpn3.profile.lexer import Directive, is_meta_key
from ovpn3.profile.options import Option, Reason, Status, table

# Refusals that neither `setenv opt` nor `ignore-unknown-option` may turn into a warning: the tunnel
# would not be what the profile's author meant.
_NEVER_OPTIONAL = frozenset({"secret", "fragment"})

# A line of a key or a password in the wrong place isn't repeated in an error.
_LOOKS_LIKE_AN_OPTION = re.compile(r"[a-z]+(-[a-z0-9]+)*")

_USED_META = frozenset({"USERNAME", "AUTOLOGIN", "EXTERNAL_PKI", "PROFILE", "FRIENDLY_NAME"})
_IGNORED_META = frozenset(
    {
        "CLI_PREF_ALLOW_WEB_IMPORT",
        "CLI_PREF_BASIC_CLIENT",
        "CLI_PREF_ENABLE_CONNECT",
        "CLI_PREF_ENABLE_XD_PROXY",
        "HOST_LIST",
        "IS_OPENVPN_WEB_CA",
        "NO_WEB",
        "ORGANIZATION",
        "WEB_CA_BUNDLE",
        "WSHOST",
    }
)


@dataclass(frozen=True, slots=True)
class Sieved:
    """What is left of a profile: options in use by name, Access Server keys, and what was dropped."""

    used: Mapping[str, tuple[Directive, ...]]
    meta: Mapping[str, str]
    warnings: tuple[str, ...]


def sieve(directives: Iterable[Directive], source: str = "") -> Sieved:
    """Drop or refuse what this client can't use. ProfileError at the first refused or unknown option."""
    plain = tuple(unwrapped(directives))
    listed = {name for d, _ in plain if d.name == "ignore-unknown-option" for name in d.args}
    used: dict[str, list[Directive]] = defaultdict(list)
    meta: dict[str, str] = {}
    warnings: list[str] = []
    for d, optional in plain:
        if d.meta:
            if d.name in _USED_META:
                meta[d.name] = d.block or " ".join(d.args)
            elif d.name not in _IGNORED_META:
                warnings.append(note(d, "unknown Access Server key, ignored", source))
            continue
        option = table().get(d.name)
        if option is not None and option.status is Status.USED:
            check_form(d, option, source)
            used[d.name].append(d)
        elif option is None or option.status is not Status.IGNORED:
            warnings.append(_dropped(d, option, optional or d.name in listed, source))
    for name, found in used.items():
        if len(found) > 1 and not table()[name].repeat:
            warnings.append(note(found[-1], f"given {len(found)} times, the last one counts", source))
    return Sieved({name: tuple(found) for name, found in used.items()}, meta, tuple(warnings))


def unwrapped(directives: Iterable[Directive]) -> Iterator[tuple[Directive, bool]]:
    """Directives without `setenv opt` and announcements, each with whether it may be unknown."""
    for d in without_announcements(directives):
        optional = d.name == "setenv" and d.args[:1] == ("opt",) and len(d.args) > 1
        if optional:
            d = replace(d, name=d.args[1], args=d.args[2:], meta=is_meta_key(d.args[1]))
        yield d, optional


def without_announcements(directives: Iterable[Directive]) -> Iterator[Directive]:
    """Leave out `NAME [inline]`, which only says that a block follows; of tls-auth its key direction stays."""
    for d in directives:
        option = table().get(d.name)
        if d.args[:1] != ("[inline]",) or option is None or not option.inline:
            yield d
        elif d.name == "tls-auth" and len(d.args) > 1:
            yield replace(d, name="key-direction", args=d.args[1:])


def note(directive: Directive, text: str, source: str, hint: str = "") -> str:
    """A warning in the form of an error's text."""
    return str(ProfileError(text, option=directive.name, line=directive.line, source=source, hint=hint))


def check_form(d: Directive, option: Option, source: str) -> None:
    """ProfileError unless arguments or block are what the option takes."""
    if d.block is not None:
        if not option.inline:
            raise ProfileError("can't be an inline block", option=d.name, line=d.line, source=source)
        return
    if option.inline_only:
        hint = f"write <{d.name}>, its lines, </{d.name}>"
        raise ProfileError("must be an inline block", option=d.name, line=d.line, source=source, hint=hint)
    if len(d.args) < option.least or (option.most is not None and len(d.args) > option.most):
        problem = f"{len(d.args)} arguments given" if d.args else "no arguments given"
        hint = f"write: {d.name} {option.syntax}".rstrip()
        raise ProfileError(problem, option=d.name, line=d.line, source=source, hint=hint)


def _dropped(d: Directive, option: Option | None, optional: bool, source: str) -> str:
    """The warning for an option that isn't used; ProfileError if it can't be left out."""
    if option is None:
        if d.name.startswith("management"):
            option = table()["management"]
        elif optional or d.block is not None:
            return note(d, "unknown option, ignored", source)
        else:
            raise _unknown(d, source)
    if option.status is Status.WARNED:
        return note(d, "not supported, ignored", source, option.hint)
    if optional and option.reason is Reason.UNSUPPORTED and option.name not in _NEVER_OPTIONAL:
        return note(d, "not supported, ignored", source, option.hint)
    raise ProfileError(option.reason.value, option=d.name, line=d.line, source=source, hint=option.hint or "remove it")


def _unknown(d: Directive, source: str) -> ProfileError:
    near = get_close_matches(d.name, table(), 1)
    hint = f"did you mean {near[0]}?" if near else "remove it, or list it in ignore-unknown-option"
    name = d.name if _LOOKS_LIKE_AN_OPTION.fullmatch(d.name) else ""
    return ProfileError("unknown option", option=name, line=d.line, source=source, hint=hint)
