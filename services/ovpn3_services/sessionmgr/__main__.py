"""openvpn3-service-sessionmgr: owns net.openvpn.v3.sessions."""

from ovpn3_services.common.service import command_line, run
from ovpn3_services.sessionmgr.service import SessionManager


def main(argv: list[str] | None = None) -> int:
    return run(SessionManager, command_line("openvpn3-service-sessionmgr").parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
