"""From directives to a checked `Profile`: every value, and rules across options."""

import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Literal

from ovpn3.errors import ProfileError
from ovpn3.profile.certificates import (
    STATIC_KEY,
    V2_CLIENT_KEY,
    check_tls_versions,
    check_wrapping,
    read_crl,
    read_fingerprints,
    read_key_usages,
    read_pkcs12,
    read_secret,
    read_tls_version_min,
    read_x509_name,
    uses_certificate,
)
from ovpn3.profile.credentials import MAX_SHORT_CHARS, read_auth_user_pass, read_static_challenge, short
from ovpn3.profile.lexer import Directive
from ovpn3.profile.model import (
    CERT_PROFILES,
    COMPRESSION_POLICIES,
    DEFAULT_DATA_CIPHERS,
    TLS_VERSIONS,
    Mssfix,
    Profile,
    PullFilter,
)
from ovpn3.profile.remotes import only_reachable, read_http_proxy, read_local, read_remotes, read_socks_proxy
from ovpn3.profile.sieve import Sieved, note, sieve, unwrapped
from ovpn3.profile.values import Values, one_of, to_algorithm, to_host, to_number, to_seconds

_SERVER_LOCKED = "server-locked profile, made for any user: ask for one of your own"
_COMPRESSIONS = ("lzo", "lz4", "lz4-v2", "stub", "stub-v2", "migrate")
_INTERFACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")  # what the kernel takes, 15 octets
_USER_VARIABLE = re.compile(r"UV_\w+", re.ASCII)


def build(directives: Iterable[Directive], *, source: str = "") -> Profile:
    """The profile as the client uses it. ProfileError at the first thing that can't be honoured."""
    sieved = sieve(directives, source)
    values = Values(sieved.used, source)
    _refuse_what_is_not_a_client(values, sieved)
    setenv, setenv_warnings = _setenv(values)
    remotes, remote_warnings = read_remotes(values)
    login = read_auth_user_pass(values)
    profile = Profile(
        remotes=remotes,
        remote_random=values.has("remote-random"),
        remote_random_hostname=values.has("remote-random-hostname"),
        remote_cache_lifetime=float(values.number("remote-cache-lifetime", 0, 2**31, 0)),
        float_=values.has("float"),
        server_poll_timeout=values.seconds("server-poll-timeout", values.seconds("connect-timeout", 10.0)),
        connect_retry=_connect_retry(values),
        connect_retry_max=values.number("connect-retry-max", 1, 2**31, None),
        local=read_local(values),
        tcp_queue_limit=values.number("tcp-queue-limit", 1, 65536, 64),
        http_proxy=read_http_proxy(values),
        socks_proxy=read_socks_proxy(values),
        sndbuf=values.number("sndbuf", 0, 2**31 - 1, None),
        rcvbuf=values.number("rcvbuf", 0, 2**31 - 1, None),
        mark=values.number("mark", 0, 2**32 - 1, 0),
        ca=values.text("ca"),
        cert=values.last_text("cert"),
        key=read_secret(values, "key"),
        pkcs12=read_pkcs12(values),
        extra_certs=values.text("extra-certs"),
        crl=read_crl(values),
        client_cert=uses_certificate(values, with_password=login is not None),
        peer_fingerprints=read_fingerprints(values),
        remote_cert_tls=values.choice("remote-cert-tls", ("server", "client"), None),
        remote_cert_ku=read_key_usages(values),
        remote_cert_eku=values.word("remote-cert-eku", None),
        ns_cert_type=values.choice("ns-cert-type", ("server", "client"), None),
        verify_x509_name=read_x509_name(values),
        tls_version_min=read_tls_version_min(values),
        tls_version_max=values.choice("tls-version-max", TLS_VERSIONS, None),
        tls_cipher=values.word("tls-cipher", None),
        tls_ciphersuites=values.word("tls-ciphersuites", None),
        tls_groups=values.word("tls-groups", None),
        tls_cert_profile=values.choice("tls-cert-profile", CERT_PROFILES, "legacy"),
        sni=values.convert("sni", to_host, None),
        tls_auth=read_secret(values, "tls-auth", STATIC_KEY),
        tls_crypt=read_secret(values, "tls-crypt", STATIC_KEY),
        tls_crypt_v2=read_secret(values, "tls-crypt-v2", V2_CLIENT_KEY),
        key_direction=values.convert("key-direction", _direction, None),
        tls_auth_digest=values.convert("tls-auth-digest", to_algorithm, None),
        tls_timeout=_tls_timeout(values),
        hand_window=values.seconds("hand-window", 60.0),
        tran_window=values.seconds("tran-window", 3600.0),
        reneg_sec=values.seconds("reneg-sec", 3600.0, least=10.0),
        reneg_bytes=values.number("reneg-bytes", 0, 2**63, 0),
        reneg_pkts=values.number("reneg-pkts", 0, 2**63, 0),
        become_primary=values.seconds("become-primary", None),
        mssfix_ctrl=values.number("mssfix-ctrl", 256, 65535, 1250),
        cipher=values.convert("cipher", to_algorithm, None),
        data_ciphers=_data_ciphers(values),
        data_ciphers_fallback=values.convert("data-ciphers-fallback", to_algorithm, None),
        auth=values.convert("auth", to_algorithm, "SHA1"),
        compress=_compress(values),
        comp_lzo=values.choice("comp-lzo", ("yes", "no", "adaptive"), "adaptive" if values.has("comp-lzo") else None),
        allow_compression=values.choice("allow-compression", COMPRESSION_POLICIES, "no"),
        replay_window=_replay_window(values),
        tun_mtu=values.number("tun-mtu", 576, 65535, 1500),
        tun_mtu_max=values.number("tun-mtu-max", 576, 65535, 1600),
        mssfix=_mssfix(values),
        auth_user_pass=login,
        locked_username=_locked_username(setenv, sieved, source),
        autologin=_autologin(sieved, with_password=login is not None),
        static_challenge=read_static_challenge(values),
        auth_nocache=values.has("auth-nocache"),
        auth_retry=values.choice("auth-retry", ("none", "nointeract", "interact"), "none"),
        allow_password_save=_may_save_password(values, setenv),
        push_peer_info=values.has("push-peer-info") or "PUSH_PEER_INFO" in setenv,
        setenv=MappingProxyType(setenv),
        friendly_name=_friendly_name(setenv, sieved),
        ping=values.seconds("ping", _keepalive(values, 0)),
        ping_restart=values.seconds("ping-restart", _keepalive(values, 1)),
        inactive=_inactive(values),
        explicit_exit_notify=values.number(
            "explicit-exit-notify", 0, 100, 1 if values.has("explicit-exit-notify") else None
        ),
        dev=_device(values),
        persist_tun=values.has("persist-tun"),
        routes=values.arguments("route"),
        routes6=values.arguments("route-ipv6"),
        route_metric=values.number("route-metric", 0, 1000000, None),
        redirect_gateway=values.arguments("redirect-gateway"),
        redirect_private=values.arguments("redirect-private"),
        dhcp_options=values.arguments("dhcp-option"),
        dns=values.arguments("dns"),
        route_nopull=values.has("route-nopull"),
        pull_filters=_pull_filters(values),
        block_ipv4=values.has("block-ipv4"),
        block_ipv6=values.has("block-ipv6"),
        block_outside_dns=values.has("block-outside-dns"),
        verb=values.number("verb", 0, 15, None),
        warnings=sieved.warnings + setenv_warnings + remote_warnings + _device_warnings(values),
    )
    check_tls_versions(profile, source)
    return only_reachable(profile, source)


