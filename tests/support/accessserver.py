"""What an Access Server says of profiles: ann's for a password and a code, another that logs in by itself.

Says "ready" when it listens.

usage: python -m tests.support.accessserver ADDRESS CERTIFICATE-STEM PROFILE
"""

import base64
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.support.bus import PROJECT
from tests.support.netns import NamespacePair
from tests.support.pki import Authority

PORT = 8443
STATE, CODE = "state/1", "123456"
_QUESTION = f"CRV1:R,E:{STATE}:{base64.b64encode(b'ann').decode()}:Code &amp; more\x1b"
PROFILE = Path(sys.argv[3]) if __name__ == "__main__" else Path()


@contextmanager
def access_server(pair: NamespacePair, folder: Path, profile: str) -> Iterator[tuple[str, str]]:
    """Address of one in the server namespace, and the certificate of its authority; `folder` is for its files."""
    address = pair.SERVER_V4
    authority = Authority("Web")
    authority.issue("site", server=True, address=address).write(folder / "site")
    (folder / "profile").write_text(profile)
    arguments = [address, str(folder / "site"), str(folder / "profile")]
    command = [sys.executable, "-m", "tests.support.accessserver", *arguments]
    with pair.server.popen(["env", f"--chdir={PROJECT}", *command], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == "ready\n"
            yield f"https://{address}:{PORT}", authority.certificate
        finally:
            server.kill()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _, _, login = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(login).decode().partition(":")
        page, _, query = self.path.partition("?")
        if page.startswith("/gone/"):
            return self.answer(302, "", "https://elsewhere.example/")
        if query != "tls-cryptv2=1&action=import":
            return self.answer(404, "")
        match page, user, password:
            case "/rest/GetUserlogin", "ann", "right":
                self.answer(401, _error("Authorization Required", _QUESTION))
            case "/rest/GetUserlogin", "ann", answer if answer == f"CRV1::{STATE}::{CODE}":
                self.answer(200, PROFILE.read_text())
            case "/rest/GetAutologin", "ann", "right":
                self.answer(200, PROFILE.read_text().replace("auth-user-pass\n", ""))
            case "/rest/GetUserlogin", "eve", _:
                self.answer(200, f"{PROFILE.read_text()}\nkey /etc/shadow\n")
            case "/rest/GetUserlogin", "long", _:
                self.answer(200, "#" * 1_000_000)
            case "/rest/GetUserlogin", "page", _:
                self.answer(200, "<html>Welcome</html>")
            case _:
                self.answer(401, _error("Authorization Required", "Authentication failed\x1b[31m"))

    def answer(self, status: int, text: str, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def _error(kind: str, message: str) -> str:
    parts = f"<Type>{kind}</Type>\n<Synopsis>no</Synopsis>\n<Message>{message}</Message>"
    return f"<?xml version='1.0'?>\n<Error>\n{parts}\n</Error>\n"


def main(address: str, stem: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
    server = HTTPServer((address, PORT), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
