"""Names and numbers of the OpenVPN 3 Linux D-Bus API. The original's, unless marked as ours; none may change."""

from enum import CONFORM, IntEnum, IntFlag

PRODUCT = "OpenVPN 3 Linux client in Python"
# Front-ends read features from this, v<major>[.<minor>][_suffix]: tags 21, Validate 22, route metrics 26.
API_VERSION = "v27_ovpn3"
SERVICE_ACCOUNT = "openvpn"

LOG_NAME = "net.openvpn.v3.log"
CONFIG_NAME = "net.openvpn.v3.configuration"
SESSIONS_NAME = "net.openvpn.v3.sessions"
BACKENDS_NAME = "net.openvpn.v3.backends"
NETCFG_NAME = "net.openvpn.v3.netcfg"
CLIENT_NAME_PREFIX = "net.openvpn.v3.backends.be"  # + pid of the client process

LOG_PATH = "/net/openvpn/v3/log"
CONFIG_PATH = "/net/openvpn/v3/configuration"
SESSIONS_PATH = "/net/openvpn/v3/sessions"
BACKENDS_PATH = "/net/openvpn/v3/backends"
CLIENT_PATH = "/net/openvpn/v3/backends/session"
NETCFG_PATH = "/net/openvpn/v3/netcfg"

# A service's root path, and its interface, are spelt as its bus name; only the client differs.
LOG_INTERFACE = LOG_NAME
CONFIG_INTERFACE = CONFIG_NAME
SESSIONS_INTERFACE = SESSIONS_NAME
BACKENDS_INTERFACE = BACKENDS_NAME
NETCFG_INTERFACE = NETCFG_NAME


class StatusMajor(IntEnum):
    UNSET = 0
    CONFIG = 1
    CONNECTION = 2
    SESSION = 3
    PKCS11 = 4
    PROCESS = 5


class StatusMinor(IntEnum):
    UNSET = 0
    CFG_ERROR = 1
    CFG_OK = 2
    CFG_INLINE_MISSING = 3
    CFG_REQUIRE_USER = 4
    CONN_INIT = 5
    CONN_CONNECTING = 6
    CONN_CONNECTED = 7
    CONN_DISCONNECTING = 8
    CONN_DISCONNECTED = 9
    CONN_FAILED = 10
    CONN_AUTH_FAILED = 11
    CONN_RECONNECTING = 12
    CONN_PAUSING = 13
    CONN_PAUSED = 14
    CONN_RESUMING = 15
    CONN_DONE = 16
    SESS_NEW = 17
    SESS_BACKEND_COMPLETED = 18
    SESS_REMOVED = 19
    SESS_AUTH_USERPASS = 20
    SESS_AUTH_CHALLENGE = 21
    SESS_AUTH_URL = 22
    PKCS11_SIGN = 23
    PKCS11_ENCRYPT = 24
    PKCS11_DECRYPT = 25
    PKCS11_VERIFY = 26
    PROC_STARTED = 27
    PROC_STOPPED = 28
    PROC_KILLED = 29


# What front-ends print for a status; scripts match on these texts.
MAJOR_TEXT = ("(unset)", "Configuration", "Connection", "Session", "PKCS#11", "Process")
MINOR_TEXT = (
    "(unset)",
    "Configuration error",
    "Configuration OK",
    "Configuration missing inline data",
    "Configuration requires user input",
    "Client initialized",
    "Client connecting",
    "Client connected",
    "Client disconnecting",
    "Client disconnected",
    "Client connection failed",
    "Client authentication failed",
    "Client reconnect",
    "Client pausing connection",
    "Client connection paused",
    "Client connection resuming",
    "Client process exited",
    "New session created",
    "Backend Session Object completed",
    "Session deleted",
    "User/password authentication",
    "Challenge/response authentication",
    "URL authentication",
    "PKCS#11 Sign",
    "PKCS#11 Encrypt",
    "PKCS#11 Decrypt",
    "PKCS#11 Verify",
    "Process started",
    "Process stopped",
    "Process killed",
)


class AttentionType(IntEnum):
    UNSET = 0
    CREDENTIALS = 1
    PKCS11 = 2
    ACCESS_PERM = 3


class AttentionGroup(IntEnum):
    UNSET = 0
    USER_PASSWORD = 1
    HTTP_PROXY_CREDS = 2
    PK_PASSPHRASE = 3
    CHALLENGE_STATIC = 4
    CHALLENGE_DYNAMIC = 5
    CHALLENGE_AUTH_PENDING = 6
    PKCS11_SIGN = 7
    PKCS11_DECRYPT = 8
    OPEN_URL = 9


class Framing(IntEnum):
    """What stands before a payload in a data packet to say whether it is compressed."""

    NONE = 0
    LZO_STUB = 1  # comp-lzo, compress lzo
    STUB = 2  # compress, compress stub, compress lz4
    STUB_V2 = 3  # compress stub-v2, compress lz4-v2

    @property
    def octets(self) -> int:
        """Before an IP packet."""
        return int(self in (Framing.LZO_STUB, Framing.STUB))


