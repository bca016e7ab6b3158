"""What is expected of each call: who is answered, by the words of api.toml, and what the answer is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from dbus_fast import Variant

from ovpn3.constants import (
    BACKENDS_INTERFACE,
    DOMAIN_CLIENT,
    DOMAIN_DEFAULT,
    DOMAIN_LOG,
    DOMAIN_NETCFG,
    DOMAIN_READY,
    DOMAIN_REGISTRATION,
    DOMAIN_REQUEST,
)

if TYPE_CHECKING:
    from tests.conformance.scene import Scene


class Who(Enum):
    OWNER = "owner"
    GRANTED = "granted"
    OTHER = "unrelated"
    ADMIN = "root"
    ACCOUNT = "service account"
    # Processes of the service account that own a name: net.openvpn.v3.sessions, net.openvpn.v3.backends.be<pid>
    MANAGER = "session manager"
    CLIENT = "client"


OWNER, GRANTED, OTHER, ADMIN, ACCOUNT, MANAGER, CLIENT = Who
FIVE = (OWNER, GRANTED, OTHER, ADMIN, ACCOUNT)
EVERYBODY = frozenset(Who)
SERVICES = frozenset({ACCOUNT, MANAGER, CLIENT})
USERS = frozenset({OWNER, GRANTED})

POLICIES = {
    "default": EVERYBODY,
    "openvpn": SERVICES,
    "root": frozenset({ADMIN}),
    "openvpn root": SERVICES | {ADMIN},
    "nobody": frozenset[Who](),
}

Rules = Mapping[str, frozenset[Who]]

# Whom an object answers. With the rule `any` the object answers whom the shipped bus policy lets through, so that
# another policy opens nothing.
RULES: Rules = {
    "owner": frozenset({OWNER}),
    "owner+acl": USERS,
    "owner+acl+public": USERS,
    "owner+openvpn+acl+public": USERS | SERVICES,
    "fetch": USERS | SERVICES,
    "owner-unsealed": frozenset({OWNER}),
    "owner+acl-unsealed": USERS,
    "root+owner+acl+public": USERS | {ADMIN},
    "root+owner+openvpn+acl": USERS | SERVICES | {ADMIN},
    "logforward": frozenset({OWNER}),
    "sessionmgr": frozenset({MANAGER}),
    "sessionmgr-as-openvpn": frozenset({MANAGER}),
    "backend-as-openvpn": frozenset({CLIENT}),
    "same-uid": SERVICES,
    "attach-owner": SERVICES,  # told apart by what they have attached
    "root": frozenset({ADMIN}),
    "root-or-subscriber": SERVICES | {ADMIN},
    "target-uid-or-sessionmgr": frozenset({OWNER, MANAGER}),  # OWNER is the receiver
}


@dataclass(frozen=True)
class State:
    """Of an object: changes who is answered. `sets` are properties, `calls` methods, both of the owner's."""

    sets: tuple[tuple[str, bool], ...] = ()
    calls: tuple[str, ...] = ()
    changed: Rules = field(default_factory=dict)

    @property
    def rules(self) -> Rules:
        return {**RULES, **self.changed}


PLAIN = State()
_FOR_ALL = dict.fromkeys(("owner+acl+public", "owner+openvpn+acl+public", "root+owner+acl+public"), EVERYBODY)
_PUBLIC = ("public_access", True)
_LOG_FOR_USERS = ("restrict_log_access", False)
_NOBODY = frozenset[Who]()
STATES: dict[str, dict[str, State]] = {
    "configuration.root": {"public": State((_PUBLIC,), changed=_FOR_ALL)},
    "configuration.profile": {
        "public": State((_PUBLIC,), changed=_FOR_ALL),
        "locked down": State((("locked_down", True),), changed={"fetch": SERVICES | {OWNER}}),
        "sealed": State(calls=("Seal",), changed={"owner-unsealed": _NOBODY, "owner+acl-unsealed": _NOBODY}),
    },
    "sessions.root": {"public": State((_PUBLIC,), changed=_FOR_ALL)},
    "sessions.session": {
        "public": State((_PUBLIC,), changed=_FOR_ALL),
        "log for users": State((_LOG_FOR_USERS,), changed={"logforward": USERS}),
        "log for all": State((_LOG_FOR_USERS, _PUBLIC), changed={**_FOR_ALL, "logforward": EVERYBODY}),
    },
}


# -- methods --------------------------------------------------------------------------------------
ANYTHING = object()


@dataclass(frozen=True)
class Answer:
    """What a caller gets who is answered: values, or an error "domain: text" which begins so.

    Arguments are values, or functions of the scene. `once`: the object is gone afterwards.
    `error` may differ by caller.
    """

    args: tuple[Any, ...] = ()
    gives: Any = ANYTHING
    error: str | Mapping[Who, str] = ""
    once: bool = False
    undo: str = ""  # method of the object that was given
    with_fd: bool = False


