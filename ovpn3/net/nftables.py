"""What routes and their rules can't tell apart, and a firewall can: packets to name servers, packets by their cgroup.

Routes know no ports once a program has bound its socket to a device, as resolvers do. So packets to port 53 are
dropped by a table of our own, `nft list table inet openvpn3`, unless they leave by a tunnel or stay on the machine;
what the service account sends may leave, since a server can be at that port, and its name has to be looked up.

Rules know no cgroups. So another table, `openvpn3-cgroups`, gives what comes from a cgroup some bits of a mark, which
has it routed anew. By then it has the address of the way that it would have gone, and gets the tunnel's as it leaves.
The service account's packets are a tunnel's own, and stay as they are.

The kernel's interface is used as it is, without the `nft` program.
"""

import os
import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from ovpn3.errors import NetworkError

DNS_TABLE: Final = "openvpn3"
DNS_PORT: Final = 53
CGROUP_TABLE: Final = "openvpn3-cgroups"
MARK_BITS: Final = 0x7F00_0000  # of the mark; the others are other people's

# linux/netlink.h, linux/netfilter.h, linux/netfilter/nfnetlink.h
_NETLINK_NETFILTER, _SUBSYSTEM = 12, 10
_REQUEST, _ACK, _CREATE, _NESTED = 0x1, 0x4, 0x400, 0x8000
_ERROR, _BATCH_BEGIN, _BATCH_END = 2, 0x10, 0x11
_INET, _INPUT, _OUTPUT, _POST_ROUTING, _DROP, _ACCEPT = 1, 1, 3, 4, 0, 1
# linux/netfilter_ipv4.h: priorities
_FILTER, _MANGLE, _SOURCE_NAT = 0, -150, 100
# linux/netfilter/nf_tables.h
_NEW_TABLE, _DEL_TABLE, _NEW_CHAIN, _NEW_RULE, _DEL_RULE, _GET_GENERATION = 0, 2, 3, 6, 8, 16
_MARK, _IIFNAME, _OIFNAME, _SKUID, _L4PROTO, _TRANSPORT_HEADER = 3, 6, 7, 10, 16, 2
_CGROUPV2 = 3
_EQUAL, _DIFFERENT = 0, 1
_VERDICT, _REGISTER = 0, 1

Message = tuple[int, int, bytes]  # type, flags, attributes
Marked = tuple[str, int]  # what has a mark, and the attribute that names the register to set it from
_PACKET: Final[Marked] = ("meta", 3)
_CONNECTION: Final[Marked] = ("ct", 4)


def check() -> None:
    """NetworkError if the kernel has no nf_tables, or doesn't let us use them."""
    _send([(_SUBSYSTEM << 8 | _GET_GENERATION, _ACK, b"")], "use nf_tables")


def confine_dns() -> None:
    """Have the table, alike whether it was there or not. Takes CAP_NET_ADMIN."""
    messages = [
        *_removal(DNS_TABLE),
        _table(DNS_TABLE, _NEW_TABLE, _CREATE),
        _chain(DNS_TABLE, "dns", "filter", _POST_ROUTING, _FILTER),
    ]
    for protocol in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
        asks = [
            *(_meta(_L4PROTO), _compare(_EQUAL, bytes([protocol]))),
            *(_payload(_TRANSPORT_HEADER, 2, 2), _compare(_EQUAL, struct.pack(">H", DNS_PORT))),
        ]
        messages += [_rule(DNS_TABLE, "dns", [*asks, *accepted]) for accepted in _ours()]
        outside = [_meta(_OIFNAME), _compare(_DIFFERENT, b"lo\0"), _compare(_DIFFERENT, b"tun")]
        messages.append(_rule(DNS_TABLE, "dns", [*asks, *outside, _verdict(_DROP)]))
    _send(_batch(messages), "drop DNS outside the tunnel")


def release_dns() -> None:
    """The table is gone; no error if it was."""
    _send(_batch(_removal(DNS_TABLE)), "remove the firewall's table")


class Marking(NamedTuple):
    """Of packets whose socket was made in a cgroup: how deep it lies, its number, and the bits for the mark."""

    level: int
    number: int
    mark: int


