import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.errors import AuthenticationFailed, CryptoError, PeerError
from ovpn3.protocol.config import WrapConfig, WrapMode
from ovpn3.protocol.keyfile import unpack_client_key, unpack_static_key
from ovpn3.protocol.keys import DIGEST_BYTES, Key2
from ovpn3.protocol.packet import unpack_first
from ovpn3.protocol.wrap import ControlWrap, Plain, Replayed, TlsAuth, TlsCrypt
from ovpn3.secret import Secret
from tests.support.vectors import load

STATIC_TEXT = Secret(load("static_key")["cases"][0]["text"])
STATIC = unpack_static_key(STATIC_TEXT)
SLICES = load("static_key")["slices"]["client"]
AUTH, CRYPT, CRYPT_V2, DYNAMIC = map(load, ("tls_auth", "tls_crypt", "tls_crypt_v2", "dyn_tls_crypt"))


def slot(name):
    """(direction, size) of a slice such as key1.hmac."""
    return int(name[3]), name.split(".")[1]


def auth_keys(case):
    direction = case["client_key_direction"]
    names = SLICES["tls_auth_no_direction" if direction == "none" else f"tls_auth_direction_{direction}"]
    size = DIGEST_BYTES[case["digest"]]
    return STATIC.hmac(slot(names["send_hmac"])[0], size), STATIC.hmac(slot(names["recv_hmac"])[0], size)


def crypt_keys(key):
    names = SLICES["tls_crypt"]
    send, recv = slot(names["send_cipher"])[0], slot(names["recv_cipher"])[0]
    return (key.cipher(send, 32), key.hmac(send, 32)), (key.cipher(recv, 32), key.hmac(recv, 32))


def crypt_reader(key, direction):
    """A wrapper that can read packets of a direction: for the client's, keys the other way round."""
    send, recv = crypt_keys(key)
    return TlsCrypt(send, recv, 0) if direction == "s2c" else TlsCrypt(recv, send, 0)


@pytest.mark.parametrize("case", AUTH["synthetic"], ids=lambda c: c["id"])
def test_tls_auth_wraps(case):
    send, recv = auth_keys(case)
    assert (send.hex(), recv.hex()) == (case["send_hmac_key"], case["recv_hmac_key"])
    wrapper = TlsAuth(send, recv, case["digest"], case["replay_time"], next_id=case["replay_packet_id"])
    session_id, rest = bytes.fromhex(case["session_id"]), bytes.fromhex(case["rest"])
    packet = wrapper.wrap(case["first_octet"], session_id, rest)
    assert packet.hex() == case["packet"]
    reader = TlsAuth(recv, send, case["digest"], 0)
    assert reader.unwrap(packet) == (case["first_octet"], session_id, rest)


@pytest.mark.parametrize("case", AUTH["captured"], ids=lambda c: c["id"] + c["direction"])
def test_tls_auth_reads_captured(case):
    send, recv = auth_keys(case)
    reader = TlsAuth(recv, send, case["digest"], 0)
    if case["direction"] == "s2c":
        reader = TlsAuth(send, recv, case["digest"], 0)
    first, session_id, rest = reader.unwrap(bytes.fromhex(case["packet"]))
    assert first >> 3 == case["opcode"]
    assert (session_id.hex(), rest.hex()) == (case["session_id"], case["rest"])


@pytest.mark.parametrize("case", AUTH["negative"], ids=lambda c: c["id"])
def test_tls_auth_drops(case):
    of = next(c for c in AUTH["synthetic"] if c["id"] == case["of"])
    send, recv = auth_keys(of)
    with pytest.raises(AuthenticationFailed):
        TlsAuth(recv, send, of["digest"], 0).unwrap(bytes.fromhex(case["packet"]))


@pytest.mark.parametrize("case", CRYPT["synthetic"], ids=lambda c: c["id"])
def test_tls_crypt_wraps(case):
    keys = crypt_keys(STATIC)
    send, recv = keys if case["direction"] == "c2s" else reversed(keys)
    assert (send[0].hex(), send[1].hex()) == (case["Ke"], case["Ka"])
    wrapper = TlsCrypt(send, recv, case["replay_time"], next_id=case["replay_packet_id"])
    session_id, rest = bytes.fromhex(case["session_id"]), bytes.fromhex(case["plaintext"])
    packet = wrapper.wrap(case["first_octet"], session_id, rest)
    assert packet.hex() == case["packet"]
    assert packet[17:49].hex() == case["tag"]
    assert crypt_reader(STATIC, case["direction"]).unwrap(packet) == (case["first_octet"], session_id, rest)


@pytest.mark.parametrize("case", CRYPT["captured"], ids=lambda c: c["direction"])
def test_tls_crypt_reads_captured(case):
    first, session_id, rest = crypt_reader(STATIC, case["direction"]).unwrap(bytes.fromhex(case["packet"]))
    assert first >> 3 == case["opcode"]
    assert (session_id.hex(), rest.hex()) == (case["session_id"], case["plaintext"])


@pytest.mark.parametrize("case", CRYPT["negative"], ids=lambda c: c["id"])
def test_tls_crypt_drops(case):
    with pytest.raises((AuthenticationFailed, PeerError)):
        crypt_reader(STATIC, "c2s").unwrap(bytes.fromhex(case["packet"]))


