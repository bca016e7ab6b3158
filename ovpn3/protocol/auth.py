"""What we log in with: password, answers to challenges, token; and the texts a server sends about it."""

import base64
import binascii
from typing import final

from ovpn3.errors import PeerError
from ovpn3.secret import Secret


@final
class Credentials:
    """Login data of a tunnel. Shared by the sessions of its reconnects, so that a token outlives one session."""

    def __init__(self, username: str = "", password: Secret | None = None, *, nocache: bool = False) -> None:
        self.username = username
        self.password = password or Secret()
        self.nocache = nocache
        self._static_response: Secret | None = None
        self._concatenate = False
        self._dynamic: tuple[str, Secret] | None = None  # user name, password field
        self._token = Secret()
        self._token_username = ""

    @property
    def has_token(self) -> bool:
        return bool(self._token)

    def answer_static(self, response: Secret, *, concatenate: bool = False) -> None:
        """Response to the profile's challenge, sent with the password until a token replaces both."""
        self._static_response, self._concatenate = response, concatenate

    def answer_dynamic(self, state_id: str, username: str, response: Secret) -> None:
        """Response to the server's challenge, for the next login only."""
        self._dynamic = username, Secret(f"CRV1::{state_id}::".encode() + response.reveal())

    def login(self) -> tuple[str, Secret]:
        """User name and password field for a key-method-2 message; both empty if there is nothing to send."""
        if self._dynamic is not None:
            return self._dynamic
        if self._static_response is not None:
            return self.username, self._with_response(self._static_response)
        if self._token:
            return self._token_username or self.username, self._token
        return self.username, self.password

    def login_sent(self) -> None:
        """A dynamic answer is good for one login."""
        self._dynamic = None

    def accept_token(self, token: Secret, username: str = "") -> None:
        """A token from the server: from now on it stands for the password and its challenge."""
        self._token = token
        self._token_username = username or self._token_username
        self._static_response = None
        if self.nocache:
            self.password.wipe()
            self.password = Secret()

    def drop_token(self) -> bool:
        """Back to the password; False if there was no token."""
        had_token = self.has_token
        self._token.wipe()
        self._token, self._token_username = Secret(), ""
        return had_token

    def _with_response(self, response: Secret) -> Secret:
        if self._concatenate:
            return Secret(self.password.reveal() + response.reveal())
        return Secret(b":".join((b"SCRV1", *(base64.b64encode(s.reveal()) for s in (self.password, response)))))


def unpack_base64_text(encoded: str) -> str:
    """Decoded UTF-8 text; PeerError if it isn't."""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise PeerError("the server sent text that isn't base64") from None
