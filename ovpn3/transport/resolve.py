"""Host names to addresses, without blocking the loop."""

import asyncio
import ipaddress
import os
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ovpn3.errors import NetworkError

_Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]

FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6}


@dataclass(frozen=True)
class Endpoint:
    """One address of a server. `family` is AF_INET or AF_INET6."""

    host: str  # as the profile spells it
    address: str
    port: int
    family: socket.AddressFamily
    stream: bool
    server: tuple[str, int] | None = None  # host and port, if it is a proxy that has this address

    @property
    def protocol(self) -> str:
        return "tcp" if self.stream else "udp"

    @property
    def ipv6(self) -> bool:
        return self.family == socket.AF_INET6

    def __str__(self) -> str:
        address = f"[{self.address}]" if self.ipv6 else self.address
        named = "" if self.host == self.address else f"{self.host} "
        where = f"{named}{address}:{self.port}"
        if self.server:
            where = f"proxy {where} for {self.server[0]}:{self.server[1]}"
        return f"{where} ({self.protocol})"


def with_random_label(host: str) -> str:
    """A name below `host` that no resolver has an answer for in its cache; an address stays as it is."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"{os.urandom(6).hex()}.{host}"
    return host


async def resolve(host: str, port: int, proto: str, server: tuple[str, int] | None = None) -> list[Endpoint]:
    """Addresses in the resolver's order; `proto` as in `remote`, its 4 or 6 suffix restricts the family.

    With a `server`, its name is left to the proxy that `host` is.
    """
    family = FAMILIES.get(proto[-1], socket.AF_UNSPEC)
    stream = proto.startswith("tcp")
    try:
        found = await _look_up(host, port, family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    except (socket.gaierror, UnicodeError) as e:
        reason = e.strerror if isinstance(e, socket.gaierror) else "not a host name"
        raise NetworkError(f"can't resolve {'the proxy ' if server else ''}{host}: {reason}") from e
    endpoints = [
        Endpoint(host, str(address[0]), port, family, stream, server)
        for family, _, _, _, address in found
        if family in FAMILIES.values()
    ]
    if not endpoints:
        raise NetworkError(f"{host} has no address of the family that {proto} asks for")
    return list(dict.fromkeys(endpoints))


async def _look_up(host: str, port: int, family: socket.AddressFamily, kind: socket.SocketKind) -> Sequence[_Found]:
    """As loop.getaddrinfo, but a name server that doesn't answer keeps no process from ending."""
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, family, kind, flags=socket.AI_NUMERICHOST)  # asks nobody
    answer: Future[Sequence[_Found]] = Future()
    answer.set_running_or_notify_cancel()  # can't be cancelled from here on: the thread always sets it

    def work() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, family, kind))
        except (OSError, UnicodeError) as e:
            answer.set_exception(e)

    threading.Thread(target=work, daemon=True).start()
    return await asyncio.wrap_future(answer)
