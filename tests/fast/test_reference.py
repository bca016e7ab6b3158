"""The oracle itself: published and captured packets of every format."""

import json
from pathlib import Path
from typing import Any

import pytest

from ovpn3.datapath import reference
from ovpn3.errors import AuthenticationFailed, PeerError

VECTORS = Path(__file__).parents[1] / "data/vectors"


def load(name: str) -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((VECTORS / name).read_text())
    return vectors


AEAD, CBC, EPOCH = load("data_aead.json"), load("data_cbc.json"), load("epoch.json")


def by_id(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["id"])


def unhex(case: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def directions(case: dict[str, Any]) -> list[tuple[bytes, bytes, bytes]]:
    """(half of key2, packet, plaintext) of client to server and back."""
    key2, sent, plain, received, answer = unhex(
        case, "key2", "c2s_packet", "c2s_plaintext", "s2c_packet", "s2c_plaintext"
    )
    return [(key2[:128], sent, plain), (key2[128:], received, answer)]


@by_id(AEAD["synthetic"])
def test_aead_packet(case: dict[str, Any]) -> None:
    key, iv, plain, packet = unhex(case, "key", "implicit_iv", "plaintext", "packet")
    sealed = reference.seal_aead(case["cipher"], key, iv, case["key_id"], case["peer_id"], case["packet_id"], plain)
    assert sealed == packet
    opened = reference.open_aead(case["cipher"], key, iv, packet)
    assert opened == reference.Opened(case["key_id"], case["packet_id"], plain)


@by_id(AEAD["captured"])
def test_captured_aead_packet(case: dict[str, Any]) -> None:
    for half, packet, plain in directions(case):
        key = half[: reference.AEAD[case["cipher"]]]
        assert reference.open_aead(case["cipher"], key, half[64:72], packet).payload == plain


@by_id(AEAD["negative"])
def test_forged_aead_packet(case: dict[str, Any]) -> None:
    key2, packet = bytes.fromhex(AEAD["negative"][0]["key2"]), bytes.fromhex(case["packet"])
    with pytest.raises(AuthenticationFailed):
        reference.open_aead("AES-256-GCM", key2[:32], key2[64:72], packet)


@by_id(CBC["synthetic"])
def test_cbc_packet(case: dict[str, Any]) -> None:
    key, hmac_key, iv, plain, packet = unhex(case, "key", "hmac_key", "iv", "plaintext", "packet")
    sealed = reference.seal_cbc(
        key, case["auth"], hmac_key, case["key_id"], case["peer_id"], case["packet_id"], plain, iv
    )
    assert sealed == packet
    opened = reference.open_cbc(key, case["auth"], hmac_key, packet)
    assert opened == reference.Opened(case["key_id"], case["packet_id"], plain)


@by_id(CBC["captured"])
def test_captured_cbc_packet(case: dict[str, Any]) -> None:
    key_bytes = int(case["cipher"].split("-")[1]) // 8
    digest_bytes = {"SHA1": 20, "SHA256": 32}[case["auth"]]
    for half, packet, plain in directions(case):
        hmac_key = half[64 : 64 + digest_bytes]
        opened = reference.open_cbc(half[:key_bytes], case["auth"], hmac_key, packet)
        assert opened.payload == plain
        with pytest.raises(AuthenticationFailed):
            reference.open_cbc(half[:key_bytes], case["auth"], hmac_key, packet[:-1] + bytes([packet[-1] ^ 1]))


@pytest.mark.parametrize("case", EPOCH["expand_label"], ids=lambda case: case["label"])
def test_expand_label(case: dict[str, Any]) -> None:
    out = reference.expand_label(bytes.fromhex(case["secret"]), case["label"], case["length"])
    assert out == bytes.fromhex(case["out"])


def epoch(first: bytes, number: int) -> reference.Epoch:
    found = reference.Epoch(1, first)
    while found.number < number:
        found = found.next()
    return found


@pytest.mark.parametrize("case", EPOCH["chain"], ids=lambda case: f"epoch {case['epoch']}")
def test_epoch_chain(case: dict[str, Any]) -> None:
    reached = epoch(bytes.fromhex(EPOCH["E1"]), case["epoch"])
    assert reached.secret == bytes.fromhex(case["epoch_key"])
    for cipher, keys in case["keys"].items():
        assert list(reached.keys(cipher)) == unhex(keys, "data_key", "implicit_iv")


@by_id(EPOCH["synthetic"])
def test_epoch_packet(case: dict[str, Any]) -> None:
    plain, packet = unhex(case, "plaintext", "packet")
    reached = epoch(bytes.fromhex(EPOCH["E1"]), case["epoch"])
    sealed = reached.seal(case["cipher"], case["key_id"], case["peer_id"], case["counter"], plain)
    assert sealed == packet
    opened = reached.open(case["cipher"], packet)
    assert opened == reference.Opened(case["key_id"], case["counter"], plain)
    with pytest.raises(PeerError):
        reached.next().open(case["cipher"], packet)


@by_id(EPOCH["captured"])
def test_captured_epoch_packet(case: dict[str, Any]) -> None:
    key2 = bytes.fromhex(case["key2"])
    for first, way in ((key2[:32], case["c2s"]), (key2[128:160], case["s2c"])):
        plain, packet = unhex(way, "plaintext", "packet")
        opened = epoch(first, way["epoch"]).open(case["cipher"], packet)
        assert (opened.packet_id, opened.payload) == (way["counter"], plain)


@pytest.mark.parametrize("packet", [b"", b"\x20", b"\x48\0\0", b"\x48" + bytes(22), b"\x30" + bytes(19)])
def test_hostile_packets_are_the_peers_fault(packet: bytes) -> None:
    with pytest.raises(PeerError):
        reference.open_aead("AES-256-GCM", bytes(32), bytes(8), packet)