def does(*args: Any, **how: Any) -> Answer:
    return Answer(args, **how)


def fails(domain: str, text: str, *args: Any, **how: Any) -> Answer:
    return Answer(args, error=f"{domain}: {text}", **how)


Path = Callable[["Scene"], str]


def uid(who: Who) -> Callable[["Scene"], int]:
    return lambda scene: scene.people[who].uid


def name_of(who: Who) -> Callable[["Scene"], str]:
    return lambda scene: scene.buses[who].unique_name or ""


def profile(scene: "Scene") -> str:
    return scene.profile


def session(scene: "Scene") -> str:
    return scene.session


def its_path(scene: "Scene") -> list[str]:
    return [scene.profile]


def its_session(scene: "Scene") -> list[str]:
    return [scene.session]


PROFILE = f"client\ndev tun\nremote 192.0.2.1\nauth-user-pass\npeer-fingerprint {'00:' * 31}00\n"
NOBODYS_UID = 4_000_000
USER_PASSWORD = (1, 1)  # attention type and group
NO_INPUT = "Required user input not provided"
RUNNING = "A session with this configuration profile is already running"

CALLS: dict[str, dict[str, Answer]] = {
    "log.root": {
        "Attach": does("net.example.conformance"),
        "AssignSession": does(session, BACKENDS_INTERFACE),
        "Detach": does(
            BACKENDS_INTERFACE,
            error=dict.fromkeys((ACCOUNT, MANAGER), f"{DOMAIN_LOG}: {BACKENDS_INTERFACE} of :"),
        ),
        "GetSubscriberList": does(),
        "ProxyLogEvents": fails(DOMAIN_LOG, "no session is known at /none", name_of(OWNER), "/none"),
    },
    "log.proxy": {"Remove": does(once=True)},
    "configuration.root": {
        "Import": does("another", PROFILE, False, False, undo="Remove"),
        "FetchAvailableConfigs": does(gives=its_path),
        "LookupConfigName": does("office", gives=its_path),
        "SearchByTag": does("work", gives=its_path),
        "SearchByOwner": does(lambda scene: str(scene.people[OWNER].uid), gives=its_path),
        "TransferOwnership": does(profile, uid(OWNER)),
    },
    "configuration.profile": {
        "Validate": does(),
        "Fetch": does(gives=PROFILE),
        "FetchJSON": does(),
        "SetOption": does("verb", "3"),
        "SetOverride": does("ipv6", Variant("s", "no")),
        "UnsetOverride": does("ipv6"),
        "AddTag": fails(DOMAIN_DEFAULT, "Tag already exists", "work"),
        "RemoveTag": fails(DOMAIN_DEFAULT, "Non-existing tag", "none"),
        "AccessGrant": fails(DOMAIN_DEFAULT, "UID already granted access", uid(GRANTED)),
        "AccessRevoke": fails(DOMAIN_DEFAULT, "UID not granted access", NOBODYS_UID),
        "SessionTerms": does(uid(GRANTED), gives=True),
        "FetchForClient": does(),
        "Seal": does(once=True),
        "Remove": does(once=True),
    },
    "sessions.root": {
        # Ours alone looks at who may use the profile.
        "NewTunnel": does(
            profile,
            error={
                **dict.fromkeys(USERS, f"{DOMAIN_DEFAULT}: {RUNNING}"),
                **dict.fromkeys(EVERYBODY - USERS, f"{DOMAIN_DEFAULT}: no profile of yours"),
            },
        ),
        "FetchAvailableSessions": does(gives=its_session),
        "FetchManagedInterfaces": does(gives=lambda scene: [""]),
        "LookupConfigName": does("office", gives=its_session),
        "LookupInterface": fails(DOMAIN_DEFAULT, "Interface not found", "tun0"),
    },
    "sessions.session": {
        "Ready": fails(DOMAIN_READY, "Missing user credentials"),
        "Connect": fails(DOMAIN_REQUEST, NO_INPUT),
        "Restart": fails(DOMAIN_REQUEST, "the session is not running"),
        "Pause": fails(DOMAIN_REQUEST, "the session is not running", "lunch"),
        "Resume": fails(DOMAIN_REQUEST, "the session is not running"),
        "Disconnect": does(once=True),
        "AccessGrant": fails(DOMAIN_DEFAULT, "UID already granted access", uid(GRANTED)),
        "AccessRevoke": fails(DOMAIN_DEFAULT, "UID not granted access", NOBODYS_UID),
        "LogForward": does(True),
        "LogHistory": does(),
        "UserInputQueueGetTypeGroup": does(gives=[USER_PASSWORD]),
        "UserInputQueueFetch": does(*USER_PASSWORD, 1),
        "UserInputQueueCheck": does(*USER_PASSWORD, gives=[0, 1]),
        "UserInputProvide": fails(
            DOMAIN_REQUEST, "net.openvpn.v3.error.invalid-input: No value", *USER_PASSWORD, 0, ""
        ),
    },
    "backends.root": {"StartClient": does("token")},
    "client.session": {
        "RegistrationConfirmation": fails(DOMAIN_REGISTRATION, "this client is registered", "t", session, profile),
        "KeepRecord": does({}),
        "FetchRecord": does(),
        "Ping": does(gives=True),
        "Ready": fails(DOMAIN_READY, "Missing user credentials"),
        "Connect": fails(DOMAIN_CLIENT, NO_INPUT),
        "Pause": fails(DOMAIN_CLIENT, "the session is not running", "lunch"),
        "Resume": fails(DOMAIN_CLIENT, "the session is not running"),
        "Restart": fails(DOMAIN_CLIENT, "the session is not running"),
        "Disconnect": does(once=True),
        "ForceShutdown": does(once=True),
        "UserInputQueueGetTypeGroup": does(gives=[USER_PASSWORD]),
        "UserInputQueueFetch": does(*USER_PASSWORD, 1),
        "UserInputQueueCheck": does(*USER_PASSWORD, gives=[0, 1]),
        "UserInputProvide": fails(DOMAIN_CLIENT, "net.openvpn.v3.error.invalid-input: No value", *USER_PASSWORD, 0, ""),
    },
    "netcfg.root": {
        "CreateVirtualInterface": fails(DOMAIN_NETCFG, "not a usable device name", "a/b"),
        "FetchInterfaceList": does(gives=[]),
        "ProtectSocket": does("198.51.100.1", False, "/", gives=True, with_fd=True),
        "ProtectMarkedSocket": fails(
            DOMAIN_NETCFG, "the mark 32 is not open to profiles", "198.51.100.1", False, "/", 32
        ),
        "DcoAvailable": does(gives=False),
        "Cleanup": does(),
        "ReleaseGuards": does("nobody"),
        "NotificationSubscribe": does(2047),
        "NotificationUnsubscribe": does("", error={ADMIN: f"{DOMAIN_NETCFG}: root has to name"}),
        "NotificationSubscriberList": does(),
    },
    "netcfg.device": {
        "AddIPAddress": does("10.8.0.2", 24, "10.8.0.1", False),
        "SetRemoteAddress": does("198.51.100.1", False),
        "AddRouteRule": does(0x20, 0xFF, 33, 34),
        "AddRouteCgroup": fails(DOMAIN_NETCFG, "not the path of a cgroup: '../vpn.slice'", "../vpn.slice"),
        "AddNetworks": does([["172.16.0.0", 12, -1, False, False]]),
        "AddDNS": does(["10.8.0.53"]),
        "AddDNSSearch": does(["corp.example"]),
        "SetDNSSEC": does("optional"),
        "SetDNSTransport": does("dot"),
        "EnableDCO": fails(DOMAIN_NETCFG, "data channel offload is not available", "tun0"),
        "Establish": does(),
        "EstablishOffloads": does(0, gives=0),
        "Reset": does(),
        "Reconfigure": does(),
        "Disable": does(),
        "Destroy": does(once=True),
    },
}

