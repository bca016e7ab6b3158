"""Overrides over the model."""

import pytest

from ovpn3.constants import OFFLOADS, OVERRIDES
from ovpn3.errors import ProfileError
from ovpn3.profile import Profile, Remote, apply
from ovpn3.profile.model import Fwmark, HttpProxy
from ovpn3.profile.override import CHOICES, check_override

PROFILE = Profile(remotes=(Remote("a", 1, "udp4"), Remote("b", 2, "tcp")))


def test_nothing_changes_without_overrides() -> None:
    assert apply(PROFILE, {}) == PROFILE


@pytest.mark.parametrize(
    ("overrides", "remotes"),
    [
        ({"server-override": "c"}, (Remote("c", 1, "udp4"), Remote("c", 2, "tcp"))),
        ({"port-override": "9"}, (Remote("a", 9, "udp4"), Remote("b", 9, "tcp"))),
        ({"proto-override": "tcp"}, (Remote("a", 1, "tcp"), Remote("b", 2, "tcp"))),
        ({"server-override": "c", "port-override": "9", "proto-override": "udp"}, (Remote("c", 9, "udp"),)),
        ({"server-override": ""}, PROFILE.remotes),
    ],
)
def test_remotes(overrides: dict[str, str | bool], remotes: tuple[Remote, ...]) -> None:
    assert apply(PROFILE, overrides).remotes == remotes


@pytest.mark.parametrize(
    ("name", "value", "field", "result"),
    [
        ("tls-version-min", "tls_1_3", "tls_version_min", "1.3"),
        ("tls-cert-profile", "suiteb", "tls_cert_profile", "suiteb"),
        ("allow-compression", "asym", "allow_compression", "asym"),
        ("log-level", "6", "verb", 6),
        ("persist-tun", True, "persist_tun", True),
        ("auth-fail-retry", True, "auth_fail_retry", True),
        ("enable-legacy-algorithms", True, "enable_legacy_algorithms", True),
        ("data-threads", "1", "data_threads", 1),
        ("data-threads", "2", "data_threads", 2),
        ("offloads", "auto", "offloads", OFFLOADS),
        ("offloads", "none", "offloads", ()),
        ("offloads", "ipsec-mb, tso,tso", "offloads", ("tso", "ipsec-mb")),
    ],
)
def test_fields(name: str, value: str | bool, field: str, result: object) -> None:
    assert getattr(apply(PROFILE, {name: value}), field) == result


def test_flag_can_be_switched_off() -> None:
    assert not apply(Profile(remotes=(), persist_tun=True), {"persist-tun": False}).persist_tun


def test_overrides_for_others_are_let_through() -> None:
    others: dict[str, str | bool] = {
        "ipv6": "yes",
        "dns-scope": "moon",
        "dns-setup-disabled": True,
        "automatic-restart": "no",
    }
    assert apply(PROFILE, others) == PROFILE


def test_proxy() -> None:
    proxied = apply(
        PROFILE,
        {
            "proxy-host": "p",
            "proxy-port": "3128",
            "proxy-username": "me",
            "proxy-password": "hunter2",
            "proxy-auth-cleartext": True,
        },
    )
    assert proxied.remotes == (Remote("b", 2, "tcp"),)
    proxy = proxied.http_proxy
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.auth, proxy.allow_cleartext, proxy.username) == (
        "p",
        3128,
        "auto",
        True,
        "me",
    )
    assert proxy.password is not None
    assert proxy.password.text() == "hunter2"
    assert "hunter2" not in repr(proxied)


def test_credentials_for_the_profiles_own_proxy() -> None:
    own = Profile(remotes=(Remote("b", 2, "tcp"),), http_proxy=HttpProxy("own", 1, user_agent="x"))
    proxy = apply(own, {"proxy-username": "me"}).http_proxy
    assert proxy == HttpProxy("own", 1, user_agent="x", username="me")
    assert apply(PROFILE, {"proxy-username": "me"}).http_proxy is None


@pytest.mark.parametrize(
    ("overrides", "option"),
    [
        ({"no-such": "x"}, "no-such"),
        ({"persist-tun": "true"}, "persist-tun"),
        ({"log-level": True}, "log-level"),
        ({"log-level": "7"}, "log-level"),
        ({"port-override": "0"}, "port-override"),
        ({"server-override": "a b"}, "server-override"),
        ({"proto-override": "sctp"}, "proto-override"),
        ({"tls-version-min": "1.2"}, "tls-version-min"),
        ({"tls-cert-profile": "lax"}, "tls-cert-profile"),
        ({"allow-compression": "maybe"}, "allow-compression"),
        ({"data-threads": "3"}, "data-threads"),
        ({"data-threads": "01"}, "data-threads"),
        ({"offloads": "tso,lro"}, "offloads"),
        ({"offloads": "none,tso"}, "offloads"),
        ({"offloads": "tso,"}, "offloads"),
        ({"netns": "../x"}, "netns"),
        ({"netns": ".."}, "netns"),
        ({"route-table": "254"}, "route-table"),
        ({"route-table": "0"}, "route-table"),
        ({"route-uids": "33"}, "route-uids"),
        ({"route-cgroups": "vpn.slice"}, "route-cgroups"),
        ({"route-fwmark": "1"}, "route-fwmark"),
        ({"netns": "vpn", "route-table": "100"}, "netns"),
        ({"proxy-host": "p"}, "proxy-host"),
        ({"proxy-host": "p", "proxy-port": "x"}, "proxy-port"),
        ({"proxy-host": "p", "proxy-port": "1", "proto-override": "udp"}, "http-proxy"),
    ],
)
def test_refused(overrides: dict[str, str | bool], option: str) -> None:
    with pytest.raises(ProfileError) as refusal:
        apply(PROFILE, overrides)
    assert refusal.value.option == option


