"""One's-complement sums (RFC 1071)."""

from typing_extensions import Buffer

def checksum(data: Buffer, initial: int = 0) -> int:
    """The sum of the octets as a big-endian number of 16 bits, not complemented; `initial` (32 bits) is added to it."""
