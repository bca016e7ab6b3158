"""What is said to proxies, and what they may say."""

import asyncio
import contextlib
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpn3.errors import NetworkError
from ovpn3.profile.model import HttpProxy, SocksProxy
from ovpn3.secret import Secret
from ovpn3.transport.proxy import (
    Answer,
    Challenge,
    CredentialsNeeded,
    Dial,
    ProxyError,
    associate,
    authorize,
    datagram_header,
    digest,
    parse_answer,
    request,
    split_challenges,
    through,
)

PROXY = HttpProxy("proxy.example", 3128, "auto", username='Mufasa "x"', password=Secret("Circle of Life"))
CLEAR = HttpProxy("proxy.example", 3128, "auto", allow_cleartext=True, username="me", password=Secret("pw"))


def test_a_request() -> None:
    proxy = HttpProxy("p", 1, version="1.1", user_agent="A/1", headers=(("X-Site", "Basel"),))
    lines = request(proxy, "[2001:db8::1]:443", "Basic x").decode().split("\r\n")
    assert lines == [
        "CONNECT [2001:db8::1]:443 HTTP/1.1",
        *("Host: [2001:db8::1]:443", "User-Agent: A/1", "X-Site: Basel", "Proxy-Authorization: Basic x"),
        *("", ""),
    ]


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        (("host", "front.example"), ["host: front.example"]),
        (("Host: front.example", ""), ["Host: front.example"]),
        (("X-Site: Basel", ""), ["Host: a:1", "X-Site: Basel"]),
    ],
)
def test_headers_of_the_profile(header: tuple[str, str], lines: list[str]) -> None:
    """A whole line may be in one piece, and a Host header takes the place of ours."""
    text = request(HttpProxy("p", 1, headers=(header,)), "a:1", "").decode()
    assert text.split("\r\n")[1:] == [*lines, "", ""]


@given(st.binary(max_size=300).map(lambda rest: rest + b"\r\n\r\n") | st.binary(max_size=60).map(b"HTTP/1.1 ".__add__))
def test_anything_is_an_answer_or_an_error(head: bytes) -> None:
    with contextlib.suppress(ProxyError):
        assert 0 <= parse_answer(head or b"\n").status <= 999


@given(st.text(max_size=200))
def test_anything_can_be_a_challenge(text: str) -> None:
    answer = Answer(407, "", (text, f"Digest {text}"))
    with contextlib.suppress(ProxyError, CredentialsNeeded):
        header = authorize(PROXY, "a:1", answer, tried=False)
        assert "\n" not in header or "\n" in text


def test_challenges_of_one_header() -> None:
    text = 'Digest realm="a, Basic \\"b\\"", nonce="n/=", qop="auth, auth-int" , algorithm=MD5, Basic realm="x", NTLM'
    first, second, third = split_challenges(text)
    parameters = {"realm": 'a, Basic "b"', "nonce": "n/=", "qop": "auth, auth-int", "algorithm": "MD5"}
    assert (first.scheme, first.parameters) == ("digest", parameters)
    assert (second, third) == (Challenge("basic", {"realm": "x"}), Challenge("ntlm"))


@pytest.mark.parametrize(
    ("algorithm", "qop", "response"),
    [  # by hand, with md5sum and sha256sum
        ("", "", "eec5bbdf5c6a54259a47557436ced455"),
        ("MD5", "auth", "001c4f0412b97dc82928ef1ff581221d"),
        ("SHA-256", "auth", "a42820888a6606810806affad89bac1a9c3e770e538f77c30c9a7e9f19c630f4"),
    ],
)
def test_digests(algorithm: str, qop: str, response: str) -> None:
    parameters = {"realm": "r", "nonce": "n"}
    parameters |= {"algorithm": algorithm} if algorithm else {}
    parameters |= {"qop": qop} if qop else {}
    header = digest(PROXY, "vpn.example:443", Challenge("digest", parameters), "c")
    assert f'response="{response}"' in header
    assert 'username="Mufasa \\"x\\"", realm="r", nonce="n", uri="vpn.example:443"' in header
    assert ("cnonce" in header) == bool(qop)


def test_a_challenge_goes_back_octet_by_octet() -> None:
    """Whatever its encoding; what is ours is UTF-8."""
    head = b'HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm="caf\xe9 \xc3\xa9", nonce="\xff"\r\n\r\n'
    proxy = HttpProxy("p", 1, "digest", username="\u00e9", password=Secret("pw"))
    said = request(proxy, "a:1", authorize(proxy, "a:1", parse_answer(head), tried=False))
    assert b'username="\xc3\xa9", realm="caf\xe9 \xc3\xa9", nonce="\xff"' in said
    user = hashlib.md5(b"\xc3\xa9:caf\xe9 \xc3\xa9:pw").hexdigest().encode()
    response = hashlib.md5(user + b":\xff:" + hashlib.md5(b"CONNECT:a:1").hexdigest().encode()).hexdigest()
    assert f'response="{response}"'.encode() in said


