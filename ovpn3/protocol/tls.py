"""TLS without a socket: bytes in, bytes out, keying material exported. pyOpenSSL is used in this module only.

Failures of the handshake or of a check leave as `SessionEnd`; a profile that can't be used as `CryptoError`.
"""

import re
from datetime import datetime
from typing import Final, Protocol, final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, _util, crypto

from ovpn3.errors import CryptoError
from ovpn3.protocol.actions import FailureKind
from ovpn3.protocol.config import TlsConfig
from ovpn3.protocol.failure import SessionEnd, failed
from ovpn3.protocol.peercheck import find_problem, subject_text
from ovpn3.secret import Secret

RECORD_BYTES: Final = 16384  # plaintext of one TLS record, at most
SECURITY_LEVELS: Final = {"insecure": 0, "legacy": 1, "preferred": 2, "suiteb": 3}
VERSIONS: Final = {
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}
TLS_KEYS: Final = (
    rsa.RSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)
UNTRUSTED: Final = (18, 19, 20, 21)  # X509_V_ERR_: the chain doesn't end at an authority we know
CRL_BLOCK: Final = re.compile(r"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
ALERT_HINTS: Final = {
    "unknown ca": "the server doesn't know the authority that signed our certificate",
    "certificate required": "the server wants a client certificate and the profile has none",
    "certificate expired": "the server finds our certificate expired",
    "certificate revoked": "the server says our certificate is revoked",
    "bad certificate": "the server doesn't accept our certificate",
    "unsupported certificate": "the server doesn't accept this kind of certificate from a client",
    "protocol version": "the server supports none of the TLS versions allowed here",
    "handshake failure": "server and profile have no TLS cipher in common, or the server wants a certificate",
}


class TlsConnection(Protocol):
    """One handshake and the records after it."""

    @property
    def closed(self) -> bool:
        """The peer ended TLS in order."""

    def feed(self, ciphertext: bytes) -> None: ...

    def take(self) -> bytes:
        """Ciphertext to send; also after a failure, when it holds the alert."""

    def handshake(self) -> bool:
        """Go on with it; True once it is complete."""

    def write(self, plaintext: bytes) -> None: ...

    def read(self) -> list[bytes]:
        """Plaintext of each complete record."""

    def export(self, label: bytes, size: int) -> bytes:
        """Keying material of RFC 5705 without a context."""

    def describe(self) -> str:
        """Version, cipher and group, for people."""


@final
class TlsContext:
    """Certificates, key and policy of a profile; makes the connection of each key generation."""

    def __init__(self, config: TlsConfig) -> None:
        self._sni = config.sni.encode()
        try:
            self._context = _make_context(config)
        except SSL.Error as e:
            raise CryptoError(f"TLS can't be set up: {_reason(e)}") from None

    def connect(self) -> TlsConnection:
        connection = SSL.Connection(self._context)
        if self._sni:
            connection.set_tlsext_host_name(self._sni)
        connection.set_connect_state()
        return _OpenSslConnection(connection)


@final
class _OpenSslConnection:
    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self.closed = False
        self.peer_problem = ""
        self.peer_checked = False
        connection.set_app_data(self)

    def feed(self, ciphertext: bytes) -> None:
        if ciphertext:
            self._connection.bio_write(ciphertext)

    def take(self) -> bytes:
        parts = []
        try:
            while True:
                parts.append(self._connection.bio_read(RECORD_BYTES))
        except SSL.WantReadError:
            return b"".join(parts)

    def handshake(self) -> bool:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as e:
            raise self._failure(e) from None
        if not self.peer_checked:
            raise failed(FailureKind.CERTIFICATE, "the server's certificate was not checked", fatal=True)
        return True

    def write(self, plaintext: bytes) -> None:
        for at in range(0, len(plaintext), RECORD_BYTES):
            self._connection.send(plaintext[at : at + RECORD_BYTES])

    def read(self) -> list[bytes]:
        records = []
        try:
            while not self.closed:
                records.append(self._connection.recv(RECORD_BYTES))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as e:
            raise self._failure(e) from None
        return records

    def export(self, label: bytes, size: int) -> bytes:
        return self._connection.export_keying_material(label, size)

    def describe(self) -> str:
        parts = (
            self._connection.get_protocol_version_name(),
            self._connection.get_cipher_name(),
            self._connection.get_group_name(),
        )
        return ", ".join(p for p in parts if p)

    def _failure(self, error: SSL.Error) -> SessionEnd:
        if self.peer_problem:
            text = "Certificate verification failed"  # words that front-ends look for
            text = f"{text}: the server's certificate is refused: {self.peer_problem}"
            return failed(FailureKind.CERTIFICATE, text, fatal=True)
        reason = _reason(error)
        if "alert" in reason:
            hint = next((text for alert, text in ALERT_HINTS.items() if reason.endswith(alert)), "")
            text = f"TLS handshake refused by the server ({reason})"
            return failed(FailureKind.TLS_ALERT, f"{text}: {hint}" if hint else text, fatal=True)
        # A choice of the server we can't follow is final; damaged records may be somebody else's work.
        fatal = "unsupported" in reason or "too small" in reason or "too weak" in reason
        return failed(FailureKind.TLS_ALERT, f"TLS error: {reason}", fatal=fatal)


_unused: list[SSL.Context] = []


def rehearse() -> None:
    """A handshake with ourselves, for a process that is forked for others: what the libraries set up when something is
    asked of them for the first time is there, and so is the context of the next TlsContext. It saves a child 4 ms.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(1970, 1, 1), datetime(9999, 1, 1))
    certificate = builder.sign(key, SHA256())
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    form = serialization.PrivateFormat.PKCS8
    secret = Secret(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    client = TlsContext(TlsConfig(ca=text, cert=text, key=secret)).connect()
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    connection = SSL.Connection(context)
    connection.set_accept_state()
    server = _OpenSslConnection(connection)
    server.peer_checked = True
    while not client.handshake():
        server.feed(client.take())
        server.handshake()
        client.feed(server.take())
    client.export(b"rehearsal", 32)
    _unused.append(SSL.Context(SSL.TLS_CLIENT_METHOD))


def key_is_encrypted(pem: Secret) -> bool:
    """Whether a private key needs a password; False also for what isn't a key at all."""
    if b"ENCRYPTED" not in pem.reveal():  # a label or a header says so
        return False
    try:
        serialization.load_pem_private_key(pem.reveal(), None)
    except TypeError:
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return False


def check_expiry(pem: str, wall: float) -> None:
    """CryptoError if our certificate has expired at Unix time `wall`: many servers reject it without a word."""
    end = _certificates(pem, "cert")[0].not_valid_after_utc
    if end.timestamp() < wall:
        raise CryptoError(f"the profile's certificate (cert) has expired on {end:%Y-%m-%d}: ask for a new one")


def _make_context(config: TlsConfig) -> SSL.Context:
    context = _unused.pop() if _unused else SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    _set_policy(context, config)
    _set_trust(context, config)
    if config.cert:
        _set_identity(context, config)
    return context


def _set_policy(context: SSL.Context, config: TlsConfig) -> None:
    context.set_min_proto_version(_version(config.version_min))
    if config.version_max:
        context.set_max_proto_version(_version(config.version_max))
    level = SECURITY_LEVELS.get(config.cert_profile)
    if level is None:
        raise CryptoError(f"unknown tls-cert-profile {config.cert_profile!r}")
    ciphers = ":".join(map(_openssl_cipher, config.ciphers.split(":"))) if config.ciphers else "DEFAULT"
    context.set_cipher_list(f"{ciphers}:@SECLEVEL={level}".encode())
    if config.ciphersuites:
        context.set_tls13_ciphersuites(config.ciphersuites.replace("-", "_").encode())
    # pyOpenSSL has no public call for a list of groups.
    if config.groups and not _util.lib.SSL_CTX_set1_curves_list(context._context, config.groups.encode()):
        raise CryptoError(f"unknown group in tls-groups {config.groups!r}")


def _set_trust(context: SSL.Context, config: TlsConfig) -> None:
    if not config.ca and not config.fingerprints:
        raise CryptoError("neither ca nor peer-fingerprint: the server couldn't be recognised")
    store = context.get_cert_store()
    if store is None:
        raise CryptoError("TLS library has no certificate store")
    if config.ca:
        for certificate in _certificates(config.ca, "ca"):
            store.add_cert(crypto.X509.from_cryptography(certificate))
    if config.crl:
        for block in CRL_BLOCK.findall(config.crl) or [config.crl]:
            try:
                store.add_crl(x509.load_pem_x509_crl(block.encode()))
            except ValueError:
                raise CryptoError("crl-verify: not a certificate revocation list") from None
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)

    def verify(connection: SSL.Connection, cert: crypto.X509, error: int, depth: int, ok: int) -> bool:
        ours = connection.get_app_data()
        certificate = cert.to_cryptography()
        if not ok and config.ca:
            text = _util.ffi.string(_util.lib.X509_verify_cert_error_string(error)).decode()
            text = f"not signed by the profile's ca: {text}" if error in UNTRUSTED else text
            ours.peer_problem = f"{text} ({subject_text(certificate)})"
            return False
        if depth == 0:
            ours.peer_problem = find_problem(certificate, config)
            ours.peer_checked = True
        return not ours.peer_problem

    context.set_verify(SSL.VERIFY_PEER, verify)


