"""openvpn3-service-configmgr: owns net.openvpn.v3.configuration."""

from pathlib import Path

from ovpn3_services.common.service import argument_parser, run
from ovpn3_services.configmgr.service import ConfigManager


def main(argv: list[str] | None = None) -> int:
    parser = argument_parser("openvpn3-service-configmgr")
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="where persistent profiles are kept")
    return run(ConfigManager, parser.parse_args(argv))


if __name__ == "__main__":
    raise SystemExit(main())
