"""openvpn3-service-configmgr: owns net.openvpn.v3.configuration."""

from pathlib import Path

from ovpn3_services.common.service import command_line, run
from ovpn3_services.configmgr.service import ConfigManager


def main(argv: list[str] | None = None) -> int:
    line = command_line("openvpn3-service-configmgr")
    line.value("--state-dir", "DIR", "where persistent profiles are kept", default=None, read=Path)
    return run(ConfigManager, line.parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