# Objects there are none of, and why.
NONE = {
    "log.forwarded": "signals that come from there, but no object",
    "netcfg.dco": "no data channel in the kernel: EnableDCO says so",
    "devposture.root": "an add-on of the original's, in no release of it",
}

# -- properties -----------------------------------------------------------------------------------
# By name. A boolean is turned over.
NEW_VALUES = {
    "log_level": 5,
    "log_verbosity": 5,
    "name": "renamed",
    "mtu": 1400,
    "layer": 3,
    "txqueuelen": 100,
    "dns_scope": "tunnel",
    "interface_name": "tun-x",
    "route_table": 100,
}
WRONG_VALUES = {
    "log_level": 7,
    "log_verbosity": 7,
    "name": "",
    "mtu": 67,
    "layer": 1,
    "dns_scope": "moon",
    "interface_name": "eth0",
}
# Those that can be written, but to no other value.
FIXED = {
    ("netcfg.device", "network_namespace"): ("vpn", "the network namespace 'vpn' is not open to tunnels"),
    ("netcfg.device", "route_table"): (100, "the routing table 100 is not open to tunnels"),
}

# -- signals --------------------------------------------------------------------------------------
# Announced as by the original, and as little sent.
NEVER_SENT = {
    ("backends.root", "StatusChange"),
    ("netcfg.root", "NetworkChange"),  # comes from the devices, but for DNS
    ("netcfg.dco", "Log"),
    ("netcfg.dco", "NetworkChange"),
}
