"""The client's object: what the session manager may ask, and what it and the log are told."""

from typing import TYPE_CHECKING, Any

from ovpn3.client.driver import Driver
from ovpn3.client.machine import machine_info
from ovpn3.client.settings import unheeded_in
from ovpn3.constants import (
    BACKENDS_INTERFACE,
    CLIENT_PATH,
    DOMAIN_CLIENT,
    DOMAIN_READY,
    DOMAIN_REGISTRATION,
    MAX_LOG_LEVEL,
    AttentionGroup,
    AttentionType,
    LogCategory,
    StatusMajor,
    StatusMinor,
)
from ovpn3.dbus.access import refusal, same_uid
from ovpn3.dbus.describe import Signal
from ovpn3.dbus.dispatch import PROPERTIES, Call, DBusObject, method, prop
from ovpn3.dbus.wire import Variant
from ovpn3.errors import ConfigurationRefused, ProfileError, RemoteError, ServiceError
from ovpn3.profile import Profile, apply, build, missing, parse
from ovpn3.protocol import actions as act
from ovpn3.proxies.config import Configuration
from ovpn3.proxies.log import Log as LogService
from ovpn3.proxies.netcfg import NetworkConfiguration
from ovpn3.transport.resolve import Endpoint
from ovpn3_services.backend.login import Login
from ovpn3_services.backend.queue import InputQueue
from ovpn3_services.common.text import stripped

if TYPE_CHECKING:
    from ovpn3_services.backend.service import BackendClient

NO_SESSION = "/__unknown"
# What is shown of the tunnel: its device, and its connection as (protocol, host name, address, port).
NOTHING_UP = {
    "device_name": Variant("s", ""),
    "device_path": Variant("o", "/"),
    "device_place": Variant("s", ""),
    "session_name": Variant("s", ""),
    "connection": Variant("(sssu)", ["", "", "", 0]),
}
NEEDS = {
    AttentionGroup.USER_PASSWORD: "Username/password credentials needed",
    AttentionGroup.PK_PASSPHRASE: "Private key passphrase needed",
}
ENDED = (StatusMinor.CFG_ERROR, StatusMinor.CONN_DONE, StatusMinor.CONN_FAILED)


def _connection(endpoint: Endpoint) -> list[Any]:
    host = endpoint.server[0] if endpoint.server else endpoint.host
    return [endpoint.protocol, host, endpoint.address, endpoint.port]


async def session_manager(client: "ClientObject", call: Call) -> None:
    """The present owner of net.openvpn.v3.sessions."""
    if call.sender != client.service.log.session_manager:
        raise refusal(call, "you are not the session manager")


