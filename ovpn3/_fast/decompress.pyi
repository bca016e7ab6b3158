"""Decompression of single packets by the system's libraries."""

from typing_extensions import Buffer

LZO: int
LZ4: int

def load() -> list[int]:
    """Load the libraries; the methods that are available. Loads nothing twice."""

def decompress(method: int, src: Buffer, dst: Buffer) -> int:
    """Octets written to the start of `dst`; ValueError if `src` is damaged, doesn't fit, or the method isn't loaded."""
