"""A real OpenVPN server, or client, of the distribution, running in a namespace."""

import os
import select
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from tests.support.netns import Namespace, NamespacePair, end
from tests.support.pki import Pki

Wrap = Literal["none", "tls-auth", "tls-crypt", "tls-crypt-v2"]
Proto = Literal["udp", "tcp", "udp6", "tcp6"]


class OpenVpnFailed(Exception):
    """The process ended, or didn't get where it should in time: the text has its log."""


class OpenVpnProcess:
    """The `openvpn` program with its management interface in our hand.

    The interface is a socket it connects to: by that it is ready without polling, and by losing that it ends.
    `config` holds lines of its configuration, `scripts` the bodies of shell scripts by name; both see the
    temporary directory they are written to as the current one.
    """

    def __init__(self, namespace: Namespace, config: Sequence[str], scripts: Mapping[str, str] | None = None) -> None:
        self._unread = b""
        with ExitStack() as stack:
            # Not below a test's own directory: the path of a socket has a hundred bytes or so.
            self.directory = directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-")))
            for name, body in (scripts or {}).items():
                (directory / name).write_text(f"#!/bin/sh\n{body}\n")
                (directory / name).chmod(0o700)
            (directory / "config").write_text("\n".join([f'cd "{directory}"', *config]) + "\n")
            self._log_path = directory / "log"
            log = stack.enter_context(self._log_path.open("w"))
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(directory / "management"))
                listener.listen(1)
                command: list[str | Path] = ["openvpn", "--config", directory / "config", "--management-client"]
                command += ["--management", directory / "management", "unix"]
                self.process = namespace.popen(command, stdout=log, stderr=log)
                stack.callback(end, self.process)
                death = os.pidfd_open(self.process.pid)
                stack.callback(os.close, death)
                if listener.fileno() not in select.select([listener.fileno(), death], [], [], 10.0)[0]:
                    raise OpenVpnFailed(self.log())
                self._management = stack.enter_context(listener.accept()[0])
            self._management.sendall(b"state on\nstate\n")
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def wait_connected(self, timeout: float = 20.0) -> None:
        """Return once the tunnel is up (a server: once it listens); OpenVpnFailed otherwise."""
        self.wait_for(",CONNECTED,", timeout)

    def wait_for(self, text: str, timeout: float = 20.0) -> str:
        """The next line of the management interface with `text` in it; OpenVpnFailed if it doesn't come."""
        deadline = time.monotonic() + timeout
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                if text.encode() in line:
                    return line.decode(errors="replace").rstrip()
                continue
            self._management.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._management.recv(4096)
            except TimeoutError as e:
                raise OpenVpnFailed(f"no {text!r} within {timeout} s\n{self.log()}") from e
            except ConnectionResetError:
                data = b""
            if not data:
                self.process.wait(10.0)  # its last words are the ones that matter
                raise OpenVpnFailed(self.log())
            self._unread += data

    def command(self, text: str) -> None:
        """Send a command of the management interface, such as `kill client` or `signal SIGUSR1`."""
        self._management.sendall(text.encode() + b"\n")

    def close(self) -> None:
        self._stack.close()


@dataclass(frozen=True)
class Access:
    """What a client has to know of a server."""

    pki: Pki
    remote: str
    port: int
    proto: Proto
    wrap: Wrap
    cipher: str
    asks_password: bool = False

    def profile(self, *extra: str, inline: bool = True, remote: str = "", client: str = "client") -> str:
        """A client profile for the server, its key material inline or as paths.

        `extra` lines are added; `remote` replaces the server's address on the link; `client` names the
        certificate of the Pki to use: client, expired or stranger.
        """
        lines = [
            *("client", "dev tun", "nobind", "remote-cert-tls server", f"data-ciphers {self.cipher}"),
            f"remote {remote or self.remote} {self.port} {self.proto}",
        ]
        if self.asks_password:
            lines.append("auth-user-pass")
        if self.wrap == "tls-auth":
            lines.append("key-direction 1")
        directory = self.pki.directory
        files = {
            "ca": directory / "ca.crt",
            "cert": directory / f"{client}.crt",
            "key": directory / f"{client}.key",
        }
        if self.wrap == "tls-crypt-v2":
            files["tls-crypt-v2"] = self.pki.tls_crypt_v2_client_path
        elif self.wrap != "none":
            files[self.wrap] = directory / "static.key"
        for option, path in files.items():
            lines.append(f"<{option}>\n{path.read_text()}</{option}>" if inline else f'{option} "{path}"')
        return "\n".join([*lines, *extra]) + "\n"


class OpenVpnServer(OpenVpnProcess):
    """A server in the server namespace of a pair, ready when the constructor returns.

    `wrap` protects the control channel; `cipher` is the data cipher, or several joined by colons; `auth` is the
    body of a shell script that gets the file with user name and password as $1 and decides by its exit code, `scripts`
    are further ones by name; `push` and `extra` are option lines for the client and for the server. The
    addresses below are those of `subnet` 8. Without `ipv4` the tunnel carries IPv6 alone.
    """

    TUNNEL_V4, TUNNEL_V6 = "10.8.0.1", "fd08::1"

    def __init__(
        self,
        pair: NamespacePair,
        pki: Pki,
        *,
        proto: Proto = "udp",
        wrap: Wrap = "none",
        cipher: str = "AES-256-GCM",
        reneg_sec: int = 3600,
        auth: str | None = None,
        push: Sequence[str] = (),
        extra: Sequence[str] = (),
        port: int = 1194,
        subnet: int = 8,
        scripts: Mapping[str, str] | None = None,
        ipv4: bool = True,
    ) -> None:
        self.profile = Access(pki, on_link(pair, proto), port, proto, wrap, cipher, auth is not None).profile
        config = [
            *(f"dev tun{subnet - 8}", "dev-type tun", "topology subnet", "dh none", "disable-dco", "verb 3"),
            *([f"server 10.{subnet}.0.0 255.255.255.0"] if ipv4 else []),
            *(f"server-ipv6 fd0{subnet}::/64", "keepalive 10 60"),
            *(f"proto {proto}", f"port {port}", f"data-ciphers {cipher}", f"reneg-sec {reneg_sec}"),
            *(f'{option} "{pki.directory}/{name}"' for option, name in _SERVER_FILES.items()),
            *(f'push "{line}"' for line in push),
        ]
        if wrap == "tls-crypt-v2":
            config.append(f'tls-crypt-v2 "{pki.tls_crypt_v2_server_path}"')
        elif wrap != "none":
            config.append(f'{wrap} "{pki.directory}/static.key" {"0" if wrap == "tls-auth" else ""}')
        if auth is not None:
            config += ["script-security 2", "auth-user-pass-verify ./auth via-file"]
            scripts = {"auth": auth, **(scripts or {})}
        super().__init__(pair.server, [*config, *extra], scripts)
        try:
            self.wait_connected()
        except OpenVpnFailed:
            self.close()
            raise


def on_link(pair: NamespacePair, proto: Proto) -> str:
    """The server's address for this transport."""
    return pair.SERVER_V6 if proto.endswith("6") else pair.SERVER_V4


def password_script(user: str, password: str) -> str:
    """Body of an `auth` script that lets one user in. Neither may hold a quote."""
    return f"printf '%s\\n' '{user}' '{password}' | cmp -s - \"$1\""


_SERVER_FILES = {"ca": "ca.crt", "cert": "server.crt", "key": "server.key"}
