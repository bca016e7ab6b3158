"""What the user sets over a profile, applied to the model."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from ovpn3.constants import MAX_LOG_LEVEL, OFFLOADS, OVERRIDES
from ovpn3.errors import ProfileError
from ovpn3.names import is_cgroup
from ovpn3.profile.certificates import check_tls_versions
from ovpn3.profile.model import (
    CERT_PROFILES,
    COMPRESSION_POLICIES,
    DNS_SCOPES,
    Fwmark,
    HttpProxy,
    Profile,
    Proto,
    Remote,
    TlsVersion,
)
from ovpn3.profile.remotes import only_reachable
from ovpn3.profile.values import one_of, to_host, to_number, to_port
from ovpn3.secret import Secret

Overrides = Mapping[str, str | bool]

_T = TypeVar("_T")
_D = TypeVar("_D")
_TLS_VERSIONS: dict[str, TlsVersion] = {"tls_1_0": "1.0", "tls_1_1": "1.1", "tls_1_2": "1.2", "tls_1_3": "1.3"}
_PROTOS: tuple[Proto, ...] = ("tcp", "udp")
_DATA_THREADS = {"1": 1, "2": 2}
_NETNS = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,64}", re.ASCII)
_LAST_UID, _MAX_UID_RANGES, _MAX_CGROUPS = 2**32 - 2, 32, 32

# What an override can't be without.
_COMPANIONS: Mapping[str, Overrides] = {
    **{name: {"proxy-host": "any", "proxy-port": "1"} for name in OVERRIDES if name.startswith("proxy-")},
    "route-fwmark": {"route-table": "1"},
    "route-uids": {"route-table": "1"},
    "route-cgroups": {"route-table": "1"},
}

# Overrides that take one word of a list. What only others act on is here too.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "proto-override": _PROTOS,
    "ipv6": ("yes", "no", "default"),
    "log-level": tuple(str(level) for level in range(MAX_LOG_LEVEL + 1)),
    "dns-scope": ("global", "tunnel"),
    "allow-compression": COMPRESSION_POLICIES,
    "tls-version-min": tuple(_TLS_VERSIONS),
    "tls-cert-profile": CERT_PROFILES,
    "automatic-restart": ("no", "on-failure"),
    "data-threads": tuple(_DATA_THREADS),
}


def apply(profile: Profile, overrides: Overrides) -> Profile:
    """The profile with overrides in force; an empty text counts as not set.

    Overrides that concern others, such as DNS, are only checked for their type. ProfileError names the override
    whose name, type or value is wrong.
    """
    for name, value in overrides.items():
        _check_type(name, value)
    changed = replace(
        profile,
        remotes=_remotes(profile.remotes, overrides),
        http_proxy=_http_proxy(profile.http_proxy, overrides),
        socks_proxy=None if overrides.get("proxy-host") else profile.socks_proxy,
        tls_version_min=_value(overrides, "tls-version-min", _to_tls_version, profile.tls_version_min),
        tls_cert_profile=_value(overrides, "tls-cert-profile", one_of(CERT_PROFILES), profile.tls_cert_profile),
        allow_compression=_value(
            overrides, "allow-compression", one_of(COMPRESSION_POLICIES), profile.allow_compression
        ),
        enable_legacy_algorithms=_flag(overrides, "enable-legacy-algorithms", profile.enable_legacy_algorithms),
        auth_fail_retry=_flag(overrides, "auth-fail-retry", profile.auth_fail_retry),
        dns_scope=scope if (scope := str(overrides.get("dns-scope", ""))) in DNS_SCOPES else profile.dns_scope,
        dns_fallback_google=_flag(overrides, "dns-fallback-google", profile.dns_fallback_google),
        block_unused_ipv6=overrides.get("ipv6") == "no" or profile.block_unused_ipv6,
        kill_switch=_flag(overrides, "kill-switch", profile.kill_switch),
        netns=_value(overrides, "netns", _to_netns, profile.netns),
        route_table=_value(overrides, "route-table", _to_route_table, profile.route_table),
        route_fwmark=_value(overrides, "route-fwmark", _to_fwmark, profile.route_fwmark),
        route_uids=_value(overrides, "route-uids", _to_uids, profile.route_uids),
        route_cgroups=_value(overrides, "route-cgroups", _to_cgroups, profile.route_cgroups),
        persist_tun=_flag(overrides, "persist-tun", profile.persist_tun),
        verb=_value(overrides, "log-level", _to_log_level, profile.verb),
        data_threads=_value(overrides, "data-threads", _to_data_threads, profile.data_threads),
        offloads=_value(overrides, "offloads", _to_offloads, profile.offloads),
    )
    check_tls_versions(changed)
    _check_place(changed)
    return only_reachable(changed)


def check_override(name: str, value: str | bool) -> None:
    """ProfileError for a value that makes sense in no profile; stricter than `apply` about what concerns others."""
    _check_type(name, value)
    if value == "":
        return
    if name in CHOICES:
        _value({name: value}, name, one_of(CHOICES[name]), None)
    apply(Profile(remotes=(Remote("any", proto="tcp"),)), {**_COMPANIONS.get(name, {}), name: value})


def _check_place(profile: Profile) -> None:
    if profile.netns and profile.route_table:
        raise ProfileError("excludes route-table", option="netns", hint="unset one of them")
    for option, chosen in (
        ("route-fwmark", profile.route_fwmark),
        ("route-uids", profile.route_uids),
        ("route-cgroups", profile.route_cgroups),
    ):
        if chosen and not profile.route_table:
            raise ProfileError("needs route-table too", option=option, hint="set both")


def _check_type(name: str, value: str | bool) -> None:
    if name not in OVERRIDES:
        raise ProfileError("unknown override", option=name)
    if isinstance(value, bool) != (OVERRIDES[name] == "b"):
        raise ProfileError("needs true or false" if OVERRIDES[name] == "b" else "needs a text", option=name)


def _remotes(remotes: tuple[Remote, ...], overrides: Overrides) -> tuple[Remote, ...]:
    """Remotes with what is overridden replaced, each once."""
    changed = (
        Remote(
            _value(overrides, "server-override", to_host, remote.host),
            _value(overrides, "port-override", to_port, remote.port),
            _value(overrides, "proto-override", one_of(_PROTOS), remote.proto),
        )
        for remote in remotes
    )
    return tuple(dict.fromkeys(changed))


def _http_proxy(proxy: HttpProxy | None, overrides: Overrides) -> HttpProxy | None:
    """The proxy of the overrides, else the profile's; credentials go to either."""
    host = _value(overrides, "proxy-host", to_host, None)
    if host is not None:
        port = _value(overrides, "proxy-port", to_port, None)
        if port is None:
            raise ProfileError("needs proxy-port too", option="proxy-host", hint="set both")
        proxy = HttpProxy(host, port, auth="auto")
    if proxy is None:
        return None
    return replace(
        proxy,
        username=_value(overrides, "proxy-username", str, proxy.username),
        password=_value(overrides, "proxy-password", Secret, proxy.password),
        allow_cleartext=_flag(overrides, "proxy-auth-cleartext", proxy.allow_cleartext),
    )