def test_minimum_above_the_profiles_maximum() -> None:
    with pytest.raises(ProfileError, match="below tls-version-min"):
        apply(Profile(remotes=(), tls_version_max="1.2"), {"tls-version-min": "tls_1_3"})


@pytest.mark.parametrize("name", OVERRIDES)
def test_wrong_type_is_refused_for_all(name: str) -> None:
    with pytest.raises(ProfileError):
        apply(PROFILE, {name: "x" if OVERRIDES[name] == "b" else True})


def test_refusal_says_what_is_allowed() -> None:
    with pytest.raises(ProfileError, match=r"^data-threads: needs one of: 1 2$"):
        apply(PROFILE, {"data-threads": "two"})
    with pytest.raises(ProfileError, match=r"^offloads: needs auto, none, .*: tso,uso,gso,gro,ipsec-mb$"):
        apply(PROFILE, {"offloads": "all"})


@pytest.mark.parametrize("name", OVERRIDES)
def test_each_can_be_checked_alone(name: str) -> None:
    good: dict[str, str] = {
        "port-override": "1194",
        "proxy-port": "3128",
        "offloads": "gso,gro",
        "route-table": "100",
        "route-fwmark": "0x20",
        "route-uids": "33",
        "route-cgroups": "vpn.slice",
    }
    values = CHOICES.get(name, (good.get(name, "x"), "")) if OVERRIDES[name] == "s" else (True, False)
    for value in values:
        check_override(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "perhaps") for name in CHOICES),
        ("port-override", "abc"),
        ("proxy-port", "0"),
        ("proxy-host", "a b"),
        ("offloads", "all"),
        ("persist-tun", "true"),
        ("no-such", "x"),
    ],
)
def test_value_for_no_profile(name: str, value: str) -> None:
    with pytest.raises(ProfileError) as refusal:
        check_override(name, value)
    assert refusal.value.option == name


@pytest.mark.parametrize(
    ("text", "uids"),
    [
        ("0", ((0, 0),)),
        ("33, 1000-1009,33", ((33, 33), (1000, 1009))),
        ("0-4294967294", ((0, 2**32 - 2),)),
        *((text, None) for text in ("", "-", "1-", "-1", "2-1", "4294967295", "1,", "root", "1-2-3", "1," * 40 + "1")),
    ],
)
def test_uids(text: str, uids: tuple[tuple[int, int], ...] | None) -> None:
    overrides = {"route-table": "100", "route-uids": text}
    if uids or not text:
        assert apply(PROFILE, overrides).route_uids == (uids or ())
    else:
        with pytest.raises(ProfileError, match="route-uids"):
            apply(PROFILE, overrides)


@pytest.mark.parametrize(
    ("text", "cgroups"),
    [
        ("vpn.slice", ("vpn.slice",)),
        (
            "/system.slice/backup.service, a/b-2/c:d@e.scope,a",
            ("system.slice/backup.service", "a/b-2/c:d@e.scope", "a"),
        ),
        (r"dev-disk-by\x2duuid.device,a..b/...", (r"dev-disk-by\x2duuid.device", "a..b/...")),
        ("/".join("a" * 32), ("/".join("a" * 32),)),
        *(
            (text, None)
            for text in ("/", ",", "a,", "//a", "a//b", "a/", ".", "..", "a/../b", "a/.", "./a", "a b", "a\nb")
        ),
        *((text, None) for text in ("a\x7f", "\x00", "ä", "a" * 256, "/".join("a" * 33), f"{'a' * 250}/" * 4 + "a")),
        *((text, None) for text in (",".join(f"a{number}" for number in range(33)),)),
    ],
)
def test_cgroups(text: str, cgroups: tuple[str, ...] | None) -> None:
    overrides = {"route-table": "100", "route-cgroups": text}
    if cgroups:
        assert apply(PROFILE, overrides).route_cgroups == cgroups
    else:
        with pytest.raises(ProfileError, match=r"^route-cgroups: (needs paths of cgroups|takes 32 cgroups at most)"):
            apply(PROFILE, overrides)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("32", Fwmark(32, 0xFFFF_FFFF)),
        ("0x20/0xf0", Fwmark(0x20, 0xF0)),
        ("0/1", Fwmark(0, 1)),
        *((text, None) for text in ("x", "1/0", "0x21/0xf0", "-1", "1/-1", "0x100000000", "1/", "/1")),
    ],
)
def test_marks(text: str, mark: Fwmark | None) -> None:
    overrides = {"route-table": "100", "route-fwmark": text}
    if mark:
        assert apply(PROFILE, overrides).route_fwmark == mark
    else:
        with pytest.raises(ProfileError, match="route-fwmark"):
            apply(PROFILE, overrides)
