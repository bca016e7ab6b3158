"""What servers compress with, and memory that ends where it says: whoever goes beyond ends the test."""

import ctypes
import mmap
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_ulong, c_void_p
from functools import cache

from ovpn3._fast.decompress import LZ4, LZO, load
from ovpn3.constants import Framing

load()
PROT_NONE = 0
LZO_WORK_BYTES = 1 << 17
METHODS = {LZO: "lzo", LZ4: "lz4"}
# What a compressed payload looks like in each framing.
COMPRESSED: dict[Framing, tuple[int, Callable[[bytes], bytes]]] = {
    Framing.LZO_STUB: (LZO, lambda block: b"\x66" + block),
    Framing.STUB: (LZ4, lambda block: b"\x69" + block[1:] + block[:1]),
    Framing.STUB_V2: (LZ4, lambda block: b"\x50\1" + block),
}


@cache
def libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """liblz4, liblzo2; the server needs them too."""
    lz4, lzo = ctypes.CDLL("liblz4.so.1"), ctypes.CDLL("liblzo2.so.2")
    lz4.LZ4_compress_default.argtypes = [c_char_p, c_char_p, c_int, c_int]
    lzo.lzo1x_1_compress.argtypes = [c_char_p, c_ulong, c_char_p, POINTER(c_ulong), c_char_p]
    return lz4, lzo


def compress(method: int, data: bytes) -> bytes:
    """One block, which may be larger than the data."""
    lz4, lzo = libraries()
    out, size = ctypes.create_string_buffer(len(data) * 2 + 100), c_ulong()
    if method == LZ4:
        size.value = lz4.LZ4_compress_default(data, out, len(data), len(out))
    else:
        work = ctypes.create_string_buffer(LZO_WORK_BYTES)
        assert lzo.lzo1x_1_compress(data, len(data), out, byref(size), work) == 0
    assert size.value or not data
    return out.raw[: size.value]


def framed(framing: Framing, data: bytes) -> bytes:
    """As a server sends it that has compressed it."""
    method, frame = COMPRESSED[framing]
    return frame(compress(method, data))


def fenced(size: int, content: bytes = b"") -> memoryview:
    """Memory with a page after it that can't be touched."""
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, pages + mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    mprotect.argtypes = [c_void_p, c_size_t, c_int]
    assert mprotect(address + pages, mmap.PAGESIZE, PROT_NONE) == 0
    memory[pages - size : pages - size + len(content)] = content
    return memoryview(memory)[pages - size : pages]
