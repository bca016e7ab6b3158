"""What we use of pyroute2, without the rest of it.

The package imports all of its parts by itself, 5 MB that no tunnel needs; so it is put in place without being run.
"""

# ruff: noqa: E402  the package has to be in place before what is in it

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, Literal

from ovpn3.deferred import defer

defer("pyroute2")

import pyroute2.iproute.linux as _library
from pyroute2.netlink.exceptions import NetlinkError

__all__ = ["AsyncIPRoute", "NetlinkError", "drop_strays"]


class AsyncIPRoute(_library.AsyncIPRoute):  # type: ignore[misc]
    """The library's, which may be asked by several at once."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        """`sock` is for a socket of rtnetlink in another network namespace, and ours from now on."""
        super().__init__(fileno=sock.detach() if sock else None)
        self._listing = asyncio.Lock()

    async def listed(self, kind: Literal["link", "route"], **only: Any) -> AsyncIterator[Any]:
        """All that there are, as messages. Others wait meanwhile: the kernel makes one list at a time for a socket."""
        async with self._listing:
            async for message in await getattr(self, kind)("dump", **only):
                yield message


def drop_strays(ipr: AsyncIPRoute) -> None:
    """To be called after each "get": the kernel acknowledges it after the answer, and the library would keep that."""
    strays = ipr.msg_queue.root
    while not strays.empty():
        strays.get_nowait()
