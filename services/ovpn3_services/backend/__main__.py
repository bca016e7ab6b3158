"""openvpn3-service-client: one tunnel. Started by the backend starter, with the token of a session to register for."""

import argparse

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


def main(argv: list[str] | None = None) -> int:
    rename_process("openvpn3-client")
    return run(BackendClient, options(argv))


if __name__ == "__main__":
    raise SystemExit(main())
