"""Packets for the tun, joined to super packets where one flow's follow each other.

For each packet: `join_place`, write it there, `join_take`; or `join_cancel` if nothing came of it. Then `join_flush`.
"""

from libc.stdint cimport uint8_t, uint32_t

from ovpn3._fast.segment cimport MAX_HEADERS
from ovpn3._fast.vnet cimport VnetHeader

cdef enum:
    FLOWS = 4  # super packets being made, and one place for what comes next
    FLOW_BYTES = 65536 + 64 + 4096  # so that flows don't compete for the same cache lines
    HEADROOM = 64  # octets before each packet; the receiver of frames may write there

# Who writes frames to a tun: gets the packet, with HEADROOM octets before it, and what its header has to say.
ctypedef void (*Emit)(void *owner, uint8_t *packet, int size, int packets, const VnetHeader *header) noexcept nogil

# What decides whether a packet may be joined to another.
cdef struct Headers:
    int size  # octets of them; 0: it may not be joined at all
    int l4
    int protocol
    bint push

cdef struct Flow:
    uint8_t *packet
    int size
    int packets  # 0: free
    int superseded  # acknowledgements that this one stands for
    bint sound  # the sums of all packets are known to be right; else only that of the first is not known
    Headers headers
    int segment  # payload of the first packet, and of all but the last
    uint32_t sequence  # TCP: of the next packet
    uint32_t age

cdef struct Joiner:
    uint8_t *arena
    bint tcp_v4  # which super packets the tun takes
    bint tcp_v6
    bint udp
    Emit emit
    void *owner
    Flow flows[FLOWS]
    Flow *current  # the one joined to last, or NULL
    Flow *spare  # a free one, always
    uint8_t *place  # of the packet expected
    bint at_end  # the place is at the end of `current`, over the octets in `saved`
    uint32_t clock
    uint32_t superseded  # acknowledgements not passed on, for the owner to count and clear
    uint8_t saved[MAX_HEADERS]

cdef bint join_open(Joiner *joiner, Emit emit, void *owner) noexcept nogil
cdef void join_close(Joiner *joiner) noexcept nogil

# Join for a tun that was granted these TUN_F_ bits; 0: pass every packet on alone.
cdef void join_allow(Joiner *joiner, uint32_t offloads) noexcept nogil

# Where a packet of `size` octets (65535 at most) is to be written, chosen so that it needn't be moved if it joins.
cdef uint8_t *join_place(Joiner *joiner, int size) noexcept nogil
cdef void join_cancel(Joiner *joiner) noexcept nogil

# An IP packet stands at its place, of the size announced: join it, or pass it on.
cdef void join_take(Joiner *joiner, int size) noexcept nogil

# Pass on all that has been held back.
cdef void join_flush(Joiner *joiner) noexcept nogil