class ClientObject(DBusObject):
    """One tunnel."""

    interface = BACKENDS_INTERFACE
    domain = DOMAIN_CLIENT
    signals = (
        Signal("RegistrationRequest", "busname:s token:s pid:i"),
        Signal("AttentionRequired", "code_major:u code_minor:u message:s"),
        Signal("StatusChange", "code_major:u code_minor:u message:s"),
        Signal("Log", "group:u level:u session_token:s message:s"),
    )

    def __init__(self, service: "BackendClient", token: str, *, protect_socket: bool) -> None:
        self.service, self._token, self._protect_socket = service, token, protect_socket
        self.session_path = NO_SESSION
        self._status: tuple[int, int, str] = (0, 0, "")
        self._shown = dict(NOTHING_UP)
        self._queue = InputQueue()
        self._profile: Profile | None = None
        self._overrides: dict[str, Any] = {}
        self._login: Login | None = None
        self._driver: Driver | None = None
        self._web_auth = False
        self._dco_wanted = False
        self._last_log: dict[str, Variant] = {}
        self._log_service = ""  # unique name of the one that knows our session
        # In custody for the session manager, which alone knows what it means; empty until there is a session.
        self.record: dict[str, Variant] = {}

    # -- registration -----------------------------------------------------------------------------
    @method(
        "RegistrationConfirmation",
        "token:s session_path:o config_path:o",
        "config_name:s",
        rule=session_manager,
    )
    async def confirm(self, call: Call, token: str, session_path: str, config_path: str) -> str:
        """Say what the client is for, once: it reads the profile and gives its name."""
        if token != self._token or self.session_path != NO_SESSION:
            raise ServiceError(DOMAIN_REGISTRATION, "this client is registered already, or for another session")
        self.session_path = session_path
        self.service.log.renewed = self._log_renewed
        try:
            await self._assign_log()
        except RemoteError as e:
            self.log(LogCategory.WARN, f"the log service doesn't know the session: {e}")  # its successor will
        name, self._overrides, text = await Configuration(self.service.bus, config_path).fetch_for_client()
        try:
            self._evaluate(text, name)
        except ProfileError as e:
            self.status(StatusMinor.CFG_ERROR, str(e))
            raise ServiceError(DOMAIN_CLIENT, str(e)) from None
        self._push_log_state()
        self._tell_config_state(f"config_path={config_path}")
        return name

    async def _assign_log(self) -> None:
        await LogService(self.service.bus).assign_session(self.session_path, BACKENDS_INTERFACE)
        self._log_service = self.service.log.receiver

    async def _log_renewed(self) -> None:
        await self._assign_log()
        self._push_log_state()

    # -- custody ----------------------------------------------------------------------------------
    @method("KeepRecord", "record:a{sv}", rule=session_manager)
    async def keep_record(self, call: Call, record: dict[str, Variant]) -> None:
        """Keep what a later session manager has to know of the session: the present one knows it."""
        self.record = record
        self.service.managed()

    @method("FetchRecord", "", "record:a{sv}", rule=session_manager)
    async def fetch_record(self, call: Call) -> dict[str, Variant]:
        """What KeepRecord left here; empty if there is no session."""
        return self.record

    def _evaluate(self, text: str, name: str) -> None:
        """Read the profile; ask for what it doesn't hold."""
        directives = parse(text, source=name)
        if lacking := missing(directives):
            raise ProfileError("; ".join(lacking), source=name)
        profile = apply(build(directives, source=name), self._overrides)
        self._profile = profile
        if profile.verb is not None:
            self.service.log.level = min(profile.verb, MAX_LOG_LEVEL)
        for warning in profile.warnings:
            self.log(LogCategory.WARN, warning)
        if unheeded := unheeded_in(self._overrides):
            self.log(LogCategory.WARN, f"without effect in this version: {', '.join(unheeded)}")
        self._login = Login(profile, self._queue)
        self._login.ask()

    def _tell_config_state(self, text: str) -> None:
        if not self._queue.waiting():
            self.status(StatusMinor.CFG_OK, text)
            return
        needs = []
        for type_, group in self._queue.groups():
            needs.append(NEEDS.get(AttentionGroup(group), "user input is needed"))
            self._attention(AttentionGroup(group), needs[-1], AttentionType(type_))
        self.status(StatusMinor.CFG_REQUIRE_USER, needs[0])

    # -- control ----------------------------------------------------------------------------------
    @method("Ping", "", "alive:b", rule=session_manager)
    async def ping(self, call: Call) -> bool:
        """True."""
        return True

    @method("Ready", rule=session_manager)
    async def ready(self, call: Call) -> None:
        """An error names what is missing before Connect."""
        if self._web_auth:
            raise ServiceError(DOMAIN_READY, "Pending web authentication")
        if self._queue.waiting():
            raise ServiceError(DOMAIN_READY, "Missing user credentials")

    @method("Connect", rule=session_manager)
    async def connect(self, call: Call) -> None:
        """Begin to connect; nothing if it is connecting or connected."""
        if self._driver is not None and self._driver.running:
            return
        if self._profile is None or self._login is None:
            raise ConfigurationRefused("the profile has not been read yet")
        if self._queue.waiting():
            raise ConfigurationRefused("Required user input not provided")
        self._driver = Driver(
            self._login.profile(),
            self._login.credentials(),
            NetworkConfiguration(self.service.bus),
            self,
            name=self._token,
            key_password=self._login.key_password(),
            peer_info=machine_info() if self._profile.push_peer_info else None,
            configure_dns=not self._overrides.get("dns-setup-disabled", False),
            protect_socket=self._protect_socket,
        )
        self.status(StatusMinor.CONN_CONNECTING)
        self._driver.start()

    @method("Pause", "reason:s", rule=session_manager)
    async def pause(self, call: Call, reason: str) -> None:
        """Take the tunnel down until Resume."""
        driver = self._running()
        if driver.paused:
            raise ConfigurationRefused("Connection is already paused")
        self.status(StatusMinor.CONN_PAUSING, f"Reason: {stripped(reason)}")
        driver.pause()

    @method("Resume", rule=session_manager)
    async def resume(self, call: Call) -> None:
        """Connect again after Pause."""
        driver = self._running()
        if not driver.paused:
            raise ConfigurationRefused("Connection is not paused")
        self.status(StatusMinor.CONN_RESUMING)
        self.status(StatusMinor.CONN_RECONNECTING)  # so that front-ends take it for no first connection
        driver.resume()

    @method("Restart", rule=session_manager)
    async def restart(self, call: Call) -> None:
        """Connect anew at once."""
        driver = self._running()
        self.status(StatusMinor.CONN_RECONNECTING)
        driver.restart()

    @method("Disconnect", rule=session_manager)
    async def disconnect(self, call: Call) -> None:
        """Take the tunnel down, say CONN_DISCONNECTED if there was one, and CONN_DONE, and end."""
        self.status(StatusMinor.CONN_DISCONNECTING)
        was_running = self._driver is not None and self._driver.running
        await self.close()
        if was_running:
            self.status(StatusMinor.CONN_DISCONNECTED)
        self.status(StatusMinor.CONN_DONE)
        self.service.end()

    @method("ForceShutdown", rule=session_manager)
    async def force_shutdown(self, call: Call) -> None:
        """End, whatever is going on."""
        self.status(StatusMinor.CONN_DONE)
        self.service.end()

    async def close(self) -> None:
        """Take the tunnel down; returns when nothing of it is left."""
        if self._driver is not None:
            await self._driver.stop()

    def _running(self) -> Driver:
        if self._driver is None or not self._driver.running:
            raise ConfigurationRefused("the session is not running")
        return self._driver

    # -- user input -------------------------------------------------------------------------------
    @method("UserInputQueueGetTypeGroup", "", "type_group_list:a(uu)", rule=session_manager)
    async def type_groups(self, call: Call) -> list[list[int]]:
        """(type, group) of every question that is still open, in the order in which they were asked."""
        return [list(pair) for pair in self._queue.groups()]

    @method(
        "UserInputQueueFetch",
        "type:u group:u id:u",
        "type:u group:u id:u name:s descripiton:s hidden_input:b",  # the original's spelling
        rule=session_manager,
    )
    async def fetch(self, call: Call, type_: int, group: int, number: int) -> tuple[Any, ...]:
        """One question: its variable's name, what to show the user, and whether the answer is to be hidden."""
        slot = self._queue.fetch(type_, group, number)
        return type_, group, number, slot.name, slot.label, slot.hidden

    @method("UserInputQueueCheck", "type:u group:u", "indexes:au", rule=session_manager)
    async def check(self, call: Call, type_: int, group: int) -> list[int]:
        """Numbers of a group's questions that are still open."""
        return self._queue.check(type_, group)

    @method("UserInputProvide", "type:u group:u id:u value:s", rule=session_manager)
    async def provide(self, call: Call, type_: int, group: int, number: int, value: str) -> None:
        """Answer a question. Control characters are dropped; an empty answer is refused."""
        slot = self._queue.provide(type_, group, number, value)
        if slot.group is AttentionGroup.CHALLENGE_AUTH_PENDING and self._driver and slot.value:
            self._driver.answer(slot.value)
            self._queue.forget(slot.group)

    # -- told by the driver -----------------------------------------------------------------------
    def log(self, category: LogCategory, text: str) -> None:
        self._last_log = {
            "log_group": Variant("u", int(self.service.group)),
            "log_category": Variant("u", int(category)),
            "log_message": Variant("s", text),
        }
        self.service.log.event(category, text)

    def status(self, minor: StatusMinor, text: str = "", major: StatusMajor = StatusMajor.CONNECTION) -> None:
        self._status = (int(major), int(minor), text)
        if minor is StatusMinor.CONN_CONNECTED:
            self._web_auth = False
        self.service.log.signal("StatusChange", "uus", *self._status, last=minor in ENDED)
        if minor in ENDED:
            self.service.end()

    def changed(self) -> None:
        """Push what the session manager keeps for its readers. As in the original, a session is found by its interface
        while the tunnel is down, and shows its connection while it is paused."""
        driver = self._driver
        if driver is None:
            return
        if driver.device.name:
            self._shown |= {
                "device_name": Variant("s", driver.device.name),
                "device_path": Variant("o", driver.device.path),
                "device_place": Variant("s", self._place()),
            }
        if driver.endpoint is not None:
            connection = _connection(driver.endpoint)
            self._shown |= {"session_name": Variant("s", connection[1]), "connection": Variant("(sssu)", connection)}
        elif not driver.paused:
            self._shown["connection"] = NOTHING_UP["connection"]
        self._push(self._shown)

    def _push_log_state(self) -> None:
        """How much we log; and to whom, which the session manager can have forward it from now on."""
        level, service = self.service.log.level, self._log_service
        self._push({"log_level": Variant("u", level), "log_service": Variant("s", service)})

    def _push(self, values: dict[str, Variant]) -> None:
        """To the session manager; one that comes later asks for all."""
        if manager := self.service.log.session_manager:
            self.service.bus.emit(
                CLIENT_PATH,
                PROPERTIES,
                "PropertiesChanged",
                "sa{sv}as",
                self.interface,
                values,
                [],
                destination=manager,
            )

    def challenge(self, challenge: act.Challenge) -> None:
        assert self._login is not None
        self._login.ask_dynamic(challenge)
        self._attention(AttentionGroup.CHALLENGE_DYNAMIC, challenge.text)
        self.status(StatusMinor.CFG_REQUIRE_USER, challenge.text)

    def proxy_login(self, reason: str) -> None:
        assert self._login is not None
        self._login.ask_proxy()
        self._attention(AttentionGroup.HTTP_PROXY_CREDS, reason)
        self.status(StatusMinor.CFG_REQUIRE_USER, reason)

    def login_again(self, reason: str) -> None:
        assert self._login is not None
        self._login.ask_again()
        self._attention(AttentionGroup.USER_PASSWORD, reason)
        self.status(StatusMinor.CFG_REQUIRE_USER, reason)

    def response_again(self, reason: str) -> None:
        assert self._login is not None
        self._login.ask_response()
        self._attention(AttentionGroup.CHALLENGE_STATIC, reason)
        self.status(StatusMinor.CFG_REQUIRE_USER, reason)

    def text_challenge(self, challenge: act.TextChallenge) -> None:
        if not challenge.response_required:
            self.log(LogCategory.INFO, f"the server says: {challenge.text}")
            return
        group = AttentionGroup.CHALLENGE_AUTH_PENDING
        self._queue.add(group, "auth_pending", challenge.text, hidden=not challenge.echo)
        self._attention(group, challenge.text)
        self.status(StatusMinor.CFG_REQUIRE_USER, challenge.text)

    def web_auth(self, url: str) -> None:
        self._web_auth = True
        self._attention(AttentionGroup.OPEN_URL, url)
        self.status(StatusMinor.SESS_AUTH_URL, url, StatusMajor.SESSION)

    def _attention(self, group: AttentionGroup, text: str, type_: AttentionType = AttentionType.CREDENTIALS) -> None:
        self.service.log.signal("AttentionRequired", "uus", int(type_), int(group), text)

    # -- properties -------------------------------------------------------------------------------
    def _place(self) -> str:
        profile = self._profile
        if profile is None:
            return ""
        if profile.route_table:
            return f"table {profile.route_table}"
        return f"netns {profile.netns}" if profile.netns else ""

    @prop("session_path", "o", read=same_uid)
    def path_of_session(self, call: Call) -> str:
        """Its session; /__unknown before RegistrationConfirmation."""
        return self.session_path

    @prop("dco", "b", read=same_uid, write=session_manager)
    def dco(self, call: Call) -> bool:
        """Whether the kernel's data channel is wanted. It is never in use."""
        return self._dco_wanted

    @dco.setter
    def set_dco(self, call: Call, value: bool) -> None:
        self._dco_wanted = value

    @prop("device_path", "o", read=same_uid)
    def device_path(self, call: Call) -> str:
        """The network service's object of the interface, which may be gone; / before the first."""
        return str(self._shown["device_path"].value)

    @prop("device_name", "s", read=session_manager)
    def device_name(self, call: Call) -> str:
        """The network interface, also while the tunnel is down; empty before the first."""
        return str(self._shown["device_name"].value)

    @prop("device_place", "s", read=session_manager)
    def device_place(self, call: Call) -> str:
        """Where the interface is, if not with all others: `netns NAME`, or `table NUMBER` for its routes."""
        return str(self._shown["device_place"].value)

    @prop("log_level", "u", read=same_uid, write=session_manager)
    def log_level(self, call: Call) -> int:
        """How much it logs: 0 to 6."""
        return self.service.log.level

    @log_level.setter
    def set_log_level(self, call: Call, value: int) -> None:
        if value > MAX_LOG_LEVEL:
            raise ConfigurationRefused(f"a log level is 0 to {MAX_LOG_LEVEL}")
        self.service.log.level = value
        self._push_log_state()

    @prop("session_name", "s", read=session_manager)
    def session_name(self, call: Call) -> str:
        """The server's name as the profile has it; empty before the first connection."""
        return str(self._shown["session_name"].value)

    @prop("connection", "(sssu)", read=same_uid)
    def connection(self, call: Call) -> list[Any]:
        """Protocol, host name, address and port of the server, the last two of its proxy if there is one; empty texts
        and 0 unless connected or paused."""
        return list(self._shown["connection"].value)

    @prop("statistics", "a{sx}", read=session_manager)
    def statistics(self, call: Call) -> dict[str, int]:
        """Counters by name, those that aren't zero."""
        return self._driver.statistics() if self._driver else {}

    @prop("status", "(uus)", read=same_uid)
    def status_now(self, call: Call) -> list[Any]:
        """Major and minor code and text of the last StatusChange."""
        return list(self._status)

    @prop("log_service", "s", read=session_manager)
    def log_service(self, call: Call) -> str:
        """Unique name of the log service that knows the session; empty before."""
        return self._log_service

    @prop("last_log_line", "a{sv}", read=session_manager)
    def last_log_line(self, call: Call) -> dict[str, Variant]:
        """The last line logged: log_group, log_category, log_message; empty before the first."""
        return self._last_log