@pytest.mark.parametrize(
    ("proxy", "offers", "tried", "outcome"),
    [
        (CLEAR, ["Basic realm=x"], False, "Basic bWU6cHc="),
        (CLEAR, ["Basic realm=x", 'Digest realm="r", nonce="n"'], False, "Digest "),
        (CLEAR, ["Basic realm=x"], True, CredentialsNeeded("refuses")),
        (CLEAR, ['Digest realm="r", nonce="n", stale=TRUE'], True, "Digest "),
        (CLEAR, ['Digest realm="r", nonce="n", algorithm=X'], False, ProxyError("unknown kind")),
        (CLEAR, ['Digest realm="r", nonce="n", qop="auth-int"'], False, ProxyError("unknown kind")),
        (PROXY, ["Basic realm=x"], False, ProxyError("clear text")),
        (PROXY, ["NTLM", "Negotiate"], False, ProxyError("negotiate, ntlm")),
        (PROXY, [], False, ProxyError("none that we know")),
        (HttpProxy("p", 1), ['Digest realm="r", nonce="n"'], False, CredentialsNeeded("asks for")),
    ],
)
def test_the_safest_way_is_taken(proxy: HttpProxy, offers: list[str], tried: bool, outcome: str | Exception) -> None:
    answer = Answer(407, "", tuple(offers))
    if isinstance(outcome, str):
        assert authorize(proxy, "a:1", answer, tried=tried).startswith(outcome)
    else:
        with pytest.raises(type(outcome), match=str(outcome)):
            authorize(proxy, "a:1", answer, tried=tried)


@contextlib.asynccontextmanager
async def proxy_saying(*parts: bytes, then: bytes = b"") -> AsyncIterator[int]:
    """Port of a proxy that answers each request with the next part, and closes after the last unless `then` follows."""
    left, serving = list(parts), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        while left and await reader.read(1000):
            writer.write(left.pop(0) + (then if not left else b""))
        if then:
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*serving)


async def ask(proxy: HttpProxy | SocksProxy, port: int, host: str = "vpn.example") -> socket.socket:
    async def dial() -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return sock

    async with asyncio.timeout(10):
        return await through(proxy, host, 443, dial)


SOCKS_DONE = (b"\5\0", b"\5\0\0\3\7example\x04\xaa")


