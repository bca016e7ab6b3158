"""The one thing that takes a firewall: names are to be asked for through a tunnel only.

Routes can't tell ports apart once a program has bound its socket to a device, as resolvers do. So packets to port 53
are dropped by a table of our own, `nft list table inet openvpn3`, unless they leave by a tunnel or stay on the machine;
what the service account sends may leave, since a server can be at that port, and its name has to be looked up. The
kernel's interface is used as it is, without the `nft` program.
"""

import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

from ovpn3.errors import NetworkError

TABLE: Final = "openvpn3"
CHAIN: Final = "dns"
DNS_PORT: Final = 53

# linux/netlink.h, linux/netfilter.h, linux/netfilter/nfnetlink.h
_NETLINK_NETFILTER, _SUBSYSTEM = 12, 10
_REQUEST, _ACK, _CREATE, _NESTED = 0x1, 0x4, 0x400, 0x8000
_ERROR, _BATCH_BEGIN, _BATCH_END = 2, 0x10, 0x11
_INET, _POST_ROUTING, _DROP, _ACCEPT = 1, 4, 0, 1
# linux/netfilter/nf_tables.h
_NEW_TABLE, _DEL_TABLE, _NEW_CHAIN, _NEW_RULE, _GET_GENERATION = 0, 2, 3, 6, 16
_OIFNAME, _SKUID, _L4PROTO, _TRANSPORT_HEADER = 7, 10, 16, 2
_EQUAL, _DIFFERENT = 0, 1
_VERDICT, _REGISTER = 0, 1

Message = tuple[int, int, bytes]  # type, flags, attributes


def check() -> None:
    """NetworkError if the kernel has no nf_tables, or doesn't let us use them."""
    _send([(_SUBSYSTEM << 8 | _GET_GENERATION, _ACK, b"")], "use nf_tables")


def confine_dns() -> None:
    """Have the table, alike whether it was there or not. Takes CAP_NET_ADMIN."""
    uid = os.geteuid()
    messages = [*_removal(), _table(_NEW_TABLE, _CREATE), _chain()]
    for protocol in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
        asks = [
            *(_meta(_L4PROTO), _compare(_EQUAL, bytes([protocol]))),
            *(_payload(_TRANSPORT_HEADER, 2, 2), _compare(_EQUAL, struct.pack(">H", DNS_PORT))),
        ]
        if uid:  # else that would be everybody's who matters
            messages.append(_rule([*asks, _meta(_SKUID), _compare(_EQUAL, struct.pack("=I", uid)), _verdict(_ACCEPT)]))
        outside = [_meta(_OIFNAME), _compare(_DIFFERENT, b"lo\0"), _compare(_DIFFERENT, b"tun")]
        messages.append(_rule([*asks, *outside, _verdict(_DROP)]))
    _send(_batch(messages), "drop DNS outside the tunnel")


def release_dns() -> None:
    """The table is gone; no error if it was."""
    _send(_batch(_removal()), "remove the firewall's table")


def _removal() -> list[Message]:
    return [_table(_NEW_TABLE, _CREATE), _table(_DEL_TABLE, 0)]


# -- messages ---------------------------------------------------------------------------------------
def _table(kind: int, flags: int) -> Message:
    return _SUBSYSTEM << 8 | kind, flags, _text(1, TABLE)


def _chain() -> Message:
    hook = _number(1, _POST_ROUTING) + _number(2, 0)
    body = _text(1, TABLE) + _text(3, CHAIN) + _nested(4, hook) + _number(5, _ACCEPT) + _text(7, "filter")
    return _SUBSYSTEM << 8 | _NEW_CHAIN, _CREATE, body


def _rule(expressions: Sequence[bytes]) -> Message:
    listed = b"".join(_nested(1, expression) for expression in expressions)
    # Appended: the order counts.
    return _SUBSYSTEM << 8 | _NEW_RULE, _CREATE | 0x800, _text(1, TABLE) + _text(2, CHAIN) + _nested(4, listed)


def _meta(key: int) -> bytes:
    return _expression("meta", _number(1, _REGISTER) + _number(2, key))


def _payload(base: int, offset: int, length: int) -> bytes:
    where = _number(2, base) + _number(3, offset) + _number(4, length)
    return _expression("payload", _number(1, _REGISTER) + where)


def _compare(how: int, value: bytes) -> bytes:
    return _expression("cmp", _number(1, _REGISTER) + _number(2, how) + _nested(3, _attribute(1, value)))


def _verdict(code: int) -> bytes:
    return _expression("immediate", _number(1, _VERDICT) + _nested(2, _nested(2, _number(1, code))))


def _expression(name: str, data: bytes) -> bytes:
    return _text(1, name) + _nested(2, data)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value))


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)


# -- the socket -------------------------------------------------------------------------------------
def _batch(messages: Sequence[Message]) -> list[Message]:
    """All of them or none; the last one's answer is the answer."""
    *others, (kind, flags, body) = messages
    return [(_BATCH_BEGIN, 0, b""), *others, (kind, flags | _ACK, body), (_BATCH_END, 0, b"")]


def _send(messages: Sequence[Message], what_for: str) -> None:
    """The kernel has answered when it has taken them."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as sock:
            sock.bind((0, 0))
            sock.send(b"".join(_packed(number, *message) for number, message in enumerate(messages)))
            while True:
                answer = sock.recv(65536, socket.MSG_DONTWAIT)
                _, kind = struct.unpack_from("=IH", answer)
                if kind == _ERROR:
                    (error,) = struct.unpack_from("=i", answer, 16)
                    if error:
                        raise OSError(-error, os.strerror(-error))
                    return
    except OSError as e:
        raise NetworkError(f"can't {what_for}: {e.strerror}", e.errno or 0) from None


def _packed(number: int, kind: int, flags: int, body: bytes) -> bytes:
    batch = kind in (_BATCH_BEGIN, _BATCH_END)
    general = struct.pack(">BBH", 0 if batch else _INET, 0, _SUBSYSTEM if batch else 0)
    return struct.pack("=IHHII", 16 + len(general) + len(body), kind, flags | _REQUEST, number, 0) + general + body
