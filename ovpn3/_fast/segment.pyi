"""Segmentation of what a tun hands over in one piece, as a network card would do it."""

from typing_extensions import Buffer

def segments(frame: Buffer, mss_v4: int = 0) -> list[bytes]:
    """The packets in a frame (virtio_net_hdr, then an IP packet) read from a tun, ready to be sent: cut to the size
    that the header asks for, checksums complete, and the MSS of a SYN lowered to `mss_v4` (0: as it is).

    ValueError if header and packet contradict each other.
    """
