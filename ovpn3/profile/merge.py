"""Make a profile self-contained: the files it names become inline blocks."""

import base64
from collections.abc import Callable

from ovpn3.errors import ProfileError
from ovpn3.profile.lexer import Directive, decode, join_words, numbered_lines, parse

_FILES = frozenset(
    {
        "auth-user-pass",
        "ca",
        "cert",
        "crl-verify",
        "extra-certs",
        "key",
        "pkcs12",
        "tls-auth",
        "tls-crypt",
        "tls-crypt-v2",
    }
)
_PROXY_WORDS = frozenset({"auto", "auto-nct", "none", "basic", "digest", "ntlm"})


def inline(text: str, read: Callable[[str], bytes], *, source: str = "") -> str:
    """The profile with every file it names put in; all other lines stay as they are.

    `read` gives the contents of a file by the name in the profile; it alone decides which names are allowed,
    and refuses with OSError. ProfileError if a file can't be had or can't stand in a profile.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    for d in parse(text, source=source):
        if d.block is not None or d.meta:
            continue
        if d.name in _FILES and any(d.args) and d.args != ("username-only",):
            lines[d.line - 1] = _reference(d, read, source)
        elif d.name == "http-proxy" and len(d.args) > 2 and d.args[2] not in _PROXY_WORDS:
            lines[d.line - 1] = _proxy(d, (d.args[3:] or ("auto",)), read, source)
        elif d.name == "socks-proxy" and len(d.args) > 2:
            lines[d.line - 1] = _proxy(d, (), read, source)
    merged = "\n".join(lines)
    parse(merged, source=source)
    return merged


def _reference(d: Directive, read: Callable[[str], bytes], source: str) -> str:
    if d.name == "crl-verify" and "dir" in d.args[1:]:
        hint = "give one list in PEM form"
        raise ProfileError("a directory can't be put in", option=d.name, line=d.line, source=source, hint=hint)
    # `NAME [inline]` announces a block elsewhere in the profile.
    parts = [] if d.args[0] == "[inline]" else [_block(d.name, d.args[0], d, read, source)]
    if d.name == "tls-auth" and len(d.args) > 1:
        parts.append(join_words(("key-direction", d.args[1])))
    return "\n".join(parts)


def _proxy(d: Directive, words: tuple[str, ...], read: Callable[[str], bytes], source: str) -> str:
    """A proxy whose third argument names a file with user and password; `words` are for the line without it."""
    host, port, file = d.args[:3]
    line = join_words((d.name, host, port, *words))
    return f"{line}\n{_block(f'{d.name}-user-pass', file, d, read, source)}"


def _block(tag: str, file: str, d: Directive, read: Callable[[str], bytes], source: str) -> str:
    """The inline block of a file, without the last line's end."""
    try:
        data = read(file)
    except OSError as e:
        problem = f"can't read {file}: {e.strerror or e}"
        hint = "files are looked up next to the profile"
        raise ProfileError(problem, option=d.name, line=d.line, source=source, hint=hint) from None
    if tag == "pkcs12":
        data = base64.encodebytes(data)
    closing = f"</{tag}>"
    lines = [f"<{tag}>"]
    for number, line in numbered_lines(decode(data, file), file):
        if line.strip().startswith(closing):
            problem = f"a line starts with {closing}"
            raise ProfileError(problem, option=d.name, line=number, source=file, hint="this is no key or certificate")
        lines.append(line)
    return "\n".join([*lines, closing])
