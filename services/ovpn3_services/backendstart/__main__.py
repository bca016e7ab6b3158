"""openvpn3-service-backendstart: owns net.openvpn.v3.backends and forks one client per tunnel."""

import argparse
from collections.abc import Callable

from ovpn3.dbus.bus import Bus
from ovpn3_services.backendstart.nursery import Nursery
from ovpn3_services.backendstart.service import BackendStart
from ovpn3_services.common.service import argument_parser, log_level, run_prepared


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser("openvpn3-service-backendstart", idle_exit=30, idle_unit="seconds")
    client = parser.add_argument_group("of the client processes")
    client.add_argument("--client-log-level", type=log_level, default=3, metavar="N")
    client.add_argument("--client-log-file", default="", metavar="FILE")
    client.add_argument("--client-colour", action="store_true")
    client.add_argument("--client-disable-protect-socket", action="store_true")
    return parser.parse_args(argv)


def client_arguments(options: argparse.Namespace) -> list[str]:
    """What every client is given, before its token."""
    arguments = [f"--log-level={options.client_log_level}"]
    if options.client_log_file:
        arguments.append(f"--log-file={options.client_log_file}")
    if options.client_disable_protect_socket:
        arguments.append("--disable-protect-socket")
    return arguments


def main(argv: list[str] | None = None) -> int:
    given = options(argv)

    def prepared() -> Callable[[Bus], BackendStart]:
        # Forked as the service account, and while this process has nothing that a fork must not have.
        nursery = Nursery(client_arguments(given))
        return lambda bus: BackendStart(bus, given, nursery)

    return run_prepared(prepared, given)


if __name__ == "__main__":
    raise SystemExit(main())
