"""The TLS engine against pyOpenSSL's server side, without packets."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from ovpn3.errors import CryptoError
from ovpn3.protocol.actions import FailureKind
from ovpn3.protocol.failure import SessionEnd
from ovpn3.protocol.keys import EKM_DATA_LABEL
from ovpn3.protocol.tls import TlsContext, key_is_encrypted, rehearse
from ovpn3.secret import Secret
from tests.support.peer import Identity, server_context
from tests.support.pki import Authority


def shake(config, identity, adapt=lambda context: None):
    """Both ends after a complete handshake; raises what the client raises."""
    context = server_context(identity)
    adapt(context)
    client, server = TlsContext(config).connect(), SSL.Connection(context)
    server.set_accept_state()
    done = False
    for _ in range(10):
        done = client.handshake()
        if data := client.take():
            server.bio_write(data)
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            forward(server, client)
            client.handshake()
            client.read()
            raise
        forward(server, client)
        if done:
            return client, server
    raise AssertionError("no handshake")


def forward(server, client):
    try:
        while True:
            client.feed(server.bio_read(16384))
    except SSL.WantReadError:
        pass


def end_of(config, identity, adapt=lambda context: None):
    with pytest.raises(SessionEnd) as caught:
        shake(config, identity, adapt)
    return caught.value.action


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_both_ends_export_the_same_and_talk(identity, version):
    client, server = shake(identity.client_tls(version_min=version, version_max=version), identity)
    assert client.export(EKM_DATA_LABEL, 256) == server.export_keying_material(EKM_DATA_LABEL, 256)
    assert client.describe().startswith(f"TLSv{version}, ")
    client.write(b"x" * 40000)
    server.bio_write(client.take())
    assert sum(len(server.recv(16384)) for _ in range(3)) == 40000
    server.send(b"one")
    server.send(b"two")
    forward(server, client)
    assert client.read() == [b"one", b"two"]
    assert client.read() == []
    server.shutdown()
    forward(server, client)
    assert client.read() == []
    assert client.closed


def test_what_a_rehearsal_leaves_serves_one_context(identity):
    rehearse()
    versions = [shake(identity.client_tls(version_max=v), identity)[0].describe() for v in ("1.2", "1.3")]
    assert [text[:7] for text in versions] == ["TLSv1.2", "TLSv1.3"]


@pytest.mark.option("tls-groups")
def test_groups_are_honoured(identity):
    """Guards the one private call of pyOpenSSL."""
    client, _ = shake(identity.client_tls(groups="secp384r1:P-521"), identity)
    assert client.describe().endswith("secp384r1")


@pytest.mark.option("sni")
def test_the_name_the_server_is_told(identity):
    _, server = shake(identity.client_tls(sni="vpn.example"), identity)
    assert server.get_servername() == b"vpn.example"


@pytest.mark.option("tls-ciphersuites")
def test_ciphers_by_either_name(identity):
    for name in ("TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        client, _ = shake(identity.client_tls(ciphers=name, version_max="1.2"), identity)
        assert "ECDHE-ECDSA-AES128-GCM-SHA256" in client.describe()
    client, _ = shake(identity.client_tls(ciphersuites="TLS_CHACHA20_POLY1305_SHA256"), identity)
    assert "TLS_CHACHA20_POLY1305_SHA256" in client.describe()


def test_a_server_of_another_authority(identity):
    action = end_of(identity.client_tls(ca=Authority("Other").certificate), identity)
    assert (action.kind, action.fatal) == (FailureKind.CERTIFICATE, True)
    assert "not signed by the profile's ca" in action.reason
    assert "(CN=" in action.reason


def test_the_alert_is_left_to_be_sent(identity):
    client = TlsContext(identity.client_tls(ca=Authority("Other").certificate)).connect()
    server = SSL.Connection(server_context(identity))
    server.set_accept_state()
    assert not client.handshake()
    server.bio_write(client.take())
    with pytest.raises(SSL.WantReadError):
        server.do_handshake()
    forward(server, client)
    with pytest.raises(SessionEnd):
        client.handshake()
    server.bio_write(client.take())
    with pytest.raises(SSL.Error, match="unknown ca"):
        server.do_handshake()


def test_demands_on_the_certificate_are_checked_in_the_handshake(identity):
    action = end_of(identity.client_tls(verify_name="other", verify_kind="name"), identity)
    assert action.kind is FailureKind.CERTIFICATE
    assert "verify-x509-name" in action.reason


def test_fingerprint_instead_of_an_authority(identity):
    certificate = x509.load_pem_x509_certificate(identity.server.certificate.encode())
    good = certificate.fingerprint(hashes.SHA256())
    shake(identity.client_tls(ca="", fingerprints=(good,)), identity)
    assert end_of(identity.client_tls(ca="", fingerprints=(bytes(32),)), identity).kind is FailureKind.CERTIFICATE
    other = Authority("Other").certificate
    assert end_of(identity.client_tls(ca=other, fingerprints=(good,)), identity).kind is FailureKind.CERTIFICATE


def test_a_revoked_server(identity):
    authority = Authority("Revoking")
    revoking = Identity(authority.certificate, authority.issue("s", server=True), authority.issue("c"))
    shake(revoking.client_tls(crl=authority.revoke()), revoking)
    action = end_of(revoking.client_tls(crl=authority.revoke(revoking.server.certificate)), revoking)
    assert "revoked" in action.reason


def test_the_servers_alert_says_why(identity):
    action = end_of(identity.client_tls(cert="", key=Secret()), identity)
    assert (action.kind, action.fatal) == (FailureKind.TLS_ALERT, True)
    assert "wants a client certificate" in action.reason


def test_no_common_version(identity):
    def only_old(context):
        context.set_max_proto_version(SSL.TLS1_2_VERSION)

    action = end_of(identity.client_tls(version_min="1.3"), identity, only_old)
    assert action.kind is FailureKind.TLS_ALERT
    assert action.fatal


def test_noise_is_not_fatal(identity):
    client = TlsContext(identity.client_tls()).connect()
    client.handshake()
    client.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(SessionEnd) as caught:
        client.handshake()
    assert caught.value.action.kind is FailureKind.TLS_ALERT
    assert not caught.value.action.fatal


def test_key_with_a_password(identity):
    key = serialization.load_pem_private_key(identity.client.key.encode(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"sesame"),
    )
    assert key_is_encrypted(Secret(pem))
    assert not key_is_encrypted(Secret(identity.client.key))
    assert not key_is_encrypted(Secret("junk"))
    shake(identity.client_tls(key=Secret(pem), key_password=Secret("sesame")), identity)
    for password, words in ((None, "needs a password"), (Secret("wrong"), "PEM_PASSWORD_FAIL")):
        with pytest.raises(CryptoError, match=words):
            TlsContext(identity.client_tls(key=Secret(pem), key_password=password))
    with pytest.raises(CryptoError, match="password"):
        TlsContext(identity.client_tls(key_password=Secret("sesame")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ca": ""}, "ca"),
        ({"ca": "junk"}, "ca"),
        ({"cert": "junk"}, "cert"),
        ({"extra_certs": "junk"}, "extra-certs"),
        ({"crl": "junk"}, "crl-verify"),
        ({"key": Secret("junk")}, "private key"),
        ({"ciphers": "NO-SUCH"}, "TLS"),
        ({"ciphersuites": "NO-SUCH"}, "TLS"),
        ({"groups": "no-such"}, "tls-groups"),
        ({"version_min": "0.9"}, "version"),
        ({"cert_profile": "best"}, "tls-cert-profile"),
    ],
)
def test_unusable_settings(identity, changes, words):
    with pytest.raises(CryptoError, match=words):
        TlsContext(identity.client_tls(**changes))


def test_a_key_of_somebody_else(identity):
    other = Authority("Other").issue("other")
    with pytest.raises(CryptoError, match="belong together"):
        TlsContext(identity.client_tls(key=Secret(other.key)))


@pytest.mark.option("tls-cert-profile")
def test_a_weak_certificate_needs_a_low_profile(identity):
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([])
    day = datetime.datetime(2026, 1, 1)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day.replace(year=2046))
    pem = certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    changes = {"cert": pem, "key": Secret(text)}
    TlsContext(identity.client_tls(**changes, cert_profile="insecure"))
    with pytest.raises(CryptoError, match="too small"):
        TlsContext(identity.client_tls(**changes, cert_profile="preferred"))
