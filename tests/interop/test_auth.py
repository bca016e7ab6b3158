"""Every way to log in to a real server, answered as a user answers, on the command line."""

import base64
import os
import signal
import subprocess
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.machine import Machine
from tests.support.pki import Authority, Pki
from tests.support.server import OpenVpnServer, password_script

pytestmark = [pytest.mark.interop, pytest.mark.system]
StartServer = Callable[..., OpenVpnServer]

# Bodies of auth scripts: $1 is the file with user name and password.
FROM_FILE = 'user=$(sed -n 1p "$1"); pass=$(sed -n 2p "$1")'


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def start(machine: Machine, profile: str, *answers: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Import a profile, start it, and answer what is asked, a line each."""
    machine.bring_in(profile, "vpn")
    lines = "".join(f"{answer}\n" for answer in answers)
    return machine.openvpn3("session-start", "--config", "vpn", input=lines, check=check)


def ping(machine: Machine, server: OpenVpnServer) -> None:
    machine.pair.client.run(["ping", "-c", "1", "-W", "5", server.TUNNEL_V4])


def test_a_password_that_is_asked_for(machine: Machine, start_server: StartServer) -> None:
    server = start_server(auth=password_script("alice", "right"))
    start(machine, server.profile(), "alice", "right")
    ping(machine, server)


@pytest.mark.option("auth-user-pass")
def test_a_password_of_the_profile(machine: Machine, start_server: StartServer) -> None:
    server = start_server(auth=password_script("alice", "right"))
    profile = server.profile("<auth-user-pass>", "alice", "right", "</auth-user-pass>")
    start(machine, profile.replace("auth-user-pass\n", "", 1))
    ping(machine, server)


def test_a_password_without_certificate(machine: Machine, start_server: StartServer) -> None:
    server = start_server(auth=password_script("alice", "right"), extra=["verify-client-cert none"])
    text = server.profile()
    profile = text[: text.index("<cert>")]
    start(machine, profile, "alice", "right")
    ping(machine, server)


@pytest.mark.parametrize("reason", ["", "the account is locked until Monday"])
def test_a_refusal_tells_the_reason(machine: Machine, start_server: StartServer, reason: str) -> None:
    server = start_server(auth=f'echo "{reason}" > "$auth_failed_reason_file"; exit 1' if reason else "exit 1")
    done = start(machine, server.profile(), "alice", "wrong", check=False)
    assert done.returncode == 8
    expected = "Client authentication failed: Authentication failed" + (f": {reason}" if reason else "")
    assert f"{expected}\n" in done.stderr
    assert "wrong" not in done.stderr + done.stdout
    assert "No sessions available" in machine.sessions()


@pytest.mark.option("auth-retry")
def test_a_password_that_is_asked_for_again(machine: Machine, start_server: StartServer) -> None:
    """Also if the wrong one stands in the profile."""
    server = start_server(auth=password_script("alice", "right"))
    held = ["<auth-user-pass>", "alice", "old", "</auth-user-pass>", "auth-retry interact"]
    start(machine, server.profile(*held).replace("auth-user-pass\n", "", 1), "alice", "wrong", "alice", "right")
    ping(machine, server)


@pytest.mark.option("static-challenge")
@pytest.mark.parametrize("form", ["scrv1", "concatenated"])
def test_static_challenge(machine: Machine, start_server: StartServer, form: str) -> None:
    sent = f"SCRV1:{encoded('right')}:{encoded('123456')}" if form == "scrv1" else "right123456"
    server = start_server(auth=password_script("alice", sent))
    word = " concat" if form == "concatenated" else ""
    profile = server.profile(f'static-challenge "Number on the token" 1{word}')
    done = start(machine, profile, "alice", "right", "123456")
    assert "Number on the token" in done.stdout + done.stderr
    ping(machine, server)


def test_dynamic_challenge(machine: Machine, start_server: StartServer) -> None:
    """The first log-in is refused with a question, the second brings the answer."""
    challenge = f"CRV1:R,E:state-7:{encoded('alice')}:Which PIN?"
    script = f"""{FROM_FILE}
case "$pass" in
right) echo "{challenge}" > "$auth_failed_reason_file"; exit 1;;
CRV1::state-7::4711) exit 0;;
*) exit 1;;
esac"""
    server = start_server(auth=script)
    done = start(machine, server.profile(), "alice", "right", "4711")
    assert "Which PIN?" in done.stdout + done.stderr
    ping(machine, server)


def test_dynamic_challenge_with_a_wrong_answer(machine: Machine, start_server: StartServer) -> None:
    challenge = f"CRV1:R:state-7:{encoded('alice')}:Which PIN?"
    script = f"""{FROM_FILE}