def mark_cgroups(markings: Sequence[Marking]) -> None:
    """Have the table with these, of which a later one wins, and no others. No packet gets through in between."""
    chains = (
        ("enter", "filter", _INPUT, _FILTER),
        ("select", "route", _OUTPUT, _MANGLE + 1),  # after those who set the whole mark
        ("leave", "nat", _POST_ROUTING, _SOURCE_NAT),
    )
    messages = [_table(CGROUP_TABLE, _NEW_TABLE, _CREATE)]
    messages += [_chain(CGROUP_TABLE, *chain) for chain in chains]
    messages += [_emptied(CGROUP_TABLE, name) for name, *_ in chains]
    # Here, too: routed anew, a packet of IPv4 counts as root's for the rules.
    messages += [_rule(CGROUP_TABLE, "select", accepted) for accepted in _ours()]
    marks = sorted({marking.mark for marking in markings})
    # What the kernel sends by itself for a connection, such as its first answer and its last, has no socket with a
    # cgroup. So connections are marked as well, those that come in by a tunnel too.
    for mark in marks:
        messages.append(_rule(CGROUP_TABLE, "select", [*_has_mark(_CONNECTION, mark), *_set_mark(_PACKET, mark)]))
        leaves = [_meta(_OIFNAME), _compare(_EQUAL, b"tun"), _expression("masq", b"")]
        messages.append(_rule(CGROUP_TABLE, "leave", [*_has_mark(_PACKET, mark), *leaves]))
    for level, number, mark in markings:
        enters = [_meta(_IIFNAME), _compare(_EQUAL, b"tun")]
        of_it = [_cgroup(level), _compare(_EQUAL, struct.pack("=Q", number))]
        marks_connection = _set_mark(_CONNECTION, mark)
        messages.append(_rule(CGROUP_TABLE, "enter", [*enters, *of_it, *marks_connection]))
        messages.append(_rule(CGROUP_TABLE, "select", [*of_it, *marks_connection, *_set_mark(_PACKET, mark)]))
    _send(_batch(messages), "select cgroups, which takes nf_tables as of Linux 5.13")


def release_cgroups() -> None:
    """The table is gone; no error if it was."""
    _send(_batch(_removal(CGROUP_TABLE)), "remove the firewall's table")


def _ours() -> list[list[bytes]]:
    """What accepts the service account's packets, which are a tunnel's own; nothing if that is root."""
    uid = os.geteuid()
    return [[_meta(_SKUID), _compare(_EQUAL, struct.pack("=I", uid)), _verdict(_ACCEPT)]] if uid else []


def _removal(table: str) -> list[Message]:
    return [_table(table, _NEW_TABLE, _CREATE), _table(table, _DEL_TABLE, 0)]


# -- messages ---------------------------------------------------------------------------------------
def _table(table: str, kind: int, flags: int) -> Message:
    return _SUBSYSTEM << 8 | kind, flags, _text(1, table)


def _chain(table: str, chain: str, kind: str, hook: int, priority: int) -> Message:
    where = _number(1, hook) + _number(2, priority)
    body = _text(1, table) + _text(3, chain) + _nested(4, where) + _number(5, _ACCEPT) + _text(7, kind)
    return _SUBSYSTEM << 8 | _NEW_CHAIN, _CREATE, body


def _emptied(table: str, chain: str) -> Message:
    return _SUBSYSTEM << 8 | _DEL_RULE, 0, _text(1, table) + _text(2, chain)


def _rule(table: str, chain: str, expressions: Sequence[bytes]) -> Message:
    listed = b"".join(_nested(1, expression) for expression in expressions)
    # Appended: the order counts.
    return _SUBSYSTEM << 8 | _NEW_RULE, _CREATE | 0x800, _text(1, table) + _text(2, chain) + _nested(4, listed)


def _meta(key: int) -> bytes:
    return _expression("meta", _number(1, _REGISTER) + _number(2, key))


def _cgroup(level: int) -> bytes:
    return _expression("socket", _number(1, _CGROUPV2) + _number(2, _REGISTER) + _number(3, level))


def _has_mark(kind: Marked, mark: int) -> list[bytes]:
    return [_get_mark(kind), _bits(MARK_BITS, 0), _compare(_EQUAL, struct.pack("=I", mark))]


def _set_mark(kind: Marked, mark: int) -> list[bytes]:
    name, source = kind
    bits = _bits(~MARK_BITS & 0xFFFF_FFFF, mark)
    return [_get_mark(kind), bits, _expression(name, _number(2, _MARK) + _number(source, _REGISTER))]


def _get_mark(kind: Marked) -> bytes:
    name, _ = kind
    return _expression(name, _number(1, _REGISTER) + _number(2, _MARK))


def _bits(mask: int, others: int) -> bytes:
    """Those under the mask, with those of `others` turned over."""
    values = _nested(4, _attribute(1, struct.pack("=I", mask))) + _nested(5, _attribute(1, struct.pack("=I", others)))
    return _expression("bitwise", _number(1, _REGISTER) + _number(2, _REGISTER) + _number(3, 4) + values)


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
    return _attribute(kind, struct.pack(">I", value & 0xFFFF_FFFF))


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
