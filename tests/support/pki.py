"""Certificates and keys for tests, made when they are needed and never kept."""

import datetime
import os
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.netns import run

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Credential:
    """A certificate and its private key, as PEM."""

    certificate: str
    key: str

    def write(self, stem: Path) -> None:
        """Leave them as `stem`.crt and `stem`.key, the key readable by its owner only."""
        stem.with_suffix(".crt").write_text(self.certificate)
        _write_secret(stem.with_suffix(".key"), self.key)


class Authority:
    """A certificate authority on P-256, signed by its parent or itself."""

    def __init__(self, name: str, parent: "Authority | None" = None) -> None:
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        signer = parent or self
        certificate = _builder(self._name, signer._name, self._key.public_key(), days=3650)
        certificate = certificate.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = certificate.add_extension(_usage(sign_certificates=True), critical=True)
        mine = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = certificate.add_extension(mine, critical=False)
        self.certificate = _certificate_pem(certificate.sign(signer._key, hashes.SHA256()))

    def revoke(self, *certificates: str) -> str:
        """A list with these, as PEM."""
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder(self._name, now - _DAY, now + 3650 * _DAY)
        for pem in certificates:
            serial = x509.load_pem_x509_certificate(pem.encode()).serial_number
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, now - _DAY).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, name: str, *, server: bool = False, expired: bool = False, address: str = "") -> Credential:
        """A certificate for one end of a tunnel, or of what is at an address; an expired one ran out yesterday."""
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        certificate = _builder(_name(name), self._name, key.public_key(), days=-1 if expired else 3650)
        certificate = certificate.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        certificate = certificate.add_extension(_usage(sign_certificates=False), critical=True)
        certificate = certificate.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = certificate.add_extension(signer, critical=False)  # Python 3.13 asks for it
        if address:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
            certificate = certificate.add_extension(names, critical=False)
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Credential(_certificate_pem(certificate.sign(self._key, hashes.SHA256())), key_pem.decode())


class Pki:
    """Everything a server and its clients need, as PEM text here and as files in `directory`.

    Files: ca.crt, server.*, client.*, expired.* (a client's), other-ca.crt, stranger.* (a client of the other
    authority), static.key.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority, self.other = Authority("Lab CA"), Authority("Other CA")
        self.ca, self.other_ca = self.authority.certificate, self.other.certificate
        self.server = self.authority.issue("server", server=True)
        self.client = self.authority.issue("client")
        self.expired = self.authority.issue("expired", expired=True)
        self.stranger = self.other.issue("stranger")
        self.static_key = static_key()
        (directory / "ca.crt").write_text(self.ca)
        (directory / "other-ca.crt").write_text(self.other_ca)
        for name in ("server", "client", "expired", "stranger"):
            getattr(self, name).write(directory / name)
        _write_secret(directory / "static.key", self.static_key)

    @cached_property
    def tls_crypt_v2_server_path(self) -> Path:
        """File of the server's tls-crypt-v2 key; made by the `openvpn` program."""
        path = self.directory / "tls-crypt-v2-server.key"
        run(["openvpn", "--genkey", "tls-crypt-v2-server", path])
        return path

    @cached_property
    def tls_crypt_v2_client_path(self) -> Path:
        """File of a client's tls-crypt-v2 key, wrapped with the server's; made by the `openvpn` program."""
        path = self.directory / "tls-crypt-v2-client.key"
        run(
            [
                "openvpn",
                "--tls-crypt-v2",
                self.tls_crypt_v2_server_path,
                "--genkey",
                "tls-crypt-v2-client",
                path,
            ]
        )
        return path


def static_key() -> str:
    """A fresh 2048-bit key of the kind tls-auth and tls-crypt share, as the text of its file."""
    digits = os.urandom(256).hex()
    lines = "\n".join(digits[i : i + 32] for i in range(0, len(digits), 32))
    return f"-----BEGIN OpenVPN Static key V1-----\n{lines}\n-----END OpenVPN Static key V1-----\n"


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 30 * _DAY)
        .not_valid_after(now + days * _DAY)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _write_secret(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
