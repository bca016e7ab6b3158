"""Web authentication: the address a server wants us to open."""

import asyncio
import os
from urllib.parse import urlsplit

from ovpn3.cli.command import CommandError
from ovpn3.cli.text import one_line

OPENER = "xdg-open"


async def open_url(url: str) -> None:
    """Have the desktop open it, else print it. CommandError if it isn't the address of a web page."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or url != one_line(url):
        raise CommandError("the server asks for web authentication at something that is not a web address")
    if not await _opened(url):
        print(f"Open this address to authenticate:\n{url}")
    print("The session continues when that is done; 'openvpn3 session-auth' shows what is pending.")


async def _opened(url: str) -> bool:
    """The desktop of root, if any, is not the place for an address that a server chose."""
    if os.geteuid() == 0 or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    quiet = asyncio.subprocess.DEVNULL
    try:
        opener = await asyncio.create_subprocess_exec(OPENER, url, stdin=quiet, stdout=quiet, stderr=quiet)
    except OSError:
        return False
    return await opener.wait() == 0