class LogGroup(IntEnum):
    UNDEFINED = 0
    MASTERPROC = 1
    CONFIGMGR = 2
    SESSIONMGR = 3
    BACKENDSTART = 4
    LOGGER = 5
    BACKENDPROC = 6
    CLIENT = 7
    NETCFG = 8
    EXTSERVICE = 9


class LogCategory(IntEnum):
    UNDEFINED = 0
    DEBUG = 1
    VERB2 = 2
    VERB1 = 3
    INFO = 4
    WARN = 5
    ERROR = 6
    CRIT = 7
    FATAL = 8

    @property
    def level(self) -> int:
        """Lowest log level (0-6) at which this category passes."""
        return (0, 6, 5, 4, 3, 2, 1, 0, 0)[self]


# Stored verbatim in journal fields and printed as prefix; journal readers map the text back.
GROUP_TEXT = (
    "[[UNDEFINED]]",
    "Master Process",
    "Config Manager",
    "Session Manager",
    "Backend Starter",
    "Logger",
    "Backend Session Process",
    "Client",
    "Network Configuration",
    "External Service",
)
CATEGORY_TEXT = (
    "[[UNDEFINED]]",
    "DEBUG",
    "VERB2",
    "VERB1",
    "INFO",
    "WARNING",
    "-- ERROR --",
    "!! CRITICAL !!",
    "**!! FATAL !!**",
)
MAX_LOG_LEVEL = 6


class SessionEvent(IntEnum):
    """Type of SessionManagerEvent (D-Bus type q)."""

    SESS_CREATED = 1
    SESS_DESTROYED = 2


class ConfigEvent(IntEnum):
    """Type of ConfigurationManagerEvent (D-Bus type q)."""

    CFG_CREATED = 1
    CFG_DESTROYED = 2


class NetworkChange(IntFlag):
    """Type of netcfg's NetworkChange signal, and the bits of a subscription."""

    DEVICE_ADDED = 1
    DEVICE_REMOVED = 2
    IPADDR_ADDED = 4
    IPADDR_REMOVED = 8
    ROUTE_ADDED = 16
    ROUTE_REMOVED = 32
    ROUTE_EXCLUDED = 64
    DNS_SERVER_ADDED = 128
    DNS_SERVER_REMOVED = 256
    DNS_SEARCH_ADDED = 512
    DNS_SEARCH_REMOVED = 1024


class TunOffload(IntFlag, boundary=CONFORM):
    """What may be left to the reader of a tun device: TUN_F_* of linux/if_tun.h. Other bits are dropped."""

    NONE = 0
    CSUM = 1
    TSO4 = 2
    TSO6 = 4
    TSO_ECN = 8
    USO4 = 0x20
    USO6 = 0x40


# Error domains: they stand inside the message, where front-ends look for them.
DOMAIN_DEFAULT = "net.openvpn.gdbuspp"
DOMAIN_REQUEST = "net.openvpn.gdbuspp.request"
DOMAIN_LOG = "net.openvpn.v3.log.error"
DOMAIN_READY = "net.openvpn.v3.error.ready"
DOMAIN_CLIENT = "net.openvpn.v3.error.client"
DOMAIN_REGISTRATION = "net.openvpn.v3.error.be-registration"
DOMAIN_NETCFG = "net.openvpn.v3.netcfg.error"

# Overrides of a profile: name -> D-Bus type of its value.
OVERRIDES = {
    "server-override": "s",
    "port-override": "s",
    "proto-override": "s",
    "ipv6": "s",
    "persist-tun": "b",
    "log-level": "s",
    "dns-fallback-google": "b",
    "dns-setup-disabled": "b",
    "dns-scope": "s",
    "dns-sync-lookup": "b",
    "auth-fail-retry": "b",
    "allow-compression": "s",
    "enable-legacy-algorithms": "b",
    "tls-version-min": "s",
    "tls-cert-profile": "s",
    "proxy-host": "s",
    "proxy-port": "s",
    "proxy-username": "s",
    "proxy-password": "s",
    "proxy-auth-cleartext": "b",
    "enterprise-profile": "s",
    "automatic-restart": "s",
    # From here on ours; the original doesn't know them.
    "data-threads": "s",
    "offloads": "s",
    "kill-switch": "b",
    "netns": "s",
    "route-table": "s",
    "route-fwmark": "s",
    "route-uids": "s",
    "route-cgroups": "s",
}
SECRET_OVERRIDES = ("proxy-password",)  # not shown with the others

# What the override `offloads` may name.
OFFLOADS = (
    "tso",  # the tun hands over and takes TCP super packets
    "uso",  # the same for UDP
    "gso",  # the UDP socket cuts a run of datagrams
    "gro",  # the UDP socket joins a run of datagrams
    "ipsec-mb",  # AES-GCM and ChaCha20 by Intel's multi-buffer library
)
