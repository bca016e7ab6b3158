"""Seal and open against the published packets and against the reference."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3._fast.aead import IPSEC_MB_OBJECTION, Aead
from ovpn3.datapath import reference
from ovpn3.datapath.engine import AEAD_CIPHERS

VECTORS = json.loads((Path(__file__).parents[1] / "data/vectors/data_aead.json").read_text())
ciphers = st.sampled_from(list(AEAD_CIPHERS.values()))
nonces = st.binary(min_size=12, max_size=12)
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/libIPSec_MB.so.1")
each_library = pytest.mark.parametrize("fast", [True, False], ids=["ipsec-mb if there", "libcrypto"])


@each_library
@pytest.mark.parametrize("case", VECTORS["synthetic"], ids=lambda case: case["id"])
def test_published_packets(case: dict[str, Any], fast: bool) -> None:
    key, nonce, aad, plain = (bytes.fromhex(case[name]) for name in ("key", "nonce", "aad", "plaintext"))
    cipher = AEAD_CIPHERS[case["cipher"]]
    sealed = bytes.fromhex(case["packet"])[8 if case["opcode"] == 9 else 5 :]
    assert Aead(cipher.number, key, sealing=True, fast=fast).seal(nonce, aad, plain) == sealed
    assert Aead(cipher.number, key, sealing=False, fast=fast).open(nonce, aad, sealed) == plain


@each_library
@given(ciphers, st.data(), nonces, st.binary(max_size=40), st.binary(max_size=3000))
def test_agrees_with_the_reference(
    fast: bool, cipher: Any, data: st.DataObject, nonce: bytes, aad: bytes, plain: bytes
) -> None:
    key = data.draw(st.binary(min_size=cipher.key_bytes, max_size=cipher.key_bytes))
    expected = reference.aead(cipher.name, key).encrypt(nonce, plain, aad)
    sealed = Aead(cipher.number, key, sealing=True, fast=fast).seal(nonce, aad, plain)
    assert sealed == expected[-16:] + expected[:-16]
    opener = Aead(cipher.number, key, sealing=False, fast=fast)
    at, bit = data.draw(st.integers(0, len(sealed) - 1)), data.draw(st.integers(0, 7))
    forged = bytearray(sealed)
    forged[at] ^= 1 << bit
    with pytest.raises(ValueError, match="authentication failed"):
        opener.open(nonce, aad, forged)
    with pytest.raises(ValueError, match="authentication failed"):
        opener.open(nonce, aad + b"x", sealed)
    assert opener.open(nonce, aad, sealed) == plain  # a forgery leaves the key usable


@pytest.mark.skipif(not LIBRARY.exists(), reason="no ipsec-mb")
def test_an_installed_ipsec_mb_is_used() -> None:
    assert IPSEC_MB_OBJECTION == ""


@pytest.mark.netns
@pytest.mark.parametrize(("hidden_by", "objection"), [("/dev/null", "not installed"), ("libcrypto", "not version 1.2")])
def test_without_a_usable_ipsec_mb(hidden_by: str, objection: str) -> None:
    """A machine without the library, and one where something else has its name: keys work all the same."""
    if not LIBRARY.exists():
        pytest.skip("no ipsec-mb")
    other = next(LIBRARY.parent.glob("libcrypto.so.*")) if hidden_by == "libcrypto" else hidden_by
    script = (
        "from ovpn3._fast.aead import AES_256_GCM as gcm, Aead, IPSEC_MB_OBJECTION as objection\n"
        "sealed = Aead(gcm, bytes(32), sealing=True).seal(bytes(12), b'', b'text')\n"
        "assert Aead(gcm, bytes(32), sealing=False).open(bytes(12), b'', sealed) == b'text'\n"
        "print(objection)"
    )
    hide = 'mount --bind "$1" "$2" && exec "$3" -c "$4"'
    command = ["unshare", "-m", "sh", "-c", hide, "sh", other, LIBRARY.resolve(), sys.executable, script]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert run.stdout.startswith(objection), run.stderr


GCM = AEAD_CIPHERS["AES-256-GCM"].number
KEY, NONCE = bytes(32), bytes(12)


def test_any_contiguous_buffer_will_do() -> None:
    sealer = Aead(GCM, memoryview(bytearray(KEY)), sealing=True)
    assert sealer.seal(bytearray(NONCE), memoryview(b""), bytearray(b"text")) == sealer.seal(NONCE, b"", b"text")
    assert len(sealer.seal(NONCE, b"", b"")) == 16


@pytest.mark.parametrize("wrong", [None, 5, "text", [1]])
def test_what_is_not_a_buffer_is_refused(wrong: Any) -> None:
    sealer = Aead(GCM, KEY, sealing=True)
    for args in ((wrong, b"", b""), (NONCE, wrong, b""), (NONCE, b"", wrong)):
        with pytest.raises(TypeError):
            sealer.seal(*args)
    with pytest.raises(TypeError):
        Aead(GCM, wrong, sealing=True)


def test_strided_buffers_are_refused() -> None:
    with pytest.raises((ValueError, BufferError)):
        Aead(GCM, KEY, sealing=True).seal(NONCE, b"", memoryview(b"abcdef")[::2])


@pytest.mark.parametrize("nonce", [b"", bytes(11), bytes(13)])
def test_a_nonce_has_twelve_bytes(nonce: bytes) -> None:
    with pytest.raises(ValueError, match="nonce"):
        Aead(GCM, KEY, sealing=True).seal(nonce, b"", b"")


@pytest.mark.parametrize("sealed", [b"", bytes(15)])
def test_shorter_than_a_tag(sealed: bytes) -> None:
    with pytest.raises(ValueError, match="too short"):
        Aead(GCM, KEY, sealing=False).open(NONCE, b"", sealed)


@pytest.mark.parametrize(
    ("cipher", "key"), [(0, KEY), (-1, KEY), (99, KEY), (GCM, b""), (GCM, bytes(31)), (GCM, bytes(33))]
)
def test_wrong_cipher_or_key_length(cipher: int, key: bytes) -> None:
    with pytest.raises(ValueError, match=r"cipher|length"):
        Aead(cipher, key, sealing=True)


def test_a_key_is_for_one_direction() -> None:
    with pytest.raises(ValueError, match="direction"):
        Aead(GCM, KEY, sealing=True).open(NONCE, b"", bytes(16))
    with pytest.raises(ValueError, match="direction"):
        Aead(GCM, KEY, sealing=False).seal(NONCE, b"", b"")


def test_a_key_does_not_show() -> None:
    assert "41" not in repr(Aead(GCM, b"A" * 32, sealing=True)).partition(" at ")[0]
