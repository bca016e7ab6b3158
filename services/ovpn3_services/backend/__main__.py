"""openvpn3-service-client: one tunnel. Started by the backend starter, with the token of a session to register for."""

import argparse

from ovpn3.profile import build, parse
from ovpn3.protocol.config import TlsConfig
from ovpn3.protocol.tls import TlsContext
from ovpn3_services.backend.service import BackendClient
from ovpn3_services.common.harden import rename_process
from ovpn3_services.common.service import argument_parser, run


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser("openvpn3-service-client", idle_exit=0)
    parser.add_argument(
        "--disable-protect-socket",
        action="store_true",
        help="don't ask the network service to keep the way to the server outside the tunnel",
    )
    parser.add_argument("token", help="names the session to the session manager")
    return parser.parse_args(argv)


def warm() -> None:
    """Do once, in the process that is forked into clients, what each of them would do for itself: fill caches, import."""
    options(["token"])
    build(parse(f"client\nremote localhost\nauth-user-pass\npeer-fingerprint {':'.join(['00'] * 32)}\n"))
    TlsContext(TlsConfig(fingerprints=(bytes(32),))).connect().handshake()
    "localhost".encode("idna")


def main(argv: list[str] | None = None) -> int:
    rename_process("openvpn3-client")
    return run(BackendClient, options(argv))


if __name__ == "__main__":
    raise SystemExit(main())
