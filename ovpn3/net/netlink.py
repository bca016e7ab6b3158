"""What we use of pyroute2, without the rest of it.

The package imports all of its parts by itself, 5 MB that no tunnel needs; so it is put in place without being run. And
it takes 0.3 ms to take a message apart: we do it ourselves where there are as many as there are routes.
"""

# ruff: noqa: E402  the package has to be in place before what is in it

import asyncio
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from ovpn3.deferred import defer

defer("pyroute2")

import pyroute2.iproute.linux as _library
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, nlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nlsocket import NetlinkRequest
from pyroute2.netlink.rtnl import RTM_GETLINK, RTM_GETROUTE
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ovpn3.net.watch import HEADER, news_socket

__all__ = ["RTM_GETLINK", "RTM_GETROUTE", "AsyncIPRoute", "NetlinkError", "ifinfmsg", "rtmsg"]

T = TypeVar("T")


class AsyncIPRoute(_library.AsyncIPRoute):  # type: ignore[misc]
    """The library's, which may be asked by several at once."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        """`sock` is for a socket of rtnetlink in another network namespace, and ours from now on."""
        super().__init__(fileno=sock.detach() if sock else None)
        self._listing = asyncio.Lock()
        self._lists: dict[int, tuple[Any, ...]] = {}
        self._news = None if sock else news_socket()

    def close(self, *args: Any, **more: Any) -> None:
        super().close(*args, **more)
        if self._news:
            self._news.close()

    async def answer(self, kind: int, question: nlmsg) -> bytes:
        """The one message that the kernel answers with, without its header."""
        (octets,) = await self._answers(kind, question, NLM_F_REQUEST)
        return octets

    async def listed(self, kind: int, question: nlmsg, read: Callable[[bytes], T | None]) -> tuple[T, ...]:
        """All of a kind there are, as `read` makes them of messages without header; without those it makes None of.

        The kernel is asked anew if anything has changed since. Others wait meanwhile: it makes one list at a time for
        a socket. A kind is always listed with the same question and reader.
        """
        async with self._listing:
            if self._has_news():
                self._lists.clear()
            if kind not in self._lists:
                answers = await self._answers(kind, question, NLM_F_REQUEST | NLM_F_DUMP)
                self._lists[kind] = tuple(item for octets in answers if (item := read(octets)) is not None)
            return self._lists[kind]

    async def _answers(self, kind: int, question: nlmsg, flags: int) -> list[bytes]:
        request = NetlinkRequest(self, question, msg_type=kind, msg_flags=flags, parser=self._whole)
        await request.send()
        return [message["octets"] async for message in request.response()]

    def _whole(self, data: bytearray, offset: int, length: int) -> Any:
        """What the library is told a message is."""
        _, kind, flags, number, _ = HEADER.unpack_from(data, offset)
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            return self.marshal.parse_one_message(kind, flags, number, data, offset, length)
        header = {"type": kind, "flags": flags, "error": None}
        return {"header": header, "octets": bytes(data[offset + HEADER.size : offset + length])}

    def _has_news(self) -> bool:
        """Whether something may have changed since the last time; what is under way counts as the next change."""
        if self._news is None:
            return True
        heard = False
        while True:
            try:
                self._news.recv(1)  # the rest of the message is dropped
            except BlockingIOError:
                return heard
            except OSError:  # ENOBUFS: more than the socket could hold
                pass
            heard = True
