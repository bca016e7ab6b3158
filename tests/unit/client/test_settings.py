"""From profile and push to the device: addresses, routes, redirection, DNS, MSS."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import pytest

from ovpn3.client.settings import (
    UNHEEDED,
    Address,
    Dns,
    TunSettings,
    framing,
    mss_limit,
    session_config,
    tun_settings,
    unheeded_in,
)
from ovpn3.constants import Framing
from ovpn3.datapath.engine import cipher, payload_room
from ovpn3.errors import ConfigurationRefused
from ovpn3.profile import apply
from ovpn3.profile.model import CompressionPolicy, Mssfix, Profile, Remote
from ovpn3.protocol.auth import Credentials
from ovpn3.protocol.config import WrapMode
from ovpn3.proxies.netcfg import Network
from ovpn3.secret import Secret

PLAIN = Profile(remotes=(Remote("vpn.example"),))
SUBNET = (("topology", ("subnet",)), ("ifconfig", ("10.8.0.2", "255.255.255.0")), ("route-gateway", ("10.8.0.1",)))


def settings(*pushed: tuple[str, tuple[str, ...]], profile: Profile = PLAIN) -> TunSettings:
    notes: list[str] = []
    made = tun_settings(profile, (*SUBNET, *pushed), notes.append)
    assert notes == []
    return made


def test_subnet_topology() -> None:
    assert settings().addresses == (Address("10.8.0.2", 24, "10.8.0.1", False),)


def test_point_to_point_topology_has_a_route_to_the_peer() -> None:
    made = tun_settings(PLAIN, (("ifconfig", ("10.8.0.6", "10.8.0.5")),), lambda _: None)
    assert made.addresses == (Address("10.8.0.6", 32, "10.8.0.5", False),)
    assert made.networks == (Network("10.8.0.5", 32, ipv6=False),)


def test_ipv6() -> None:
    made = settings(("ifconfig-ipv6", ("fd00::2/64", "fd00::1")))
    assert made.addresses[1] == Address("fd00::2", 64, "fd00::1", True)


@pytest.mark.parametrize(
    "pushed",
    [
        (),
        (("ifconfig", ("10.8.0.2",)),),
        (("ifconfig", ("not", "an address")),),
        (("ifconfig-ipv6", ("fd00::2/200",)),),
    ],
)
def test_without_a_usable_address_there_is_no_tunnel(pushed: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    with pytest.raises(ConfigurationRefused, match="address"):
        tun_settings(PLAIN, pushed, lambda _: None)


@pytest.mark.parametrize(
    ("name", "args", "network"),
    [
        ("route", ("192.0.2.7",), Network("192.0.2.7", 32, ipv6=False)),
        ("route", ("192.0.2.0", "255.255.255.0"), Network("192.0.2.0", 24, ipv6=False)),
        ("route", ("192.0.2.0/25",), Network("192.0.2.0", 25, ipv6=False)),
        (
            "route",
            ("192.0.2.0", "255.255.255.0", "net_gateway"),
            Network("192.0.2.0", 24, ipv6=False, exclude=True),
        ),
        (
            "route",
            ("192.0.2.0", "255.255.255.0", "vpn_gateway", "7"),
            Network("192.0.2.0", 24, ipv6=False, metric=7),
        ),
        ("route-ipv6", ("2001:db8::/32",), Network("2001:db8::", 32, ipv6=True)),
        ("route-ipv6", ("2001:db8::/32", "default", "9"), Network("2001:db8::", 32, ipv6=True, metric=9)),
    ],
)
def test_routes(name: str, args: tuple[str, ...], network: Network) -> None:
    assert settings((name, args)).networks == (network,)


def test_the_default_metric_holds_for_routes_without_their_own() -> None:
    made = settings(("route-metric", ("50",)), ("route", ("192.0.2.0/24",)))
    assert made.networks[0].metric == 50


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("route", ("192.0.2.1", "255.255.255.0")),
        ("route", ("host.example",)),
        ("route", ("192.0.2.0/24", "default", "somewhere")),
        ("dhcp-option", ("DNS", "nonsense")),
        ("dhcp-option", ("DOMAIN", "a b")),
    ],
)
def test_a_bad_option_is_left_out_and_told(name: str, args: tuple[str, ...]) -> None:
    notes: list[str] = []
    made = tun_settings(PLAIN, (*SUBNET, (name, args)), notes.append)
    assert (made.networks, made.dns) == ((), Dns())
    assert len(notes) == 1
    assert name in notes[0]


@pytest.mark.parametrize(
    ("flags", "ipv4", "ipv6", "bypass"),
    [
        (("def1",), True, False, True),
        (("def1", "ipv6"), True, True, True),
        (("ipv6", "!ipv4"), False, True, True),
        (("local",), True, False, False),
    ],
)
def test_redirection(flags: tuple[str, ...], ipv4: bool, ipv6: bool, bypass: bool) -> None:
    made = settings(("redirect-gateway", flags))
    assert (made.reroute_ipv4, made.reroute_ipv6, made.bypass_server) == (ipv4, ipv6, bypass)


SERVER = ("dns", ("server", "0", "address", "10.8.0.1", "[fd00::1]:53", "fd00::2", "10.8.0.2:53"))


@pytest.mark.option("dns", "dhcp-option")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            [("dhcp-option", ("DNS", "10.8.0.1")), ("dhcp-option", ("DOMAIN", "a.example"))],
            Dns(("10.8.0.1",), ("a.example",)),
        ),
        (
            [SERVER, ("dhcp-option", ("DNS", "10.9.9.9")), ("dhcp-option", ("DOMAIN", "old.example"))],
            Dns(("10.8.0.1", "fd00::1", "fd00::2", "10.8.0.2")),
        ),
        (
            [
                ("dns", ("server", "5", "address", "10.9.9.9")),
                ("dns", ("server", "1", "address", "10.8.0.1")),
                ("dns", ("server", "1", "resolve-domains", "corp.example")),
                ("dns", ("server", "1", "dnssec", "optional")),
                ("dns", ("server", "1", "transport", "DoT")),
                ("dns", ("server", "1", "sni", "dns.example")),
                ("dns", ("server", "-1", "resolve-domains", "no.address.example")),
                ("dns", ("search-domains", "lab.example")),
            ],
            Dns(("10.8.0.1",), ("lab.example", "corp.example"), "tunnel", "optional", "dot"),
        ),
    ],
)
def test_dns(options: list[tuple[str, tuple[str, ...]]], expected: Dns) -> None:
    assert settings(*options).dns == expected


@pytest.mark.parametrize(
    "args",
    [("server", "0", "address", "10.8.0.1:853"), ("server", "x", "address", "10.8.0.1"), ("server", "0", "port", "5")],
)
def test_dns_that_is_not_understood(args: tuple[str, ...]) -> None:
    notes: list[str] = []
    assert tun_settings(PLAIN, (*SUBNET, ("dns", args)), notes.append).dns == Dns()
    assert len(notes) == 1


@pytest.mark.parametrize(("word", "blocked"), [("no", True), ("yes", False), ("default", False)])
def test_ipv6_that_the_server_does_not_use(word: str, blocked: bool) -> None:
    profile = apply(PLAIN, {"ipv6": word})
    assert tun_settings(profile, SUBNET, lambda _: None).block_ipv6 == blocked
    both = (*SUBNET, ("ifconfig-ipv6", ("fd08::2/64", "fd08::1")))
    assert not tun_settings(profile, both, lambda _: None).block_ipv6


def test_networks_on_the_link() -> None:
    assert not settings(("redirect-gateway", ("def1",))).block_local
    assert settings(("redirect-private", ("block-local",))).block_local


def test_dns_of_overrides() -> None:
    profile = apply(PLAIN, {"dns-scope": "tunnel", "dns-fallback-google": True})
    assert tun_settings(profile, SUBNET, lambda _: None).dns == Dns(("8.8.8.8", "8.8.4.4"), (), "tunnel")


def test_the_profile_comes_first() -> None:
    profile = Profile(remotes=PLAIN.remotes, routes=(("198.51.100.0/24",),))
    made = settings(("route", ("192.0.2.0/24",)), profile=profile)
    assert [n.address for n in made.networks] == ["198.51.100.0", "192.0.2.0"]


def test_a_pushed_mtu_is_bounded_by_what_we_announced() -> None:
    assert settings(("tun-mtu", ("1400",))).mtu == 1400
    assert settings(("tun-mtu", ("9000",))).mtu == PLAIN.tun_mtu_max


@pytest.mark.parametrize(
    ("mssfix", "mtu", "ipv6_outer", "stream", "peer_id", "mss"),
    [
        (None, 1500, False, False, True, 1492 - 24 - 28 - 40),
        (None, 1500, True, False, True, 1492 - 24 - 48 - 40),
        (None, 1500, False, True, True, 1492 - 24 - 2 - 40 - 40),
        (None, 1400, False, False, True, 0),
        (Mssfix(0), 1500, False, False, True, 0),
        (Mssfix(1300, "fixed"), 1500, False, False, True, 1300),
        (Mssfix(1400), 1500, False, False, False, 1400 - 21 - 40),
    ],
)
def test_mss(mssfix: Mssfix | None, mtu: int, ipv6_outer: bool, stream: bool, peer_id: bool, mss: int) -> None:
    assert mss_limit(mssfix, mtu, room(peer_id=peer_id), ipv6_outer=ipv6_outer, stream=stream) == mss


def test_mss_with_cbc() -> None:
    """Whole blocks, the last not full, and the packet's number in the first."""
    cbc = room("AES-256-CBC", digest_bytes=20, peer_id=True)
    blocks = (1492 - 28 - 4 - 20 - 16) // 16 * 16
    assert mss_limit(None, 1500, cbc, ipv6_outer=False, stream=False) == blocks - 1 - 4 - 40


