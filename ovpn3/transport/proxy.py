"""A connection through a proxy: HTTP CONNECT (RFC 9110 section 9.3.6) or SOCKS 5 (RFC 1928 and 1929).

What a proxy says is hostile: its answers are bounded, and none of what follows them is taken from the socket.
"""

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import os
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from ovpn3.errors import NetworkError, Ovpn3Error
from ovpn3.profile.model import HttpProxy, SocksProxy

Dial = Callable[[], Awaitable[socket.socket]]  # a new connection to the proxy

MAX_HEAD_BYTES = 16384
MAX_NAME = 253  # characters of a host name, RFC 1035
MAX_SHOWN = 80  # characters of the proxy's own words in our errors
UNAUTHORIZED, AUTHENTICATION_REQUIRED = 401, 407
ROUNDS = 3  # without credentials, with them, and once more for a nonce that was stale
OCTETS = "utf-8", "surrogateescape"  # encoding of headers: what the proxy says goes back to it as it came
DIGESTS = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}

SOCKS_VERSION, LOGIN_VERSION = 5, 1
NO_LOGIN, LOGIN = 0, 2
CONNECT, UDP_ASSOCIATE = 1, 3
ANYWHERE = "0.0.0.0"  # we don't say from where our datagrams will come
ADDRESS_V4, NAME, ADDRESS_V6 = 1, 3, 4
SOCKS_REFUSALS = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "the network is unreachable",
    4: "the host is unreachable",
    5: "the connection was refused",
    6: "TTL expired",
    7: "it doesn't do that",
}


class ProxyError(NetworkError):
    """The proxy doesn't lead to the server."""


class CredentialsNeeded(Ovpn3Error):
    """The proxy wants a user name and a password, or others."""


