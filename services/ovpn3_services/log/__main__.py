"""openvpn3-service-log: owns net.openvpn.v3.log."""

from ovpn3_services.common.service import run
from ovpn3_services.log.service import LogService
from ovpn3_services.log.settings import parse


def main(argv: list[str] | None = None) -> int:
    return run(LogService, parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