def room(name: str = "AES-256-GCM", *, digest_bytes: int = 0, peer_id: bool) -> Callable[[int], int]:
    return partial(payload_room, cipher=cipher(name), digest_bytes=digest_bytes, framing=Framing.NONE, peer_id=peer_id)


@pytest.mark.option("cipher")
@pytest.mark.parametrize(
    ("profile", "offered"),
    [
        (PLAIN, PLAIN.data_ciphers),
        (replace(PLAIN, cipher="AES-128-CBC"), (*PLAIN.data_ciphers, "AES-128-CBC")),
        (replace(PLAIN, cipher="AES-128-GCM"), PLAIN.data_ciphers),
        (replace(PLAIN, cipher="BF-CBC"), PLAIN.data_ciphers),
        (replace(PLAIN, cipher="AES-128-CBC", data_ciphers=("AES-256-GCM",)), ("AES-256-GCM",)),
        (replace(PLAIN, data_ciphers=("AES-256-CBC", "BF-CBC")), ("AES-256-CBC",)),
        (
            replace(PLAIN, data_ciphers=("AES-256-GCM",), enable_legacy_algorithms=True),
            ("AES-256-GCM", "AES-128-CBC", "AES-192-CBC", "AES-256-CBC"),
        ),
    ],
)
def test_ciphers_that_are_offered(profile: Profile, offered: tuple[str, ...]) -> None:
    assert session_config(profile, Credentials(), stream=False).data_ciphers == offered


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Framing.NONE),
        ({"comp_lzo": "no"}, Framing.LZO_STUB),
        ({"comp_lzo": "adaptive"}, Framing.LZO_STUB),
        ({"compress": ""}, Framing.STUB),
        ({"compress": "stub-v2"}, Framing.STUB_V2),
        ({"compress": "lz4-v2"}, Framing.STUB_V2),
        ({"compress": "migrate"}, Framing.NONE),
    ],
)
def test_framings_of_profiles(changes: dict[str, str], expected: Framing) -> None:
    assert framing(replace(PLAIN, **changes)) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("policy", "expected"), [("no", None), ("asym", ("lzo", "lz4")), ("yes", ("lzo", "lz4"))])
