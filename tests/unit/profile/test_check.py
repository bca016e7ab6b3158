"""From directives to the model, and every way to be refused."""

import dataclasses
from pathlib import Path

import pytest

from ovpn3.errors import ProfileError
from ovpn3.profile import Profile, Remote, build, check_name, missing, parse
from ovpn3.profile.model import AuthUserPass, HttpProxy, Mssfix, PullFilter, StaticChallenge, X509Name
from ovpn3.profile.options import Status, table
from ovpn3.secret import Secret

DATA = Path(__file__).parents[2] / "data" / "profiles"
PEM = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"
CA = f"<ca>\n{PEM}</ca>\n"
CERT = f"<cert>\n{PEM}</cert>\n<key>\n-----BEGIN PRIVATE KEY-----\nhunter2\n</key>\n"
STATIC = "-----BEGIN OpenVPN Static key V1-----\n00\n"
V2 = "-----BEGIN OpenVPN tls-crypt-v2 client key-----\n00\n"
BASE = f"client\ndev tun\nremote vpn.example.com\nauth-user-pass\n{CA}"
NEXT = BASE.count("\n") + 1


def made(extra: str = "", base: str = BASE) -> Profile:
    return build(parse(base + extra))


def refusal(extra: str, base: str = BASE) -> ProfileError:
    with pytest.raises(ProfileError) as raised:
        build(parse(base + extra, source="p"), source="p")
    return raised.value


def test_full_profile() -> None:
    p = build(parse((DATA / "full.ovpn").read_text()))
    assert p.remotes == (
        Remote("first.example.com", 443, "udp4"),
        Remote("192.0.2.7", 1195, "tcp4"),
        Remote("second.example.com", 1196, "tcp6"),
    )
    assert (p.remote_random, p.float_, p.persist_tun, p.auth_nocache, p.push_peer_info) == (True,) * 5
    assert (p.server_poll_timeout, p.connect_retry) == (4.0, (2.0, 30.0))
    assert p.ca.count("BEGIN CERTIFICATE") == 2
    assert p.client_cert
    assert p.key is not None
    assert "a2V5" in p.key.text()
    assert (p.remote_cert_tls, p.remote_cert_ku) == ("server", (0xA0, 0x88))
    assert p.verify_x509_name == X509Name("C=CH, O=Example; Inc., CN=vpn #1", "subject")
    assert [f[:2].hex() for f in p.peer_fingerprints] == ["0001", "aabb"]
    assert (p.tls_version_min, p.tls_version_max) == ("1.2", "1.3")
    assert (p.tls_auth is not None, p.key_direction) == (True, 1)
    assert p.data_ciphers == ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305", "AES-256-CBC")
    assert (p.cipher, p.data_ciphers_fallback, p.auth) == ("AES-256-CBC", "AES-256-CBC", "SHA256")
    assert (p.comp_lzo, p.compress, p.replay_window) == ("no", None, (128, 30.0))
    assert (p.tun_mtu, p.mssfix) == (1400, Mssfix(1360, "mtu"))
    assert (p.hand_window, p.tran_window, p.reneg_sec, p.tls_timeout) == (604800.0, 1800.0, 10.0, 0.25)
    assert (p.ping, p.ping_restart, p.inactive, p.explicit_exit_notify) == (5.0, 60.0, (600.0, 1000), 1)
    assert p.auth_user_pass == AuthUserPass()
    assert p.static_challenge == StaticChallenge('Code from your "token"', echo=True, concat=True)
    assert (p.auth_retry, p.verb, p.friendly_name) == ("interact", 3, "Work")
    assert p.setenv == {"UV_SITE": "Basel 4", "FRIENDLY_NAME": "Work"}
    assert p.block_ipv6
    assert p.routes == (("10.1.0.0", "255.255.0.0"), ("10.2.0.0", "255.255.0.0", "net_gateway"))
    assert p.routes6 == (("2001:db8::/32",),)
    assert p.redirect_gateway == (("def1", "ipv6"),)
    assert (p.dhcp_options, p.dns) == ((("DNS", "10.1.0.1"),), (("server", "1", "address", "10.1.0.2"),))
    assert p.pull_filters == (PullFilter("ignore", "dhcp-option WINS"), PullFilter("accept", "route"))
    warned = {w.split(": ")[1] for w in p.warnings}
    assert warned == {"setenv", "a-future-option", "later-option", "persist-key", "up"}


