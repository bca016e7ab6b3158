"""Coalescing: what a network card and the kernel's GRO do for packets from the wire, done for those from the tunnel."""

from collections.abc import Sequence

from typing_extensions import Buffer

def coalesce(packets: Sequence[Buffer], offloads: int) -> list[bytes]:
    """The frames (virtio_net_hdr, then an IP packet) to write to a tun for a batch of IP packets, in that order.

    `offloads`: the TUN_F_ bits the tun was granted. ValueError if a packet is empty or larger than 65535 octets.
    """