def test_what_the_server_may_compress_with(policy: CompressionPolicy, expected: tuple[str, ...] | None) -> None:
    config = session_config(replace(PLAIN, allow_compression=policy), Credentials(), stream=False)
    assert config.decompressors == expected


def test_the_strongest_wrapping_of_the_profile_is_used() -> None:
    key = Secret("key")
    for profile, mode in (
        (PLAIN, WrapMode.NONE),
        (Profile(remotes=PLAIN.remotes, tls_auth=key, key_direction=1, auth="SHA256"), WrapMode.TLS_AUTH),
        (Profile(remotes=PLAIN.remotes, tls_crypt=key), WrapMode.TLS_CRYPT),
        (Profile(remotes=PLAIN.remotes, tls_crypt_v2=key), WrapMode.TLS_CRYPT_V2),
    ):
        config = session_config(profile, Credentials(), stream=False)
        assert config.wrap.mode is mode
        if mode is WrapMode.TLS_AUTH:
            assert (config.wrap.direction, config.wrap.digest) == (1, "SHA256")


def test_peer_info_is_told_only_if_the_profile_says_so() -> None:
    asked = Profile(remotes=PLAIN.remotes, push_peer_info=True, setenv={"UV_SITE": "north", "OTHER": "x"})
    for profile, told in ((PLAIN, ()), (asked, (("IV_HWADDR", "id"), ("UV_SITE", "north")))):
        config = session_config(profile, Credentials(), stream=False, peer_info={"IV_HWADDR": "id"})
        assert config.peer_info == told


def test_options_without_effect_are_named() -> None:
    assert unheeded_in(PLAIN, {"dns-scope": "global", "ipv6": "", "persist-tun": True}) == []
    assert unheeded_in(PLAIN, {"dns-scope": "moon", "ipv6": "no"}) == ["override dns-scope"]
    profile = Profile(remotes=PLAIN.remotes, block_ipv6=True, block_outside_dns=True)
    assert unheeded_in(profile, {}) == ["block-outside-dns"]
    assert set(UNHEEDED) <= {field.name for field in fields(Profile)}


def test_data_ciphers_must_be_ours() -> None:
    mixed = Profile(remotes=PLAIN.remotes, data_ciphers=("BF-CBC", "AES-128-GCM"))
    assert session_config(mixed, Credentials(), stream=False).data_ciphers == ("AES-128-GCM",)
    with pytest.raises(ConfigurationRefused, match="data-ciphers"):
        session_config(Profile(remotes=PLAIN.remotes, data_ciphers=("BF-CBC",)), Credentials(), stream=False)
