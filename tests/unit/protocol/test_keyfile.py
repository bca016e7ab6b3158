import base64

import pytest

from ovpn3.errors import CryptoError
from ovpn3.protocol.keyfile import unpack_client_key, unpack_static_key
from ovpn3.secret import Secret
from tests.support.vectors import load

STATIC = load("static_key")
CLIENT = load("tls_crypt_v2")


def octets(key):
    return key.cipher(0, 64) + key.hmac(0, 64) + key.cipher(1, 64) + key.hmac(1, 64)


@pytest.mark.parametrize("case", STATIC["cases"], ids=lambda c: c["id"])
def test_static_key_files(case):
    if "error" in case:
        with pytest.raises(CryptoError):
            unpack_static_key(Secret(case["text"]))
    else:
        assert octets(unpack_static_key(Secret(case["text"]))).hex() == case["key"]


@pytest.mark.parametrize("case", CLIENT["keys"], ids=lambda c: c["id"])
def test_client_key_files(case):
    key, wkc = unpack_client_key(Secret(case["client_key_pem"]))
    assert octets(key).hex() == case["Kc"]
    assert wkc.hex() == case["WKc"]
    assert len(wkc) == case["WKc_len"]


@pytest.mark.parametrize("size", [0, 255, 256, 256 + 33, 256 + 1025])
def test_client_keys_of_impossible_size(size):
    body = base64.b64encode(bytes(size)).decode()
    name = "OpenVPN tls-crypt-v2 client key"
    with pytest.raises(CryptoError):
        unpack_client_key(Secret(f"-----BEGIN {name}-----\n{body}\n-----END {name}-----\n"))


@pytest.mark.parametrize("case", CLIENT["keys"][:1], ids=lambda c: c["id"])
def test_a_server_key_is_not_a_client_key(case):
    with pytest.raises(CryptoError):
        unpack_client_key(Secret(case["server_key_pem"]))


def test_no_error_shows_key_text():
    marker = "deadbeef" * 8
    text = f"-----BEGIN OpenVPN Static key V1-----\n{marker}\nzz\n-----END OpenVPN Static key V1-----"
    for broken in (text, text.replace("END", "AND"), text.replace("\nzz", "\n")):
        with pytest.raises(CryptoError) as caught:
            unpack_static_key(Secret(broken))
        assert marker not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_key_that_is_not_text():
    with pytest.raises(CryptoError):
        unpack_static_key(Secret(b"\xff\xfe\0"))
