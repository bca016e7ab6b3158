"""openvpn3-service-netcfg: owns net.openvpn.v3.netcfg. Started by root; the only service that keeps capabilities."""

import asyncio
import os
import sys

from ovpn3.dbus.bus import Bus
from ovpn3.errors import ConfigurationRefused, Ovpn3Error
from ovpn3.net import tun
from ovpn3_services.common import privileges
from ovpn3_services.common.commandline import Options
from ovpn3_services.common.harden import harden
from ovpn3_services.common.privileges import Cap
from ovpn3_services.netcfg.service import NetCfgService
from ovpn3_services.netcfg.settings import PROG, RedirectMethod, apply_file, parse

FATAL = 3  # exit code; that of wrong arguments is 2


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    harden()
    try:
        become_service(options)
        return asyncio.run(serve(options))
    except (Ovpn3Error, OSError) as e:
        print(f"{PROG}: {e}", file=sys.stderr)
        return FATAL


def become_service(options: Options) -> None:
    """Drop to the service account, then give up the capabilities that turn out not to be needed."""
    privileges.drop(options.user, keep={Cap.NET_ADMIN, Cap.NET_RAW}, permitted_only={Cap.DAC_OVERRIDE, Cap.SYS_ADMIN})
    if not privileges.held(Cap.NET_ADMIN):
        raise ConfigurationRefused("CAP_NET_ADMIN is missing: a container has to be given it")
    os.umask(0o077)
    # The settings file belongs to the account: root must not be led anywhere by it.
    options.complaints = apply_file(options)
    if options.redirect_method is not RedirectMethod.BIND_DEVICE:
        privileges.forget(Cap.NET_RAW)
    if not options.netns_allowed:
        privileges.forget(Cap.SYS_ADMIN)
    # Containers and minimal systems have /dev/net/tun for root only. Then the means to open it anyway is kept, but
    # off. Whether it is needed is easiest told as the account: access lists and all are taken into view. The same for
    # /etc/resolv.conf, unless systemd-resolved does it all; network namespaces have a file of their own.
    writes = options.resolv_conf or options.detect_resolver or (options.systemd_resolved and options.netns_allowed)
    if os.access(tun.DEVICE, os.R_OK | os.W_OK) and not writes:
        privileges.forget(Cap.DAC_OVERRIDE)


async def serve(options: Options) -> int:
    return await NetCfgService(await Bus.connect(), options).run()


if __name__ == "__main__":
    raise SystemExit(main())
