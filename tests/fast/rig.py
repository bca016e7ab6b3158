"""A pump between sockets the test holds: the far end of its transport and the far end of its tun."""

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from ovpn3._fast import aead
from ovpn3._fast.channel import DataChannel
from ovpn3._fast.pump import Pump
from ovpn3.datapath.engine import Event, EventKind, events

PATIENCE = 5.0
PEER_ID = 7
PACKET = bytes.fromhex("4500002c424240004001e47c0a0800020a080001080083601234000161626364656667683132333435363738")


@dataclass(frozen=True)
class Keys:
    """One generation, from the pump's side."""

    send_key: bytes
    send_iv: bytes
    recv_key: bytes
    recv_iv: bytes

    @classmethod
    def fresh(cls) -> "Keys":
        return cls(os.urandom(32), os.urandom(8), os.urandom(32), os.urandom(8))

    def mirrored(self) -> "Keys":
        return Keys(self.recv_key, self.recv_iv, self.send_key, self.send_iv)

    def install(
        self,
        target: Pump | DataChannel,
        key_id: int,
        peer_id: int = PEER_ID,
        *,
        epochs: bool = False,
        framing: int = 0,
        decompress: bool = False,
    ) -> None:
        args = (self.send_key, self.send_iv, self.recv_key, self.recv_iv)
        if epochs:
            args = (self.send_key, b"", self.recv_key, b"")
        install = target.install_key if isinstance(target, Pump) else target.install
        install(key_id, aead.AES_256_GCM, *args, peer_id, epochs=epochs, framing=framing, decompress=decompress)


def udp_pair() -> tuple[socket.socket, socket.socket]:
    one, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for end in (one, other):
        end.bind(("127.0.0.1", 0))
    one.connect(other.getsockname())
    other.connect(one.getsockname())
    return one, other


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Datagrams that wait for the reader, in room for a few."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return one, other


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]


def eventually(condition: Callable[[], object]) -> None:
    """Wait for what only the pump's thread knows of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen"
        time.sleep(0.001)


class Rig:
    """A started pump with key 0 in use and a fake tun. `peer` is the far transport, `tun` the kernel's side."""

    def __init__(
        self,
        sockets: tuple[socket.socket, socket.socket],
        *,
        stream: bool = False,
        queue_limit: int = 64,
        peer_id: int = PEER_ID,
        tun_offloads: int = 0,
        framing: int = 0,
        decompress: bool = False,
        prefix: bytes = b"",
        **options: int,
    ) -> None:
        own, self.peer = sockets
        fake_tun, self.tun = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel, self.raw = DataChannel(), DataChannel()  # the peer's crypto, and without framing
        self.keys = Keys.fresh()
        self.stream, self.prefix = stream, prefix
        self.seen: list[Event] = []
        with own, fake_tun:
            self.pump = Pump(own.fileno(), stream=stream, queue_limit=queue_limit, prefix=prefix, **options)
            self.pump.attach_tun(fake_tun.fileno(), 1500, tun_offloads)
        self.keys.install(self.pump, 0, peer_id, framing=framing, decompress=decompress)
        self.keys.mirrored().install(self.channel, 0, peer_id, framing=framing)
        self.keys.mirrored().install(self.raw, 0, peer_id)
        self.pump.use_key(0)
        self.channel.use(0)
        self.raw.use(0)
        self.pump.start()
        for end in (self.peer, self.tun):
            end.settimeout(PATIENCE)

    def __enter__(self) -> "Rig":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pump.stop()
        self.peer.close()
        self.tun.close()

    def send(self, packet: bytes) -> None:
        """From the peer to the pump."""
        self.peer.sendall(len(packet).to_bytes(2) + packet if self.stream else self.prefix + packet)

    def received(self) -> bytes:
        """The next packet the peer gets."""
        if self.stream:
            return self.read(int.from_bytes(self.read(2)))
        packet = self.peer.recv(65536)
        assert packet.startswith(self.prefix)
        return packet[len(self.prefix) :]

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.peer.recv(size - len(data))
        return data

    def opened(self) -> bytes:
        """The payload of the next packet the peer gets."""
        return self.channel.open(self.received(), time.monotonic())

    def await_event(self, kind: EventKind) -> Event:
        """The next event of this kind; others stay in `seen`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for event in self.seen:
                if event.kind is kind:
                    self.seen.remove(event)
                    return event
            ready, _, _ = select.select([self.pump.event_fd], [], [], deadline - time.monotonic())
            assert ready, f"no {kind.name}"
            self.seen += events(self.pump.events())

    def await_count(self, counter: str, least: int = 1) -> None:
        eventually(lambda: self.pump.stats()[counter] >= least)


@contextmanager
def same_descriptors() -> Iterator[None]:
    """The block leaves no descriptor and no thread behind."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    before = held()
    yield
    assert held() == before