def _set_identity(context: SSL.Context, config: TlsConfig) -> None:
    leaf, *chain = _certificates(config.cert, "cert")
    context.use_certificate(leaf)
    for certificate in [*chain, *(_certificates(config.extra_certs, "extra-certs") if config.extra_certs else [])]:
        context.add_extra_chain_cert(certificate)
    password = config.key_password.reveal() if config.key_password is not None else None
    try:
        key = serialization.load_pem_private_key(config.key.reveal(), password)
    except TypeError:
        needs = "needs a password" if password is None else "isn't encrypted, but a password was given"
        raise CryptoError(f"the private key {needs}") from None
    except (ValueError, UnsupportedAlgorithm):
        if password is None:
            raise CryptoError("the private key can't be read") from None
        # Front-ends look for this word of the original's.
        raise CryptoError("PEM_PASSWORD_FAIL: the private key's passphrase is wrong, or the key is damaged") from None
    if not isinstance(key, TLS_KEYS):
        raise CryptoError("this kind of private key can't be used for TLS")
    try:
        context.use_privatekey(key)
    except SSL.Error:
        raise CryptoError("private key and certificate don't belong together") from None


def _certificates(pem: str, option: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise CryptoError(f"{option}: no readable certificate") from None


def _version(text: str) -> int:
    version = VERSIONS.get(text)
    if version is None:
        raise CryptoError(f"unknown TLS version {text!r}")
    return version


def _openssl_cipher(name: str) -> str:
    """OpenVPN spells IANA's names with dashes."""
    return name.replace("-", "_") if "-WITH-" in name else name


def _reason(error: SSL.Error) -> str:
    """Text of the last entry on the library's error stack."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return entries[-1][2] if entries else "connection cut off"
