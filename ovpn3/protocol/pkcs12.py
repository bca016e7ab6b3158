"""PKCS #12 (RFC 7292): certificate, key and authorities of a client in one encrypted file."""

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from ovpn3.errors import CryptoError
from ovpn3.secret import Secret


@dataclass(frozen=True, slots=True)
class Bundle:
    """PEM text; the key is not encrypted any more."""

    cert: str
    key: Secret
    others: str  # certificates of authorities, ours and perhaps the server's


def needs_password(data: Secret) -> bool:
    """Whether it can't be opened without one; that can't be told from damage."""
    try:
        load_pkcs12(data.reveal(), None)
    except (ValueError, UnsupportedAlgorithm):
        return True
    return False


def unpack(data: Secret, password: Secret | None) -> Bundle:
    """CryptoError if the password is wrong, or something is missing or can't be read."""
    try:
        found = load_pkcs12(data.reveal(), password.reveal() if password else None)
    except ValueError:
        raise CryptoError("PEM_PASSWORD_FAIL: the passphrase of pkcs12 is wrong, or it is damaged") from None
    except UnsupportedAlgorithm:
        hint = "pack it anew with a present openssl"
        raise CryptoError(f"pkcs12 is encrypted by a method that is not supported any more: {hint}") from None
    if found.key is None or found.cert is None:
        raise CryptoError("pkcs12 holds no certificate with its key")
    return Bundle(
        found.cert.certificate.public_bytes(Encoding.PEM).decode(),
        Secret(found.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        "".join(other.certificate.public_bytes(Encoding.PEM).decode() for other in found.additional_certs),
    )