def test_access_server_profile() -> None:
    p = build(parse((DATA / "access-server.ovpn").read_text()))
    assert (p.locked_username, p.friendly_name, p.autologin) == ("alice", "alice@vpn.example.com", False)
    assert not p.client_cert
    assert [w.split(": ")[1] for w in p.warnings] == ["NOVELTY"]


def test_model_shows_no_secret() -> None:
    p = made(f"{CERT}<tls-crypt>\n{STATIC}hunter2\n</tls-crypt>\n<auth-user-pass>\nme\nhunter2\n</auth-user-pass>\n")
    assert p.auth_user_pass is not None
    assert p.auth_user_pass.password is not None
    assert p.auth_user_pass.password.text() == "hunter2"
    assert "hunter2" not in repr(p)


def test_minimal_profile_is_all_defaults() -> None:
    defaults = Profile(remotes=(Remote("vpn.example.com"),), ca=PEM, auth_user_pass=AuthUserPass())
    for field in dataclasses.fields(Profile):
        assert getattr(made(), field.name) == getattr(defaults, field.name), field.name


@pytest.mark.parametrize("option", [o for o in table().values() if o.status is Status.REFUSED], ids=lambda o: o.name)
def test_refused_options(option: object) -> None:
    name = getattr(option, "name", "")
    error = refusal(f"{name}\n")
    assert (error.option, error.line, error.source) == (name, NEXT, "p")
    assert error.hint


@pytest.mark.parametrize("status", [Status.IGNORED, Status.WARNED])
def test_dropped_options(status: Status) -> None:
    names = [o.name for o in table().values() if o.status is status]
    warnings = made("".join(f"{name} some words\n" for name in names)).warnings
    assert len(warnings) == (0 if status is Status.IGNORED else len(names))