def missing(directives: Iterable[Directive]) -> list[str]:
    """What a profile lacks to be usable at all, in words for the user; empty when it is valid."""
    plain = [d for d, _ in unwrapped(directives)]
    if any(d.name == "setenv" and d.args[:1] == ("GENERIC_CONFIG",) for d in plain):
        return [_SERVER_LOCKED]
    names = {d.name for d in plain if not d.meta}
    needed = (
        ({"client", "tls-client"}, "'client' is missing"),
        ({"dev"}, "'dev' is missing, as in 'dev tun'"),
        ({"ca", "peer-fingerprint", "pkcs12"}, "'ca' is missing: the certificate the server is checked by"),
        ({"remote", "connection"}, "'remote' is missing: the server to connect to"),
    )
    return [text for anyone, text in needed if not anyone & names]


def _refuse_what_is_not_a_client(values: Values, sieved: Sieved) -> None:
    source = values.source
    for d in values.every("setenv"):
        if d.args[0] == "GENERIC_CONFIG":
            values.fail(d, _SERVER_LOCKED)
    values.choice("mode", ("p2p",), None)
    values.choice("key-method", ("2",), None)
    if not values.has("client") and not (values.has("tls-client") and values.has("pull")):
        raise ProfileError("not a client profile", source=source, hint="add a line: client")
    if not values.has("remote") and not values.has("connection"):
        raise ProfileError("no server to connect to", source=source, hint="add a line: remote HOST PORT PROTO")
    if not (values.has("ca") or values.has("peer-fingerprint") or values.has("pkcs12")):
        hint = "add ca, or peer-fingerprint"
        raise ProfileError("nothing to check the server's certificate by", source=source, hint=hint)
    if _is_true(sieved.meta.get("EXTERNAL_PKI", "")):
        hint = "get a profile that holds cert and key"
        raise ProfileError("wants certificate and key from a system store", source=source, hint=hint)
    check_wrapping(values)


def _setenv(values: Values) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables by name; those meant for the server's log only if they are fit to be sent. And warnings."""
    found: dict[str, str] = {}
    warnings = []
    for d in values.every("setenv"):
        name, value = d.args[0], " ".join(d.args[1:])
        sendable = _USER_VARIABLE.fullmatch(name) and value.isprintable() and len(value) <= MAX_SHORT_CHARS
        if sendable or not name.startswith("UV_"):
            found[name] = value
        else:
            warnings.append(note(d, "not a name or value that can be sent, ignored", values.source))
    return found, tuple(warnings)


