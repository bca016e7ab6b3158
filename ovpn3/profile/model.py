"""A profile as the client uses it: every value checked and typed. Durations are seconds, sizes bytes.

`None` means the profile doesn't say and the protocol's own rule holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from ovpn3.constants import OFFLOADS
from ovpn3.secret import Secret

Arguments = tuple[str, ...]
Proto = Literal["udp", "udp4", "udp6", "tcp", "tcp4", "tcp6"]
ProxyAuth = Literal["none", "auto", "basic", "digest", "ntlm"]
TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]
CertProfile = Literal["legacy", "preferred", "suiteb"]
CompressionPolicy = Literal["no", "asym", "yes"]

TLS_VERSIONS: tuple[TlsVersion, ...] = ("1.0", "1.1", "1.2", "1.3")
CERT_PROFILES: tuple[CertProfile, ...] = ("legacy", "preferred", "suiteb")
COMPRESSION_POLICIES: tuple[CompressionPolicy, ...] = ("no", "asym", "yes")
DNS_SCOPES = ("global", "tunnel")
DEFAULT_DATA_CIPHERS = ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")


@dataclass(frozen=True, slots=True)
class Remote:
    """One server to try."""

    host: str
    port: int = 1194
    proto: Proto = "udp"

    @property
    def is_tcp(self) -> bool:
        return self.proto.startswith("tcp")


@dataclass(frozen=True, slots=True)
class AuthUserPass:
    """Credentials are wanted; what the profile holds of them. `password` None: ask."""

    username: str = ""
    password: Secret | None = None
    username_only: bool = False


@dataclass(frozen=True, slots=True)
class StaticChallenge:
    """A question asked with the password. `concat`: the answer is appended to it instead of encoded."""

    text: str
    echo: bool
    concat: bool = False


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """A proxy for TCP remotes. `allow_cleartext`: the password may be sent by basic authentication."""

    host: str
    port: int
    auth: ProxyAuth = "none"
    allow_cleartext: bool = False
    username: str = ""
    password: Secret | None = None
    version: str = "1.0"
    user_agent: str = ""
    headers: tuple[tuple[str, str], ...] = ()  # name and value, or a whole line and nothing


@dataclass(frozen=True, slots=True)
class SocksProxy:
    """A SOCKS 5 proxy."""

    host: str
    port: int
    username: str = ""
    password: Secret | None = None


@dataclass(frozen=True, slots=True)
class Mssfix:
    """MSS limit, 0 is off. `mode`: what `size` counts: "mtu" with outer IP header, "fixed" the MSS, "" neither."""

    size: int
    mode: Literal["", "mtu", "fixed"] = ""


@dataclass(frozen=True, slots=True)
class Fwmark:
    """Packets whose mark, as far as `mask` goes, is this."""

    mark: int
    mask: int


@dataclass(frozen=True, slots=True)
class PullFilter:
    """First match decides what becomes of a pushed option."""

    action: Literal["accept", "ignore", "reject"]
    text: str


@dataclass(frozen=True, slots=True)
class X509Name:
    """The name a server's certificate must have."""

    name: str
    kind: Literal["subject", "name", "name-prefix", "subject-or-prefix"] = "subject"


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything a client takes from a profile. Made by `check.build`."""

    # Where to connect
    remotes: tuple[Remote, ...]
    remote_random: bool = False
    remote_random_hostname: bool = False
    remote_cache_lifetime: float = 0.0
    float_: bool = False
    server_poll_timeout: float = 10.0
    connect_retry: tuple[float, float] | None = None  # first and longest delay
    tcp_queue_limit: int = 64
    local: tuple[str, int] | None = None  # address, which may be empty, and port to bind to; port 0: any
    connect_retry_max: int | None = None  # rounds over all remotes
    http_proxy: HttpProxy | None = None
    socks_proxy: SocksProxy | None = None
    sndbuf: int | None = None
    rcvbuf: int | None = None
    mark: int = 0  # of the socket, for this machine's rules of routing; 0 is none

    # Certificates and TLS
    ca: str = ""
    cert: str = ""
    key: Secret | None = None
    pkcs12: Secret | None = None  # the file's octets; in place of cert and key
    extra_certs: str = ""
    crl: str = ""
    client_cert: bool = False
    peer_fingerprints: tuple[bytes, ...] = ()  # SHA-256
    remote_cert_tls: Literal["server", "client"] | None = None
    remote_cert_ku: tuple[int, ...] = ()
    remote_cert_eku: str | None = None
    ns_cert_type: Literal["server", "client"] | None = None
    verify_x509_name: X509Name | None = None
    tls_version_min: TlsVersion = "1.2"
    tls_version_max: TlsVersion | None = None
    tls_cipher: str | None = None
    tls_ciphersuites: str | None = None
    tls_groups: str | None = None
    tls_cert_profile: CertProfile = "legacy"
    sni: str | None = None

    # Control channel
    tls_auth: Secret | None = None
    tls_crypt: Secret | None = None
    tls_crypt_v2: Secret | None = None
    key_direction: Literal[0, 1] | None = None  # None: bidirectional
    tls_auth_digest: str | None = None
    tls_timeout: float = 1.0
    hand_window: float = 60.0
    tran_window: float = 3600.0
    reneg_sec: float = 3600.0
    reneg_bytes: int = 0  # 0 is never
    reneg_pkts: int = 0
    become_primary: float | None = None
    mssfix_ctrl: int = 1250

    # Data channel
    cipher: str | None = None
    data_ciphers: tuple[str, ...] = DEFAULT_DATA_CIPHERS
    data_ciphers_fallback: str | None = None
    auth: str = "SHA1"
    enable_legacy_algorithms: bool = False
    compress: str | None = None  # "": the option without an algorithm
    comp_lzo: Literal["yes", "no", "adaptive"] | None = None
    allow_compression: CompressionPolicy = "no"
    replay_window: tuple[int, float] = (2048, 30.0)  # packets, seconds of silence that end it
    tun_mtu: int = 1500
    tun_mtu_max: int = 1600
    mssfix: Mssfix | None = None
    data_threads: int = 1  # 2: one for each direction
    offloads: tuple[str, ...] = OFFLOADS  # those that may be used

    # Who we are
    auth_user_pass: AuthUserPass | None = None
    locked_username: str | None = None
    autologin: bool = False
    static_challenge: StaticChallenge | None = None
    auth_nocache: bool = False
    auth_retry: Literal["none", "nointeract", "interact"] = "none"
    auth_fail_retry: bool = False
    allow_password_save: bool = True
    push_peer_info: bool = False
    setenv: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    friendly_name: str = ""

    # Liveness
    ping: float | None = None
    ping_restart: float | None = None
    inactive: tuple[float, int] | None = None  # seconds, least bytes
    explicit_exit_notify: int | None = None

    # Tunnel device and routing; argument tuples as a server would push them
    dev: str = "tun"
    dev_type: Literal["tun"] = "tun"
    persist_tun: bool = False
    routes: tuple[Arguments, ...] = ()
    routes6: tuple[Arguments, ...] = ()
    route_metric: int | None = None
    redirect_gateway: tuple[Arguments, ...] = ()
    redirect_private: tuple[Arguments, ...] = ()
    dhcp_options: tuple[Arguments, ...] = ()
    dns: tuple[Arguments, ...] = ()
    dns_scope: str = ""  # global or tunnel, whatever the server says
    dns_fallback_google: bool = False
    kill_switch: bool = False
    netns: str = ""  # network namespace to put the device into
    route_table: int = 0  # for its routes; 0 is the main one
    route_fwmark: Fwmark | None = None  # whose packets take that table
    route_uids: tuple[tuple[int, int], ...] = ()  # first and last
    route_cgroups: tuple[str, ...] = ()  # their paths
    block_unused_ipv6: bool = False  # if the server gives us no IPv6 address
    route_nopull: bool = False
    pull_filters: tuple[PullFilter, ...] = ()
    block_ipv4: bool = False
    block_ipv6: bool = False
    block_outside_dns: bool = False

    verb: int | None = None
    warnings: tuple[str, ...] = ()
