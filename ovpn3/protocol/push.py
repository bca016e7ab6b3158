"""Pushed options: when to ask, how the parts of a reply make one list, and what of it is accepted."""

import re
from collections.abc import Iterable
from typing import Final, final

from ovpn3.errors import PeerError
from ovpn3.protocol.config import PullFilter

Option = tuple[str, tuple[str, ...]]  # name, arguments

MAX_PUSH_BYTES: Final = 786432  # of all parts, with the overheads below
OPTION_OVERHEAD: Final = 64
ARGUMENT_OVERHEAD: Final = 16

_QUOTING: Final = re.compile(r"""[\\"']""")

FIRST_REPEATS: Final = (1.0, 2.0)  # seconds until the second and third request
REPEAT: Final = 3.0
REPEAT_PENDING: Final = 8.0

# fmt: off
# What a server may set in a client. The rest runs programs, touches files, or changes who the peer is and how it
# is trusted: never from the network.
ACCEPTED: Final = frozenset((
    "auth-token", "auth-token-user", "block-ipv4", "block-ipv6", "block-outside-dns", "cipher",
    "client-ip", "comp-lzo", "compress", "custom-control", "dhcp-option", "dns", "echo",
    "explicit-exit-notify", "ifconfig", "ifconfig-ipv6", "inactive", "key-derivation", "parameter",
    "peer-id", "ping", "ping-exit", "ping-restart", "protocol-flags", "push-continuation", "rcvbuf",
    "redirect-gateway", "redirect-private", "remote-cache-lifetime", "reneg-sec", "route",
    "route-gateway", "route-ipv6", "route-ipv6-gateway", "route-metric", "session-timeout", "sndbuf",
    "socket-flags", "topology", "tun-mtu",
))
# Legal, but there is nothing to do for this client.
IGNORED: Final = frozenset((
    "auth", "become-primary", "bind-dev", "client-nat", "dhcp-pre-release", "dhcp-release", "dhcp-renew",
    "hand-window", "ifconfig-noexec", "ifconfig-nowarn", "ip-win32", "lladdr", "max-routes", "mute",
    "persist-key", "persist-local-ip", "persist-remote-ip", "persist-tun", "register-dns", "route-delay",
    "route-method", "setenv-safe", "shaper", "show-net-up", "tap-sleep", "tls-timeout", "tran-window",
    "tun-ipv6", "verb",
))
# What an update may change while connected.
UPDATABLE: Final = frozenset((
    "block-ipv4", "block-ipv6", "block-outside-dns", "dhcp-option", "dns", "ifconfig", "ifconfig-ipv6",
    "redirect-gateway", "redirect-private", "route", "route-gateway", "route-ipv6", "route-metric", "topology",
    "tun-mtu",
))
ROUTE_NOPULL: Final = frozenset((
    "block-ipv4", "block-ipv6", "block-outside-dns", "dhcp-option", "dns", "redirect-gateway",
    "redirect-private", "route", "route-ipv6", "route-metric",
))
# fmt: on


class PullRejected(PeerError):
    """A pull-filter says that a reply with this option must not be used at all."""


@final
class PushAssembler:
    """Joins the parts of a reply, or of an update."""

    def __init__(self) -> None:
        self._options: list[Option] = []
        self._bytes = 0
        self.started = False

    def add(self, message: str) -> list[Option] | None:
        """All options once `message` (PUSH_REPLY… or PUSH_UPDATE…) was the last part, else None. PeerError if it is
        too much."""
        self.started = True
        more = False
        for name, args in unpack_options(message):
            self._bytes += OPTION_OVERHEAD + len(name) + sum(ARGUMENT_OVERHEAD + len(a) for a in args)
            if self._bytes > MAX_PUSH_BYTES:
                raise PeerError("the server pushes more options than anybody needs")
            if name == "push-continuation":
                more = args[:1] == ("2",)
            else:
                self._options.append((name, args))
        if more:
            return None
        options, self._options, self._bytes = self._options, [], 0
        return options


def unpack_options(message: str) -> Iterable[Option]:
    """(name, arguments) of each item after the keyword."""
    for item in split_unquoted(message, ",")[1:]:
        if words := split_words(item):
            yield words[0], tuple(words[1:])


def split_unquoted(text: str, separator: str) -> list[str]:
    """Cut at separators outside quotes; quotes and backslashes stay in the parts."""
    if not _QUOTING.search(text):
        return text.split(separator)
    parts, start, quote, escaped = [], 0, "", False
    for at, c in enumerate(text):
        if escaped:
            escaped = False
        elif c == "\\":
            escaped = True
        elif quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c == separator:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def split_words(line: str) -> list[str]:
    """Words of an option line: quotes group, a backslash takes the next character literally."""
    if not _QUOTING.search(line):
        return line.split()
    words: list[str] = []
    word: list[str] = []
    quote, in_word, escaped = "", False, False
    for c in line:
        if escaped:
            word.append(c)
            escaped = False
        elif c == "\\":
            escaped = in_word = True
        elif c == quote:
            quote = ""
        elif quote:
            word.append(c)
        elif c in "\"'":
            quote, in_word = c, True
        elif not c.isspace():
            word.append(c)
            in_word = True
        elif in_word:
            words.append("".join(word))
            word, in_word = [], False
    return [*words, "".join(word)] if in_word else words


def accept(
    options: Iterable[Option], filters: Iterable[PullFilter] = (), *, route_nopull: bool = False
) -> tuple[list[Option], list[str]]:
    """What is used, and the names of options refused; PullRejected if a filter forbids the whole reply.

    The first filter that matches decides; its "accept" also outweighs route-nopull, never the list of what a
    server may set.
    """
    rules = [(f.action, split_words(f.text)) for f in filters]
    used, refused = [], []
    for option in options:
        name = option[0]
        action = next((action for action, words in rules if _matches(option, words)), "")
        if action == "reject":
            raise PullRejected(f"the server pushed {name!r}, which pull-filter rejects")
        if name not in ACCEPTED:
            refused += [name] if name not in IGNORED else []
        elif action != "ignore" and (action == "accept" or not route_nopull or name not in ROUTE_NOPULL):
            used.append(option)
    return used, refused


def update(current: Iterable[Option], items: Iterable[Option]) -> tuple[list[Option], set[str], list[str]]:
    """Options in force after an update, the names that it was about, and those of optional ones that can't be changed.

    An item "-name" removes, any other takes the place of all that had its name before; "?" marks what we needn't know.
    PeerError for anything else that can't be changed.
    """
    options, about, unknown = list(current), set[str](), list[str]()
    for item, args in items:
        removed, optional = item.startswith("-"), item.lstrip("-").startswith("?")
        name = item.removeprefix("-").removeprefix("?")
        if name not in UPDATABLE:
            if not optional:
                raise PeerError(f"the server wants to change {name[:60]!r}, which takes a new session")
            unknown.append(name)
            continue
        if removed or name not in about:
            options = [option for option in options if option[0] != name]
        about.add(name)
        if not removed:
            options.append((name, args))
    return options, about, unknown


def _matches(option: Option, words: list[str]) -> bool:
    """All words of a filter but the last must be equal, the last is a prefix."""
    pushed = (option[0], *option[1])
    if not words or len(words) > len(pushed):
        return False
    *head, last = words
    return list(pushed[: len(head)]) == head and pushed[len(head)].startswith(last)
