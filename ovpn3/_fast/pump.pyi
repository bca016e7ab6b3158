"""Python's handle on a tunnel's native thread."""

from typing import final

from typing_extensions import Buffer

GSO: int  # bits of `offloads`: the kernel cuts runs of datagrams,
GRO: int  # and joins them;
IPSEC_MB: int  # the faster crypto library

@final
class Pump:
    """The thread, or the two, that carry a tunnel's packets and never take the GIL.

    Methods from `send_control` on post a command and return at once; commands are carried out in order, those from
    before `start` and those from just before `stop` too. ValueError if the pump is stopped or an argument is wrong,
    BufferError if 64 commands wait.
    """

    def __new__(
        cls,
        sock_fd: int,
        *,
        stream: bool,
        queue_limit: int = 64,
        offloads: int = 28,
        threads: int = 1,
        peer: bytes = b"",
        prefix: bytes = b"",
    ) -> Pump:
        """Take a copy of a connected UDP or TCP socket. `queue_limit`: packets that may wait for a full stream
        before tunnel packets are dropped (1..256). `offloads`: which may be used where they work; the counters that
        end in `_active` tell which are. With 2 `threads` each direction has one. `peer`: a struct sockaddr to send to,
        if the socket isn't connected and hears everybody. `prefix`: what a SOCKS proxy at the other end wants before
        each datagram; those received have a header of its kind."""
    def start(self) -> None: ...
    def stop(self) -> None:
        """Send what is queued if the socket takes it, end the thread, close and wipe everything. Harmless twice."""
    @property
    def event_fd(self) -> int:
        """Readable while events wait."""
    def events(self) -> list[tuple[int, int, bytes]]:
        """What has happened since the last call, as (kind, value, data); see `ovpn3.datapath.engine.EventKind`."""
    def stats(self) -> dict[str, int]:
        """A snapshot of the counters, the last one if stopped; see `ovpn3.datapath.stats`."""
    def send_control(self, packet: Buffer) -> None:
        """Queue a control packet (at most 2560 bytes). It is dropped, and counted, only if 512 packets wait."""
    def reconnect(self, peer: bytes) -> None:
        """Send to this struct sockaddr from the address and the port of ours that the kernel chooses now. UDP only.
        OSError if there is no way; another call may find one."""
    def send_exit(self) -> None:
        """Say good-bye inside the data channel."""
    def attach_tun(self, fd: int, mtu: int, offloads: int = 0) -> None:
        """Carry packets of this tun from now on, through a copy of the descriptor. `offloads`: the TUN_F_ bits it was
        granted; 0: it has IFF_VNET_HDR not set and no virtio_net_hdr before its packets."""
    def detach_tun(self) -> None: ...
    def install_key(
        self,
        key_id: int,
        cipher: int,
        send_key: Buffer,
        send_iv: Buffer,
        recv_key: Buffer,
        recv_iv: Buffer,
        peer_id: int = -1,
        *,
        digest: str = "",
        framing: int = 0,
        decompress: bool = False,
        reneg_bytes: int = 0,
        reneg_packets: int = 0,
        epochs: bool = False,
        replay_reach: int = 2048,
        replay_silence_s: float = 30.0,
    ) -> None:
        """Copy a key into its slot and open packets with it; -1 as peer id means DATA_V1. `use_key` makes it send.
        The others as in `channel.DataChannel`."""
    def use_key(self, key_id: int) -> None:
        """Seal with this key from now on."""
    def retire_key(self, key_id: int) -> None:
        """Wipe a key. If it is the one in use, the tun waits until another is."""
    def set_keepalive(self, ping_s: float, restart_s: float) -> None:
        """Ping after `ping_s` of sending nothing, report PEER_TIMEOUT after `restart_s` of receiving nothing (once,
        until something comes again); 0 is off. What counts is authentic data, or a control packet handed up."""
    def set_inactive(self, seconds: float, least_bytes: int = 0) -> None:
        """Report INACTIVE after `seconds` with less than `least_bytes` (at least 1) through the tun; 0 is off."""
    def set_mssfix(self, mss_v4: int) -> None:
        """Lower the MSS of TCP connections both ways (IPv6: 20 less); 0 is off."""
    def pause(self) -> None:
        """Touch neither tun nor socket, and stop all clocks."""
    def resume(self) -> None: ...
