"""What a session is told at its start. Plain values; the client's driver fills them from a profile."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from ovpn3.constants import Framing
from ovpn3.protocol.auth import Credentials
from ovpn3.secret import Secret


class WrapMode(Enum):
    NONE = "none"
    TLS_AUTH = "tls-auth"
    TLS_CRYPT = "tls-crypt"
    TLS_CRYPT_V2 = "tls-crypt-v2"


@dataclass(frozen=True, slots=True)
class WrapConfig:
    """`key` is the text of the key file; direction and digest (upper case) are for tls-auth only."""

    mode: WrapMode = WrapMode.NONE
    key: Secret = field(default_factory=Secret)
    direction: int | None = None
    digest: str = "SHA1"


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificates are PEM text. An empty value means: not asked for."""

    ca: str = ""
    cert: str = ""
    extra_certs: str = ""
    key: Secret = field(default_factory=Secret)
    key_password: Secret | None = None
    crl: str = ""
    version_min: str = "1.2"
    version_max: str = ""
    ciphers: str = ""  # TLS 1.2 and older, OpenSSL or IANA names
    ciphersuites: str = ""  # TLS 1.3
    groups: str = ""  # colon list, most wanted first
    cert_profile: str = "legacy"  # insecure, legacy, preferred, suiteb
    remote_purpose: Literal["", "server", "client"] = ""  # remote-cert-tls
    remote_eku: str = ""  # name or dotted object id
    remote_ku: tuple[int, ...] = ()  # one of these must be contained in the peer's key usage
    netscape_type: Literal["", "server", "client"] = ""  # ns-cert-type
    verify_name: str = ""
    verify_kind: str = "subject"  # subject, name, name-prefix, subject-or-prefix
    fingerprints: tuple[bytes, ...] = ()  # SHA-256 of acceptable peers; makes `ca` optional
    sni: str = ""


@dataclass(frozen=True, slots=True)
class PullFilter:
    """What becomes of pushed options that begin with `text`."""

    action: str  # accept, ignore, reject
    text: str


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Durations in seconds; 0 switches a renegotiation, poll or ping timer off."""

    tls: TlsConfig = field(default_factory=TlsConfig)
    wrap: WrapConfig = field(default_factory=WrapConfig)
    credentials: Credentials = field(default_factory=Credentials)
    stream: bool = False  # TCP: no retransmission, and a bad packet ends the session
    data_ciphers: tuple[str, ...] = ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")
    fallback_cipher: str = ""  # for a server that pushes none
    auth: str = "SHA1"  # digest of CBC data packets; "NONE"
    framing: Framing = Framing.NONE  # of payloads, unless pushed
    decompressors: tuple[str, ...] | None = None  # lzo, lz4: what is available; None: the server may not compress
    reneg_bytes: int = 0  # of payload, both ways, after which a data key is replaced; 0 is never
    reneg_packets: int = 0
    replay_window: tuple[int, float] = (2048, 30.0)  # of data packets: reach in packets, silence that ends it
    epoch_keys: bool = True  # whether the data path can do with them
    tun_mtu: int = 1500
    tun_mtu_max: int = 1600
    version: str = "ovpn3-python"
    gui_version: str = ""
    sso: tuple[str, ...] = ("webauth", "openurl", "crtext")
    peer_info: tuple[tuple[str, str], ...] = ()  # further IV_ and UV_ variables
    pull_filters: tuple[PullFilter, ...] = ()
    route_nopull: bool = False
    hand_window: float = 60.0
    tls_timeout: float = 1.0  # before the first retransmission
    reneg_sec: float = 3600.0
    tran_window: float = 3600.0
    server_poll_timeout: float = 10.0  # for a server that sends nothing at all
    ping: float = 8.0  # unless pushed
    ping_restart: float = 40.0  # before the tunnel is up, and unless pushed
    exit_attempts: int = 0  # good-byes that nobody acknowledges; seconds for one that is acknowledged; 0: once, briefly
    max_packet_bytes: int = 1250
