"""`version`: which product this is, on what."""

import platform
from importlib.metadata import version

from ovpn3.cli.command import Command, Options
from ovpn3.constants import API_VERSION, PRODUCT


async def run(options: Options) -> int:
    print(f"{PRODUCT} {API_VERSION} (openvpn3)")
    print(f"ovpn3 {version('ovpn3')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("Copyright (c) 2026 The ovpn3 authors, MIT license")
    return 0


COMMAND = Command(run)
