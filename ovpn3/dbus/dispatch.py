"""Exported objects: members declared by decorators, calls governed by rules, descriptors owned.

    class Greeter(DBusObject):
        interface = "org.example.Greeter"
        signals = (Signal("Greeted", "name:s"),)

        @method("Greet", "name:s", "text:s", rule=owner)
        async def greet(self, call: Call, name: str) -> str: ...

        @prop("mood", "s", read=anyone, write=owner)
        def mood(self, call: Call) -> str: ...

        @mood.setter
        def set_mood(self, call: Call, value: str) -> None: ...

A rule is an async function of object and call that raises AccessDenied. It runs before the member's body.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, ClassVar

from ovpn3.dbus import describe, errors
from ovpn3.dbus.bus import Bus
from ovpn3.dbus.connection import close_all
from ovpn3.dbus.peers import Peer, Peers
from ovpn3.dbus.wire import Message, MessageFlag, Variant
from ovpn3.errors import AccessDenied, ConfigurationRefused

PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PEER = "org.freedesktop.DBus.Peer"
MACHINE_ID = "/etc/machine-id"
MAX_ERROR_CHARS = 4096  # it may quote the caller, whose message may have 32 MB
MAX_CALLS_OF_ONE = 128  # in hand, of one connection; the bus itself counts only those that want a reply


class Call:
    """One method call, property read or property write in hand."""

    def __init__(self, message: Message, peers: Peers) -> None:
        self.sender = message.sender or ""
        self.path = message.path or ""
        self.member = message.member or ""
        self.target = self.member  # what a refusal names: the method, or Get or Set with the property's name
        self.fds = list(message.unix_fds)  # closed after the call but for those taken
        self._peers = peers

    async def peer(self) -> Peer:
        """uid and pid of the caller."""
        return await self._peers.peer(self.sender)

    async def uid(self) -> int:
        return (await self.peer()).uid

    def take_fd(self) -> int | None:
        """The descriptor that came along; the caller of this owns it. None if there was none."""
        return self.fds.pop(0) if self.fds else None

    def keep_fd(self, index: int) -> None:
        """Of the descriptors that came along, keep this one alone."""
        kept = self.fds.pop(index)
        self.close_fds()
        self.fds = [kept]

    def close_fds(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


Rule = Callable[[Any, Call], Awaitable[None]]


async def anyone(obj: Any, call: Call) -> None:
    """Everybody: it is for all, or what it does depends on who calls."""


class Method:
    def __init__(self, name: str, takes: str, gives: str, rule: Rule, fd: str, function: Callable[..., Any]) -> None:
        self.name, self.rule, self.fd, self.function = name, rule, fd, function
        self.takes, self.gives = describe.args(takes), describe.args(gives)
        self.in_signature, self.out_signature = describe.signature(self.takes), describe.signature(self.gives)


class Property:
    """`type` is what introspection announces, `wire` what is really sent where the original differs."""

    def __init__(
        self, name: str, type_: str, read: Rule, write: Rule | None, wire: str, getter: Callable[..., Any]
    ) -> None:
        self.name, self.type, self.wire, self.read, self.write = name, type_, wire or type_, read, write
        self.getter = getter
        self.set_value: Callable[..., Any] | None = None

    def setter(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.set_value = function
        return function


def method(
    name: str, takes: str = "", gives: str = "", *, rule: Rule, fd: str = ""
) -> Callable[[Callable[..., Any]], Method]:
    """Export a coroutine as a method. `fd="in"`: a descriptor may come along (Call.take_fd), with or without `h`.

    `fd="out"`: the coroutine returns a descriptor or None, before what it gives else; the descriptor is sent without
    `h` in the signature, then closed.
    """
    return lambda function: Method(name, takes, gives, rule, fd, function)


def prop(
    name: str, type_: str, *, read: Rule, write: Rule | None = None, wire: str = ""
) -> Callable[[Callable[..., Any]], Property]:
    """Export a function, or coroutine, as the getter of a property."""
    return lambda function: Property(name, type_, read, write, wire, function)


class DBusObject:
    """Base of what we export. Subclasses give `interface`, and `domain` for the errors of their methods."""

    interface: ClassVar[str]
    domain: ClassVar[str] = "net.openvpn.gdbuspp"
    signals: ClassVar[tuple[describe.Signal, ...]] = ()
    methods: ClassVar[dict[str, Method]] = {}
    properties: ClassVar[dict[str, Property]] = {}

    def __init_subclass__(cls) -> None:
        own = list(vars(cls).values())
        cls.methods = {**cls.methods, **{m.name: m for m in own if isinstance(m, Method)}}
        cls.properties = {**cls.properties, **{p.name: p for p in own if isinstance(p, Property)}}

    async def visible(self, call: Call) -> bool:
        """Whether the caller may see this object among its parent's children."""
        return True

    def describe(self) -> str:
        lines: list[str] = []
        for m in self.methods.values():
            lines += describe.method_lines(m.name, m.takes, m.gives)
        for s in self.signals:
            lines += describe.signal_lines(s)
        for p in self.properties.values():
            lines.append(describe.property_line(p.name, p.type, p.write is not None))
        return describe.interface(self.interface, lines)


