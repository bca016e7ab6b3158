"""The option table against the facts it was made from."""

import tomllib
from pathlib import Path

import pytest

from ovpn3.profile.lexer import check_option_name
from ovpn3.profile.model import DEFAULT_DATA_CIPHERS, Profile
from ovpn3.profile.options import Option, Reason, Status, table

FACTS = {
    key: set(names.split())
    for key, names in tomllib.loads(
        (Path(__file__).parents[2] / "data" / "profiles" / "option-facts.toml").read_text()
    ).items()
}
STATUS_OF = {
    "implement": Status.USED,
    "ignore": Status.IGNORED,
    "warn": Status.WARNED,
    "reject": Status.REFUSED,
}
# Where we part from OpenVPN 3. It drops these, we honour them.
HONOURED = {
    "allow-compression",
    "auth-retry",
    "bind",
    "connect-retry",
    "connect-retry-max",
    "connect-timeout",
    "data-ciphers",
    "data-ciphers-fallback",
    "explicit-exit-notify",
    "local",
    "lport",
    "mark",
    "ncp-ciphers",
    "persist-tun",
    "pkcs12",
    "rcvbuf",
    "reneg-bytes",
    "reneg-pkts",
    "rport",
    "replay-window",
    "sndbuf",
    "socks-proxy",
    "tls-version-max",
    "verb",
}
# It refuses these, which profiles of OpenVPN 2 have and which nothing is lost without.
HARMLESS = """
allow-nonadmin askpass cd chroot comp-noadapt daemon dev-node dhcp-pre-release dhcp-release dhcp-renew dns-updown
errors-to-stderr http-proxy-retry http-proxy-timeout log log-append pause-exit ping-timer-rem register-dns service
setcon socks-proxy-retry status status-version syslog tap-sleep topology up-restart win-sys writepid
"""
# And reads these without effect on Linux.
MILDER = dict.fromkeys(HARMLESS.split(), Status.WARNED) | {
    "redirect-dns": Status.WARNED,
    "custom-control": Status.WARNED,
    "windows-driver": Status.IGNORED,
}


# What import makes of a file with credentials.
OURS = {"socks-proxy-user-pass"}


def expected(name: str) -> Status:
    if name in HONOURED | OURS:
        return Status.USED
    return MILDER.get(name) or next(status for key, status in STATUS_OF.items() if name in FACTS[key])


def test_every_option_is_there() -> None:
    assert set(table()) == OURS.union(*(FACTS[key] for key in STATUS_OF))
    assert len(table()) == 318


@pytest.mark.parametrize("option", table().values(), ids=lambda option: option.name)
def test_option_is_what_the_facts_say(option: Option) -> None:
    assert check_option_name(option.name)
    assert option.status is expected(option.name)
    assert (option.reason is Reason.NONE) == (option.status is not Status.REFUSED)
    # A block for the proxy's credentials is all there is; there is no form with a file.
    assert option.inline == (option.name in FACTS["inline"] | OURS)
    assert option.repeat == (option.name in FACTS["repeat"])


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("client", 0, 0),
        ("remote", 1, 3),
        ("keepalive", 2, 3),
        ("mssfix", 0, 2),
        ("static-challenge", 2, 3),
        ("dhcp-option", 1, None),
        ("redirect-gateway", 0, None),
        ("data-ciphers", 1, 1),
        ("tls-auth", 1, 2),
        ("connection", 0, 0),
    ],
)
def test_argument_counts(name: str, least: int, most: int | None) -> None:
    assert (table()[name].least, table()[name].most) == (least, most)


def test_defaults_are_the_models() -> None:
    model = Profile(remotes=())
    said = {option.name: option.default for option in table().values() if option.default}
    remote = {"port": "1194", "proto": "udp"}  # belong to Remote
    assert said.pop("allow-password-save") == str(int(model.allow_password_save))
    assert said.pop("data-ciphers") == ":".join(DEFAULT_DATA_CIPHERS)
    for name, text in remote.items():
        assert said.pop(name) == text
    for name, text in said.items():
        value = getattr(model, name.replace("-", "_"))
        assert text == (f"{value:g}" if isinstance(value, float) else str(value))
