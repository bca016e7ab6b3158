import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ovpn3.errors import CryptoError
from ovpn3.protocol.keys import EKM_DATA_LABEL, KEY2_BYTES, Key2, KeySource, data_keys, expand, prf
from ovpn3.secret import Secret
from tests.support.vectors import load

PRF, EKM = load("tls1_prf"), load("ekm_keys")


@pytest.mark.parametrize("case", PRF["prf"], ids=lambda c: c["id"])
def test_prf(case):
    out = bytes.fromhex(case["out"])
    assert prf(bytes.fromhex(case["secret"]), bytes.fromhex(case["seed"]), len(out)) == out


@pytest.mark.parametrize("case", PRF["expansion"] + PRF["captured"], ids=lambda c: c.get("id") or c["tls"])
def test_expansion(case):
    key2 = derive(case)
    parts = key2.cipher(0, 64) + key2.hmac(0, 64) + key2.cipher(1, 64) + key2.hmac(1, 64)
    assert parts.hex() == case["key2"]


@pytest.mark.parametrize("case", PRF["captured"], ids=lambda c: c["tls"])
def test_expanded_keys_open_captured_data_packets(case):
    keys = data_keys(derive(case), case["cipher"])
    for direction, key, iv in (("c2s", keys.send_key, keys.send_iv), ("s2c", keys.recv_key, keys.recv_iv)):
        packet = bytes.fromhex(case[f"{direction}_packet"])
        header, tag, ciphertext = packet[:8], packet[8:24], packet[24:]
        nonce = header[4:] + iv.reveal()
        plain = AESGCM(key.reveal()).decrypt(nonce, ciphertext + tag, header)
        assert plain.hex() == case[f"{direction}_plaintext"]


@pytest.mark.parametrize(("name", "case"), EKM["synthetic"]["client"].items())
def test_slices(name, case):
    key2 = Key2(bytes.fromhex(EKM["synthetic"]["key2"]))
    if name == "epoch E1":
        assert (key2.cipher(0, 32).hex(), key2.cipher(1, 32).hex()) == (case["send"], case["recv"])
        return
    keys = data_keys(key2, *name.split("/"))
    found = {
        "send_key": keys.send_key,
        "recv_key": keys.recv_key,
        "send_implicit_iv": keys.send_iv,
        "recv_implicit_iv": keys.recv_iv,
        "send_hmac_key": keys.send_hmac,
        "recv_hmac_key": keys.recv_hmac,
    }
    assert {k: v.reveal().hex() for k, v in found.items() if v} == case


def test_exporter_call_is_the_one_of_the_vectors():
    assert EKM["label"].encode() == EKM_DATA_LABEL
    assert EKM["length"] == KEY2_BYTES


@pytest.mark.parametrize(("cipher", "digest"), [("BF-CBC", "SHA1"), ("AES-128-CBC", ""), ("", ""), ("aes-128-gcm", "")])
def test_unknown_ciphers(cipher, digest):
    with pytest.raises(CryptoError):
        data_keys(Key2(bytes(KEY2_BYTES)), cipher, digest)


@pytest.mark.parametrize("size", [0, 255, 257])
def test_key_material_has_one_size(size):
    with pytest.raises(CryptoError):
        Key2(bytes(size))


def test_wiping():
    keys = data_keys(Key2(b"\1" * KEY2_BYTES), "AES-256-GCM")
    keys.wipe()
    assert not any(keys.send_key.reveal() + keys.recv_key.reveal() + keys.send_iv.reveal())


def derive(case):
    values = {k: Secret(bytes.fromhex(case[k])) for k in case if "random" in k or k == "pre_master"}
    client = KeySource(values["client_random1"], values["client_random2"], values["pre_master"])
    server = KeySource(values["server_random1"], values["server_random2"])
    return expand(client, server, bytes.fromhex(case["client_sid"]), bytes.fromhex(case["server_sid"]))
