"""Text messages inside TLS: framing, and what the server's mean. Each ends with NUL."""

import re
from typing import Final, final

from ovpn3.errors import PeerError
from ovpn3.protocol.actions import Advance, AuthFailed, Challenge, Halt, Restart, TextChallenge, WebAuth
from ovpn3.protocol.auth import unpack_base64_text
from ovpn3.protocol.tls import RECORD_BYTES

MAX_MESSAGE_BYTES: Final = 65536
MAX_BACKOFF: Final = 86400.0  # seconds
CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
TEMP: Final = re.compile(r"TEMP(?:\[([^\]]*)\])?(?::(.*))?", re.DOTALL)
RESTART: Final = re.compile(r"(?:\[([^\]]*)\]:?)?(.*)", re.DOTALL)


@final
class MessageReader:
    """Cuts TLS records into messages. A record that isn't full ends its message even without NUL."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, record: bytes) -> list[str]:
        """Complete messages; unprintable ones are left out. PeerError if one grows too long."""
        *whole, rest = (self._partial + record).split(b"\0")
        self._partial = b""
        if len(record) == RECORD_BYTES:
            self._partial = rest
        else:
            whole.append(rest)
        if len(rest) > MAX_MESSAGE_BYTES:
            raise PeerError("the server sent a message without end")
        return [text for raw in whole if (text := _clean(raw))]


def pack_message(text: str) -> bytes:
    return text.encode() + b"\0"


def parse_auth_failed(message: str) -> AuthFailed | Challenge:
    body = message.removeprefix("AUTH_FAILED").removeprefix(",").strip()
    if body.startswith("CRV1:"):
        return _parse_challenge(body)
    if temp := TEMP.fullmatch(body):
        flags = dict(flag.strip().partition(" ")[::2] for flag in (temp[1] or "").split(","))
        return AuthFailed(
            reason=(temp[2] or "").strip(),
            temporary=True,
            backoff=_parse_backoff(flags.get("backoff", "")),
            advance=_parse_advance(flags.get("advance", "")),
        )
    return AuthFailed(reason=body.removeprefix("SESSION:").strip())


def parse_restart(message: str) -> Restart:
    match = RESTART.fullmatch(message.removeprefix("RESTART").removeprefix(","))
    flags, text = match.groups() if match else ("", "")
    return Restart(reason=text.strip(), next_remote="N" in (flags or ""), keep_credentials="P" in (flags or ""))


def parse_halt(message: str) -> Halt:
    return Halt(reason=message.removeprefix("HALT").removeprefix(",").strip())


def parse_pending_timeout(message: str) -> float | None:
    """Seconds the server grants, None if it doesn't say."""
    for item in message.split(",")[1:]:
        keyword, _, value = item.strip().partition(" ")
        if keyword == "timeout" and value.isascii() and value.isdecimal():
            return float(value[:9])
    return None


def parse_info_pre(extra: str) -> WebAuth | TextChallenge | None:
    """Pending authentication asked for after INFO_PRE; None for what isn't one. PeerError if malformed."""
    method, _, rest = extra.partition(":")
    if method == "OPEN_URL":
        return WebAuth(_check_url(rest))
    if method not in ("WEB_AUTH", "CR_TEXT"):
        return None
    flags, colon, text = rest.partition(":")
    if not colon:
        raise PeerError(f"the server sent a malformed {method}")
    names = tuple(flag for flag in flags.split(",") if flag)
    if method == "WEB_AUTH":
        return WebAuth(_check_url(text), names)
    return TextChallenge(text, echo="E" in names, response_required="R" in names)


def _clean(raw: bytes) -> str:
    """The text without line end; empty for control characters or broken UTF-8."""
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return ""
    return "" if CONTROL_CHARACTER.search(text) else text


def _parse_challenge(body: str) -> AuthFailed | Challenge:
    try:
        _, flags, state_id, username, text = body.split(":", 4)
        return Challenge(
            state_id=state_id,
            username=unpack_base64_text(username),
            text=text,
            echo="E" in flags.split(","),
            response_required="R" in flags.split(","),
        )
    except (ValueError, PeerError):
        return AuthFailed("the server asked a question that can't be read")


def _parse_backoff(value: str) -> float | None:
    return min(float(value[:9]), MAX_BACKOFF) if value.isascii() and value.isdecimal() else None


def _parse_advance(value: str) -> Advance:
    """Without a word from the server: its next address."""
    return {"no": Advance.STAY, "remote": Advance.NEXT_REMOTE}.get(value, Advance.NEXT_ADDRESS)


def _check_url(url: str) -> str:
    """A link that is going to be opened for the user must be one of the web's."""
    if not url.startswith(("https://", "http://")) or " " in url:
        raise PeerError("the server asked to open something that isn't a web address")
    return url
