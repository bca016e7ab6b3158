"""One-time codes from a secret and the clock, as authenticator apps show them: RFC 6238."""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from ovpn3.errors import Ovpn3Error
from ovpn3.secret import Secret

ALGORITHMS = ("SHA1", "SHA256", "SHA512")
_BASE32 = re.compile("[A-Z2-7]+")


class BadTotp(Ovpn3Error):
    """The secret can't be read. The text doesn't show it."""


@dataclass(frozen=True)
class Totp:
    """`algorithm` is one of ALGORITHMS; a code is good for `period` seconds."""

    key: Secret
    digits: int = 6
    period: int = 30
    algorithm: str = "SHA1"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From an otpauth:// address, as QR codes hold it, or from the secret alone in base32. BadTotp otherwise."""
        text = text.strip()
        if not text.lower().startswith("otpauth:"):
            return cls(_key(text))
        try:
            parts = urlsplit(text)
        except ValueError:
            raise BadTotp("not an otpauth address") from None
        if parts.netloc.lower() != "totp":
            raise BadTotp("an otpauth address, but not of the kind totp: only codes by the clock are supported")
        given = {name.lower(): value for name, value in parse_qsl(parts.query)}
        algorithm = given.get("algorithm", "SHA1").upper().replace("-", "")
        if algorithm not in ALGORITHMS:
            raise BadTotp(f"the algorithm is none of {', '.join(ALGORITHMS)}")
        digits = _number("digits", given.get("digits", "6"), 6, 10)
        return cls(
            _key(given.get("secret", "")), digits, _number("period", given.get("period", "30"), 1, 3600), algorithm
        )

    def step(self, now: float) -> int:
        """Number of the period that `now`, in seconds since 1970, is in: its code is used once."""
        return int(now // self.period)

    def code(self, step: int) -> str:
        digest = hmac.digest(self.key.reveal(), step.to_bytes(8, "big"), getattr(hashlib, self.algorithm.lower()))
        offset = digest[-1] & 15
        number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
        return f"{number % 10**self.digits:0{self.digits}}"


def _key(text: str) -> Secret:
    """Blanks, hyphens and small letters are as good: that is how people are shown the secret."""
    plain = re.sub(r"[\s-]", "", text).upper().rstrip("=")
    if not _BASE32.fullmatch(plain):
        raise BadTotp("the secret is not in base32, which is made of A to Z and 2 to 7")
    try:
        return Secret(base64.b32decode(plain + "=" * (-len(plain) % 8)))
    except binascii.Error:
        raise BadTotp("the secret in base32 has been cut off") from None


def _number(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and least <= int(text[:6]) <= most):
        raise BadTotp(f"{name} is a number from {least} to {most}")
    return int(text)
