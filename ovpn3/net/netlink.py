"""A socket of rtnetlink, for messages of pyroute2.

The kernel has answered when it has taken a question: nobody has to wait. The library's own sockets let a task wait for
each answer, behind two queues; that takes five times as long.

The package imports all of its parts by itself, of which we need a few; so it is put in place without being run.
"""

# ruff: noqa: E402  the package has to be in place before what is in it

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import strerror
from typing import Any, Final, Self, TypeVar, final

from ovpn3.deferred import defer

defer("pyroute2")

from pyroute2.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_MULTI,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    nlmsg,
)
from pyroute2.netlink.rtnl import RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, RTM_NEWRULE
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ovpn3.errors import NetworkError
from ovpn3.net.news import News
from ovpn3.net.rtnetlink import HEADER, messages, rtnetlink_socket

__all__ = ["CREATE", "REPLACE", "Netlink", "asking", "fibmsg", "filled", "ifaddrmsg", "ifinfmsg", "nlmsg", "rtmsg"]

# What is done with a kind of thing is told by what is added to the number that makes one.
_KINDS: Final = {ifinfmsg: RTM_NEWLINK, ifaddrmsg: RTM_NEWADDR, rtmsg: RTM_NEWROUTE, fibmsg: RTM_NEWRULE}
_NEW, _DELETE, _GET = 0, 1, 2

# How something is made: EEXIST if it is there, or in place of what is there.
CREATE: Final = NLM_F_CREATE | NLM_F_EXCL
REPLACE: Final = NLM_F_CREATE | NLM_F_REPLACE

TURN: Final = 32  # changes, and as many read of a list, are made before others get theirs
_MAX_ANSWER: Final = 65536

T = TypeVar("T")


@contextmanager
def asking(for_what: str) -> Iterator[None]:
    """Turn the system's refusal into a NetworkError which says what we asked for."""
    try:
        yield
    except OSError as e:
        raise NetworkError(f"can't {for_what}: {e.strerror}", e.errno or 0) from e


@final
class Netlink:
    """What talks to the kernel about one network namespace. Its refusals are OSErrors: see `asking`."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        """`sock` is for a socket of rtnetlink in another network namespace, and ours from now on."""
        self._sock = sock or rtnetlink_socket()
        self._number = self._changes = 0
        self.news = None if sock else News()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._sock.close()
        if self.news:
            self.news.close()

    async def new(self, message: nlmsg, flags: int = 0) -> None:
        """Make something, or change what there is."""
        await self._change(_NEW, message, flags)

    async def delete(self, message: nlmsg) -> None:
        await self._change(_DELETE, message, 0)

    def get(self, question: nlmsg) -> bytes:
        """The one message that the kernel answers with, without its header."""
        (octets,) = self._ask(_GET, question, 0)
        return octets

    async def listed(self, question: nlmsg, read: Callable[[bytes], T | None]) -> list[T]:
        """All of a kind there are, as `read` makes them of messages without header; without those it makes None of."""
        found = []
        for number, octets in enumerate(self._ask(_GET, question, NLM_F_DUMP), 1):
            if (item := read(octets)) is not None:
                found.append(item)
            if number % TURN == 0:
                await asyncio.sleep(0)
        return found

    async def _change(self, what: int, message: nlmsg, flags: int) -> None:
        self._ask(what, message, NLM_F_ACK | flags)
        self._changes += 1
        if self._changes % TURN == 0:  # a tunnel may have thousands of routes
            await asyncio.sleep(0)

    def _ask(self, what: int, message: nlmsg, flags: int) -> list[bytes]:
        self._number += 1
        message["header"]["type"], message["header"]["flags"] = _KINDS[type(message)] + what, NLM_F_REQUEST | flags
        message["header"]["sequence_number"] = self._number
        message.encode()
        self._sock.send(message.data)
        answers: list[bytes] = []
        while True:
            for answer in messages(self._sock.recv(_MAX_ANSWER)):
                _, kind, parts, number, _ = HEADER.unpack_from(answer)
                if number != self._number:
                    continue
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    (code,) = struct.unpack_from("=i", answer, HEADER.size)
                    if code < 0:
                        raise OSError(-code, strerror(-code))
                    return answers
                answers.append(answer[HEADER.size :])
                if not parts & NLM_F_MULTI:
                    return answers


def filled(message: nlmsg, attributes: dict[str, Any], **fields: int) -> nlmsg:
    """A message of the library with these fields and attributes."""
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes.items())
    return message
