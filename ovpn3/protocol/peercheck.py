"""What a profile asks of the server's certificate beyond a valid chain."""

from collections.abc import Iterator
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ovpn3.protocol.config import TlsConfig

NETSCAPE_CERT_TYPE: Final = x509.ObjectIdentifier("2.16.840.1.113730.1.1")
NETSCAPE_TYPES: Final = {
    "server": (0x40, ExtendedKeyUsageOID.SERVER_AUTH),
    "client": (0x80, ExtendedKeyUsageOID.CLIENT_AUTH),
}
EKU_NAMES: Final = {
    "TLS Web Server Authentication": ExtendedKeyUsageOID.SERVER_AUTH,
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "TLS Web Client Authentication": ExtendedKeyUsageOID.CLIENT_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
}
KEY_USAGE_BITS: Final = {
    "digital_signature": 0x80,
    "content_commitment": 0x40,
    "key_encipherment": 0x20,
    "data_encipherment": 0x10,
    "key_agreement": 0x08,
    "key_cert_sign": 0x04,
    "crl_sign": 0x02,
}
PURPOSES: Final = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
# Where OpenSSL's short names, which profiles are written with, differ from those of RFC 4514.
SHORT_NAMES: Final = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.SURNAME: "SN",
    NameOID.GIVEN_NAME: "GN",
    NameOID.TITLE: "title",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.POSTAL_CODE: "postalCode",
    NameOID.STREET_ADDRESS: "street",
}


def find_problem(certificate: x509.Certificate, config: TlsConfig) -> str:
    """Why this certificate isn't the server the profile describes; empty if it is."""
    try:
        return next(_problems(certificate, config), "")
    except ValueError as e:
        return f"its extensions can't be read: {e}"


def _problems(certificate: x509.Certificate, config: TlsConfig) -> Iterator[str]:
    if config.fingerprints and certificate.fingerprint(hashes.SHA256()) not in config.fingerprints:
        yield "its fingerprint is not among peer-fingerprint"
    usages = _extended_usages(certificate)
    if config.remote_purpose and PURPOSES[config.remote_purpose] not in usages:
        yield f"it isn't made for a {config.remote_purpose} (remote-cert-tls)"
    if config.remote_eku and _object_id(config.remote_eku) not in usages:
        yield f"its extended key usage lacks {config.remote_eku} (remote-cert-eku)"
    if config.remote_ku:
        bits = _key_usage(certificate)
        if not any(bits & wanted == wanted for wanted in config.remote_ku):
            yield f"its key usage {bits:#04x} is none of remote-cert-ku"
    if config.netscape_type and not _is_netscape(config.netscape_type, certificate, usages):
        yield f"it isn't a {config.netscape_type}'s (ns-cert-type)"
    if config.verify_name and not _has_name(certificate, config):
        option = "tls-remote" if config.verify_kind == "subject-or-prefix" else "verify-x509-name"
        yield f"its name doesn't match {option}: {subject_text(certificate)}"


def subject_text(certificate: x509.Certificate) -> str:
    """The subject as `C=…, O=…, CN=…` in the certificate's order, the form of verify-x509-name."""
    return ", ".join("+".join(map(_attribute_text, rdn)) for rdn in certificate.subject.rdns)


def _attribute_text(attribute: x509.NameAttribute[str | bytes]) -> str:
    name = SHORT_NAMES.get(attribute.oid, attribute.rfc4514_attribute_name)
    return f"{name}={attribute.value!s}"


def _extended_usages(certificate: x509.Certificate) -> tuple[x509.ObjectIdentifier, ...]:
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return ()


def _key_usage(certificate: x509.Certificate) -> int:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return 0
    bits = sum(bit for name, bit in KEY_USAGE_BITS.items() if getattr(usage, name))
    if usage.key_agreement:
        bits |= 0x01 * usage.encipher_only | 0x8000 * usage.decipher_only
    return bits


def _is_netscape(kind: str, certificate: x509.Certificate, usages: tuple[x509.ObjectIdentifier, ...]) -> bool:
    """The old extension decides; without it the modern one."""
    bit, usage = NETSCAPE_TYPES[kind]
    try:
        value = certificate.extensions.get_extension_for_oid(NETSCAPE_CERT_TYPE).value
    except x509.ExtensionNotFound:
        return usage in usages
    der = value.public_bytes()  # BIT STRING: 03 length unused-bits first-octet
    return len(der) >= 4 and der[0] == 3 and bool(der[3] & bit)


def _has_name(certificate: x509.Certificate, config: TlsConfig) -> bool:
    names = ["", *(str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))]
    is_subject = subject_text(certificate) == config.verify_name
    has_prefix = names[-1].startswith(config.verify_name)
    match config.verify_kind:
        case "name":
            return names[-1] == config.verify_name
        case "name-prefix":
            return has_prefix
        case "subject-or-prefix":
            return is_subject or has_prefix
    return is_subject


def _object_id(text: str) -> x509.ObjectIdentifier:
    """Of a known name, else a dotted one; ValueError if it is neither."""
    return EKU_NAMES.get(text) or x509.ObjectIdentifier(text)