@pytest.mark.parametrize(
    ("proxy", "answers"),
    [
        (CLEAR, [b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"]),
        (CLEAR, [b"HTTP/1.0 200\n\n"]),
        (SocksProxy("p", 1), list(SOCKS_DONE)),
    ],
)
async def test_what_follows_the_answer_is_left_for_the_tunnel(
    proxy: HttpProxy | SocksProxy, answers: list[bytes]
) -> None:
    async with proxy_saying(*answers, then=b"\0\x0e from the server") as port:
        with await ask(proxy, port) as sock:
            assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"\0\x0e from the server"


@pytest.mark.parametrize(
    ("proxy", "answers", "reason"),
    [
        (CLEAR, [b"HTTP/1.1 403 Forbidden by \x1b[31mus\r\n\r\n"], r"refuses: 403 Forbidden by \[31mus"),
        (CLEAR, [b"SSH-2.0-OpenSSH\r\n\r\n"], "no HTTP proxy: it says 'SSH-2.0-OpenSSH'"),
        (CLEAR, [b"HTTP/1.1 200 OK\r\n"], "closed"),
        (CLEAR, [b"x" * 20000], "doesn't end"),
        (SocksProxy("p", 1), [b"\4\0"], "no SOCKS 5"),
        (SocksProxy("p", 1), [b"\5\xff"], "user name and a password"),
        (SocksProxy("p", 1), [b"\5\2"], "user name and a password"),
        (SocksProxy("p", 1, "me", Secret("x")), [b"\5\2", b"\1\1"], "refuses the user name"),
        (SocksProxy("p", 1, "me", Secret("x" * 300)), [b"\5\2"], "too long"),
        (SocksProxy("p", 1), [b"\5\0", b"\5\5\0\1" + bytes(6)], "connection was refused"),
        (SocksProxy("p", 1), [b"\5\0", b"\5\xaa\0\1" + bytes(6)], "error 170"),
        (SocksProxy("p", 1), [b"\5\0", b"\5\0\0"], "closed"),
    ],
)
async def test_what_else_proxies_say(proxy: HttpProxy | SocksProxy, answers: list[bytes], reason: str) -> None:
    async with proxy_saying(*answers) as port:
        with pytest.raises(ProxyError, match=reason):
            await ask(proxy, port)


async def test_a_place_for_datagrams() -> None:
    async with requests_to_a_proxy(b"\5\0\5\0\0\4" + bytes(16) + b"\x12\x34") as (dial, said):
        keeper, port = await associate(SocksProxy("p", 1), dial)
        keeper.close()
        assert (port, said()) == (0x1234, b"\5\1\0\5\3\0\1" + bytes(6))
    for answer, reason in ((b"\5\7\0\1" + bytes(6), "doesn't do that"), (b"\5\0\0\1" + bytes(6), "no port")):
        async with requests_to_a_proxy(b"\5\0" + answer) as (dial, _):
            with pytest.raises(ProxyError, match=reason):
                await associate(SocksProxy("p", 1), dial)


def test_headers_of_datagrams() -> None:
    assert datagram_header("192.0.2.1", 1194) == bytes.fromhex("00000001c000020104aa")
    assert datagram_header("2001:db8::1", 80) == bytes.fromhex("0000000420010db80000000000000000000000010050")


async def test_a_proxy_that_calls_a_wrong_password_unauthorized() -> None:
    asks = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"
    async with proxy_saying(asks, b"HTTP/1.0 401 Unauthorized\r\n\r\n") as port:
        with pytest.raises(CredentialsNeeded, match="refuses"):
            await ask(CLEAR, port)


async def test_a_proxy_that_asks_for_ever() -> None:
    head = b'HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm="r", nonce="n", stale=true\r\n\r\n'
    async with proxy_saying(head, head, head, head) as port:
        with pytest.raises(ProxyError, match="again and again"):
            await ask(CLEAR, port)
    assert not re.search("pw", repr(CLEAR))


@pytest.mark.parametrize("proxy", [CLEAR, SocksProxy("p", 1)])
@pytest.mark.parametrize("host", ["a..b", ".a", f"{'a' * 64}.example", "a." * 127 + "bc"])
async def test_what_is_no_host_name(proxy: HttpProxy | SocksProxy, host: str) -> None:
    async with proxy_saying() as port:
        with pytest.raises(NetworkError, match="not a host name"):
            await ask(proxy, port, host)


async def test_names_are_sent_as_the_name_system_has_them() -> None:
    async with requests_to_a_proxy(b"HTTP/1.1 200 OK\r\n\r\n") as (dial, said):
        (await through(CLEAR, "b\u00fccher.example", 443, dial)).close()
        assert said().startswith(b"CONNECT xn--bcher-kva.example:443 ")
    async with requests_to_a_proxy(b"".join(SOCKS_DONE)) as (dial, said):
        (await through(SocksProxy("p", 1), "b\u00fccher.example", 443, dial)).close()
        assert b"\x15xn--bcher-kva.example\x01\xbb" in said()


@contextlib.asynccontextmanager
async def requests_to_a_proxy(answer: bytes) -> AsyncIterator[tuple[Dial, Callable[[], bytes]]]:
    """A way to connect to a proxy that says the same each time and closes, and what it was told last."""
    with contextlib.ExitStack() as stack:
        ends: list[socket.socket] = []

        async def dial() -> socket.socket:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            ends.append(stack.enter_context(theirs))
            theirs.sendall(answer)
            theirs.shutdown(socket.SHUT_WR)
            return ours

        yield dial, lambda: ends[-1].recv(4096)


PIECES = st.sampled_from(
    b'HTTP/1.1 200 |HTTP/1.0 407 |\r\n|\r\n\r\n|Proxy-Authenticate: |Digest |Basic |realm="|", |nonce="n", |qop=auth, |'
    b"algorithm=SHA-256|stale=true|\x85|\x1c|\xff|\5\0|\5\2|\1\0|\5\0\0\1|\5\0\0\3".split(b"|")
)


@pytest.mark.parametrize("proxy", [CLEAR, PROXY, SocksProxy("p", 1), SocksProxy("p", 1, "me", Secret("pw"))])
@given(answer=st.lists(PIECES | st.binary(max_size=8), max_size=20).map(b"".join))
async def test_whatever_a_proxy_says(proxy: HttpProxy | SocksProxy, answer: bytes) -> None:
    async with requests_to_a_proxy(answer) as (dial, _):
        with contextlib.suppress(ProxyError, CredentialsNeeded):
            (await through(proxy, "vpn.example", 443, dial)).close()