@pytest.mark.parametrize(
    ("extra", "option", "problem"),
    [
        ("clinet\n", "clinet", "did you mean client?"),
        ("zzzzzz\n", "zzzzzz", "ignore-unknown-option"),
        ("remote [inline]\n", "remote", "host name"),
        ("management-hold\n", "management-hold", "D-Bus"),
        ("setenv opt secret x\n", "secret", "static keys"),
        ("ignore-unknown-option fragment\nfragment 1\n", "fragment", "mssfix"),
        ("setenv opt ifconfig 10.0.0.1 255.0.0.0\n", "ifconfig", "only come from the server"),
        ("keepalive 10\n", "keepalive", "1 arguments given"),
        ("remote a 1 udp x\n", "remote", "4 arguments given"),
        ("<dev>\ntun\n</dev>\n", "dev", "inline block"),
        ("connection x\n", "connection", "must be an inline block"),
        ("ca ca.pem\n", "ca", "names a file"),
        ("auth-user-pass file\n", "auth-user-pass", "names a file"),
        ("<ca>\nnothing\n</ca>\n", "ca", "BEGIN"),
        (f"<tls-crypt-v2>\n{STATIC}</tls-crypt-v2>\n", "tls-crypt-v2", "client key"),
        (f"<tls-auth>\n{STATIC}</tls-auth>\n<tls-crypt>\n{STATIC}</tls-crypt>\n", "", "exclude each other"),
        (f"<tls-crypt>\n{STATIC}</tls-crypt>\n<tls-crypt-v2>\n{V2}</tls-crypt-v2>\n", "", "exclude each other"),
        (f"<cert>\n{PEM}</cert>\n", "", "cert without key"),
        ("<key>\n-----BEGIN PRIVATE KEY-----\n</key>\n", "", "key without cert"),
        ("dev tap0\n", "dev", "tap"),
        ("dev-type tap\n", "dev-type", "only tun"),
        ("dev office\n", "dev", "dev-type tun"),
        ("dev a/b\ndev-type tun\n", "dev", "name of a device"),
        ("mode server\n", "mode", "p2p"),
        ("key-method 1\n", "key-method", "2"),
        ("port 0\n", "port", "1 to 65535"),
        ("port 65536\n", "port", "1 to 65535"),
        ("port \u0663\n", "port", "1 to 65535"),
        ("remote a.example -1\n", "remote", "1 to 65535"),
        ("remote a.example 1 sctp\n", "remote", "protocol"),
        ("remote a/b\n", "remote", "host name"),
        ("remote ''\n", "remote", "host name"),
        (f"remote {'a' * 257}\n", "remote", "host name"),
        ("proto udp5\n", "proto", "protocol"),
        ("tun-mtu 575\n", "tun-mtu", "576 to 65535"),
        ("tun-mtu 99999999999\n", "tun-mtu", "576 to 65535"),
        ("mssfix 100\n", "mssfix", "576"),
        ("mssfix 1400 x\n", "mssfix", "mtu fixed"),
        ("key-direction 2\n", "key-direction", "bidirectional"),
        ("tls-version-min 1.9\n", "tls-version-min", "1.3"),
        ("tls-version-min 1.3\ntls-version-max 1.2\n", "tls-version-max", "below"),
        ("tls-cert-profile insecure\n", "tls-cert-profile", "suiteb"),
        ("verify-x509-name x prefix\n", "verify-x509-name", "name-prefix"),
        ("verify-x509-name '' name-prefix\n", "verify-x509-name", "needs a name"),
        ("tls-remote ''\n", "tls-remote", "needs a name"),
        ("verify-x509-name x\ntls-remote x\n", "tls-remote", "beside verify-x509-name"),
        ("remote-cert-ku zz\n", "remote-cert-ku", "hexadecimal"),
        ("peer-fingerprint aa:bb\n", "peer-fingerprint", "SHA-256"),
        ("<peer-fingerprint>\n# none\n</peer-fingerprint>\n", "peer-fingerprint", "no fingerprint"),
        ("crl-verify lists dir\n", "crl-verify", "directory"),
        ("data-ciphers AES-256-GCM::X\n", "data-ciphers", "algorithm"),
        ("cipher 'a b'\n", "cipher", "algorithm"),
        ("compress zip\n", "compress", "stub-v2"),
        ("hand-window soon\n", "hand-window", "number"),
        ("pull-filter drop x\n", "pull-filter", "reject"),
        ("static-challenge x maybe\n", "static-challenge", "0 1"),
        (f"static-challenge {'x' * 257} 1\n", "static-challenge", "256"),
        (f"setenv USERNAME {'x' * 257}\n", "USERNAME", "256"),
        ("setenv GENERIC_CONFIG 1\n", "setenv", "server-locked"),
        ("# OVPN_ACCESS_SERVER_EXTERNAL_PKI=1\n", "", "system store"),
        ("http-proxy p 3128\n", "http-proxy", "TCP only"),
        ("proto tcp\nhttp-proxy p 3128 pass.txt\n", "http-proxy", "unknown authentication"),
        ("<pkcs12>\n?\n</pkcs12>\n", "pkcs12", "not base64"),
        ("proto tcp\nhttp-proxy p 1\nsocks-proxy p\n", "socks-proxy", "http-proxy too"),
        ("proto tcp\nhttp-proxy p none\n", "http-proxy", "1 to 65535"),
        ("<connection>\nproto tcp\n</connection>\n", "connection", "no remote"),
        (f"<connection>\nremote a\n{'# x' * 99}\n</connection>\n", None, ""),
        ("<connection>\n" + ("# " + "x" * 400 + "\n") * 11 + "remote a\n</connection>\n", "connection", "4096"),
    ],
)
def test_refused_values(extra: str, option: str | None, problem: str) -> None:
    if option is None:
        assert made(extra)
        return
    error = refusal(extra)
    assert error.option == option
    assert problem in str(error)
    assert str(error).startswith("p")


@pytest.mark.parametrize("line", ["hunter2", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "Hunter"])
def test_stray_secret_is_not_repeated(line: str) -> None:
    error = refusal(f"{line}\n")
    assert (error.option, error.line) == ("", NEXT)
    assert line not in str(error)


