"""A web server of one page, for a program that asks for it now and then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from ovpn3.cli.command import BadValue, CommandError
from ovpn3.errors import Ovpn3Error

LOOPBACK = "127.0.0.1"
MAX_REQUEST = 8192  # octets
REQUEST_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 16

Page = Callable[[], Awaitable[str]]


def address(text: str) -> tuple[str, int]:
    """From PORT, HOST:PORT or [IPV6]:PORT; without a host, this machine alone can ask."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and int(port) < 65536):
        raise BadValue(f"not an address to listen on: {text!r}; PORT, HOST:PORT or [IPV6]:PORT is")
    return host, int(port)


@asynccontextmanager
async def serving(where: tuple[str, int], path: str, content_type: str, page: Page) -> AsyncIterator[list[str]]:
    """Serve `page` at `path` for a block; the addresses that are listened on. `page` is asked for once at a time."""
    server = _Server(path, content_type, page)
    try:
        listener = await asyncio.start_server(server.on_connection, *where, limit=MAX_REQUEST)
    except OSError as e:
        raise CommandError(f"can't listen on {where[0]} port {where[1]}: {e.strerror or e}") from None
    async with listener:
        names = [sock.getsockname()[:2] for sock in listener.sockets]
        yield [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in names]


class _Server:
    def __init__(self, path: str, content_type: str, page: Page) -> None:
        self._path, self._content_type, self._page = path, content_type, page
        self._connections = 0
        self._making = asyncio.Lock()

    async def on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                if self._connections > MAX_CONNECTIONS:
                    writer.write(_response(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n"))
                else:
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._answer(head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")))
                await writer.drain()
        except asyncio.LimitOverrunError:
            writer.write(_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, ""))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections -= 1
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, request: list[str]) -> bytes:
        if len(request) != 3 or not request[2].startswith("HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST, "this is not HTTP/1\n")
        method, target, _ = request
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n")
        if target.partition("?")[0] != self._path:
            return _response(HTTPStatus.NOT_FOUND, f"there is only {self._path} here\n")
        try:
            async with self._making:
                text = await self._page()
        except Ovpn3Error as e:
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, f"{e}\n")
        return _response(HTTPStatus.OK, text, self._content_type, head_only=method == "HEAD")


def _response(
    status: HTTPStatus, text: str, content_type: str = "text/plain; charset=utf-8", *, head_only: bool = False
) -> bytes:
    body = text.encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + (b"" if head_only else body)