def _locked_username(setenv: dict[str, str], sieved: Sieved, source: str) -> str | None:
    name = setenv.get("USERNAME") or sieved.meta.get("USERNAME")
    return short(name, "USERNAME", source) if name else None


def _autologin(sieved: Sieved, *, with_password: bool) -> bool:
    said = sieved.meta.get("AUTOLOGIN")
    return not with_password if said is None else _is_true(said)


def _friendly_name(setenv: dict[str, str], sieved: Sieved) -> str:
    name = setenv.get("FRIENDLY_NAME") or sieved.meta.get("FRIENDLY_NAME")
    return (name or sieved.meta.get("PROFILE", "").partition("/")[0]).strip()


def _may_save_password(values: Values, setenv: dict[str, str]) -> bool:
    return setenv.get("ALLOW_PASSWORD_SAVE", values.choice("allow-password-save", ("0", "1"), "1")) != "0"


def _connect_retry(values: Values) -> tuple[float, float] | None:
    """First and longest delay in seconds."""
    first = values.number("connect-retry", 0, 2**31, None)
    if first is None:
        return None
    return float(first or 1), float(max(first, 1, values.number("connect-retry", 0, 2**31, 300, 1)))


def _tls_timeout(values: Values) -> float:
    """Seconds; the option in milliseconds is the finer one and wins."""
    milliseconds = values.number("tls-timeout-ms", 0, 2**31, None)
    return values.seconds("tls-timeout", 1.0) if milliseconds is None else max(milliseconds, 100) / 1000


def _keepalive(values: Values, position: int) -> float | None:
    return values.convert("keepalive", to_seconds, None, position)


def _inactive(values: Values) -> tuple[float, int] | None:
    after = values.number("inactive", 0, 2**31, 0)
    return (float(after), values.number("inactive", 0, 10**9, 0, 1)) if after else None


def _replay_window(values: Values) -> tuple[int, float]:
    """Our own default is the larger one; an option without the time means the other clients' 15 s."""
    packets = values.number("replay-window", 0, 65536, None)
    silence = values.number("replay-window", 0, 600, 15, 1)
    return (2048, 30.0) if packets is None else (packets, float(max(silence, 1)))


def _mssfix(values: Values) -> Mssfix | None:
    """None: the rule for its absence. Without a size it is off, as in OpenVPN 3."""
    if not values.has("mssfix"):
        return None
    size = values.convert("mssfix", lambda text: 0 if text == "0" else to_number(text, 576, 65535), 0)
    return Mssfix(size, values.choice("mssfix", ("mtu", "fixed"), "", 1))


def _data_ciphers(values: Values) -> tuple[str, ...]:
    """Names in upper case, in order of preference, each once. The mark of an optional cipher is dropped."""
    name = "data-ciphers" if values.has("data-ciphers") else "ncp-ciphers"
    return values.convert(name, _to_ciphers, DEFAULT_DATA_CIPHERS)


def _to_ciphers(text: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for word in text.split(":"):
        names = DEFAULT_DATA_CIPHERS if word == "DEFAULT" else (to_algorithm(word.removeprefix("?")),)
        found.update(dict.fromkeys(names))
    return tuple(found)


def _compress(values: Values) -> str | None:
    return values.choice("compress", _COMPRESSIONS, "" if values.has("compress") else None)


def _direction(text: str) -> Literal[0, 1] | None:
    known: dict[str, Literal[0, 1] | None] = {"0": 0, "1": 1, "bidirectional": None, "bi": None}
    if text not in known:
        raise ValueError("needs 0, 1 or bidirectional")
    return known[text]


def _device(values: Values) -> str:
    d, kind = values.last("dev"), values.last("dev-type")
    if kind and kind.args[0] != "tun":
        values.fail(kind, "only tun devices are supported", "the server must use tun too")
    if d is None:
        return "tun"
    name = d.args[0]
    if name.startswith("tap"):
        values.fail(d, "tap devices aren't supported", "the server must use tun too")
    if not _INTERFACE_NAME.fullmatch(name):
        values.fail(d, "can't be the name of a device", "write: dev tun")
    if not name.startswith("tun") and kind is None:
        values.fail(d, "doesn't tell its type", "add a line: dev-type tun")
    return name


def _device_warnings(values: Values) -> tuple[str, ...]:
    """Firewalls trust some names: no profile is to slip in behind one."""
    d = values.last("dev")
    if d is None or d.args[0].startswith("tun"):
        return ()
    return (note(d, "begins with something else than tun, so the device gets a number", values.source),)


def _pull_filters(values: Values) -> tuple[PullFilter, ...]:
    return tuple(
        PullFilter(values.argument(d, 0, one_of(("accept", "ignore", "reject")), "accept"), d.args[1])
        for d in values.every("pull-filter")
    )


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "true")
