"""One connection to one address of a server, from the first packet to the last.

Joins the control channel (sans I/O), the data path's native thread and the tun device. The loop's only work is:
news from the data path or a timer -> tell the control channel -> carry out its actions -> set the timer anew.
"""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ovpn3._fast.pump import Pump
from ovpn3.constants import OFFLOADS, Framing, LogCategory, TunOffload
from ovpn3.datapath.engine import EventKind, cipher, events, payload_room
from ovpn3.datapath.offloads import pump_offloads, summary
from ovpn3.errors import Ovpn3Error
from ovpn3.protocol import actions as act
from ovpn3.protocol.config import SessionConfig
from ovpn3.protocol.session import Session
from ovpn3.secret import Secret
from ovpn3.transport.connect import is_ours, pack_address, source_address
from ovpn3.transport.resolve import Endpoint

UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
COMPRESSION_ALLOWED = (
    "the server may compress what it sends (allow-compression): "
    "who can have text of theirs sent beside yours, and sees the sizes of packets, can guess yours"
)
STREAM_PATIENCE_MS = 4000  # for an acknowledgement, once the way to the server has changed
MAX_IDLE_TALK = 1024  # octets at once that a proxy may say to no purpose
GOODBYE_S = 0.1  # at most so long for the server's acknowledgement of our exit, unless the profile says more


@dataclass(frozen=True)
class Lost:
    """The connection ended without a word from the control channel."""

    reason: str


@dataclass(frozen=True)
class Unusable:
    """The tunnel can't be set up on this side."""

    reason: str


@dataclass(frozen=True)
class Inactive:
    """Less traffic than the profile or the server wants to see."""


End = act.End | Lost | Unusable | Inactive


class Owner(Protocol):
    """What an attempt tells the driver while it runs."""

    def log(self, category: LogCategory, text: str) -> None: ...
    def first_packet(self) -> None: ...
    async def established(self, pushed: act.Pushed, room: Callable[[int], int]) -> "Tun": ...
    def connected(self) -> None: ...
    def auth_pending(self, timeout_s: float) -> None: ...
    def web_auth(self, url: str) -> None: ...
    def text_challenge(self, challenge: act.TextChallenge) -> None: ...


@dataclass(frozen=True)
class Tun:
    """A device that is ready. `mss` 0 is no limit; `inactive` (seconds, bytes) 0 never ends the session."""

    fd: int
    mtu: int
    mss: int
    inactive: tuple[float, int] = (0.0, 0)
    offloads: TunOffload = TunOffload.NONE


@dataclass(frozen=True)
class Relay:
    """A proxy's, for datagrams, which have `header` before them. It ends with the connection `keeper`."""

    keeper: socket.socket
    header: bytes


@dataclass(frozen=True)
class DataPath:
    """How packets are carried: packets that may wait for a full stream, native threads, offloads that may be used.

    With `floating` the server's datagrams may come from any address, and the socket isn't connected.
    """

    queue_limit: int = 64
    threads: int = 1
    offloads: tuple[str, ...] = OFFLOADS
    floating: bool = False
    relay: Relay | None = None