def _value(overrides: Overrides, name: str, to: Callable[[str], _T], default: _D) -> _T | _D:
    text = overrides.get(name)
    if not isinstance(text, str) or not text:
        return default
    try:
        return to(text)
    except ValueError as e:
        raise ProfileError(str(e), option=name) from None


def _flag(overrides: Overrides, name: str, default: bool) -> bool:
    return bool(overrides.get(name, default))


def _to_tls_version(text: str) -> TlsVersion:
    return _TLS_VERSIONS[one_of(tuple(_TLS_VERSIONS))(text)]


def _to_log_level(text: str) -> int:
    return to_number(text, 0, MAX_LOG_LEVEL)


def _to_data_threads(text: str) -> int:
    return _DATA_THREADS[one_of(tuple(_DATA_THREADS))(text)]


def _to_netns(text: str) -> str:
    if not _NETNS.fullmatch(text):
        raise ValueError("needs the name of a network namespace, as `ip netns` lists them")
    return text


def _to_route_table(text: str) -> int:
    number = to_number(text, 1, 2**32 - 1)
    if number in (253, 254, 255):
        raise ValueError("needs a number of its own, not that of the table default, main or local")
    return number


def _to_fwmark(text: str) -> Fwmark:
    """MARK or MARK/MASK, decimal or 0x…"""
    mark, slash, mask = text.partition("/")
    try:
        wanted = Fwmark(int(mark, 0), int(mask, 0) if slash else 0xFFFF_FFFF)
    except ValueError:
        wanted = Fwmark(0, 0)
    if not 0 < wanted.mask < 2**32 or wanted.mark < 0 or wanted.mark & ~wanted.mask:
        raise ValueError("needs MARK or MARK/MASK, as 0x20/0xff; no bit of MARK is outside of MASK")
    return wanted


def _to_uids(text: str) -> tuple[tuple[int, int], ...]:
    """Single ones and FIRST-LAST, with commas between them."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            pair = to_number(first, 0, _LAST_UID), to_number(last if dash else first, 0, _LAST_UID)
        except ValueError:
            pair = (1, 0)
        if pair[0] > pair[1]:
            raise ValueError("needs user ids and ranges of them with commas between, as 33,1000-1009")
        ranges.append(pair)
    if len(ranges) > _MAX_UID_RANGES:
        raise ValueError(f"takes {_MAX_UID_RANGES} ranges at most")
    return tuple(dict.fromkeys(ranges))


def _to_cgroups(text: str) -> tuple[str, ...]:
    """Paths below the root of the tree, with commas between them. A slash before one changes nothing."""
    paths = [part.strip().removeprefix("/") for part in text.split(",")]
    if not all(map(is_cgroup, paths)):
        raise ValueError("needs paths of cgroups with commas between, as vpn.slice,system.slice/backup.service")
    if len(paths) > _MAX_CGROUPS:
        raise ValueError(f"takes {_MAX_CGROUPS} cgroups at most")
    return tuple(dict.fromkeys(paths))


def _to_offloads(text: str) -> tuple[str, ...]:
    if text == "auto":
        return OFFLOADS
    wanted = set() if text == "none" else {word.strip() for word in text.split(",")}
    if not wanted <= set(OFFLOADS):
        raise ValueError(f"needs auto, none, or those to be used with commas between them: {','.join(OFFLOADS)}")
    return tuple(name for name in OFFLOADS if name in wanted)