async def through(proxy: HttpProxy | SocksProxy, host: str, port: int, dial: Dial) -> socket.socket:
    """A connection to the server, whose name the proxy resolves. NetworkError or CredentialsNeeded say why not."""
    host = _host(host)
    if isinstance(proxy, HttpProxy):
        return await _through_http(proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", dial)
    sock = await dial()
    try:
        await _ask_socks(sock, proxy, CONNECT, host, port)
    except BaseException:
        sock.close()
        raise
    return sock


async def associate(proxy: SocksProxy, dial: Dial) -> tuple[socket.socket, int]:
    """The proxy's port for our datagrams, and a connection to it: both are good until one side closes that.

    The port is taken to be one of the address we know the proxy by: what it says of its address is that before NAT.
    """
    sock = await dial()
    try:
        port = await _ask_socks(sock, proxy, UDP_ASSOCIATE, ANYWHERE, 0)
        if port == 0:
            raise ProxyError("the SOCKS proxy names no port for datagrams")
        return sock, port
    except BaseException:
        sock.close()
        raise


def datagram_header(address: str, port: int) -> bytes:
    """What the proxy wants before each datagram for there (RFC 1928 section 7); not a fragment."""
    return bytes(3) + _socks_address(address) + port.to_bytes(2)


def _host(host: str) -> str:
    """An address as it is, a name as the name system has it: of another the proxy can make nothing."""
    if _address(host) is not None:
        return host
    with contextlib.suppress(UnicodeError):
        name = host.encode("idna").decode()
        if len(name) <= MAX_NAME:
            return name
    raise NetworkError(f"{host} is not a host name")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


# -- HTTP -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Answer:
    """Status line and challenges of a proxy's answer."""

    status: int
    reason: str
    challenges: tuple[str, ...]


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate; the scheme in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


async def _through_http(proxy: HttpProxy, target: str, dial: Dial) -> socket.socket:
    clear = proxy.auth == "basic" and proxy.allow_cleartext and proxy.password is not None
    authorization = basic(proxy) if clear else ""
    for _ in range(ROUNDS):
        sock = await dial()
        try:
            await asyncio.get_running_loop().sock_sendall(sock, request(proxy, target, authorization))
            answer = parse_answer(await _read_head(sock))
        except BaseException:
            sock.close()
            raise
        if 200 <= answer.status < 300:
            return sock
        sock.close()  # some proxies close it themselves after a refusal, and all may
        if answer.status == UNAUTHORIZED and authorization:  # what tinyproxy says to a wrong password
            raise CredentialsNeeded("the proxy refuses the user name or the password")
        if answer.status != AUTHENTICATION_REQUIRED:
            raise ProxyError(f"the proxy refuses: {answer.status} {answer.reason}".rstrip())
        authorization = authorize(proxy, target, answer, tried=bool(authorization))
    raise ProxyError("the proxy asks for credentials again and again")


def request(proxy: HttpProxy, target: str, authorization: str) -> bytes:
    """A header of the profile without a value is a whole line; one for Host takes the place of ours."""
    own = [f"{name}: {value}" if value else name for name, value in proxy.headers]
    host = [] if any(line.lower().startswith("host:") for line in own) else [f"Host: {target}"]
    agent = [f"User-Agent: {proxy.user_agent}"] if proxy.user_agent else []
    login = [f"Proxy-Authorization: {authorization}"] if authorization else []
    lines = [f"CONNECT {target} HTTP/{proxy.version}", *host, *agent, *own, *login, ""]
    return "".join(f"{line}\r\n" for line in lines).encode(*OCTETS)


async def _read_head(sock: socket.socket) -> bytes:
    """Up to the empty line, octet by octet: what comes behind it is the server's."""
    head = bytearray()
    while not head.endswith((b"\r\n\r\n", b"\n\n")):
        if len(head) == MAX_HEAD_BYTES:
            raise ProxyError("the proxy's answer doesn't end")
        head += await _read(sock, 1)
    return bytes(head)


def parse_answer(head: bytes) -> Answer:
    """ProxyError if it isn't HTTP."""
    first, *lines = head.decode(*OCTETS).splitlines()
    status = re.fullmatch(r"HTTP/1\.[01] ([0-9]{3})(?: (.*))?", first)
    if status is None:
        raise ProxyError(f"what listens there is no HTTP proxy: it says {_shown(first)!r}")
    headers = (line.partition(":") for line in lines)
    challenges = tuple(value.strip() for name, _, value in headers if name.strip().lower() == "proxy-authenticate")
    return Answer(int(status[1]), _shown(status[2] or ""), challenges)


def authorize(proxy: HttpProxy, target: str, answer: Answer, *, tried: bool) -> str:
    """The header's value for the safest way that both sides know."""
    offered = {challenge.scheme: challenge for value in answer.challenges for challenge in split_challenges(value)}
    digest_offer = offered.get("digest") if proxy.auth != "basic" else None
    usable = digest_offer is not None or ("basic" in offered and proxy.allow_cleartext)
    if not usable:
        _no_common_way(offered)
    if proxy.password is None:
        raise CredentialsNeeded("the proxy asks for a user name and a password")
    if tried and not (digest_offer and digest_offer.parameters.get("stale", "").lower() == "true"):
        raise CredentialsNeeded("the proxy refuses the user name or the password")
    return digest(proxy, target, digest_offer) if digest_offer else basic(proxy)


def _no_common_way(offered: dict[str, Challenge]) -> NoReturn:
    if "basic" in offered:
        hint = "allow it with the method basic of http-proxy, or with the override proxy-auth-cleartext"
        raise ProxyError(f"the proxy wants the password in clear text: {hint}")
    names = ", ".join(sorted(offered)) or "none that we know"
    raise ProxyError(f"no common way to authenticate with the proxy; it offers {_shown(names)}")


def split_challenges(value: str) -> Iterator[Challenge]:
    """Those of one Proxy-Authenticate header."""
    starts = list(re.finditer(r"(?:^|,)\s*([A-Za-z][\w-]*)(?=\s+[\w-]+\s*=|\s*(?:,|$)|\s+\S+$)", value))
    for start, end in zip(starts, [*(m.start() for m in starts[1:]), len(value)], strict=False):
        text = value[start.end() : end]
        found = re.finditer(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', text)
        parameters = {m[1].lower(): re.sub(r"\\(.)", r"\1", m[2]) if m[2] is not None else m[3] for m in found}
        yield Challenge(start[1].lower(), parameters)


def basic(proxy: HttpProxy) -> str:
    """RFC 7617."""
    password = proxy.password.reveal() if proxy.password else b""
    return "Basic " + base64.b64encode(proxy.username.encode() + b":" + password).decode()


def digest(proxy: HttpProxy, target: str, challenge: Challenge, client_nonce: str = "") -> str:
    """RFC 7616 for CONNECT; ProxyError if the algorithm or the quality of protection is none of ours."""
    asked = challenge.parameters
    realm, nonce, algorithm = asked.get("realm", ""), asked.get("nonce", ""), asked.get("algorithm", "MD5").upper()
    name = DIGESTS.get(algorithm.removesuffix("-SESS"))
    qops = [qop.strip() for qop in asked.get("qop", "").lower().split(",") if qop.strip()]
    if name is None or not nonce or (qops and "auth" not in qops):
        raise ProxyError(f"the proxy's digest authentication is of an unknown kind: {_shown(algorithm)}")

    def hashed(*parts: bytes) -> bytes:
        return hashlib.new(name, b":".join(parts), usedforsecurity=False).hexdigest().encode()

    client_nonce = client_nonce or os.urandom(8).hex()
    password = proxy.password.reveal() if proxy.password else b""
    user = hashed(proxy.username.encode(), realm.encode(*OCTETS), password)
    if algorithm.endswith("-SESS"):
        user = hashed(user, nonce.encode(*OCTETS), client_nonce.encode())
    middle = [nonce, "00000001", client_nonce, "auth"] if qops else [nonce]
    response = hashed(user, *(part.encode(*OCTETS) for part in middle), hashed(b"CONNECT", target.encode())).decode()
    quoted = {"username": proxy.username, "realm": realm, "nonce": nonce, "uri": target, "response": response}
    plain = {"algorithm": algorithm} if "algorithm" in asked else {}
    if qops:
        quoted["cnonce"] = client_nonce
        plain |= {"qop": "auth", "nc": "00000001"}
    if "opaque" in asked:
        quoted["opaque"] = asked["opaque"]
    texts = [f"{key}={_quoted(value)}" for key, value in quoted.items()]
    return "Digest " + ", ".join([*texts, *(f"{key}={value}" for key, value in plain.items())])


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _shown(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:MAX_SHOWN]


# -- SOCKS ----------------------------------------------------------------------------------------
async def _ask_socks(sock: socket.socket, proxy: SocksProxy, command: int, host: str, port: int) -> int:
    """The port on the proxy's side that it answers with."""
    send = asyncio.get_running_loop().sock_sendall
    methods = bytes([NO_LOGIN, LOGIN] if proxy.password else [NO_LOGIN])
    await send(sock, bytes([SOCKS_VERSION, len(methods)]) + methods)
    version, method = await _read(sock, 2)
    if version != SOCKS_VERSION:
        raise ProxyError("what listens there is no SOCKS 5 proxy")
    if method not in methods:
        raise ProxyError("the SOCKS proxy wants a user name and a password: name a file with both in socks-proxy")
    if method == LOGIN and proxy.password:
        user, password = proxy.username.encode(), proxy.password.reveal()
        if not (len(user) < 256 and len(password) < 256):
            raise ProxyError("user name or password are too long for a SOCKS proxy")
        await send(sock, bytes([LOGIN_VERSION, len(user)]) + user + bytes([len(password)]) + password)
        if (await _read(sock, 2))[1] != 0:
            raise ProxyError("the SOCKS proxy refuses the user name or the password")
    await send(sock, bytes([SOCKS_VERSION, command, 0]) + _socks_address(host) + port.to_bytes(2))
    version, reply, _, kind = await _read(sock, 4)
    if version != SOCKS_VERSION or reply:
        raise ProxyError(f"the SOCKS proxy refuses: {SOCKS_REFUSALS.get(reply, f'error {reply}')}")
    size = {ADDRESS_V4: 4, ADDRESS_V6: 16}.get(kind) or (await _read(sock, 1))[0]
    return int.from_bytes((await _read(sock, size + 2))[size:])


def _socks_address(host: str) -> bytes:
    address = _address(host)
    if address is None:
        return bytes([NAME, len(host)]) + host.encode()
    return bytes([ADDRESS_V4 if address.version == 4 else ADDRESS_V6]) + address.packed


async def _read(sock: socket.socket, size: int) -> bytes:
    """So many octets and no more."""
    loop, found = asyncio.get_running_loop(), b""
    while len(found) < size:
        part = await loop.sock_recv(sock, size - len(found))
        if not part:
            raise ProxyError("the proxy closed the connection")
        found += part
    return found
