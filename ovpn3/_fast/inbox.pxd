"""Packets fresh from the transport, in buffers they can be opened in."""

from libc.stdint cimport uint8_t
from posix.uio cimport iovec

from ovpn3._fast.counters cimport Counters
from ovpn3._fast.linux cimport mmsghdr

cdef enum:
    INBOX_BYTES = 262144
    INBOX_PACKETS = 64
    SMALLEST_STRIDE = 2048

cdef struct Inbox:
    uint8_t *arena
    bint stream
    int stride  # datagrams: distance of the buffers
    int slots
    int filled  # datagrams received, or octets of stream in the arena
    int taken  # of `filled`
    iovec buffers[INBOX_PACKETS]
    mmsghdr headers[INBOX_PACKETS]

cdef bint inbox_open(Inbox *box, bint stream) noexcept nogil
cdef void inbox_close(Inbox *box) noexcept nogil

# Datagrams: make buffers large enough for packets of `size` octets.
cdef void inbox_fit(Inbox *box, int size) noexcept nogil

# One receive call. 1: all buffers are full, more may wait; 0: that was all; -errno (ENODATA: end of stream).
cdef int receive(Inbox *box, int sock, Counters *counters) noexcept nogil

# The next packet received: its size, 0 after the last, -EBADMSG if the framing of the stream is broken.
cdef int inbox_take(Inbox *box, uint8_t **packet, Counters *counters) noexcept nogil
