"""Certificates and keys of a profile, and what the server's certificate must be like."""

import base64
import re

from ovpn3.errors import ProfileError
from ovpn3.profile.lexer import split_words
from ovpn3.profile.model import TLS_VERSIONS, Profile, TlsVersion, X509Name
from ovpn3.profile.values import Values, one_of
from ovpn3.secret import Secret

STATIC_KEY = "-----BEGIN OpenVPN Static key V1-----"
V2_CLIENT_KEY = "-----BEGIN OpenVPN tls-crypt-v2 client key-----"

_WRAPPERS = ("tls-auth", "tls-crypt", "tls-crypt-v2")
_SHA256 = re.compile(r"[0-9A-Fa-f]{2}(?::?[0-9A-Fa-f]{2}){31}")


def read_secret(values: Values, name: str, marker: str = "-----BEGIN ") -> Secret | None:
    text = values.last_text(name, marker)
    return Secret(text) if text else None


def uses_certificate(values: Values, *, with_password: bool) -> bool:
    """Whether the client shows a certificate. ProfileError if half of it is there, or no way to log in at all."""
    switched_off = any(d.args[:2] == ("CLIENT_CERT", "0") for d in values.every("setenv"))
    if switched_off or values.has("client-cert-not-required"):
        return False
    if values.has("pkcs12"):
        return True
    if values.has("cert") != values.has("key"):
        given, absent = ("cert", "key") if values.has("cert") else ("key", "cert")
        raise ProfileError(f"{given} without {absent}", source=values.source, hint=f"add <{absent}>")
    if not values.has("cert") and not with_password:
        hint = "add cert and key, or auth-user-pass"
        raise ProfileError("no way to log in: neither certificate nor password", source=values.source, hint=hint)
    return values.has("cert")


def read_pkcs12(values: Values) -> Secret | None:
    """The octets of a block in base64."""
    d = values.last("pkcs12")
    if d is None:
        return None
    if values.has("cert") or values.has("key"):
        values.fail(d, "stands beside cert or key", "keep one of them")
    try:
        return Secret(base64.b64decode("".join(values.block(d).split()), validate=True))
    except ValueError:
        values.fail(d, "is not base64", "import makes a block of the file that pkcs12 names")


def read_crl(values: Values) -> str:
    for d in values.every("crl-verify"):
        if "dir" in d.args[1:]:
            values.fail(d, "a directory of revocation lists isn't supported", "give one list in PEM form")
    return values.text("crl-verify")


def read_fingerprints(values: Values) -> tuple[bytes, ...]:
    """SHA-256 fingerprints, from arguments and blocks; comments and empty lines in a block don't count."""
    found = []
    for d in values.every("peer-fingerprint"):
        lines = d.args if d.block is None else d.block.split("\n")
        for word in (word for line in lines for word in split_words(line)):
            if not _SHA256.fullmatch(word):
                values.fail(d, "needs SHA-256 fingerprints: 32 pairs of hex digits")
            found.append(bytes.fromhex(word.replace(":", "")))
        if not found:
            values.fail(d, "holds no fingerprint")
    return tuple(found)


def read_key_usages(values: Values) -> tuple[int, ...]:
    d = values.last("remote-cert-ku")
    if d is None:
        return ()
    if not all(re.fullmatch(r"[0-9A-Fa-f]{1,4}", word) for word in d.args):
        values.fail(d, "needs hexadecimal numbers, such as a0 88")
    return tuple(int(word, 16) for word in d.args)


def read_x509_name(values: Values) -> X509Name | None:
    """Of verify-x509-name, or of its forerunner tls-remote."""
    new, old = values.last("verify-x509-name"), values.last("tls-remote")
    if new and old:
        values.fail(old, "stands beside verify-x509-name", "remove one of them")
    d = new or old
    if d is None:
        return None
    if not d.args[0]:
        values.fail(d, "needs a name")  # an empty prefix would match any server
    if d is old:
        return X509Name(d.args[0], "subject-or-prefix")
    return X509Name(d.args[0], values.argument(d, 1, one_of(("subject", "name", "name-prefix")), "subject"))


def read_tls_version_min(values: Values) -> TlsVersion:
    d = values.last("tls-version-min")
    if d is None:
        return "1.2"
    if d.args[0] not in TLS_VERSIONS and d.args[1:] == ("or-highest",):
        return TLS_VERSIONS[-1]
    return values.argument(d, 0, one_of(TLS_VERSIONS), "1.2")


def check_wrapping(values: Values) -> None:
    """ProfileError if more than one key for the control channel is given."""
    given = [name for name in _WRAPPERS if values.has(name)]
    if len(given) > 1:
        hint = "keep the one the server uses"
        raise ProfileError(f"exclude each other: {' '.join(given)}", source=values.source, hint=hint)


def check_tls_versions(profile: Profile, source: str = "") -> None:
    if profile.tls_version_max is not None and profile.tls_version_max < profile.tls_version_min:
        problem = f"is below tls-version-min {profile.tls_version_min}"
        raise ProfileError(problem, option="tls-version-max", source=source, hint="raise or remove it")
