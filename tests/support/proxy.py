"""A proxy for tests: HTTP CONNECT with any kind of authentication, SOCKS 5 for TCP and UDP, or one that never answers.

Says "ready" when it listens. Of UDP, SIGUSR1 ends the associations.

usage: python -m tests.support.proxy {http,socks,silent} --port N
    [--login USER:PASSWORD] [--auth basic,digest,...] [--stale]
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import re
import secrets
import signal
import socket
from dataclasses import dataclass, field
from typing import Any

UDP_ASSOCIATE = 3
PIECE = 7  # octets of an answer that go out together, so that it arrives in parts


@dataclass
class Options:
    login: str
    auth: list[str]
    stale: bool  # refuse the first nonce
    nonces: dict[str, int] = field(default_factory=dict)  # and how often each was used


async def answer(writer: asyncio.StreamWriter, status: str, *headers: str) -> None:
    text = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, "")).encode()
    for at in range(0, len(text), PIECE):
        writer.write(text[at : at + PIECE])
        await writer.drain()


def challenges(options: Options) -> list[str]:
    found = []
    for kind in options.auth:
        if kind == "basic":
            found.append('Proxy-Authenticate: Basic realm="a, \\"proxy\\"", charset="UTF-8"')
        elif kind.startswith("digest"):
            _, _, algorithm = kind.partition("-")
            nonce = secrets.token_hex(8)
            options.nonces[nonce] = 0
            stale = ", stale=true" if options.stale and len(options.nonces) == 2 else ""
            named = f", algorithm={algorithm}" if algorithm else ""
            qop = ', qop="auth-int,auth", opaque="xyz"' if algorithm else ""
            found.append(f'Proxy-Authenticate: Digest realm="test", nonce="{nonce}"{qop}{named}{stale}')
        else:
            found.append(f"Proxy-Authenticate: {kind.upper()}")
    return found


def admitted(options: Options, target: str, headers: dict[str, str]) -> bool:
    scheme, _, rest = headers.get("proxy-authorization", "").partition(" ")
    if scheme.lower() == "basic" and "basic" in options.auth:
        return base64.b64decode(rest).decode() == options.login
    if scheme.lower() != "digest" or not any(kind.startswith("digest") for kind in options.auth):
        return False
    got = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', rest)}
    if got["nonce"] not in options.nonces or options.nonces[got["nonce"]]:
        return False
    if options.stale and len(options.nonces) == 1:
        return False
    options.nonces[got["nonce"]] += 1
    algorithm = got.get("algorithm", "MD5")
    name = {"MD5": "md5", "MD5-sess": "md5", "MD5-SESS": "md5", "SHA-256": "sha256"}[algorithm]

    def h(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    user, password = options.login.split(":")
    first = h(f"{user}:test:{password}")
    if algorithm.lower().endswith("-sess"):
        first = h(f"{first}:{got['nonce']}:{got['cnonce']}")
    middle = f"{got['nonce']}:{got['nc']}:{got['cnonce']}:{got['qop']}" if "qop" in got else got["nonce"]
    return (got["uri"], got["response"]) == (target, h(f"{first}:{middle}:{h(f'CONNECT:{target}')}"))


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, options: Options) -> tuple[str, int] | None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.splitlines()
    target = first.split()[1]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    print(first, headers.get("user-agent", ""), headers.get("x-site", ""), flush=True)
    if options.auth != ["none"] and not admitted(options, target, headers):
        await answer(
            writer, "407 Proxy Authentication Required", *challenges(options), "Content-Length: 0", "Connection: close"
        )
        return None
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


class Association(asyncio.DatagramProtocol):
    """Datagrams of a client, through one socket for it and one for each family of servers."""

    def __init__(self) -> None:
        self.client: tuple[str, int] | None = None
        self.outward: dict[socket.AddressFamily, socket.socket] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self.client is None:
            print("datagrams with a header", data[:4].hex(), flush=True)
        self.client = address
        family, size = (socket.AF_INET, 4) if data[3] == 1 else (socket.AF_INET6, 16)
        to = socket.inet_ntop(family, data[4 : 4 + size]), int.from_bytes(data[4 + size : 6 + size])
        if family not in self.outward:
            self.outward[family] = sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            asyncio.get_running_loop().add_reader(sock, self.answered, sock)
        with contextlib.suppress(OSError):
            self.outward[family].sendto(data[6 + size :], to)

    def answered(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            data, (host, port, *_) = sock.recvfrom(65536)
            kind = 1 if sock.family == socket.AF_INET else 4
            header = bytes([0, 0, 0, kind]) + socket.inet_pton(sock.family, host) + port.to_bytes(2)
            self.transport.sendto(header + data, self.client)

    def close(self) -> None:
        self.transport.close()
        for sock in self.outward.values():
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()


async def keep_association(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host = writer.get_extra_info("sockname")[0]
    transport, association = await asyncio.get_running_loop().create_datagram_endpoint(Association, (host, 0))
    port = transport.get_extra_info("sockname")[1]
    writer.write(b"\5\0\0\1" + bytes(4) + port.to_bytes(2))
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, writer.close)
    try:
        await reader.read()
    finally:
        association.close()


async def socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, options: Options) -> tuple[str, int] | None:
    version, count = await reader.readexactly(2)
    if version != 5:
        return None
    methods = await reader.readexactly(count)
    method = 2 if options.login else 0
    if method not in methods:
        writer.write(b"\5\xff")
        return None
    writer.write(bytes([5, method]))
    if options.login:
        _, size = await reader.readexactly(2)
        user = (await reader.readexactly(size)).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        good = f"{user}:{password}" == options.login
        writer.write(b"\1\0" if good else b"\1\1")
        if not good:
            return None
    _, command, _, kind = await reader.readexactly(4)
    size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
    raw = await reader.readexactly(size)
    host = ".".join(map(str, raw)) if kind == 1 else raw.decode()
    port = int.from_bytes(await reader.readexactly(2))
    if command == UDP_ASSOCIATE:
        await keep_association(reader, writer)
        return None
    return host, port


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["http", "socks", "silent"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--login", default="")
    parser.add_argument("--auth", default="none")
    parser.add_argument("--stale", action="store_true")
    arguments = parser.parse_args()
    options = Options(arguments.login, arguments.auth.split(","), arguments.stale)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if arguments.kind == "silent":
                await reader.read(-1)
                return
            target = await (http if arguments.kind == "http" else socks)(reader, writer, options)
            if target is None:
                return
            try:
                far_reader, far_writer = await asyncio.open_connection(*target)
            except OSError:
                if arguments.kind == "http":
                    await answer(writer, "502 Bad Gateway")
                else:
                    writer.write(b"\5\5\0\1" + bytes(6))
                return
            if arguments.kind == "http":
                await answer(writer, "200 Connection established", "Via: test")
            else:
                writer.write(b"\5\0\0\1" + bytes(6))
            async with asyncio.TaskGroup() as both:
                both.create_task(relay(reader, far_writer))
                both.create_task(relay(far_reader, writer))
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "", arguments.port) as server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
