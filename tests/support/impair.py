"""A bad link: relays datagrams or streams to a server and does to them what links do. Says "ready" when it listens.

usage: python -m tests.support.impair --listen PORT --to HOST:PORT [--stream] [--loss P] [--duplicate P] [--reorder P]
       [--corrupt P] [--truncate P] [--delay SECONDS] [--seed N]

P are probabilities for each datagram and direction. A stream is delayed and cut into small pieces. What is written to
it are such options, a line each, for all that comes from then on.
"""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Callable
from random import Random
from typing import Any

HELD_BACK_S = 0.02  # a reordered datagram
Address = tuple[str, int]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--listen", type=int, default=0)
    made.add_argument("--to", default="")
    made.add_argument("--stream", action="store_true")
    for harm in ("loss", "duplicate", "reorder", "corrupt", "truncate", "delay"):
        made.add_argument(f"--{harm}", type=float, default=0.0)
    made.add_argument("--seed", type=int, default=0)
    return made


class Link:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self._random = options, Random(options.seed)

    def deliver(self, datagram: bytes, send: Callable[[bytes], None]) -> None:
        """Sooner or later, once, twice or never, and perhaps damaged."""
        options, chance = self.options, self._random.random
        if chance() < options.loss:
            return
        if datagram and chance() < options.corrupt:
            damaged = bytearray(datagram)
            damaged[self._random.randrange(len(damaged))] ^= 1 << self._random.randrange(8)
            datagram = bytes(damaged)
        if chance() < options.truncate:
            datagram = datagram[: self._random.randrange(len(datagram) + 1)]
        for _ in range(2 if chance() < options.duplicate else 1):
            delay = options.delay + (HELD_BACK_S if chance() < options.reorder else 0.0)
            asyncio.get_running_loop().call_later(delay, send, datagram)


class Uplink(asyncio.DatagramProtocol):
    """From the server, for one client."""

    def __init__(self, link: Link, back: Callable[[bytes], None]) -> None:
        self._link, self._back = link, back

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._link.deliver(data, self._back)


class Downlink(asyncio.DatagramProtocol):
    """From all clients."""

    def __init__(self, link: Link, server: Address) -> None:
        self._link, self._server = link, server
        self._up: dict[Address, asyncio.Task[Callable[[bytes], None]]] = {}

    def connection_made(self, transport: Any) -> None:  # asyncio's own isn't a DatagramTransport in Python 3.11
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if addr not in self._up:
            self._up[addr] = asyncio.get_running_loop().create_task(self._open(addr))
        self._up[addr].add_done_callback(lambda made: self._link.deliver(data, made.result()))

    async def _open(self, client: Address) -> Callable[[bytes], None]:
        uplink = Uplink(self._link, lambda data: self._transport.sendto(data, client))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: uplink, remote_addr=self._server)
        return transport.sendto


async def relay(link: Link, random: Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while data := await reader.read(random.randrange(1, 2000)):
        loop.call_later(link.options.delay, writer.write, data)
    loop.call_later(link.options.delay, writer.close)


async def main() -> None:
    options = parser().parse_args()
    link, loop = Link(options), asyncio.get_running_loop()
    host, port = options.to.rsplit(":", 1)

    def change() -> None:
        for line in os.read(0, 65536).decode().splitlines() or [""]:
            if not line:
                loop.remove_reader(0)
            link.options = parser().parse_args(line.split())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        random = Random(options.seed)
        async with asyncio.TaskGroup() as both:
            both.create_task(relay(link, random, reader, far_writer))
            both.create_task(relay(link, random, far_reader, writer))

    if options.stream:
        await asyncio.start_server(serve, "0.0.0.0", options.listen)
    else:
        downlink = Downlink(link, (host, int(port)))
        await loop.create_datagram_endpoint(lambda: downlink, local_addr=("0.0.0.0", options.listen))
    loop.add_reader(0, change)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
