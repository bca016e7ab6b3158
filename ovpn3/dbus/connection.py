"""A socket to a message bus: messages out in their order, replies to those who wait, everything else to one handler.

What is sent in one turn of the event loop leaves at its end, together: that wakes the bus daemon once.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, takewhile

from ovpn3.dbus.wire import Message, MessageType, Unmarshaller, get_system_bus_address, parse_address

GONE = "the message bus is gone"
MAX_AUTH_LINE = 16 << 10
LAST_SERIAL = (1 << 32) - 1
MAX_AT_ONCE = 64  # messages in one system call


class Refused(Exception):
    """The bus doesn't let us in."""


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


@dataclass
class _Outgoing:
    """A message on its way. Its descriptors stay their owner's; those in `close` are ours, to be closed after it."""

    rest: memoryview
    fds: Sequence[int]
    close: Sequence[int]


class Connection:
    """Make one with `await Connection.open()`.

    `on_message` is given whatever isn't a reply that somebody waits for, and owns its descriptors.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.unique_name = ""
        self.on_message: Callable[[Message], None] = lambda message: close_all(message.unix_fds)
        self._sock, self._fd = sock, sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._unmarshaller = Unmarshaller(None, sock, True)
        self._serial = 0
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._outgoing: deque[_Outgoing] = deque()
        self._writing = False  # will be done, at the end of this turn or when the socket takes more
        self._blocked = False  # the socket takes no more at the moment
        self._ended = self._loop.create_future()

    @classmethod
    async def open(cls, address: str | None) -> "Connection":
        """Connect to `address`, else to the system bus. OSError, InvalidAddressError or Refused if that can't be."""
        sock = await _connected(address or get_system_bus_address())
        try:
            await _authenticate(sock)
            connection = cls(sock)
            connection._loop.add_reader(sock, connection._read)
        except BaseException:
            sock.close()
            raise
        daemon = "org.freedesktop.DBus"
        hello = Message(destination=daemon, path="/org/freedesktop/DBus", interface=daemon, member="Hello")
        try:
            reply = await connection.call(hello)
            if reply.message_type is MessageType.ERROR:
                raise Refused(reply.body[0] if reply.body else reply.error_name)
        except BaseException as e:
            connection._end()
            if isinstance(e, ConnectionResetError):
                raise Refused("it closed the connection") from e
            raise
        connection.unique_name = reply.body[0]
        return connection

    @property
    def closed(self) -> bool:
        return self._ended.done()

    async def ended(self) -> None:
        """Return when the connection has ended, whoever ended it."""
        await asyncio.shield(self._ended)

    def close(self) -> None:
        """What the kernel takes at once still arrives. The end is in order, and told as any other."""
        self._write()
        if not self.closed:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    async def call(self, message: Message) -> Message:
        """Send a method call; its reply, which may be an error. ConnectionResetError when the bus is gone."""
        reply: asyncio.Future[Message] = self._loop.create_future()
        message.serial = self._next_serial()
        self._waiting[message.serial] = reply
        try:
            self.send(message)
            if self.closed:
                raise ConnectionResetError(GONE)
            return await reply
        finally:
            self._waiting.pop(message.serial, None)

    def send(self, message: Message, close: Sequence[int] = ()) -> None:
        """Send a message, and then close those descriptors; if the bus is gone, only that."""
        if self.closed:
            close_all(close)
            return
        if not message.serial:
            message.serial = self._next_serial()
        self._outgoing.append(_Outgoing(memoryview(message._marshall(True)), list(message.unix_fds), close))
        if not self._writing:
            self._writing = True
            self._loop.call_soon(self._write)

    def _next_serial(self) -> int:
        self._serial = self._serial % LAST_SERIAL + 1
        return self._serial

    def _write(self) -> None:
        if self.closed:
            return
        try:
            while self._outgoing:
                self._send_some()
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._fd, self._write)
            self._blocked = True
        except OSError:
            self._end()
        else:
            self._writing = False
            if self._blocked:
                self._blocked = False
                self._loop.remove_writer(self._fd)

    def _send_some(self) -> None:
        """Send what one system call takes. Descriptors go with the first octet of their message."""
        first = self._outgoing[0]
        others = takewhile(lambda message: not message.fds, islice(self._outgoing, 1, MAX_AT_ONCE))
        parts = [first.rest, *(message.rest for message in others)]
        count = socket.send_fds(self._sock, parts, first.fds) if first.fds else self._sock.sendmsg(parts)
        first.fds = ()
        while count:
            message = self._outgoing[0]
            if count < len(message.rest):
                message.rest = message.rest[count:]
                return
            count -= len(message.rest)
            self._outgoing.popleft()
            close_all(message.close)

    def _read(self) -> None:
        try:
            while not self.closed and (message := self._unmarshaller.unmarshall()) is not None:
                self._take(message)
        except (OSError, EOFError):
            self._end()
        except Exception as e:  # what came is no message, and nothing can be read after it
            self._loop.call_exception_handler({"message": "the message bus makes no sense", "exception": e})
            self._end()

    def _take(self, message: Message) -> None:
        # The library shares an empty list with the next message, which may fill it with its own descriptors.
        message.unix_fds = list(message.unix_fds)
        if message.message_type in (MessageType.METHOD_RETURN, MessageType.ERROR):
            reply = self._waiting.pop(message.reply_serial or 0, None)
            if reply is not None and not reply.done():
                reply.set_result(message)
            else:
                close_all(message.unix_fds)  # too late
            return
        try:
            self.on_message(message)
        except Exception as e:
            self._loop.call_exception_handler({"message": f"handling {message.member} failed", "exception": e})

    def _end(self) -> None:
        """Everything that is still waiting ends with ConnectionResetError."""
        if self.closed:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._sock.close()
        self._ended.set_result(None)
        for reply in self._waiting.values():
            _fail(reply)
        for message in self._outgoing:
            close_all(message.close)
        self._waiting.clear()
        self._outgoing.clear()


def _fail(future: asyncio.Future[Message]) -> None:
    if not future.done():
        future.set_exception(ConnectionResetError(GONE))
        future.exception()  # looked at


async def _connected(address: str) -> socket.socket:
    """A socket to the first place in `address` that takes it."""
    failed: OSError = FileNotFoundError(f"not a unix socket: {address}")
    for transport, options in parse_address(address):
        if transport != "unix" or not options.keys() & {"path", "abstract"}:
            continue
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, options.get("path") or f"\0{options['abstract']}")
            return sock
        except OSError as e:
            sock.close()
            failed = e
        except BaseException:
            sock.close()
            raise
    raise failed


async def _authenticate(sock: socket.socket) -> None:
    """As who we are, which the kernel vouches for, and with descriptors."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"\0")
    for command, expected in (
        (f"AUTH EXTERNAL {str(os.geteuid()).encode().hex()}", "OK"),
        ("NEGOTIATE_UNIX_FD", "AGREE_UNIX_FD"),
    ):
        await loop.sock_sendall(sock, f"{command}\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n"):
            part = await loop.sock_recv(sock, 1024)
            if not part or len(answer) > MAX_AUTH_LINE:
                raise Refused("it closed the connection" if not part else "its answer doesn't end")
            answer += part
        if answer.split()[:1] != [expected.encode()]:
            raise Refused(f"it answers {answer.decode(errors='replace').strip()!r} to {command.split()[0]}")
    await loop.sock_sendall(sock, b"BEGIN\r\n")
