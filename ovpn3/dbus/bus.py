"""One connection to a message bus: calls, signals, names."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakValueDictionary

from ovpn3.dbus.connection import GONE, Connection, Refused, close_all
from ovpn3.dbus.errors import UNKNOWN_METHOD, error_from_reply
from ovpn3.dbus.wire import InvalidAddressError, Message, MessageFlag, MessageType
from ovpn3.errors import NetworkError, RemoteError

DAEMON_NAME = "org.freedesktop.DBus"
DAEMON_PATH = "/org/freedesktop/DBus"
DO_NOT_QUEUE, PRIMARY_OWNER = 4, 1  # flag of a request for a name, and the answer
CALL_TIMEOUT_S = 25.0  # as libdbus
NO_REPLY = "org.freedesktop.DBus.Error.NoReply"  # in time, or before the other end was gone
DISCONNECTED = "org.freedesktop.DBus.Error.Disconnected"
MAX_CALLS_IN_FLIGHT = 100  # a system bus refuses the 129th; the rest is for calls of the daemon itself
MAX_CALLS_TO_ONE = 16  # one that doesn't answer must not use up what the others need
MAX_CALLS_TO_DAEMON = 20
RETRY_DELAYS_S = (0.1, 5.0)  # between attempts to start a service: the first, doubled up to the last

SignalHandler = Callable[[Message], None]
CallHandler = Callable[[Message], None]


@dataclass(frozen=True)
class Match:
    """A signal subscription; empty fields match anything. `sender` may be a well-known name, `arg0namespace` stands
    for all names in it."""

    interface: str = ""
    member: str = ""
    sender: str = ""
    path: str = ""
    arg0: str = ""
    arg0namespace: str = ""
    arg2: str | None = None

    def rule(self) -> str:
        fields = {k: getattr(self, k) for k in ("sender", "interface", "member", "path", "arg0", "arg0namespace")}
        parts = ["type='signal'", *(f"{k}='{v}'" for k, v in fields.items() if v)]
        if self.arg2 is not None:
            parts.append(f"arg2='{self.arg2}'")
        return ",".join(parts)

    def fits(self, m: Message, sender: str | None) -> bool:
        """`sender` is the unique name that `self.sender` stands for at the moment."""
        return (
            (not self.interface or m.interface == self.interface)
            and (not self.member or m.member == self.member)
            and (not self.path or m.path == self.path)
            and (not self.sender or m.sender == sender)
            and (not self.arg0 or (bool(m.body) and m.body[0] == self.arg0))
            and (not self.arg0namespace or (bool(m.body) and f"{m.body[0]}.".startswith(f"{self.arg0namespace}.")))
            and (self.arg2 is None or (len(m.body) > 2 and m.body[2] == self.arg2))
        )


class Subscription:
    """Lives until `cancel()`. Its rule at the daemon may be one that others need too, and then stays."""

    def __init__(self, bus: "Bus", match: Match, handler: SignalHandler, *, own_rule: bool = True) -> None:
        self.bus, self.match, self.handler, self._own_rule = bus, match, handler, own_rule

    def cancel(self) -> None:
        if self in self.bus._subscriptions:
            self.bus._subscriptions.remove(self)
            if self._own_rule:
                self.bus.call_no_reply(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "RemoveMatch", "s", self.match.rule())


class Bus:
    """A connection to a message bus: `bus = await Bus.connect()`, or `async with await Bus.connect() as bus`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        connection.on_message = self._on_message
        self._subscriptions: list[Subscription] = []
        self._owners: dict[str, str | None] = {}  # of the names we follow; None while it isn't known
        self._slots = asyncio.Semaphore(MAX_CALLS_IN_FLIGHT)
        self._daemon_slots = asyncio.Semaphore(MAX_CALLS_TO_DAEMON)
        # By destination, as long as there are calls to it.
        self._slots_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._on_call: CallHandler | None = None

    @classmethod
    async def connect(cls, address: str | None = None) -> "Bus":
        """Connect to `address`, else to the system bus (DBUS_SYSTEM_BUS_ADDRESS is honoured)."""
        try:
            return cls(await Connection.open(address))
        except OSError as e:
            raise NetworkError(f"can't reach the system message bus: {e.strerror or e}", e.errno or 0) from e
        except InvalidAddressError as e:
            raise NetworkError(f"can't reach the system message bus: {e}") from e
        except Refused as e:
            raise NetworkError(f"the system message bus refuses us: {e}") from e

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()
        await self.lost()

    @property
    def unique_name(self) -> str:
        return self._connection.unique_name

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    async def lost(self) -> None:
        """Return when the connection has ended, whoever ended it."""
        await self._connection.ended()

    # -- calls -------------------------------------------------------------------------------------
    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Any,
        fds: Sequence[int] = (),
        timeout_s: float | None = CALL_TIMEOUT_S,
        start: bool = True,
    ) -> list[Any]:
        """Call a method; the reply's values. An error reply raises RemoteError, none at all too (NoReply).

        `fds` are sent along and stay ours. `start=False` doesn't activate the destination.
        """
        reply = await self.request(
            destination, path, interface, member, signature, *args, fds=fds, timeout_s=timeout_s, start=start
        )
        close_all(reply.unix_fds)
        return reply.body

    async def request(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Any,
        fds: Sequence[int] = (),
        timeout_s: float | None = CALL_TIMEOUT_S,
        start: bool = True,
    ) -> Message:
        """As `call`; the whole reply, whose descriptors the caller then owns."""
        if any(fd < 0 for fd in fds):
            raise ValueError("not an open descriptor")
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(args),
            unix_fds=list(fds),
            flags=MessageFlag.NONE if start else MessageFlag.NO_AUTOSTART,
        )
        of_one, of_all = self._slots_for(destination)
        async with of_one, of_all:
            try:
                async with asyncio.timeout(timeout_s):
                    reply = await self._connection.call(message)
            except TimeoutError as e:
                raise RemoteError(NO_REPLY, f"{destination} did not answer {member} in time") from e
            except ConnectionResetError as e:
                raise RemoteError(DISCONNECTED, GONE) from e
        if reply.message_type is MessageType.ERROR:
            close_all(reply.unix_fds)
            raise error_from_reply(reply)
        return reply

    def _slots_for(self, destination: str) -> tuple[asyncio.Semaphore, asyncio.Semaphore | nullcontext[None]]:
        """To be held during a call."""
        if destination == DAEMON_NAME:
            return self._daemon_slots, nullcontext()
        of_one = self._slots_of.get(destination)
        if of_one is None:
            of_one = self._slots_of[destination] = asyncio.Semaphore(MAX_CALLS_TO_ONE)
        return of_one, self._slots

    def call_no_reply(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *args: Any
    ) -> None:
        self._connection.send(
            Message(
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(args),
                flags=MessageFlag.NO_REPLY_EXPECTED | MessageFlag.NO_AUTOSTART,
            )
        )

    async def get_property(self, destination: str, path: str, interface: str, name: str) -> Any:
        body = await self.call(destination, path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)
        return body[0].value

    def emit(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Any,
        destination: str | None = None,
    ) -> None:
        """Send a signal: to everybody, or to the one connection `destination`."""
        self._connection.send(
            Message(
                message_type=MessageType.SIGNAL,
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(args),
                flags=MessageFlag.NO_AUTOSTART,
            )
        )

    # -- names -------------------------------------------------------------------------------------
    async def request_name(self, name: str) -> None:
        """Own `name`, or raise RemoteError: a name that somebody else holds is not waited for."""
        try:
            (reply,) = await self.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "RequestName", "su", name, DO_NOT_QUEUE)
        except RemoteError as e:
            raise RemoteError("org.freedesktop.DBus.Error.AccessDenied", f"can't own {name}: {e}") from e
        if reply != PRIMARY_OWNER:
            raise RemoteError("org.freedesktop.DBus.Error.NameExists", f"{name} is owned by another process")

    async def name_owner(self, name: str) -> str:
        """Unique name that owns `name` now; empty if none."""
        try:
            return str((await self.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "GetNameOwner", "s", name))[0])
        except RemoteError:
            return ""

    async def pid_of(self, name: str) -> int:
        """Process that owns `name`; 0 if there is none."""
        what = "GetConnectionUnixProcessID"
        try:
            return int((await self.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, what, "s", name))[0])
        except RemoteError:
            return 0

    async def owner(self, name: str) -> str:
        """As `name_owner`, for a name that is asked for often: the daemon is asked once and tells us of each change.

        It tells that in order with all else. So whoever sends something as the owner of a name is known as such when
        that arrives, and whoever lost the name before sending is known not to be.
        """
        self._follow(name)
        if self._owners[name] is None:
            asked = await self.name_owner(name)
            if asked and self._owners[name] is None:  # else this answer may be older than the news
                self._owners[name] = asked
        return self._owners[name] or ""

    async def watch_name(self, name: str, changed: Callable[[str], None]) -> Subscription:
        """Call `changed(owner)` for each new owner of `name`, and with "" when it is gone.

        In force for whatever we send after this; after `await owner(name)`, the owner at the start, for what others do.
        """
        subscription = Subscription(self, self._follow(name), lambda m: changed(m.body[2]), own_rule=False)
        self._subscriptions.append(subscription)
        return subscription

    async def follow_name(self, name: str, changed: Callable[[str], None]) -> Subscription:
        """As `watch_name`; the owner at the start, or "" for none, is told before this returns."""
        told = False

        def on_change(owner: str) -> None:
            nonlocal told
            told = True
            changed(owner)

        subscription = await self.watch_name(name, on_change)
        owner = await self.owner(name)
        if not told:  # else this answer may be older than the news
            changed(owner)
        return subscription

    def _follow(self, name: str) -> Match:
        """Know of each change of a name's owner, from now on and as long as this connection lives: names that are of
        interest are few, and stay so."""
        match = Match(DAEMON_NAME, "NameOwnerChanged", DAEMON_NAME, arg0=name)
        if name not in self._owners:
            self._owners[name] = None
            self._subscriptions.append(Subscription(self, match, self._on_owner))
            # No answer is waited for: the daemon handles what we send in its order.
            self.call_no_reply(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "AddMatch", "s", match.rule())
        return match

    def _on_owner(self, m: Message) -> None:
        self._owners[m.body[0]] = m.body[2]

    async def bring_back(self, name: str, within_s: float) -> bool:
        """Have the daemon start the service `name`, again and again until it owns its name. False: not in time."""
        delay, longest = RETRY_DELAYS_S
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    try:
                        await self.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "StartServiceByName", "su", name, 0)
                        return True
                    except RemoteError as e:
                        if e.name == DISCONNECTED:
                            return False
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, longest)
        return False

    async def subscribe(self, match: Match, handler: SignalHandler) -> Subscription:
        """Have `handler` called with every matching signal; in force when this returns."""
        subscription = Subscription(self, match, handler)
        self._subscriptions.append(subscription)
        try:
            if match.sender and not match.sender.startswith(":") and match.sender != DAEMON_NAME:
                await self.owner(match.sender)
            await self.call(DAEMON_NAME, DAEMON_PATH, DAEMON_NAME, "AddMatch", "s", match.rule())
        except BaseException:
            self._subscriptions.remove(subscription)  # a bus has a limit of rules
            raise
        return subscription

    # -- what comes in -----------------------------------------------------------------------------
    def serve(self, on_call: CallHandler) -> None:
        """Hand every method call to `on_call`, which must answer each and close its descriptors."""
        self._on_call = on_call

    def reply(self, message: Message, close: Sequence[int] = ()) -> None:
        """Send a reply or an error; descriptors in `close` are closed once they are sent."""
        self._connection.send(message, close)

    def _on_message(self, m: Message) -> None:
        if m.message_type is MessageType.METHOD_CALL and self._on_call:
            self._on_call(m)
            return
        close_all(m.unix_fds)
        if m.message_type is MessageType.METHOD_CALL and not m.flags & MessageFlag.NO_REPLY_EXPECTED:
            self.reply(Message.new_error(m, UNKNOWN_METHOD, "there are no objects here"))
        elif m.message_type is MessageType.SIGNAL:
            for subscription in list(self._subscriptions):
                sender = subscription.match.sender
                if subscription.match.fits(m, self._owners.get(sender, sender)):
                    subscription.handler(m)
