"""Everything a session asks its driver to do, in the order given. Frozen; `Action` is the closed union."""

from dataclasses import dataclass
from enum import Enum

from ovpn3.constants import Framing, LogCategory
from ovpn3.protocol.keys import DataKeys


class FailureKind(Enum):
    TIMEOUT = "timeout"  # the server is silent
    HANDSHAKE_TIMEOUT = "handshake-timeout"  # it talks, but doesn't finish
    TLS_ALERT = "tls-alert"
    CERTIFICATE = "certificate"  # the server's doesn't satisfy the profile
    CIPHER = "cipher"
    COMPRESSION = "compression"
    PUSH = "push"
    PEER = "peer"  # any other breach of protocol, or the end of the connection


class Advance(Enum):
    """Where the next attempt goes, if the server says so."""

    UNSAID = ""
    STAY = "no"
    NEXT_ADDRESS = "addr"
    NEXT_REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class SendPacket:
    """One control packet for the transport (which adds the framing of TCP)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class InstallKeys:
    """Receive with these keys from now on; send after UseKey. The driver wipes `keys` once copied."""

    key_id: int
    cipher: str
    keys: DataKeys
    peer_id: int | None  # None: the one-octet header of DATA_V1
    digest: str = "NONE"  # of CBC packets
    framing: Framing = Framing.NONE
    epochs: bool = False  # the keys are the secrets of the first epoch


@dataclass(frozen=True, slots=True)
class UseKey:
    """Send with this key from now on."""

    key_id: int


@dataclass(frozen=True, slots=True)
class RetireKey:
    """Forget the key: nothing under it is taken any more."""

    key_id: int


@dataclass(frozen=True, slots=True)
class SetKeepalive:
    """Ping after this long without sending, give up after this long without hearing; seconds, 0 = off."""

    ping: float
    ping_restart: float


@dataclass(frozen=True, slots=True)
class SendExit:
    """Tell the server through the data channel that we leave (UDP only)."""


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """The server answered for the first time."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """The server's options in force, filtered, in its order, tokens left out; anew after each update.

    Of those in `replaced` the profile's own don't count any more.
    """

    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    replaced: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Established:
    """First generation active, options received, keys installed."""

    tls: str  # for people: version, cipher, group


@dataclass(frozen=True, slots=True)
class Renegotiated:
    """A later generation is active."""

    key_id: int
    tls: str


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A text from the server for the user's eyes."""

    text: str


@dataclass(frozen=True, slots=True)
class AuthPending:
    """The server waits for something outside this session, `timeout` seconds at most."""

    timeout: float


@dataclass(frozen=True, slots=True)
class WebAuth:
    """The user is to open `url` (http or https)."""

    url: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextChallenge:
    """A question within this session; answered with `Session.answer` if `response_required`."""

    text: str
    echo: bool
    response_required: bool


@dataclass(frozen=True, slots=True)
class TokenChanged:
    """The server gave a token or took it back; it is in the credentials already."""

    present: bool


@dataclass(frozen=True, slots=True)
class LogLine:
    """Something the user may want to read."""

    category: LogCategory
    text: str


# The remaining ones end the session: nothing but Closed follows.


@dataclass(frozen=True, slots=True)
class Challenge:
    """A question to answer with `Credentials.answer_dynamic` before the next session."""

    state_id: str
    username: str
    text: str
    echo: bool
    response_required: bool


@dataclass(frozen=True, slots=True)
class AuthFailed:
    """Refused. `temporary`: try again with the same; `token_rejected`: the password may still do."""

    reason: str
    temporary: bool = False
    backoff: float | None = None  # seconds, at least
    advance: Advance = Advance.UNSAID
    token_rejected: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """The server, or a pull-filter, asks for a new session."""

    reason: str
    next_remote: bool = False
    keep_credentials: bool = False


@dataclass(frozen=True, slots=True)
class Halt:
    """The server asks us to stop and not to come back."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """`fatal`: trying again can't help."""

    kind: FailureKind
    reason: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over; always the last action."""


End = Challenge | AuthFailed | Restart | Halt | Failed
Action = (
    SendPacket
    | InstallKeys
    | UseKey
    | RetireKey
    | SetKeepalive
    | SendExit
    | FirstPacket
    | Pushed
    | Established
    | Renegotiated
    | ServerInfo
    | AuthPending
    | WebAuth
    | TextChallenge
    | TokenChanged
    | LogLine
    | End
    | Closed
)
