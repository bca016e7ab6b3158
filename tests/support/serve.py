"""A server made of our own parts: the control protocol of `peer`, the data path of the client.

It takes one client at a time: a new one ends the session of the one before. Runs as root in a network namespace of
its own, says "ready" when it listens, ends on SIGTERM.

usage: python -m tests.support.serve [options] DIRECTORY, where a `Pki` has left its files
"""

import argparse
import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from random import SystemRandom

from ovpn3._fast.pump import Pump
from ovpn3.constants import OFFLOADS
from ovpn3.datapath.engine import CIPHERS, EventKind, events
from ovpn3.datapath.offloads import pump_offloads, tun_offloads
from ovpn3.net.bypass import Bypasses
from ovpn3.net.device import Device
from ovpn3.net.netlink import Netlink
from ovpn3.net.plan import TunnelAddress, Wanted
from ovpn3.net.tun import Tun
from ovpn3.protocol.config import WrapConfig, WrapMode
from ovpn3.protocol.keyring import MAX_INSTALLED
from ovpn3.protocol.packet import Opcode, unpack_first
from ovpn3.secret import Secret
from ovpn3_services.netcfg.protect import protect_socket
from tests.support.peer import ALL_FLAGS, Identity, Peer
from tests.support.pki import Credential

ADDRESSES = ("10.8.0.1/24", "fd08::1/64")
PUSH = (
    "PUSH_REPLY,topology subnet,route-gateway 10.8.0.1,ifconfig 10.8.0.2 255.255.255.0,"
    "ifconfig-ipv6 fd08::2/64 fd08::1,peer-id {peer_id},cipher {cipher},ping 10,ping-restart 60"
)
PEER_ID = 7
MTU = 1500
PING_S = 10.0


@dataclass(frozen=True)
class Options:
    """The same for all clients. `reneg_s` 0: the server never asks for new keys by itself."""

    identity: Identity
    wrap: WrapConfig
    cipher: str
    stream: bool
    offloads: tuple[str, ...]
    threads: int
    reneg_s: float
    epochs: bool = False


class Connection:
    """One client. Takes its connected socket over; the tun stays the caller's."""

    def __init__(self, sock: socket.socket, tun: Tun, options: Options) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = options
        flags = ALL_FLAGS + (" aead-epoch" if options.epochs else "")
        self._peer = Peer(
            options.identity,
            self._loop.time(),
            options.wrap,
            push=(PUSH.format(peer_id=PEER_ID, cipher=options.cipher) + flags,),
            push_unasked=True,
            stream=options.stream,
            seed=SystemRandom().getrandbits(64),
        )
        self._keys: list[int] = []  # ids of the installed ones, newest last
        self._timer: asyncio.TimerHandle | None = None
        self._renegotiation: asyncio.TimerHandle | None = None
        offloads = pump_offloads(options.offloads)
        self._pump = Pump(sock.fileno(), stream=options.stream, offloads=offloads, threads=options.threads)
        sock.close()
        self._pump.set_keepalive(PING_S, 0.0)
        self._pump.attach_tun(tun.fd, MTU, tun.offloads)
        self._pump.start()
        self._loop.add_reader(self._pump.event_fd, self._on_news)

    def close(self) -> None:
        for timer in (self._timer, self._renegotiation):
            if timer:
                timer.cancel()
        self._loop.remove_reader(self._pump.event_fd)
        self._pump.stop()

    def receive(self, packet: bytes) -> None:
        """A packet of the control channel."""
        self._advance(lambda now: self._peer.receive(packet, now))

    def send(self, message: str) -> None:
        """A message of the control channel."""
        self._advance(lambda now: self._peer.send(message))

    def _on_news(self) -> None:
        for event in events(self._pump.events()):
            match event.kind:
                case EventKind.CONTROL_PACKET:
                    self.receive(event.data)
                case EventKind.FIRST_DATA:
                    self._pump.use_key(event.value)  # the client has it for certain
                case EventKind.KEY_EXPIRING if event.value == self._keys[-1]:
                    self._renegotiate()

    def _renegotiate(self) -> None:
        self._advance(self._peer.renegotiate)

    def _advance(self, step: Callable[[float], None]) -> None:
        step(self._loop.time())
        newest = self._peer.newest
        if newest not in self._keys[-1:] and self._peer.generations[newest].hello:
            self._install(newest)
        for packet in self._peer.outgoing():
            self._pump.send_control(packet)
        if self._timer:
            self._timer.cancel()
        when = self._peer.next_timer()
        self._timer = self._loop.call_at(when, self._advance, self._peer.tick) if when is not None else None

    def _install(self, key_id: int) -> None:
        """The client's keys, turned round. All but the first wait with sending until the client has used them."""
        keys = self._peer.keys(key_id, cipher=self._options.cipher, epochs=self._options.epochs)
        self._pump.install_key(
            key_id,
            CIPHERS[self._options.cipher].number,
            keys.recv_key.view(),
            keys.recv_iv.view(),
            keys.send_key.view(),
            keys.send_iv.view(),
            PEER_ID,
            epochs=self._options.epochs,
        )
        keys.wipe()
        if not self._keys:
            self._pump.use_key(key_id)
        self._keys.append(key_id)
        if len(self._keys) > MAX_INSTALLED:
            self._pump.retire_key(self._keys.pop(0))
        if self._options.reneg_s:
            self._renegotiation = self._loop.call_later(self._options.reneg_s, self._renegotiate)


