"""Packets on their way to the transport, one behind the other in one arena."""

from libc.stdint cimport uint8_t, uint16_t
from posix.uio cimport iovec

from ovpn3._fast.counters cimport Counters
from ovpn3._fast.linux cimport cmsghdr, mmsghdr

cdef enum:
    OUTBOX_BYTES = 524288
    OUTBOX_PACKETS = 512
    CONTROL_PACKETS = 64  # room that tunnel packets leave to the others
    CONTROL_BYTES = 65536
    LARGEST_PACKET = 66048  # 65535 octets of payload, overhead and framing
    PEER_BYTES = 28  # of a sockaddr_in6
    FRAME_BYTES = 2  # length before each packet on a stream
    MAX_PREFIX = 22  # octets before a packet: those, or the header for a SOCKS proxy with an IPv6 address in it

# UDP_SEGMENT as it stands in a message.
cdef struct Segmentation:
    cmsghdr header
    uint16_t size

# Packets that go out as one message.
cdef struct Run:
    iovec octets
    int packets
    Segmentation segmentation

cdef struct Outbox:
    uint8_t *arena  # OUTBOX_BYTES and room for one LARGEST_PACKET
    int used
    int first  # packets[first:last] wait
    int last
    int largest_segment  # that a message may be cut into; 0: messages are not cut
    uint8_t peer[PEER_BYTES]  # sockaddr, for a socket that isn't connected
    iovec packets[OUTBOX_PACKETS]
    mmsghdr messages[OUTBOX_PACKETS]  # made for one send call
    Run runs[OUTBOX_PACKETS]  # what each message holds

# `peer`: where datagrams go through a socket that isn't connected, a sockaddr of `peer_bytes`; 0: it is.
cdef bint outbox_open(Outbox *box, const uint8_t *peer, int peer_bytes) noexcept nogil
cdef void outbox_close(Outbox *box) noexcept nogil

# Octets of payload that the path of a connected UDP socket carries whole, as far as is known; 0 if unknown.
cdef int largest_unfragmented(int sock) noexcept nogil

# From now on send runs of equal datagrams as one message for the kernel to cut, if socket and path allow it.
cdef void outbox_segment(Outbox *box, int sock, Counters *counters) noexcept nogil

# Where the next packet goes: always room for LARGEST_PACKET, but only `outbox_add` keeps what is written there.
cdef uint8_t *outbox_end(Outbox *box) noexcept nogil

# Whether a tunnel packet of `size` octets may be queued.
cdef bint outbox_has_room(const Outbox *box, int size) noexcept nogil

# Queue the `size` octets written at the end; false if the box is full.
cdef bint outbox_add(Outbox *box, int size) noexcept nogil

# Send until the box is empty (0), or the kernel wants us to wait (EAGAIN). Another errno is the last error met: on
# datagrams it cost one packet each time; a stream is dead after it.
cdef int send_datagrams(Outbox *box, int sock, Counters *counters) noexcept nogil
cdef int send_stream(Outbox *box, int sock, Counters *counters) noexcept nogil
