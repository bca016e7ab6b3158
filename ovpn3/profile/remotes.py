"""The servers of a profile, and the proxy on the way to them."""

from dataclasses import replace
from ipaddress import ip_address

from ovpn3.errors import ProfileError
from ovpn3.profile.credentials import read_credentials
from ovpn3.profile.lexer import Directive, parse
from ovpn3.profile.model import HttpProxy, Profile, Proto, ProxyAuth, Remote, SocksProxy
from ovpn3.profile.options import Status, table
from ovpn3.profile.sieve import check_form, note
from ovpn3.profile.values import Values, to_host, to_port, to_proto

MAX_CONNECTION_BYTES = 4096
DEFAULT_PORT, SOCKS_PORT = 1194, 1080

# What may stand after the proxy's port; "auto-nct" is auto without a clear-text password.
_PROXY_AUTH: dict[str, ProxyAuth] = {
    "none": "none",
    "auto": "auto",
    "auto-nct": "auto",
    "basic": "basic",
    "digest": "digest",
    "ntlm": "ntlm",
}
_IN_BLOCK = frozenset({"remote", "port", "rport", "proto"})
# Without them the connection would be another one than is meant.
_NEVER_IN_BLOCK = frozenset({"fragment", "http-proxy", "socks-proxy", "tls-auth", "tls-crypt", "tls-crypt-v2"})
_PROXY_HEADERS = frozenset({"CUSTOM-HEADER", "EXT1", "EXT2"})


def read_remotes(values: Values) -> tuple[tuple[Remote, ...], tuple[str, ...]]:
    """Top-level remotes, then those of connection blocks, in order of preference; and warnings."""
    default = _read_default(values, Remote("", DEFAULT_PORT, "udp"))
    found = [_read_remote(values, d, default) for d in values.every("remote")]
    warnings: list[str] = []
    for d in values.every("connection"):
        inner = _read_connection(values, d)
        remote = inner.last("remote")
        if remote is None:
            values.fail(d, "has no remote", "add a line: remote HOST PORT PROTO")
        found.append(_read_remote(inner, remote, _read_default(inner, default)))
        warnings += [
            note(i, "not supported in a connection block, ignored", values.source)
            for name, ignored in inner.used.items()
            if name not in _IN_BLOCK and not _is_ignored(name)
            for i in ignored
        ]
    return tuple(found), tuple(warnings)


def read_local(values: Values) -> tuple[str, int] | None:
    """What our socket is bound to, if the profile asks for that."""
    port = values.convert("lport", to_port, values.convert("port", to_port, DEFAULT_PORT) if values.has("bind") else 0)
    address = values.convert("local", lambda text: str(ip_address(text)), "")
    return (address, port) if address or port else None


def read_http_proxy(values: Values) -> HttpProxy | None:
    """The proxy, with its credentials and header options."""
    d = values.last("http-proxy")
    if d is None:
        return None
    username, password = read_credentials(values, "http-proxy-user-pass")
    words = d.args[2:] or ("auto" if password else "none",)
    if not _PROXY_AUTH.keys() >= set(words):
        hint = "put user and password into <http-proxy-user-pass>; import does that"
        values.fail(d, "names a file or an unknown authentication method", hint)
    auth = _PROXY_AUTH[words[-1]]
    return HttpProxy(
        host=values.argument(d, 0, to_host, ""),
        port=values.argument(d, 1, to_port, 0),
        auth=auth,
        allow_cleartext=auth in ("auto", "basic") and "auto-nct" not in words,
        username=username,
        password=password,
        version=_read_proxy_option(values, "VERSION", "1.0"),
        user_agent=_read_proxy_option(values, "AGENT", ""),
        headers=tuple(
            (o.args[1], o.args[2] if len(o.args) > 2 else "")
            for o in values.every("http-proxy-option")
            if o.args[0] in _PROXY_HEADERS
        ),
    )


def read_socks_proxy(values: Values) -> SocksProxy | None:
    d = values.last("socks-proxy")
    if d is None:
        return None
    if values.has("http-proxy"):
        values.fail(d, "there is an http-proxy too", "keep one of them")
    username, password = read_credentials(values, "socks-proxy-user-pass")
    host, port = values.argument(d, 0, to_host, ""), values.argument(d, 1, to_port, SOCKS_PORT)
    return SocksProxy(host, port, username, password)


def only_reachable(profile: Profile, source: str = "") -> Profile:
    """The profile with only the remotes its proxy can reach. ProfileError if none is left."""
    if profile.http_proxy is None:
        return profile
    remotes = tuple(r for r in profile.remotes if r.is_tcp)
    if not remotes:
        hint = "use proto tcp, if the server has it"
        reason = "an HTTP proxy carries TCP only, all remotes use UDP"
        raise ProfileError(reason, option="http-proxy", source=source, hint=hint)
    return replace(profile, remotes=remotes)


def _read_default(values: Values, outer: Remote) -> Remote:
    """Port and protocol for remotes that don't name them."""
    proto: Proto = outer.proto
    if values.word("proto", "").lower() not in ("", "adaptive"):
        proto = values.convert("proto", to_proto, proto)
    return Remote("", values.convert("rport", to_port, values.convert("port", to_port, outer.port)), proto)


def _read_remote(values: Values, d: Directive, default: Remote) -> Remote:
    return Remote(
        values.argument(d, 0, to_host, ""),
        values.argument(d, 1, to_port, default.port),
        values.argument(d, 2, to_proto, default.proto),
    )


def _read_connection(values: Values, d: Directive) -> Values:
    block = values.block(d)
    if len(block.encode()) >= MAX_CONNECTION_BYTES:
        values.fail(d, f"larger than {MAX_CONNECTION_BYTES} bytes")
    # Empty lines in front give errors the line of the whole profile.
    found: dict[str, tuple[Directive, ...]] = {}
    for inner in parse("\n" * d.line + block, source=values.source):
        if inner.name in _IN_BLOCK:
            check_form(inner, table()[inner.name], values.source)
        if inner.name in _NEVER_IN_BLOCK:
            values.fail(inner, "isn't supported in a connection block", "have it for all remotes, outside of the block")
        found[inner.name] = (*found.get(inner.name, ()), inner)
    return Values(found, values.source)


def _is_ignored(name: str) -> bool:
    return name in table() and table()[name].status is Status.IGNORED


def _read_proxy_option(values: Values, name: str, default: str) -> str:
    found = [d.args[1] for d in values.every("http-proxy-option") if d.args[0] == name]
    return found[-1] if found else default
