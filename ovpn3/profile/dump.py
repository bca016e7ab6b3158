"""Directives back to profile text."""

from collections.abc import Iterable

from ovpn3.profile.lexer import META_PREFIX, Directive, join_words

# Access Server keys that survive an export; a profile's reader knows them as `setenv opt KEY`.
_EXPORTED_META = frozenset({"AUTOLOGIN", "FRIENDLY_NAME", "PROFILE", "USERNAME"})


def to_text(directives: Iterable[Directive]) -> str:
    """The profile others get: what of the Access Server's comments matters to a client as options, the rest dropped."""
    return "".join(_as_option(d) if d.meta else render(d) for d in directives if not d.meta or d.name in _EXPORTED_META)


def render(d: Directive) -> str:
    """Text that parses back to this very directive, its lines ended by LF."""
    if d.meta:
        if d.block is None:
            return f"{META_PREFIX}{d.name}={' '.join(d.args)}\n"
        body = "".join(f"# {line}\n" for line in d.block.removesuffix("\n").split("\n"))
        return f"{META_PREFIX}{d.name}_START\n{body}{META_PREFIX}{d.name}_STOP\n"
    if d.block is not None:
        return f"<{d.name}>\n{d.block}</{d.name}>\n"
    return join_words((d.name, *d.args)) + "\n"


def _as_option(d: Directive) -> str:
    value = " ".join(d.args) if d.block is None else d.block.partition("\n")[0]
    return join_words(("setenv", "opt", d.name, value)) + "\n"
