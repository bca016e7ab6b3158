"""Super packets from a tun with offloads, cut into packets in place."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ovpn3._fast.vnet cimport VnetHeader

cdef enum:
    MAX_HEADERS = 128  # octets of IP and transport header

# The packets still to be cut off. The packet's octets change with each one taken.
cdef struct Cut:
    uint8_t *packet
    int size  # octets from `packet` on
    int header_bytes  # repeated before each segment; 0: a single packet, finished already
    int segment  # payload of each, the last may have less
    int l4  # where the transport header starts
    int protocol
    bint first
    uint32_t sequence  # TCP: of the next segment
    uint32_t identification  # IPv4: of the next segment
    uint64_t ip_sum  # of the IPv4 header without what changes
    uint64_t l4_sum  # of the pseudo-header without the length
    uint8_t headers[MAX_HEADERS]

# Begin with what was read: 0, or -1 if header and packet contradict each other.
cdef int cut_open(Cut *cut, const VnetHeader *header, uint8_t *packet, int size) noexcept nogil

# The next packet, complete with checksums: its size, 0 after the last. It is good until the next call.
cdef int cut_next(Cut *cut, uint8_t **packet) noexcept nogil
