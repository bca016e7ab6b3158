"""Decompression of single packets, LZ4 blocks and LZO1X, by the system's libraries where they are installed.

Both check every octet they read and write against the sizes given. They are loaded at run time, and only when somebody
asks for them, so neither building nor running needs them.
"""

from libc.stdint cimport uint8_t

cdef enum Method:
    METHOD_LZO = 1
    METHOD_LZ4 = 2

# Decompress `size` octets to `dst`, which has room for `room`. Octets written; negative if they are damaged, if the
# room is too small, or if the library isn't loaded: `dst` may then have been written to.
cdef int decompress_into(Method method, uint8_t *dst, int room, const uint8_t *src, int size) noexcept nogil
