"""One's-complement sums of the Internet protocols (RFC 1071), and the sums of whole packets.

Sums are kept unfolded and in the byte order of memory, which the arithmetic allows: fold them, then store as they are.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    TCP = 6
    UDP = 17

# `sum` plus that of `size` octets.
cdef uint64_t add_octets(const uint8_t *data, int size, uint64_t sum) noexcept nogil

# `sum` plus the pseudo-header of an IPv4 or IPv6 packet that has `size` octets of `protocol`.
cdef uint64_t add_pseudo_header(const uint8_t *packet, int size, int protocol, uint64_t sum) noexcept nogil

# Whether the sums of an IPv4 header without options, and of the transport header at `l4` and all behind it, are right.
cdef bint sums_hold(const uint8_t *packet, int size, int l4, int protocol) noexcept nogil

# 16 bits; all ones if the octets summed hold a right checksum.
cdef inline uint16_t fold(uint64_t sum) noexcept nogil:
    cdef uint32_t half = <uint32_t> sum
    sum = <uint64_t> half + (sum >> 32)
    half = <uint32_t> sum
    half = half + <uint32_t> (sum >> 32)  # can't overflow: if anything was carried, little is left
    half = (half & 0xFFFF) + (half >> 16)
    return <uint16_t> (half + (half >> 16))

cdef inline void put_sum(uint8_t *dst, uint16_t folded) noexcept nogil:
    memcpy(dst, &folded, 2)

# The sum of one 16-bit number, as it would be of its two octets.
cdef inline uint64_t word(uint64_t number) noexcept nogil:
    cdef uint8_t octets[2]
    cdef uint16_t stored
    octets[0] = <uint8_t> (number >> 8)
    octets[1] = <uint8_t> number
    memcpy(&stored, octets, 2)
    return stored
