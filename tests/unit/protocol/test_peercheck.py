import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ovpn3.protocol.config import TlsConfig
from ovpn3.protocol.peercheck import KEY_USAGE_BITS, NETSCAPE_CERT_TYPE, find_problem, subject_text

KEY = ec.generate_private_key(ec.SECP256R1())
SUBJECT = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "FI"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme, Inc"),
        x509.NameAttribute(NameOID.COMMON_NAME, "vpn-1.example"),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@example"),
    ]
)
SUBJECT_TEXT = "C=FI, O=Acme, Inc, CN=vpn-1.example, emailAddress=a@example"


def make(*extensions, subject=SUBJECT):
    day = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), 1, day, day + datetime.timedelta(1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256())


def key_usage(*names):
    usages = (*KEY_USAGE_BITS, "encipher_only", "decipher_only")
    return x509.KeyUsage(**{usage: usage in names for usage in usages})


def eku(*oids):
    return x509.ExtendedKeyUsage(oids)


def netscape(bits):
    return x509.UnrecognizedExtension(NETSCAPE_CERT_TYPE, bytes((3, 2, 0, bits)))


SERVER = eku(ExtendedKeyUsageOID.SERVER_AUTH)
CLIENT = eku(ExtendedKeyUsageOID.CLIENT_AUTH)


@pytest.mark.parametrize(
    ("extensions", "config", "good"),
    [
        ([], TlsConfig(), True),
        ([SERVER], TlsConfig(remote_purpose="server"), True),
        ([CLIENT], TlsConfig(remote_purpose="server"), False),
        ([], TlsConfig(remote_purpose="server"), False),
        ([SERVER], TlsConfig(remote_purpose="client"), False),
        ([CLIENT], TlsConfig(remote_purpose="client"), True),
        ([SERVER], TlsConfig(remote_eku="TLS Web Server Authentication"), True),
        ([CLIENT], TlsConfig(remote_eku="1.3.6.1.5.5.7.3.2"), True),
        ([CLIENT], TlsConfig(remote_eku="serverAuth"), False),
        ([CLIENT], TlsConfig(remote_eku="no such usage"), False),
        ([key_usage("digital_signature", "key_encipherment")], TlsConfig(remote_ku=(0x88, 0xA0)), True),
        ([key_usage("digital_signature", "key_agreement")], TlsConfig(remote_ku=(0x88,)), True),
        ([key_usage("key_agreement", "decipher_only")], TlsConfig(remote_ku=(0x8008,)), True),
        ([key_usage("digital_signature")], TlsConfig(remote_ku=(0x88, 0xA0)), False),
        ([], TlsConfig(remote_ku=(0x80,)), False),
        ([netscape(0x40)], TlsConfig(netscape_type="server"), True),
        ([netscape(0x80), SERVER], TlsConfig(netscape_type="server"), False),
        ([SERVER], TlsConfig(netscape_type="server"), True),
        ([], TlsConfig(netscape_type="server"), False),
        ([netscape(0x80)], TlsConfig(netscape_type="client"), True),
        ([SERVER], TlsConfig(netscape_type="client"), False),
        ([], TlsConfig(verify_name=SUBJECT_TEXT), True),
        ([], TlsConfig(verify_name="vpn-1.example"), False),
        ([], TlsConfig(verify_name="vpn-1.example", verify_kind="name"), True),
        ([], TlsConfig(verify_name="vpn-1", verify_kind="name"), False),
        ([], TlsConfig(verify_name="vpn-", verify_kind="name-prefix"), True),
        ([], TlsConfig(verify_name="xvpn-", verify_kind="name-prefix"), False),
        ([], TlsConfig(verify_name="vpn-", verify_kind="subject-or-prefix"), True),
        ([], TlsConfig(verify_name=SUBJECT_TEXT, verify_kind="subject-or-prefix"), True),
        ([], TlsConfig(verify_name="1.example", verify_kind="subject-or-prefix"), False),
        ([], TlsConfig(fingerprints=(b"\0" * 32,)), False),
    ],
)
def test_demands(extensions, config, good):
    assert (find_problem(make(*extensions), config) == "") == good


def test_fingerprint():
    certificate = make()
    fingerprint = certificate.fingerprint(hashes.SHA256())
    assert find_problem(certificate, TlsConfig(fingerprints=(b"\0" * 32, fingerprint))) == ""


def test_a_broken_extension_is_a_problem():
    broken = x509.UnrecognizedExtension(x509.ExtensionOID.EXTENDED_KEY_USAGE, b"\x30\x05junk")
    assert find_problem(make(broken), TlsConfig(remote_purpose="server"))


def test_subject_without_any_name():
    certificate = make(subject=x509.Name([]))
    assert subject_text(certificate) == ""
    assert find_problem(certificate, TlsConfig(verify_name="x", verify_kind="name"))
