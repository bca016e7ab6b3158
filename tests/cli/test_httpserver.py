"""The one-page web server against clients that don't behave."""

import asyncio

import pytest

from ovpn3.cli.command import BadValue
from ovpn3.cli.httpserver import MAX_CONNECTIONS, MAX_REQUEST, address, serving
from ovpn3.errors import RemoteError


async def talk(where: str, request: bytes) -> str:
    host, _, port = where.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer.decode().partition("\r\n")[0]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", "200 OK"),
        (b"HEAD /metrics?a=b HTTP/1.0\r\nHost: x\r\n\r\n", "200 OK"),
        (b"GET /metrics\r\n\r\n", "400 Bad Request"),
        (b"\xff\xfe\r\n\r\n", "400 Bad Request"),
        (b"GET /../metrics HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 2 * MAX_REQUEST + b"\r\n\r\n", "431 Request Header Fields Too Large"),
    ],
)
async def test_requests(request_: bytes, status: str) -> None:
    async def page() -> str:
        return "text"

    async with serving(("127.0.0.1", 0), "/metrics", "text/plain", page) as (where,):
        assert await talk(where, request_) == f"HTTP/1.1 {status}"


async def test_a_page_that_cannot_be_made() -> None:
    async def page() -> str:
        raise RemoteError("name", "the message bus is gone")

    async with serving(("127.0.0.1", 0), "/metrics", "text/plain", page) as (where,):
        assert await talk(where, b"GET /metrics HTTP/1.1\r\n\r\n") == "HTTP/1.1 503 Service Unavailable"


async def test_clients_that_say_nothing_are_few() -> None:
    async def page() -> str:
        return "text"

    async with serving(("127.0.0.1", 0), "/metrics", "text/plain", page) as (where,):
        port = int(where.rpartition(":")[2])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        assert await talk(where, b"") == "HTTP/1.1 503 Service Unavailable"
        for _, writer in silent:
            writer.close()


def test_addresses() -> None:
    assert address("9176") == address(":9176") == ("127.0.0.1", 9176)
    assert address("[2001:db8::1]:80") == ("2001:db8::1", 80)
    for wrong in ("", "x", "65536", "127.0.0.1", "127.0.0.1:-1", "²"):
        with pytest.raises(BadValue):
            address(wrong)
