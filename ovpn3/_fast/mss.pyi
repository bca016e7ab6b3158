"""MSS clamping (RFC 9293 §3.7.1 option, RFC 1624 checksum update)."""

from typing_extensions import Buffer

def clamp(packet: Buffer, mss_v4: int) -> None:
    """Lower the MSS of a TCP SYN in an IP packet, in place, to `mss_v4` (IPv6: 20 less; 0: off) and mend its checksum.

    Anything that isn't a well-formed SYN stays as it is.
    """