class Dispatcher:
    """The objects of one connection, and the answers to calls on them."""

    def __init__(self, bus: Bus, *, failed: Callable[[str, Exception], None], active: Callable[[], None]) -> None:
        """`failed(where, error)` hears of unexpected exceptions, `active()` of each call."""
        self.bus = bus
        self.peers = Peers(bus)
        self._objects: dict[str, DBusObject] = {}
        self._failed, self._active = failed, active
        self._tasks: set[asyncio.Task[None]] = set()
        self._released = asyncio.Event()
        self._released.set()
        self._in_hand: Counter[str] = Counter()  # calls by sender
        bus.serve(self._on_call)

    def export(self, path: str, obj: DBusObject) -> None:
        if path in self._objects:
            raise ConfigurationRefused(f"an object exists at {path} already")
        self._objects[path] = obj

    def unexport(self, path: str) -> None:
        self._objects.pop(path, None)

    def get(self, path: str) -> DBusObject | None:
        return self._objects.get(path)

    def objects(self) -> Iterator[tuple[str, DBusObject]]:
        yield from list(self._objects.items())

    def emit(self, path: str, signal: str, *args: Any, destination: str | None = None) -> None:
        """Send a signal that the object at `path` announces."""
        obj = self._objects[path]
        announced = next(s for s in obj.signals if s.name == signal)
        self.bus.emit(path, obj.interface, signal, announced.signature, *args, destination=destination)

    def hold(self) -> None:
        """Let calls wait until `release`: objects that they may be meant for are still to come."""
        self._released.clear()

    def release(self) -> None:
        self._released.set()

    async def drain(self) -> None:
        """Let the calls in hand finish."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- calls -------------------------------------------------------------------------------------
    def _on_call(self, m: Message) -> None:
        self._active()
        call = Call(m, self.peers)
        if not self._takes_fd(m):
            call.close_fds()  # not only after the call: many at once could use up all there are
        if self._in_hand[call.sender] >= MAX_CALLS_OF_ONE:
            call.close_fds()
            self._send(m, Message.new_error(m, errors.LIMITS, f"more than {MAX_CALLS_OF_ONE} calls at once"))
            return
        self._in_hand[call.sender] += 1
        task = asyncio.get_running_loop().create_task(self._answer(m, call))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._done(task, call.sender))

    def _done(self, task: asyncio.Task[None], sender: str) -> None:
        self._tasks.discard(task)
        self._in_hand[sender] -= 1
        if not self._in_hand[sender]:
            del self._in_hand[sender]

    def _takes_fd(self, m: Message) -> bool:
        obj = self._objects.get(m.path or "")
        member = obj.methods.get(m.member or "") if obj and m.interface in (None, obj.interface) else None
        return member is not None and member.fd == "in"

    def _send(self, m: Message, reply: Message, fds: Sequence[int] = ()) -> None:
        """Answer a call; `fds` are closed once they are sent."""
        if m.flags & MessageFlag.NO_REPLY_EXPECTED:
            close_all(fds)
        else:
            self.bus.reply(reply, close=fds)

    async def _answer(self, m: Message, call: Call) -> None:
        fds: list[int] = []
        await self._released.wait()
        try:
            signature, body, fds = await self._run(m, call)
            reply = Message.new_method_return(m, signature, body, fds)
        except _Refusal as e:
            reply = Message.new_error(m, e.name, e.text[:MAX_ERROR_CHARS])
        finally:
            call.close_fds()
        self._send(m, reply, fds)

    async def _run(self, m: Message, call: Call) -> tuple[str, list[Any], list[int]]:
        obj = self._objects.get(m.path or "")
        if m.interface == PEER and m.member == "Ping":
            return "", [], []
        if m.interface == PEER and m.member == "GetMachineId":
            return "s", [machine_id()], []
        if m.interface == INTROSPECTABLE and m.member == "Introspect":
            return "s", [await self._introspect(m.path or "/", obj, call)], []
        if obj is None:
            raise _Refusal(errors.UNKNOWN_METHOD, f"Object does not exist at path “{m.path}”")
        if m.interface != PROPERTIES:
            return await self._method(obj, m, call)
        match m.member, m.signature:
            case "Get", "ss":
                return "v", [await self._get(obj, self._property(obj, *m.body), call)], []
            case "GetAll", "s":
                return "a{sv}", [await self._get_all(obj, m.body[0], call)], []
            case "Set", "ssv":
                await self._set(obj, self._property(obj, *m.body[:2]), m.body[2], call)
                return "", [], []
        raise _no_interface(m)

    async def _method(self, obj: DBusObject, m: Message, call: Call) -> tuple[str, list[Any], list[int]]:
        if m.interface not in (None, obj.interface):
            raise _no_interface(m)
        member = obj.methods.get(m.member or "")
        if member is None:
            raise _Refusal(errors.UNKNOWN_METHOD, f"No such method “{m.member}”")
        args = m.body
        if member.fd == "in" and m.signature == f"{member.in_signature}h":
            # For callers whose library sends no descriptor without naming it.
            *args, index = m.body
            if index >= len(call.fds):
                raise _Refusal(errors.INVALID_ARGS, f"There is no descriptor {index} with the message")
            call.keep_fd(index)
        elif m.signature != member.in_signature:
            expected = f"({member.in_signature})"
            raise _Refusal(
                errors.INVALID_ARGS,
                f"Type of message, “({m.signature})”, does not match expected type “{expected}”",
            )
        try:
            await member.rule(obj, call)
            result = await member.function(obj, call, *args)
        except Exception as e:
            raise self._refusal(errors.method_error(e, obj.domain), e, f"{m.path} {m.member}") from e
        if member.fd == "out":
            fd, *values = result if member.gives else [result]
            return member.out_signature, values, [] if fd is None else [fd]
        match len(member.gives):
            case 0:
                return "", [], []
            case 1:
                return member.out_signature, [result], []
            case _:
                return member.out_signature, list(result), []

    # -- properties --------------------------------------------------------------------------------
    def _property(self, obj: DBusObject, interface: str, name: str) -> Property:
        if interface not in ("", obj.interface):
            raise _Refusal(errors.INVALID_ARGS, f"No such interface “{interface}”")
        if name not in obj.properties:
            raise _Refusal(errors.INVALID_ARGS, f"No such property “{name}”")
        return obj.properties[name]

    async def _read(self, obj: DBusObject, p: Property, call: Call) -> Variant:
        await p.read(obj, call)
        value = p.getter(obj, call)
        return Variant(p.wire, await value if asyncio.iscoroutine(value) else value)

    async def _get(self, obj: DBusObject, p: Property, call: Call) -> Variant:
        call.target = f"Get({p.name})"
        try:
            return await self._read(obj, p, call)
        except Exception as e:
            raise self._refusal(errors.property_error(e), e, f"{call.path} {p.name}") from e

    async def _get_all(self, obj: DBusObject, interface: str, call: Call) -> dict[str, Variant]:
        if interface not in ("", obj.interface):
            raise _Refusal(errors.INVALID_ARGS, f"No such interface “{interface}”")
        values: dict[str, Variant] = {}
        for p in obj.properties.values():
            try:
                values[p.name] = await self._read(obj, p, call)
            except AccessDenied:
                continue  # left out, as GDBus does
            except Exception as e:
                self._refusal(errors.property_error(e), e, f"{call.path} {p.name}")
        return values

    async def _set(self, obj: DBusObject, p: Property, value: Variant, call: Call) -> None:
        if p.write is None or p.set_value is None:
            raise _Refusal(errors.INVALID_ARGS, f"Property “{p.name}” is not writable")
        if value.signature != p.type:
            raise _Refusal(
                errors.INVALID_ARGS,
                f"Error setting property “{p.name}”: Expected type “{p.type}” but got “{value.signature}”",
            )
        call.target = f"Set({p.name})"
        try:
            await p.write(obj, call)
            done = p.set_value(obj, call, value.value)
            if asyncio.iscoroutine(done):
                await done
            changed = p.getter(obj, call)
            if asyncio.iscoroutine(changed):
                changed = await changed
        except Exception as e:
            raise self._refusal(errors.property_error(e), e, f"{call.path} {p.name}") from e
        changes = {p.name: Variant(p.wire, changed)}
        self.bus.emit(call.path, PROPERTIES, "PropertiesChanged", "sa{sv}as", obj.interface, changes, [])

    # -- the rest ----------------------------------------------------------------------------------
    async def _introspect(self, path: str, obj: DBusObject | None, call: Call) -> str:
        prefix = path.rstrip("/") + "/"
        children = set()
        for other, child in self.objects():
            if other.startswith(prefix) and await child.visible(call):
                children.add(other[len(prefix) :].split("/")[0])
        return describe.node([obj.describe()] if obj else [], children)

    def _refusal(self, answer: tuple[str, str], error: Exception, where: str) -> "_Refusal":
        if errors.INTERNAL in answer[1]:
            self._failed(where, error)
        return _Refusal(*answer)


class _Refusal(Exception):
    """The error reply to send."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text


def _no_interface(m: Message) -> _Refusal:
    return _Refusal(errors.UNKNOWN_METHOD, f"No such interface “{m.interface}” on object at path {m.path}")


def machine_id() -> str:
    """This machine's id as 32 hex digits; a random one where the machine has none."""
    try:
        with open(MACHINE_ID) as f:
            return f.read().strip()
    except OSError:
        return os.urandom(16).hex()
