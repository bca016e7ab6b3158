"""What both ends agree on: our announcement (peer info, options string) and the server's choice (pushed options)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from ovpn3.constants import Framing
from ovpn3.protocol.actions import FailureKind
from ovpn3.protocol.config import SessionConfig, WrapMode
from ovpn3.protocol.failure import failed
from ovpn3.protocol.keys import AEAD_KEY_BYTES, CBC_KEY_BYTES, DIGEST_BYTES
from ovpn3.protocol.push import Option

MAX_PEER_ID: Final = 0xFFFFFF  # this value itself: no peer id
MIN_RENEG_SEC: Final = 10.0
MAX_SECONDS: Final = 7 * 86400.0
KEY_BYTES: Final = AEAD_KEY_BYTES | CBC_KEY_BYTES

# What a server may push of compression. "migrate" wants none from who can do without.
FRAMINGS: Final = {
    ("comp-lzo", "no"): Framing.LZO_STUB,
    ("compress",): Framing.STUB,
    ("compress", "stub"): Framing.STUB,
    ("compress", "stub-v2"): Framing.STUB_V2,
    ("compress", "migrate"): Framing.NONE,
}
# And what it may push if it is allowed to compress what it sends, with the decompressor that takes. We never compress.
COMPRESSIONS: Final = {
    ("comp-lzo",): ("lzo", Framing.LZO_STUB),
    ("comp-lzo", "yes"): ("lzo", Framing.LZO_STUB),
    ("comp-lzo", "adaptive"): ("lzo", Framing.LZO_STUB),
    ("compress", "lzo"): ("lzo", Framing.LZO_STUB),
    ("compress", "lz4"): ("lz4", Framing.STUB),
    ("compress", "lz4-v2"): ("lz4", Framing.STUB_V2),
}
LIBRARIES: Final = {"lzo": "liblzo2", "lz4": "liblz4"}


class Announce(IntFlag):
    """Bits of IV_PROTO that this client implements."""

    DATA_V2 = 1 << 1
    REQUEST_PUSH = 1 << 2
    TLS_KEY_EXPORT = 1 << 3
    AUTH_PENDING_KW = 1 << 4
    CC_EXIT_NOTIFY = 1 << 7
    AUTH_FAIL_TEMP = 1 << 8
    DYN_TLS_CRYPT = 1 << 9
    DATA_EPOCH = 1 << 10
    DNS_OPTION_V2 = 1 << 11
    PUSH_UPDATE = 1 << 12


ANNOUNCED: Final = Announce(sum(Announce))
PROTOCOL_FLAGS: Final = frozenset({"cc-exit", "tls-ekm", "dyn-tls-crypt", "aead-epoch"})


@dataclass(frozen=True, slots=True)
class Negotiated:
    """`digest` matters for CBC ciphers only; `peer_id` None: DATA_V1. Durations in seconds."""

    cipher: str
    digest: str
    framing: Framing
    peer_id: int | None
    tls_ekm: bool
    cc_exit: bool
    dynamic_wrap: bool
    epochs: bool
    ping: float
    ping_restart: float
    reneg_sec: float


def peer_info(config: SessionConfig) -> str:
    """KEY=VALUE lines for the server; whatever could break a line is left out of the values."""
    pairs = [
        ("IV_VER", config.version),
        ("IV_PLAT", "linux"),
        ("IV_NCP", "2"),
        ("IV_TCPNL", "1"),
        ("IV_PROTO", str(int(ANNOUNCED if config.epoch_keys else ANNOUNCED & ~Announce.DATA_EPOCH))),
        ("IV_MTU", str(config.tun_mtu_max)),
        ("IV_CIPHERS", ":".join(config.data_ciphers)),
        *((name, "1") for name in _compressions(config)),
        ("IV_GUI_VER", config.gui_version),
        ("IV_SSO", ",".join(config.sso)),
        *config.peer_info,
    ]
    return "".join(f"{key}={_printable(value)}\n" for key, value in pairs if value)


def _compressions(config: SessionConfig) -> Iterator[str]:
    decompressors = config.decompressors or ()
    if "lz4" in decompressors:
        yield from ("IV_LZ4", "IV_LZ4v2")
    yield "IV_LZO" if "lzo" in decompressors else "IV_LZO_STUB"
    yield from ("IV_COMP_STUB", "IV_COMP_STUBv2")


def options_string(config: SessionConfig) -> str:
    """The summary of our options that servers compare with theirs, for warnings only."""
    cipher = config.data_ciphers[0]
    parts = [
        "V4",
        "dev-type tun",
        f"link-mtu {config.tun_mtu + (51 if config.stream else 49)}",
        f"tun-mtu {config.tun_mtu}",
        f"proto {'TCPv4_CLIENT' if config.stream else 'UDPv4'}",
    ]
    if config.framing is not Framing.NONE:
        parts.append("comp-lzo")  # of whatever kind: servers with "compress migrate" look for it
    if config.wrap.mode is WrapMode.TLS_AUTH and config.wrap.direction is not None:
        parts.append(f"keydir {config.wrap.direction}")
    digest = config.auth if cipher in CBC_KEY_BYTES and config.auth != "NONE" else "[null-digest]"
    parts += [f"cipher {cipher}", f"auth {digest}", f"keysize {8 * KEY_BYTES[cipher]}"]
    if config.wrap.mode is WrapMode.TLS_AUTH:
        parts.append("tls-auth")
    return ",".join([*parts, "key-method 2", "tls-client"])


def negotiate(options: Iterable[Option], config: SessionConfig) -> Negotiated:
    """The server's choice; SessionEnd if it is none of ours."""
    chosen = dict(options)  # the last one counts
    cipher = _cipher(chosen.get("cipher", ()), config)
    flags = set(chosen.get("protocol-flags", ()))
    if unknown := flags - PROTOCOL_FLAGS:
        names = " ".join(sorted(unknown))
        raise failed(FailureKind.PUSH, f"the server demands protocol flags we don't have: {names}", fatal=True)
    peer_id = _peer_id(chosen.get("peer-id", ()))
    epochs = "aead-epoch" in flags
    if epochs and not (config.epoch_keys and cipher in AEAD_KEY_BYTES and peer_id is not None):
        reason = "the server demands epoch data keys, which need an AEAD cipher, a peer-id, and one data thread"
        raise failed(FailureKind.PUSH, reason, fatal=True)
    return Negotiated(
        cipher=cipher,
        digest=_digest(cipher, chosen.get("auth", ()), config),
        framing=_framing(chosen, config),
        peer_id=peer_id,
        tls_ekm="tls-ekm" in flags or "tls-ekm" in chosen.get("key-derivation", ()),
        cc_exit="cc-exit" in flags,
        dynamic_wrap="dyn-tls-crypt" in flags,
        epochs=epochs,
        ping=_seconds(chosen.get("ping", ()), config.ping),
        ping_restart=_seconds(chosen.get("ping-restart", ()), config.ping_restart),
        reneg_sec=max(_seconds(chosen["reneg-sec"], 0.0), MIN_RENEG_SEC) if "reneg-sec" in chosen else config.reneg_sec,
    )


