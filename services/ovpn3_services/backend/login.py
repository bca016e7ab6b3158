"""What the server wants to know of the user: which questions a profile raises, and the credentials of the answers."""

from dataclasses import replace

from ovpn3.constants import AttentionGroup
from ovpn3.profile import Profile
from ovpn3.protocol.actions import Challenge
from ovpn3.protocol.auth import Credentials
from ovpn3.protocol.pkcs12 import needs_password
from ovpn3.protocol.tls import key_is_encrypted
from ovpn3.secret import Secret
from ovpn3_services.backend.queue import InputQueue


class Login:
    def __init__(self, profile: Profile, queue: InputQueue) -> None:
        self._profile, self._queue = profile, queue
        self._challenge: Challenge | None = None
        # Kept over reconnects and Connect calls: a token replaces what was asked for.
        self._credentials = Credentials(nocache=profile.auth_nocache)
        self._filled = False

    def ask(self) -> None:
        """Open a slot for everything that the profile needs and doesn't hold."""
        held = self._profile.auth_user_pass
        self._ask_login(username=not (held and held.username), password=not (held and held.password))
        if self._profile.client_cert and self._key_is_locked():
            self._queue.add(AttentionGroup.PK_PASSPHRASE, "pk_passphrase", "Private key passphrase", hidden=True)

    def ask_again(self) -> None:
        """For all that a server may have refused, whether it was asked for or in the profile; for the next Connect."""
        for group in (AttentionGroup.USER_PASSWORD, AttentionGroup.CHALLENGE_STATIC):
            self._queue.forget(group)
        self._credentials, self._filled = Credentials(nocache=self._profile.auth_nocache), False
        self._ask_login(username=True, password=True)

    def ask_response(self) -> None:
        """For the response to the profile's challenge alone, which was good once; for the next Connect."""
        self._queue.forget(AttentionGroup.CHALLENGE_STATIC)
        self._filled = False
        self._ask_login(username=False, password=False)

    def _ask_login(self, *, username: bool, password: bool) -> None:
        wanted = self._profile.auth_user_pass
        if wanted and username and not self._profile.locked_username:
            self._queue.add(AttentionGroup.USER_PASSWORD, "username", "Auth User name", hidden=False)
        if wanted and password and not wanted.username_only:
            self._queue.add(AttentionGroup.USER_PASSWORD, "password", "Auth Password", hidden=True)
        if static := self._profile.static_challenge:
            self._queue.add(AttentionGroup.CHALLENGE_STATIC, "static_challenge", static.text, hidden=not static.echo)

    def ask_dynamic(self, challenge: Challenge) -> None:
        """A question of the server's, to be answered with the next Connect."""
        group = AttentionGroup.CHALLENGE_DYNAMIC
        self._queue.forget(group)
        self._challenge = challenge
        self._queue.add(group, "dynamic_challenge", challenge.text, hidden=not challenge.echo)
        # Nobody is asked for it, but front-ends know that it is there.
        cookie = Secret(challenge.state_id)
        self._queue.add(group, "dynamic_challenge_cookie", "Dynamic challenge cookie", hidden=True, value=cookie)

    def ask_proxy(self) -> None:
        """For the proxy's user and password, to be given with the next Connect."""
        group = AttentionGroup.HTTP_PROXY_CREDS
        self._queue.forget(group)
        self._queue.add(group, "http_proxy_user", "HTTP proxy username", hidden=False)
        self._queue.add(group, "http_proxy_pass", "HTTP proxy password", hidden=True)

    def profile(self) -> Profile:
        """With the answers for its proxy."""
        proxy = self._profile.http_proxy
        user = self._queue.value(AttentionGroup.HTTP_PROXY_CREDS, "http_proxy_user")
        password = self._queue.value(AttentionGroup.HTTP_PROXY_CREDS, "http_proxy_pass")
        if proxy is None or user is None or password is None:
            return self._profile
        return replace(self._profile, http_proxy=replace(proxy, username=user.text(), password=password))

    def credentials(self) -> Credentials:
        """For a connection that starts now; all questions have been answered."""
        if not self._filled:
            self._fill()
        response = self._queue.value(AttentionGroup.CHALLENGE_DYNAMIC, "dynamic_challenge")
        if self._challenge and response:
            self._credentials.answer_dynamic(self._challenge.state_id, self._challenge.username, response)
            self._challenge = None
            self._queue.forget(AttentionGroup.CHALLENGE_DYNAMIC)
        return self._credentials

    def _key_is_locked(self) -> bool:
        profile = self._profile
        if profile.pkcs12:
            return needs_password(profile.pkcs12)
        return profile.key is not None and key_is_encrypted(profile.key)

    def key_password(self) -> Secret | None:
        return self._queue.value(AttentionGroup.PK_PASSPHRASE, "pk_passphrase")

    def _fill(self) -> None:
        self._filled = True
        if held := self._profile.auth_user_pass:
            name = self._queue.value(AttentionGroup.USER_PASSWORD, "username")
            self._credentials.username = self._profile.locked_username or (name.text() if name else held.username)
            password = self._queue.value(AttentionGroup.USER_PASSWORD, "password") or held.password
            self._credentials.password = password or Secret()
        response = self._queue.value(AttentionGroup.CHALLENGE_STATIC, "static_challenge")
        if response and self._profile.static_challenge:
            self._credentials.answer_static(response, concatenate=self._profile.static_challenge.concat)