def bound(address: tuple[str, int], stream: bool) -> socket.socket:
    """A socket for clients to find, or one that is to be connected to one of them."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    protect_socket(sock.fileno())  # large buffers, as the client's
    sock.bind(address)
    return sock


async def clients(address: tuple[str, int], stream: bool) -> AsyncIterator[tuple[socket.socket, bytes]]:
    """A connected socket for each new client, and the packet that announced it, over UDP."""
    loop = asyncio.get_running_loop()
    with bound(address, stream) as listener:
        if stream:
            listener.listen()
        print("ready", flush=True)
        while True:
            if stream:
                sock, _ = await loop.sock_accept(listener)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield sock, b""
                continue
            packet, source = await loop.sock_recvfrom(listener, 65535)
            if unpack_first(packet[0])[0] in (Opcode.HARD_RESET_CLIENT, Opcode.HARD_RESET_CLIENT_WKC):
                sock = bound(address, stream)
                sock.connect(source)  # from now on this socket gets what comes from there, the listener the rest
                yield sock, packet


async def serve(address: tuple[str, int], options: Options) -> None:
    connection: Connection | None = None

    def relay() -> None:
        """Each line that is written to us is a message for the client."""
        lines = os.read(0, 65536).decode().splitlines()
        if not lines:
            asyncio.get_running_loop().remove_reader(0)
        for message in lines:
            if connection:
                connection.send(message)

    asyncio.get_running_loop().add_reader(0, relay)
    addresses = tuple(TunnelAddress(ip_interface(own)) for own in ADDRESSES)
    with Netlink() as netlink:
        device = Device(netlink, Bypasses(netlink))
        tun = await device.establish(Wanted(addresses, mtu=MTU, offloads=tun_offloads(options.offloads)))
    async for sock, packet in clients(address, options.stream):
        if connection:
            connection.close()
        connection = Connection(sock, tun, options)
        if packet:
            connection.receive(packet)


def wrap_config(mode: WrapMode, directory: Path) -> WrapConfig:
    """As the client has it."""
    if mode is WrapMode.NONE:
        return WrapConfig()
    name = "tls-crypt-v2-client.key" if mode is WrapMode.TLS_CRYPT_V2 else "static.key"
    return WrapConfig(mode, Secret((directory / name).read_text()), 1 if mode is WrapMode.TLS_AUTH else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, default=1194)
    parser.add_argument("--stream", action="store_true", help="TCP")
    parser.add_argument("--wrap", type=WrapMode, default=WrapMode.NONE)
    parser.add_argument("--cipher", choices=CIPHERS, default="AES-256-GCM")
    parser.add_argument("--offloads", default="auto", help="auto, none, or a comma list")
    parser.add_argument("--threads", type=int, choices=[1, 2], default=1)
    parser.add_argument("--reneg-sec", type=float, default=0.0)
    parser.add_argument("--epochs", action="store_true", help="epoch data keys")
    arguments = parser.parse_args()
    read = {name: (arguments.directory / name).read_text() for name in ("ca.crt", "server.crt", "server.key")}
    server = Credential(read["server.crt"], read["server.key"])
    options = Options(
        identity=Identity(read["ca.crt"], server, client=Credential("", "")),
        wrap=wrap_config(arguments.wrap, arguments.directory),
        cipher=arguments.cipher,
        stream=arguments.stream,
        offloads=OFFLOADS if arguments.offloads == "auto" else tuple(arguments.offloads.split(",")),
        threads=arguments.threads,
        reneg_s=arguments.reneg_sec,
        epochs=arguments.epochs,
    )
    asyncio.run(serve((arguments.address, arguments.port), options))


if __name__ == "__main__":
    main()