@pytest.mark.parametrize(
    ("base", "problem"),
    [
        (BASE.replace("client\n", ""), "not a client profile"),
        (BASE.replace("client\n", "tls-client\n"), "not a client profile"),
        (BASE.replace("remote vpn.example.com\n", ""), "no server"),
        (BASE.replace(CA, ""), "check the server's certificate"),
        (BASE.replace("auth-user-pass\n", ""), "no way to log in"),
        ("", "not a client profile"),
    ],
)
def test_what_every_profile_needs(base: str, problem: str) -> None:
    assert problem in str(refusal("", base))


def test_block_errors_have_the_profiles_line() -> None:
    assert refusal("<connection>\n\nremote a 0\n</connection>\n").line == NEXT + 2
    assert refusal("<connection>\nremote\n</connection>\n").line == NEXT + 1


def test_connection_block_warnings() -> None:
    p = made("<connection>\nremote b 2\nnobind\nmystery\n</connection>\n")
    assert [w.split(": ")[:2] for w in p.warnings] == [
        [f"line {NEXT + 3}", "mystery"],
    ]


@pytest.mark.parametrize("line", ["fragment 1300", "http-proxy proxy 8080", "socks-proxy proxy", "tls-crypt key"])
def test_what_a_connection_block_cannot_have(line: str) -> None:
    error = refusal(f"<connection>\nremote b\n{line}\n</connection>\n")
    assert (error.option, error.line) == (line.split()[0], NEXT + 2)
    assert error.hint


def test_last_of_several_counts_and_is_reported() -> None:
    p = made("verb 3\nverb 4\n")
    assert p.verb == 4
    assert p.warnings == (f"line {NEXT + 1}: verb: given 2 times, the last one counts",)


def test_tls_client_and_pull_make_a_client() -> None:
    assert made("", BASE.replace("client\n", "tls-client\npull\n")).remotes


def test_forerunner_of_verify_x509_name() -> None:
    assert made("tls-remote vpn-\n").verify_x509_name == X509Name("vpn-", "subject-or-prefix")


def test_fingerprint_instead_of_authority() -> None:
    assert made("peer-fingerprint " + "ab" * 32 + "\n", BASE.replace(CA, "")).peer_fingerprints == (b"\xab" * 32,)


@pytest.mark.parametrize("off", ["client-cert-not-required\n", "setenv CLIENT_CERT 0\n"])
def test_certificate_switched_off(off: str) -> None:
    assert not made(CERT + off).client_cert
    assert not made(off, BASE.replace("auth-user-pass\n", "")).client_cert


@pytest.mark.parametrize(
    ("extra", "autologin"),
    [("", False), ("# OVPN_ACCESS_SERVER_AUTOLOGIN=true\n", True), ("setenv opt AUTOLOGIN 1\n", True)],
)
def test_autologin(extra: str, autologin: bool) -> None:
    assert made(extra).autologin is autologin


def test_certificate_alone_is_autologin() -> None:
    assert made(CERT, BASE.replace("auth-user-pass\n", "")).autologin


