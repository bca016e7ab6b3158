"""One-time codes: the vectors of RFC 6238, and secrets as people have them."""

import base64

import pytest

from ovpn3.cli.totp import BadTotp, Totp

# RFC 6238, appendix B; the keys are those of erratum 2866.
KEYS = {"SHA1": b"1234567890" * 2, "SHA256": b"1234567890" * 3 + b"12", "SHA512": b"1234567890" * 6 + b"1234"}
VECTORS = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]


@pytest.mark.parametrize(("now", "sha1", "sha256", "sha512"), VECTORS)
def test_vectors(now: int, sha1: str, sha256: str, sha512: str) -> None:
    for (algorithm, key), code in zip(KEYS.items(), (sha1, sha256, sha512), strict=True):
        secret = base64.b32encode(key).decode()
        totp = Totp.parse(f"otpauth://totp/x:ann?secret={secret}&digits=8&algorithm={algorithm}&issuer=x")
        assert totp.code(totp.step(now)) == code


@pytest.mark.parametrize(
    "text", ["GEZDGNBVGY3TQOJQ", "gezd gnbv gy3t qojq\n", "GEZD-GNBV-GY3T-QOJQ", "GEZDGNBVGY3TQOJQGA======"]
)
def test_base32(text: str) -> None:
    totp = Totp.parse(text)
    assert totp.key.reveal().startswith(b"1234567890")
    assert (totp.digits, totp.period, totp.algorithm) == (6, 30, "SHA1")


def test_period() -> None:
    totp = Totp.parse("otpauth://totp/a?secret=GEZDGNBV&period=60&algorithm=sha-256")
    assert (totp.step(119), totp.step(120), totp.algorithm) == (1, 2, "SHA256")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "base32"),
        ("GEZDGNB1", "base32"),
        ("GEZDGN\u00e9", "base32"),
        ("GEZ", "cut off"),
        ("otpauth://hotp/a?secret=GEZDGNBV", "kind totp"),
        ("otpauth://[/a", "not an otpauth"),
        ("otpauth://totp/a", "base32"),
        ("otpauth://totp/a?secret=GEZDGNBV&digits=2", "digits"),
        ("otpauth://totp/a?secret=GEZDGNBV&period=0", "period"),
        ("otpauth://totp/a?secret=GEZDGNBV&algorithm=MD5", "SHA256"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(BadTotp, match=problem) as refused:
        Totp.parse(text)
    assert "GEZ" not in str(refused.value)
