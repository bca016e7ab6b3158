"""Network namespaces that have a name, as `ip netns` gives them one: a file in /run/netns.

Nothing of ours keeps a namespace alive: no descriptor of it, and no socket in it, outlives the work in hand. So it goes
when its administrator takes the name away and the last process in it ends, and a tunnel's device goes with it.
"""

import ctypes
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from errno import ENOENT
from pathlib import Path
from typing import Final, final

from ovpn3.errors import NetworkError
from ovpn3.net.netlink import Netlink, asking, filled, ifinfmsg
from ovpn3.net.rtnetlink import rtnetlink_socket

FOLDER: Final = Path("/run/netns")

_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)
_NAME: Final = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,64}", re.ASCII)


def is_name(text: str) -> bool:
    """Whether a namespace may be called so: it is part of paths."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Home:
    """A namespace of that name, and which one it is: the name may come to mean another. Without a name it is ours."""

    name: str = ""
    identity: str = ""


OURS: Final = Home()


@final
class Namespaces:
    """Ways into namespaces, of which each takes CAP_SYS_ADMIN: `entitled` is a context that has it."""

    def __init__(self, netlink: Netlink, entitled: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._netlink, self._entitled = netlink, entitled

    @asynccontextmanager
    async def inside(self, home: Home) -> AsyncIterator[Netlink]:
        """What talks to the kernel about a namespace. NetworkError, ENOENT if it is gone."""
        if not home.name:
            yield self._netlink
            return
        with _opened(home) as descriptor:
            sock = self._socket_in(descriptor)
        with Netlink(sock) as netlink:
            yield netlink

    async def move(self, index: int, home: Home, name: str) -> tuple[Home, int]:
        """Put a device of ours, by the name it has, into a namespace; which one that was, and its index there.

        NetworkError with EEXIST if there is one of that name.
        """
        with _opened(home) as descriptor:
            with asking(f"move {name} into the network namespace {home.name}"):
                message = filled(ifinfmsg(), {"IFLA_NET_NS_FD": descriptor}, index=index)
                await self._netlink.new(message)
            with self._entered(descriptor), asking(f"find {name} in the network namespace {home.name}"):
                return Home(home.name, _identity(descriptor)), socket.if_nametoindex(name)

    def _socket_in(self, descriptor: int) -> socket.socket:
        with self._entered(descriptor):
            return rtnetlink_socket()

    @contextmanager
    def _entered(self, descriptor: int) -> Iterator[None]:
        """The calling thread is in the namespace for the block, which must not await."""
        with self._entitled(), open("/proc/thread-self/ns/net") as ours:
            with asking("enter a network namespace"):
                _enter(descriptor)
            try:
                yield
            finally:
                try:
                    _enter(ours.fileno())
                except OSError:
                    os.abort()  # everything that we do from now on would be done in the wrong place


@contextmanager
def _opened(home: Home) -> Iterator[int]:
    """A descriptor of the namespace; of any of that name, if it isn't known which one."""
    try:
        descriptor = os.open(FOLDER / home.name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        if e.errno != ENOENT:
            raise NetworkError(f"can't open {FOLDER / home.name}: {e.strerror}", e.errno or 0) from None
        raise NetworkError(f"there is no network namespace {home.name}", ENOENT) from None
    try:
        if home.identity not in ("", _identity(descriptor)):
            raise NetworkError(f"the network namespace {home.name} is another one now", ENOENT)
        yield descriptor
    finally:
        os.close(descriptor)


def _identity(descriptor: int) -> str:
    status = os.fstat(descriptor)
    return f"{status.st_dev}:{status.st_ino}"


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