def test_tls_crypt_v2_wrapped_keys_hold_what_they_say():
    for case in CRYPT_V2["keys"]:
        wkc = bytes.fromhex(case["WKc"])
        cipher = Cipher(algorithms.AES256(bytes.fromhex(case["server_Ke"])), modes.CTR(wkc[:16]))
        plain = cipher.decryptor().update(wkc[32:-2])
        assert plain[:256].hex() == case["Kc"]
        assert plain[256] == case["metadata_type"]
        assert plain[257:].hex() == case["metadata"]
        tag = hmac.digest(bytes.fromhex(case["server_Ka"]), wkc[-2:] + plain, "sha256")
        assert tag == wkc[:32]


@pytest.mark.parametrize("case", CRYPT_V2["synthetic"], ids=lambda c: c["id"])
def test_tls_crypt_v2_appends_the_wrapped_key(case):
    key, wkc = _client_key(case["key"])
    wire = bytes.fromhex(case["packet"])
    wrapper = TlsCrypt(*crypt_keys(key), case["replay_time"], wkc=wkc, next_id=case["replay_packet_id"])
    session_id = bytes.fromhex(case["session_id"])
    assert wrapper.wrap(wire[0], session_id, bytes.fromhex(case["plaintext"])) == wire
    control = 4 << 3
    assert not wrapper.wrap(control, session_id, b"").endswith(wkc)


def test_tls_crypt_v2_reads_a_captured_handshake():
    key, wkc = _client_key(CRYPT_V2["captured_handshake"]["key"])
    for case in CRYPT_V2["captured_handshake"]["packets"]:
        wire = bytes.fromhex(case["packet"])
        opcode, _ = unpack_first(wire[0])
        assert opcode.carries_wkc == case["wkc_appended"]
        if case["wkc_appended"]:
            assert wire.endswith(wkc)
            wire = wire[: -len(wkc)]
        _, _, rest = crypt_reader(key, case["direction"]).unwrap(wire)
        assert rest.hex() == case["plaintext"]
        assert int.from_bytes(wire[9:13], "big") == case["replay_packet_id"]


def test_a_tls_crypt_v2_client_shows_early_negotiation_in_its_first_packet_id():
    wrap = ControlWrap(WrapConfig(WrapMode.TLS_CRYPT_V2, Secret(CRYPT_V2["keys"][0]["client_key_pem"])), 1)
    assert wrap.base.wrap(0x50, bytes(8), b"\0\0\0\0\0")[9:13].hex() == "0f000001"


@pytest.mark.parametrize("case", DYNAMIC["captured"], ids=lambda c: c["id"])
def test_dynamic_tls_crypt(case):
    base = Key2(bytes.fromhex(case["original_key"])) if case["original_key"] else None
    exported = Key2(bytes.fromhex(case["ekm"]))
    key = exported if base is None else exported.xor(base)
    assert (key.cipher(0, 64) + key.hmac(0, 64) + key.cipher(1, 64) + key.hmac(1, 64)).hex() == case["wrap_key"]
    for packet in case["packets"]:
        wire = bytes.fromhex(packet["packet"])
        first, _, rest = crypt_reader(key, packet["direction"]).unwrap(wire)
        assert unpack_first(first) == (packet["opcode"], packet["key_id"])
        assert rest.hex() == packet["plaintext"]


def test_dynamic_keys_serve_all_generations_but_the_first():
    wrap = ControlWrap(WrapConfig(WrapMode.TLS_AUTH, STATIC_TEXT, 1, "SHA256"), 7)
    assert wrap.for_key(1) is wrap.base
    exported = Key2(bytes.fromhex(DYNAMIC["captured"][0]["ekm"]))
    wrap.make_dynamic(exported, 9)
    assert wrap.for_key(0) is wrap.base
    assert wrap.for_key(1) is wrap.for_key(7)
    packet = wrap.for_key(1).wrap(3 << 3 | 1, bytes(8), b"\0\0\0\0\0")
    assert packet[9:17].hex() == "0000000100000009"
    assert crypt_reader(exported.xor(STATIC), "c2s").unwrap(packet)[2] == b"\0\0\0\0\0"


def test_a_replay_is_dropped_and_a_forgery_marks_nothing():
    send, recv = crypt_keys(STATIC)
    client, server = TlsCrypt(send, recv, 5), TlsCrypt(recv, send, 5)
    packet = client.wrap(0x20, bytes(8), b"data")
    with pytest.raises(AuthenticationFailed):
        server.unwrap(packet[:-1] + bytes((packet[-1] ^ 1,)))
    assert server.unwrap(packet)[2] == b"data"
    with pytest.raises(Replayed):
        server.unwrap(packet)


@pytest.mark.parametrize(
    "config",
    [
        WrapConfig(WrapMode.TLS_AUTH, STATIC_TEXT, 1, "SHA3"),
        WrapConfig(WrapMode.TLS_AUTH, Secret("")),
        WrapConfig(WrapMode.TLS_CRYPT_V2, STATIC_TEXT),
    ],
)
def test_unusable_keys_are_refused(config):
    with pytest.raises(CryptoError):
        ControlWrap(config, 0)


@given(st.binary(max_size=120))
def test_any_octets_are_dropped(data):
    for wrapper in (TlsAuth(b"k" * 20, b"k" * 20, "SHA1", 0), crypt_reader(STATIC, "s2c")):
        with pytest.raises((AuthenticationFailed, PeerError)):
            wrapper.unwrap(data)


@given(st.binary(max_size=8))
def test_plain_needs_a_whole_header(data):
    with pytest.raises(PeerError):
        Plain().unwrap(data)


def _client_key(name):
    return unpack_client_key(Secret(next(k for k in CRYPT_V2["keys"] if k["id"] == name)["client_key_pem"]))
