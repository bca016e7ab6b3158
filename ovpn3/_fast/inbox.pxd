"""Packets fresh from the transport."""

from libc.stdint cimport uint8_t
from posix.uio cimport iovec

from ovpn3._fast.counters cimport Counters
from ovpn3._fast.linux cimport cmsghdr, mmsghdr

cdef enum:
    INBOX_BYTES = 262144
    INBOX_PACKETS = 64
    SMALLEST_STRIDE = 2048
    JOINED_STRIDE = 65536 + 2112  # so that datagrams at the starts of buffers don't compete for the same cache lines
    JOINED_PACKETS = 16

# UDP_GRO as it stands in a message.
cdef struct Joint:
    cmsghdr header
    int size

cdef struct Inbox:
    uint8_t *arena
    bint stream
    bint relayed  # by a SOCKS proxy, which puts a header before each datagram
    bint joined  # a message may hold many datagrams, one behind the other
    int largest  # datagram wanted
    int slots
    int filled  # messages received, or octets of stream in the arena
    int taken  # of `filled`
    int offset  # of the next datagram in message `taken`
    iovec buffers[INBOX_PACKETS]
    mmsghdr headers[INBOX_PACKETS]
    Joint joints[INBOX_PACKETS]

# `offload`: let the kernel join datagrams, if the socket can.
cdef bint inbox_open(Inbox *box, int sock, bint stream, bint relayed, bint offload, Counters *counters) noexcept nogil
cdef void inbox_close(Inbox *box) noexcept nogil

# Datagrams: take packets of up to `size` octets.
cdef void inbox_fit(Inbox *box, int size) noexcept nogil

# One receive call. 1: all buffers are full, more may wait; 0: that was all; -errno (ENODATA: end of stream).
cdef int receive(Inbox *box, int sock, Counters *counters) noexcept nogil

# The next packet received: its size, 0 after the last, -EBADMSG if the framing of the stream is broken.
cdef int inbox_take(Inbox *box, const uint8_t **packet, Counters *counters) noexcept nogil
