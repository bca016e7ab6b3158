"""Files named in a profile become inline blocks."""

import errno

import pytest

from ovpn3.errors import ProfileError
from ovpn3.profile import build, inline, parse

PEM = b"-----BEGIN CERTIFICATE-----\r\nQQ==\r\n-----END CERTIFICATE-----"
FILES = {
    "ca.crt": PEM,
    "with blank.crt": b"\xef\xbb\xbf" + PEM + b"\n",
    "ta.key": b"-----BEGIN OpenVPN Static key V1-----\n00\n",
    "login": b"me\nhunter2\n",
    "empty": b"",
    "binary": b"\x30\x82\0",
    "evil": b"A\n </ca> x\nscript-security 2\n",
    "wide": b"\nx" * 3 + b"y" * 512,
    "large": b"# x\n" * 70000,
}


def read(name: str) -> bytes:
    if name not in FILES:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
    return FILES[name]


def test_everything_else_stays() -> None:
    text = "# ca ca.crt\nclient # yes\n\n<ca>\nca ca.crt\n</ca>\nsetenv UV_X 'ca ca.crt'\nauth-user-pass"
    assert inline(text, read) == text


def test_files_become_blocks_in_place() -> None:
    merged = inline("\ufeffdev tun\r\nca ca.crt # ours\r\ncert 'with blank.crt'\n# end\n", read)
    body = "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"
    assert merged == f"dev tun\r\n<ca>\n{body}</ca>\n<cert>\n{body}</cert>\n# end\n"


def test_direction_of_tls_auth() -> None:
    assert inline("tls-auth ta.key 1", read).endswith("</tls-auth>\nkey-direction 1")
    assert inline("key-direction 0\ntls-auth ta.key", read).endswith("</tls-auth>")


def test_announced_blocks() -> None:
    text = "ca [inline]\ntls-auth [inline] 0\n<ca>\nA\n</ca>\n"
    assert inline(text, read) == "\nkey-direction 0\n<ca>\nA\n</ca>\n"


def test_credentials() -> None:
    assert inline("auth-user-pass login", read) == "<auth-user-pass>\nme\nhunter2\n</auth-user-pass>"
    assert inline("auth-user-pass username-only", read) == "auth-user-pass username-only"
    assert inline('auth-user-pass ""', read) == 'auth-user-pass ""'


@pytest.mark.parametrize(("method", "kept"), [("", "auto"), (" basic", "basic")])
def test_proxy_credentials(method: str, kept: str) -> None:
    merged = inline(f"http-proxy proxy.example 3128 login{method}\n", read)
    assert merged == (
        f"http-proxy proxy.example 3128 {kept}\n<http-proxy-user-pass>\nme\nhunter2\n</http-proxy-user-pass>\n"
    )


def test_pkcs12_is_put_in_as_base64() -> None:
    merged = inline("pkcs12 client.p12\n", lambda name: bytes(range(256)))
    made = build(parse(f"client\ndev tun\nremote a\n{merged}")).pkcs12
    assert made is not None
    assert made.reveal() == bytes(range(256))


def test_socks_credentials() -> None:
    merged = inline("socks-proxy proxy.example 1080 login\n", read)
    assert merged == "socks-proxy proxy.example 1080\n<socks-proxy-user-pass>\nme\nhunter2\n</socks-proxy-user-pass>\n"
    profile = inline(f"client\ndev tun\nremote a 1 tcp\nca ca.crt\nauth-user-pass\n{merged}", read)
    made = build(parse(profile)).socks_proxy
    assert made is not None
    assert (made.host, made.port, made.username) == ("proxy.example", 1080, "me")
    assert inline("socks-proxy proxy.example\n", read) == "socks-proxy proxy.example\n"


def test_proxy_without_file() -> None:
    text = "http-proxy proxy.example 3128 auto-nct\nhttp-proxy a 1\n"
    assert inline(text, read) == text


def test_merged_profile_builds() -> None:
    text = "client\ndev tun\nremote a\nca ca.crt\nauth-user-pass login\ntls-crypt ta.key\n"
    assert build(parse(inline(text, read))).tls_crypt is not None


@pytest.mark.parametrize(
    ("text", "option", "line", "source", "problem"),
    [
        ("dev tun\nca gone.crt\n", "ca", 2, "p", "can't read gone.crt: No such file"),
        ("ca evil\n", "ca", 2, "evil", "starts with </ca>"),
        ("ca binary\n", "", 1, "binary", "not a text file"),
        ("ca wide\n", "", 4, "wide", "longer than 512"),
        ("ca large\n", "", 0, "large", "larger than"),
        ("crl-verify lists dir\n", "crl-verify", 1, "p", "directory"),
        ("ca\n<x\n", "", 2, "p", "not an option name"),
    ],
)
def test_refused_files(text: str, option: str, line: int, source: str, problem: str) -> None:
    with pytest.raises(ProfileError, match=problem) as refusal:
        inline(text, read, source="p")
    error = refusal.value
    assert (error.option, error.line, error.source) == (option, line, source)


def test_error_of_a_reader_without_words() -> None:
    def refuse(name: str) -> bytes:
        raise PermissionError("outside the profile's directory")

    with pytest.raises(ProfileError, match="can't read /etc/shadow: outside"):
        inline("ca /etc/shadow", refuse)


def test_many_small_files_are_too_much_together() -> None:
    FILES["half"] = b"# xxxxxxxxxxx\n" * 10000
    assert inline("ca half\n", read)
    with pytest.raises(ProfileError, match="larger than"):
        inline("ca half\n" * 2, read)