@pytest.mark.parametrize(
    ("extra", "field", "value"),
    [
        ("mssfix\n", "mssfix", Mssfix(0)),
        ("mssfix 0\n", "mssfix", Mssfix(0)),
        ("mssfix 1300\n", "mssfix", Mssfix(1300)),
        ("compress\n", "compress", ""),
        ("comp-lzo\n", "comp_lzo", "adaptive"),
        ("tls-version-min 1.9 or-highest\n", "tls_version_min", "1.3"),
        ("connect-timeout 7\n", "server_poll_timeout", 7.0),
        ("connect-timeout 7\nserver-poll-timeout 8\n", "server_poll_timeout", 8.0),
        ("connect-retry 0\n", "connect_retry", (1.0, 300.0)),
        ("connect-retry 400 5\n", "connect_retry", (400.0, 400.0)),
        ("inactive 0\n", "inactive", None),
        ("key-direction bi\n", "key_direction", None),
        ("ncp-ciphers aes-128-gcm\n", "data_ciphers", ("AES-128-GCM",)),
        ("allow-password-save 0\n", "allow_password_save", False),
        ("setenv ALLOW_PASSWORD_SAVE 0\n", "allow_password_save", False),
        ("setenv PUSH_PEER_INFO 1\n", "push_peer_info", True),
        ("tls-timeout-ms 1\n", "tls_timeout", 0.1),
        ("proto adaptive\n", "remotes", (Remote("vpn.example.com"),)),
        ("proto TCPv6\n", "remotes", (Remote("vpn.example.com", proto="tcp6"),)),
        ("auth-user-pass username-only\n", "auth_user_pass", AuthUserPass(username_only=True)),
        ("<auth-user-pass>\nme\n</auth-user-pass>\n", "auth_user_pass", AuthUserPass("me")),
        ("setenv UV_X 'a\u200bb'\n", "setenv", {}),
        ("dev office\ndev-type tun\n", "dev", "office"),
    ],
)
def test_values(extra: str, field: str, value: object) -> None:
    assert getattr(made(extra), field) == value


@pytest.mark.parametrize(
    ("words", "auth", "cleartext"),
    [
        ("", "none", False),
        ("none", "none", False),
        ("auto", "auto", True),
        ("auto-nct", "auto", False),
        ("basic", "basic", True),
        ("auto digest", "digest", False),
    ],
)
def test_proxy_authentication(words: str, auth: str, cleartext: bool) -> None:
    proxy = made(f"proto tcp\nhttp-proxy proxy.example 3128 {words}\n").http_proxy
    assert proxy is not None
    assert (proxy.auth, proxy.allow_cleartext) == (auth, cleartext)


def test_proxy_with_everything() -> None:
    p = made(
        "remote b 443 tcp\nhttp-proxy proxy.example 3128\nhttp-proxy-option AGENT Browser/1\n"
        "http-proxy-option CUSTOM-HEADER X-Site Basel\nhttp-proxy-option VERSION 1.1\n"
        'http-proxy-option EXT1 "X-Floor: 1"\nhttp-proxy-option EXT2 X-Room 2\n'
        "<http-proxy-user-pass>\nme\npw\n</http-proxy-user-pass>\n"
    )
    assert p.remotes == (Remote("b", 443, "tcp"),)  # the proxy can't reach the other
    assert p.http_proxy is not None
    assert p.http_proxy.password is not None
    assert p.http_proxy.password.text() == "pw"
    headers = (("X-Site", "Basel"), ("X-Floor: 1", ""), ("X-Room", "2"))
    assert dataclasses.replace(p.http_proxy, password=None) == HttpProxy(
        "proxy.example", 3128, "auto", True, "me", None, "1.1", "Browser/1", headers
    )
    assert isinstance(p.http_proxy.password, Secret)


def test_missing_lists_all() -> None:
    assert [text.split()[0] for text in missing(())] == ["'client'", "'dev'", "'ca'", "'remote'"]
    assert missing(parse(BASE)) == []
    assert missing(parse("tls-client\nsetenv opt dev tun\nca x\n<connection>\n</connection>\n")) == []
    assert missing(parse(BASE.replace(CA, "peer-fingerprint x\n"))) == []
    assert missing(parse("# OVPN_ACCESS_SERVER_DEV=tun\n" + BASE.replace("dev tun\n", ""))) == [
        "'dev' is missing, as in 'dev tun'"
    ]


@pytest.mark.parametrize("line", ["setenv GENERIC_CONFIG 1", "setenv opt setenv GENERIC_CONFIG"])
def test_server_locked_profile_is_not_valid(line: str) -> None:
    (text,) = missing(parse(f"{BASE}{line}\n"))
    assert "server-locked" in text


@pytest.mark.parametrize("name", ["office", "x" * 200, "Büro 7 (öst)", "a/b.ovpn"])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb", "a\x1b[2Jb", "a\x7f", "a\u202eb", "\ud800"])
def test_refused_names(name: str) -> None:
    with pytest.raises(ProfileError, match="the name"):
        check_name(name)
