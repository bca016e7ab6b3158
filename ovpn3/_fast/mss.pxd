"""Lowering of the maximum segment size that a TCP SYN announces."""

from libc.stdint cimport uint8_t

# Whether this is a TCP SYN, the only packet that announces a segment size.
cdef bint is_syn(const uint8_t *packet, int size) noexcept nogil

# Lower the MSS option of a TCP SYN in an IP packet to `mss_v4` (IPv6: 20 less) and mend the checksum.
# Anything else, whatever it holds, stays as it is. 0 = off.
cdef void clamp_mss(uint8_t *packet, int size, int mss_v4) noexcept nogil