def _cipher(args: tuple[str, ...], config: SessionConfig) -> str:
    allowed = config.data_ciphers
    if args:
        if (cipher := args[0].upper()) in allowed:
            return cipher
        reason = f"the server chose data cipher {args[0]}, the profile allows {', '.join(allowed)}"
        raise failed(FailureKind.CIPHER, reason, fatal=True)
    if config.fallback_cipher in KEY_BYTES:
        return config.fallback_cipher
    if config.fallback_cipher:
        reason = f"the server doesn't negotiate a data cipher, and {config.fallback_cipher} is not available"
        raise failed(FailureKind.CIPHER, reason, fatal=True)
    reason = "the server doesn't negotiate a data cipher; data-ciphers-fallback can name the one it uses"
    raise failed(FailureKind.CIPHER, reason, fatal=True)


def _peer_id(args: tuple[str, ...]) -> int | None:
    if not args:
        return None
    try:
        peer_id = int(args[0])
    except ValueError:
        peer_id = -2
    if not -1 <= peer_id <= MAX_PEER_ID:
        raise failed(FailureKind.PUSH, "the server pushed a peer-id out of range", fatal=True)
    return None if peer_id in (-1, MAX_PEER_ID) else peer_id


def _seconds(args: tuple[str, ...], default: float) -> float:
    """A pushed duration; nonsense counts as not pushed."""
    try:
        return min(float(int(args[0])), MAX_SECONDS) if args and int(args[0]) >= 0 else default
    except ValueError:
        return default


def _digest(cipher: str, args: tuple[str, ...], config: SessionConfig) -> str:
    if cipher in AEAD_KEY_BYTES:
        return "NONE"
    digest = args[0].upper() if args else config.auth
    if digest not in DIGEST_BYTES:
        raise failed(FailureKind.CIPHER, f"the digest {digest} (auth) is not available", fatal=True)
    return digest


def _framing(chosen: dict[str, tuple[str, ...]], config: SessionConfig) -> Framing:
    name = next((name for name in ("comp-lzo", "compress") if name in chosen), "")
    if not name:
        return config.framing
    words = (name, *chosen[name])
    if words in FRAMINGS:
        return FRAMINGS[words]
    method, framing = COMPRESSIONS.get(words, ("", Framing.NONE))
    if method in (config.decompressors or ()):
        return framing
    remedy = "remove it from the server"
    if method and config.decompressors is None:
        remedy += ", or set allow-compression to asym"
    elif method:
        remedy += f", or install {LIBRARIES[method]}"
    reason = f"the server pushed compression ({' '.join(words)}), which is refused: {remedy}"
    raise failed(FailureKind.COMPRESSION, reason, fatal=True)


def _printable(value: str) -> str:
    return value if value.isprintable() else "".join(c for c in value if c.isprintable())
