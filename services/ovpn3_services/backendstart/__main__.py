"""openvpn3-service-backendstart: owns net.openvpn.v3.backends and forks one client per tunnel."""

import argparse

from ovpn3_services.backendstart.service import BackendStart
from ovpn3_services.common.service import argument_parser, log_level, run


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser("openvpn3-service-backendstart", idle_exit=30, idle_unit="seconds")
    client = parser.add_argument_group("of the client processes")
    client.add_argument("--client-log-level", type=log_level, default=3, metavar="N")
    client.add_argument("--client-log-file", default="", metavar="FILE")
    client.add_argument("--client-colour", action="store_true")
    client.add_argument("--client-disable-protect-socket", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    return run(BackendStart, options(argv))


if __name__ == "__main__":
    raise SystemExit(main())