test "$pass" = right && echo "{challenge}" > "$auth_failed_reason_file"
exit 1"""
    server = start_server(auth=script)
    done = start(machine, server.profile(), "alice", "right", "4711", check=False)
    assert done.returncode == 8
    assert "Client authentication failed" in done.stderr
    assert "4711" not in done.stdout + done.stderr


# A deferred decision: the control file's name is left for whoever decides.
PENDING = """printf '60\\n{method}\\n{extra}\\n' > "$auth_pending_file"
echo "$auth_control_file" > control
exit 2"""


def test_a_question_while_the_log_in_is_pending(machine: Machine, start_server: StartServer) -> None:
    auth = PENDING.format(method="crtext", extra="CR_TEXT:R,E:Code of the app?")
    answered = (
        'test "$(cat "$1")" = "$(printf 246810 | base64)" && echo 1 > "$(cat control)" || echo 0 > "$(cat control)"'
    )
    server = start_server(auth=auth, extra=["client-crresponse ./answered"], scripts={"answered": answered})
    done = start(machine, server.profile(), "alice", "right", "246810")
    assert "Code of the app?" in done.stdout + done.stderr
    ping(machine, server)


def test_a_web_page_to_log_in_at(machine: Machine, start_server: StartServer) -> None:
    url = "https://login.example/start?id=7"
    server = start_server(auth=PENDING.format(method="webauth", extra=f"WEB_AUTH::{url}"))
    done = start(machine, server.profile(), "alice", "right")
    assert url in done.stdout
    assert "      Status: Web authentication required to connect\n" in machine.sessions()
    (server.directory / (server.directory / "control").read_text().strip()).write_text("1")
    machine.pair.client.run(["ping", "-c", "1", "-w", "10", server.TUNNEL_V4])


def test_a_token_replaces_the_password_and_its_end_is_survived(machine: Machine, start_server: StartServer) -> None:
    """The server forgets its tokens with its restart: the password is used again, nobody is asked."""
    options = {"auth": password_script("alice", "right"), "extra": ["auth-gen-token 3600", "keepalive 1 2"]}
    server = start_server(**options)
    start(machine, server.profile(), "alice", "right")
    assert "auth-token" in server.log()
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait()
    server = start_server(**options)
    machine.pair.client.run(["ping", "-c", "1", "-w", "20", server.TUNNEL_V4])
    assert "auth-token" in server.log()


def encrypted(pki: Pki, password: str) -> str:
    key = serialization.load_pem_private_key(pki.client.key.encode(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    ).decode()


def test_an_encrypted_key(machine: Machine, start_server: StartServer, pki: Pki) -> None:
    server = start_server()
    profile = server.profile().replace(pki.client.key, encrypted(pki, "open sesame"))
    start(machine, profile, "open sesame")
    ping(machine, server)


def test_an_encrypted_key_and_a_wrong_passphrase(machine: Machine, start_server: StartServer, pki: Pki) -> None:
    server = start_server()
    profile = server.profile().replace(pki.client.key, encrypted(pki, "open sesame"))
    done = start(machine, profile, "close sesame", check=False)
    assert done.returncode == 8
    assert "the passphrase of the private key is wrong" in done.stderr


def bundled(pki: Pki, text: str, password: str, *how: str) -> str:
    """The profile with certificate, key and authority in one block, as the openssl program packs it."""
    names = {option: pki.directory / name for option, name in (("-inkey", "client.key"), ("-certfile", "ca.crt"))}
    files = [str(word) for pair in names.items() for word in pair]
    command = ["openssl", "pkcs12", "-export", "-in", str(pki.directory / "client.crt"), *files, *how]
    packed = subprocess.run([*command, "-passout", f"pass:{password}"], check=True, capture_output=True).stdout
    block = f"<pkcs12>\n{base64.encodebytes(packed).decode()}</pkcs12>\n"
    return text[: text.index("<ca>")] + block


@pytest.mark.option("pkcs12")
@pytest.mark.parametrize(
    ("password", "how"), [("open sesame", []), ("", ["-keypbe", "NONE", "-certpbe", "NONE", "-nomac"])]
)
def test_pkcs12(machine: Machine, start_server: StartServer, pki: Pki, password: str, how: list[str]) -> None:
    server = start_server()
    start(machine, bundled(pki, server.profile(), password, *how), *([password] if password else []))
    ping(machine, server)


def test_pkcs12_and_a_wrong_passphrase(machine: Machine, start_server: StartServer, pki: Pki) -> None:
    server = start_server()
    done = start(machine, bundled(pki, server.profile(), "open sesame"), "close sesame", check=False)
    assert done.returncode == 8
    assert "the passphrase of the private key is wrong" in done.stderr


# What the server's certificate must be, one that is so and one that isn't; and the words of a refusal.
CHECKS = [
    ("verify-x509-name server name", "verify-x509-name client name", "verify-x509-name"),
    ("verify-x509-name serv name-prefix", "verify-x509-name cli name-prefix", "verify-x509-name"),
    ('verify-x509-name "CN=server" subject', 'verify-x509-name "CN=client" subject', "verify-x509-name"),
    ("remote-cert-tls server", "remote-cert-tls client", "remote-cert-tls"),
    ("remote-cert-eku 1.3.6.1.5.5.7.3.1", "remote-cert-eku 1.3.6.1.5.5.7.3.2", "remote-cert-eku"),
    ("remote-cert-ku 88", "remote-cert-ku 04", "remote-cert-ku"),
    ("tls-version-min 1.2", "", ""),
    ("tls-version-max 1.2", "", ""),
    ("tls-ciphersuites TLS_CHACHA20_POLY1305_SHA256", "", ""),
    ("tls-groups X25519:secp256r1", "", ""),
    ("tls-cert-profile preferred", "", ""),
]
PASSING = [good for good, _, _ in CHECKS]
FAILING = [(bad, words) for _, bad, words in CHECKS if bad]


def test_what_the_server_is_checked_for(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    start(machine, server.profile(*(line for line in PASSING if line != "remote-cert-tls server")))
    ping(machine, server)


@pytest.mark.option("verify-x509-name", "remote-cert-tls", "remote-cert-eku", "remote-cert-ku")
@pytest.mark.parametrize(("line", "words"), FAILING)
def test_a_server_that_is_not_what_it_should_be(
    machine: Machine, start_server: StartServer, line: str, words: str
) -> None:
    server = start_server()
    done = start(machine, server.profile(line), check=False)
    assert done.returncode == 8
    assert "Client connection failed: Certificate verification failed: " in done.stderr
    assert words in done.stderr


@pytest.mark.option("tls-version-min")
def test_tls_versions_that_do_not_meet(machine: Machine, start_server: StartServer) -> None:
    """Such a server just falls silent."""
    server = start_server(extra=["tls-version-max 1.2"])
    done = start(machine, server.profile("tls-version-min 1.3", "ping-restart 2"), check=False)
    assert done.returncode == 8
    assert "may refuse our TLS versions" in done.stderr


@pytest.mark.option("ca")
def test_a_server_of_another_authority(machine: Machine, start_server: StartServer, pki: Pki) -> None:
    server = start_server()
    done = start(machine, server.profile().replace(pki.ca, pki.other_ca), check=False)
    assert done.returncode == 8
    assert "certificate" in done.stderr


@pytest.mark.option("cert", "key")
def test_a_client_that_the_server_does_not_know(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    done = start(machine, server.profile("ping-restart 2", client="stranger"), check=False)
    assert done.returncode == 8
    assert "it may refuse our certificate" in done.stderr


@pytest.mark.option("peer-fingerprint")
def test_a_fingerprint_instead_of_an_authority(machine: Machine, start_server: StartServer, pki: Pki) -> None:
    server = start_server()
    digest = x509.load_pem_x509_certificate(pki.server.certificate.encode()).fingerprint(SHA256()).hex(":")
    profile = server.profile(f"peer-fingerprint {digest}")
    start(machine, profile.replace(f"<ca>\n{pki.ca}</ca>\n", ""))
    ping(machine, server)


@pytest.mark.option("crl-verify")
def test_a_server_that_has_been_revoked(machine: Machine, start_server: StartServer, pki: Pki) -> None:
    server = start_server()
    crl = pki.authority.revoke(pki.server.certificate)
    done = start(machine, server.profile(f"<crl-verify>\n{crl}</crl-verify>"), check=False)
    assert done.returncode == 8
    assert "certificate revoked" in done.stderr
    crl = pki.authority.revoke(pki.client.certificate)
    machine.connect(server.profile(f"<crl-verify>\n{crl}</crl-verify>"), "other")


@pytest.mark.option("extra-certs")
def test_an_authority_in_between(machine: Machine, start_server: StartServer, pki: Pki) -> None:
    """The server knows the root only, so the client has to show the one that signed its certificate."""
    between = Authority("Branch", pki.authority)
    client = between.issue("client")
    profile = start_server().profile("ping-restart 2")
    profile = profile.replace(pki.client.certificate, client.certificate).replace(pki.client.key, client.key)
    assert start(machine, profile, check=False).returncode == 8
    machine.connect(f"{profile}<extra-certs>\n{between.certificate}</extra-certs>\n", "other")


@pytest.mark.option("tls-cipher", "tls-version-max")
def test_the_cipher_of_old_tls(machine: Machine, start_server: StartServer) -> None:
    server = start_server()
    start(machine, server.profile("tls-version-max 1.2", "tls-cipher TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"))
    assert "cipher TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256" in server.log()


@pytest.mark.option("client-cert-not-required")
def test_a_certificate_that_is_not_to_be_shown(machine: Machine, start_server: StartServer) -> None:
    """The server would refuse it."""
    server = start_server(auth=password_script("alice", "right"), extra=["verify-client-cert optional"])
    profile = server.profile("client-cert-not-required", client="stranger")
    start(machine, profile, "alice", "right")
    ping(machine, server)


@pytest.mark.option("tls-auth-digest", "auth")
@pytest.mark.parametrize(
    ("lines", "accepted"),
    [(["auth SHA512"], True), (["tls-auth-digest SHA512"], True), (["auth SHA512", "tls-auth-digest SHA1"], False)],
)
def test_the_digest_of_tls_auth(machine: Machine, start_server: StartServer, lines: list[str], accepted: bool) -> None:
    server = start_server(wrap="tls-auth", extra=["auth SHA512"])
    done = start(machine, server.profile(*lines, "server-poll-timeout 1"), check=False)
    assert (done.returncode == 0) == accepted
