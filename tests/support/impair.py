"""A bad link: relays datagrams or streams to a server and does to them what links do. Says "ready" when it listens.

usage: python -m tests.support.impair --listen PORT --to HOST:PORT [--stream] [--loss P] [--duplicate P] [--reorder P]
       [--corrupt P] [--truncate P] [--delay SECONDS] [--seed N]

P are probabilities for each datagram and direction. A stream is delayed and cut into small pieces. What is written to it
are such options, a line each, for all that comes from then on.
"""

import argparse
import asyncio
import os
import socket
import sys
from random import Random

HELD_BACK_S = 0.02  # a reordered datagram


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

    def deliver(self, datagram: bytes, send: "asyncio.DatagramTransport") -> None:
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
            asyncio.get_running_loop().call_later(delay, send.sendto, datagram)


class Uplink(asyncio.DatagramProtocol):
    """To the server, for one client."""

    def __init__(self, link: Link, back: "Downlink", client: tuple[str, int]) -> None:
        self._link, self._back, self._client = link, back, client

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._link.deliver(data, self._back.towards(self._client))


class Towards(asyncio.DatagramTransport):
    """One client of an unconnected socket."""

    def __init__(self, transport: asyncio.DatagramTransport, client: tuple[str, int]) -> None:
        self._transport, self._client = transport, client

    def sendto(self, data: bytes, addr: object = None) -> None:
        self._transport.sendto(data, self._client)


class Downlink(asyncio.DatagramProtocol):
    """To all clients."""

    def __init__(self, link: Link, server: tuple[str, int]) -> None:
        self._link, self._server = link, server
        self._up: dict[tuple[str, int], asyncio.Task[asyncio.DatagramTransport]] = {}

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def towards(self, client: tuple[str, int]) -> Towards:
        return Towards(self._transport, client)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        if addr not in self._up:
            self._up[addr] = loop.create_task(self._open(addr))
        self._up[addr].add_done_callback(lambda made: self._link.deliver(data, made.result()))

    async def _open(self, client: tuple[str, int]) -> asyncio.DatagramTransport:
        uplink = Uplink(self._link, self, client)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: uplink, remote_addr=self._server
        )
        return transport


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
