"""openvpn3-service-netcfg: owns net.openvpn.v3.netcfg. Started by root; the only service that keeps capabilities."""

import asyncio
import os
import sys
from argparse import Namespace

from ovpn3.dbus.bus import Bus
from ovpn3.errors import Ovpn3Error
from ovpn3.net import tun
from ovpn3_services.common import privileges
from ovpn3_services.common.harden import harden
from ovpn3_services.common.privileges import Cap
from ovpn3_services.netcfg.service import NetCfgService
from ovpn3_services.netcfg.settings import PROG, RedirectMethod, apply_file, parser

FATAL = 3  # exit code; that of wrong arguments is 2


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    options.complaints = apply_file(options)
    harden()
    try:
        become_service(options)
        return asyncio.run(serve(options))
    except (Ovpn3Error, OSError) as e:
        print(f"{PROG}: {e}", file=sys.stderr)
        return FATAL


def become_service(options: Namespace) -> None:
    """Drop to the service account with as few capabilities as the options allow."""
    keep = {Cap.NET_ADMIN}
    if options.redirect_method is RedirectMethod.BIND_DEVICE:
        keep.add(Cap.NET_RAW)
    # Containers and minimal systems have /dev/net/tun for root only. Whether the account may open it, an access
    # list included, is easiest told as that account: until then the means to open it anyway is kept, but off.
    privileges.drop(options.user, keep, permitted_only={Cap.DAC_OVERRIDE})
    if os.access(tun.DEVICE, os.R_OK | os.W_OK):
        privileges.forget(Cap.DAC_OVERRIDE)
    os.umask(0o077)


async def serve(options: Namespace) -> int:
    return await NetCfgService(await Bus.connect(), options).run()


if __name__ == "__main__":
    raise SystemExit(main())