class Attempt:
    """Takes `sock` over, connected unless the data path is floating.

    CryptoError if the profile's keys or certificates can't be used.
    """

    def __init__(
        self, config: SessionConfig, endpoint: Endpoint, sock: socket.socket, owner: Owner, data_path: DataPath
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._config, self._owner, self._endpoint, self._data_path = config, owner, endpoint, data_path
        self._session = Session(config, random=os.urandom, wall=int(time.time()), now=self._loop.time())
        self.pump = Pump(
            sock.fileno(),
            stream=endpoint.stream,
            queue_limit=data_path.queue_limit,
            offloads=pump_offloads(data_path.offloads),
            threads=data_path.threads,
            peer=pack_address(endpoint) if data_path.floating and not endpoint.stream else b"",
            prefix=data_path.relay.header if data_path.relay else b"",
        )
        self._sock = sock
        self._end: asyncio.Future[End] = self._loop.create_future()
        self._closed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._tun_task: asyncio.Task[None] | None = None
        self._pushed = act.Pushed()
        self._room: Callable[[int], int] = lambda packet_bytes: packet_bytes  # for payload in a data packet
        self._heard = self._has_peer_id = False  # anything from the server
        self._decompresses = False
        self.up = False
        self._started = self._loop.time()
        self.renegotiations = 0
        self.measured: dict[str, int] = {}  # by name, as the statistics have it

    async def run(self) -> End:
        """Connect and stay so; why it ended. The tun device isn't ours and stays."""
        self.pump.start()
        self._loop.add_reader(self.pump.event_fd, self._on_news)
        if self._data_path.relay:
            self._loop.add_reader(self._data_path.relay.keeper, self._watch_relay, self._data_path.relay.keeper)
        self._advance(self._session.start)
        return await asyncio.shield(self._end)

    async def leave(self) -> None:
        """Say goodbye if there is somebody to say it to. `stop` comes after this."""
        if self._tun_task:
            self._tun_task.cancel()
            await asyncio.wait({self._tun_task})
        if not self._end.done():
            self._end.cancel()
            self._advance(self._session.disconnect)
            if self.up and not self._closed.is_set():
                try:
                    async with asyncio.timeout(max(GOODBYE_S, self._config.exit_attempts)):
                        await self._closed.wait()
                except TimeoutError:
                    self._owner.log(LogCategory.DEBUG, "the server did not acknowledge our exit")

    def stop(self) -> None:
        """End the data path's thread and free all."""
        if self._timer:
            self._timer.cancel()
        self._loop.remove_reader(self.pump.event_fd)
        if self._data_path.relay:
            self._loop.remove_reader(self._data_path.relay.keeper)
            self._data_path.relay.keeper.close()
        self.pump.stop()
        self._sock.close()

    def copied_socket(self) -> socket.socket:
        """A copy of the transport socket, the caller's to close; only before `stop`."""
        return self._sock.dup()

    def follow_path(self) -> None:
        """The machine's network has changed: send from the address that leads to the server now.

        A server knows us by our peer id wherever our datagrams come from. A stream, a proxy's relay, or a server
        that gave us none takes a new session; so does a handshake that isn't through.
        """
        before, now = str(self._sock.getsockname()[0]), source_address(self._endpoint)
        if not now or now == before or self._data_path.floating:
            return
        text = f"the way to the server has changed: it leads from {now} now, {before} until then"
        if not (self._endpoint.stream or self._data_path.relay) and self.up and self._has_peer_id:
            with suppress(OSError):  # it has changed again, and we will hear of that
                self.pump.reconnect(pack_address(self._endpoint))
            self._owner.log(LogCategory.INFO, text)
        elif not self._endpoint.stream or not is_ours(self._endpoint, before):
            self._finish(Lost(text))
        else:  # perhaps answers still find us: the kernel ends the stream if they don't
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STREAM_PATIENCE_MS)

    def answer(self, text: Secret) -> None:
        """The user's answer to a TextChallenge."""
        self._advance(lambda now: self._session.answer(text, now))

    # -- the loop's work --------------------------------------------------------------------------
    def _advance(self, step: Callable[[float], None]) -> None:
        step(self._loop.time())
        for action in self._session.actions():
            self._perform(action)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        when = self._session.next_timer()
        if when is not None and not self._closed.is_set():
            self._timer = self._loop.call_at(when, self._advance, self._session.tick)

    def _on_news(self) -> None:
        for event in events(self.pump.events()):
            match event.kind:
                case EventKind.CONTROL_PACKET:
                    self._receive(event.data)
                case EventKind.PEER_TIMEOUT:
                    self._advance(self._session.peer_timeout)
                case EventKind.KEY_EXPIRING:
                    self._key_expiring(event.value)
                case EventKind.SOCKET_ERROR:
                    self._on_socket_error(event.value)
                case EventKind.CLOSED:
                    self._advance(self._session.transport_closed)
                case EventKind.PEER_EXIT:
                    self._finish(Lost("the server says goodbye"))
                case EventKind.TUN_ERROR:
                    self._finish(Lost(f"the tun device failed: {os.strerror(event.value)}"))
                case EventKind.INACTIVE:
                    self._finish(Inactive())
                case EventKind.COMPRESSED:
                    self._owner.log(LogCategory.WARN, self._about_compressed())

    def _receive(self, packet: bytes) -> None:
        self._heard = True
        self._advance(lambda now: self._session.receive(packet, now))

    def _key_expiring(self, key_id: int) -> None:
        self._advance(lambda now: self._session.key_expiring(key_id, now))

    def _on_socket_error(self, number: int) -> None:
        """ICMP errors on UDP are hints that anybody can forge: they count only while nobody has answered."""
        text = f"{self._endpoint}: {os.strerror(number)}"
        if not self._endpoint.stream and not self._heard and number in UNREACHABLE:
            self._finish(Lost(text))
        else:
            self._owner.log(LogCategory.VERB1, f"network error: {text}")

    def _watch_relay(self, keeper: socket.socket) -> None:
        """There is nothing to be said on this connection, but its end."""
        try:
            if keeper.recv(MAX_IDLE_TALK):
                return
            reason = "the proxy closed the connection that its relay depends on"
        except BlockingIOError:
            return
        except OSError as e:
            reason = f"the connection to the proxy, which its relay depends on, failed: {e.strerror}"
        self._loop.remove_reader(keeper)
        self._finish(Lost(reason))

    def _about_compressed(self) -> str:
        """Why packets are dropped that are compressed."""
        available = self._config.decompressors
        if available is None:
            return "packets from the server are compressed and dropped: set allow-compression to asym to take them"
        known = " and ".join(available) or "nothing"
        return f"a compressed packet was dropped: damaged, too large, or not by a method installed here ({known})"

    def _finish(self, end: End) -> None:
        if not self._end.done():
            self._end.set_result(end)

    # -- what the control channel asks for --------------------------------------------------------
    def _perform(self, action: act.Action) -> None:
        match action:
            case act.SendPacket():
                self.pump.send_control(action.data)
            case act.InstallKeys():
                self._install(action)
            case act.UseKey():
                self.pump.use_key(action.key_id)
            case act.RetireKey():
                self.pump.retire_key(action.key_id)
            case act.SetKeepalive():
                self.pump.set_keepalive(action.ping, action.ping_restart)
            case act.SendExit():
                self.pump.send_exit()
            case act.FirstPacket():
                self._owner.first_packet()
            case act.Pushed():
                self._on_pushed(action)
            case act.Established():
                self._owner.log(LogCategory.INFO, f"control channel: {action.tls}")
                self._shaken_hands()
                self.measured["HANDSHAKE_US"] = round((self._loop.time() - self._started) * 1e6)
                if self._decompresses:
                    self._owner.log(LogCategory.CRIT, COMPRESSION_ALLOWED)
                self._tun_task = self._loop.create_task(self._bring_up())
            case act.Renegotiated():
                self._owner.log(LogCategory.VERB1, f"new keys, number {action.key_id}: {action.tls}")
                self._shaken_hands()
                self.renegotiations += 1
            case act.ServerInfo():
                self._owner.log(LogCategory.INFO, f"the server says: {action.text}")
            case act.AuthPending():
                self._owner.auth_pending(action.timeout)
            case act.WebAuth():
                self._owner.web_auth(action.url)
            case act.TextChallenge():
                self._owner.text_challenge(action)
            case act.LogLine():
                self._owner.log(action.category, action.text)
            case act.TokenChanged():
                pass  # the credentials hold it already
            case act.Closed():
                self._closed.set()
            case _:
                self._finish(action)

    def _shaken_hands(self) -> None:
        self.measured["LAST_HANDSHAKE"] = int(time.time())
        if (round_trip := self._session.round_trip) is not None:
            self.measured["ROUND_TRIP_US"] = round(round_trip * 1e6)

    def _on_pushed(self, pushed: act.Pushed) -> None:
        self._pushed = pushed
        if self._tun_task and self._tun_task.done():  # else it comes to them
            self._tun_task = self._loop.create_task(self._bring_up())

    def _install(self, action: act.InstallKeys) -> None:
        keys = action.keys
        chosen, digest_bytes = cipher(action.cipher), len(keys.send_hmac)
        room = partial(
            payload_room,
            cipher=chosen,
            digest_bytes=digest_bytes,
            framing=action.framing,
            peer_id=action.peer_id is not None,
            epochs=action.epochs,
        )
        header_bytes = len(self._data_path.relay.header) if self._data_path.relay else 0
        self._room = lambda packet_bytes: room(packet_bytes - header_bytes)
        self._has_peer_id = action.peer_id is not None
        self._decompresses = bool(self._config.decompressors) and action.framing is not Framing.NONE
        peer_id = -1 if action.peer_id is None else action.peer_id
        self.pump.install_key(
            action.key_id,
            chosen.number,
            keys.send_key.view(),
            (keys.send_hmac if chosen.cbc else keys.send_iv).view(),
            keys.recv_key.view(),
            (keys.recv_hmac if chosen.cbc else keys.recv_iv).view(),
            peer_id,
            digest=action.digest if digest_bytes else "",
            framing=action.framing,
            decompress=self._decompresses,
            reneg_bytes=self._config.reneg_bytes,
            reneg_packets=self._config.reneg_packets,
            epochs=action.epochs,
            replay_reach=self._config.replay_window[0],
            replay_silence_s=self._config.replay_window[1],
        )
        keys.wipe()

    async def _bring_up(self) -> None:
        """Have a device as the options in force want it, and use it."""
        try:
            done = None
            while done is not self._pushed:
                done = self._pushed
                tun = await self._owner.established(done, self._room)
            self.pump.set_mssfix(tun.mss)
            if tun.inactive[0]:
                self.pump.set_inactive(*tun.inactive)
            self.pump.attach_tun(tun.fd, tun.mtu, tun.offloads)
        except Ovpn3Error as e:  # what an update has spoilt, a new session may mend
            self._finish(Lost(str(e)) if self.up else Unusable(str(e)))
            return
        if not self.up:
            self.measured["CONNECTED_SINCE"] = int(time.time())
        self.up = True
        self._owner.log(LogCategory.VERB1, self._summary(tun))
        self._owner.connected()

    def _summary(self, tun: Tun) -> str:
        allowed, counters = self._data_path.offloads, self.pump.stats()
        text = summary(allowed, tun.offloads, counters, stream=self._endpoint.stream)
        return text if self._data_path.threads == 1 else f"{text}; {self._data_path.threads} threads"
