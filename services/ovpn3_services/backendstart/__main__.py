"""openvpn3-service-backendstart: owns net.openvpn.v3.backends and forks one client per tunnel."""

import signal
from collections.abc import Callable

from ovpn3.dbus.bus import Bus
from ovpn3_services.backendstart.nursery import Nursery
from ovpn3_services.backendstart.service import BackendStart
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.service import command_line, log_level, run_prepared


def options(argv: list[str] | None) -> Options:
    line = command_line("openvpn3-service-backendstart", idle_exit=30, idle_unit="seconds")
    line.value("--client-log-level", "N", "of the client processes", default=3, read=log_level)
    line.value("--client-log-file", "FILE", "of the client processes")
    line.switch("--client-colour", "of the client processes")
    line.switch("--client-disable-protect-socket", "of the client processes")
    return line.parse(argv)


def client_arguments(options: Options) -> list[str]:
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
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # clients are nobody's to wait for
        nursery = Nursery(client_arguments(given))  # as the service account
        return lambda bus: BackendStart(bus, given, nursery)

    return run_prepared(prepared, given)


if __name__ == "__main__":
    raise SystemExit(main())
