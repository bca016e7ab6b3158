"""Packets on their way to the transport.

Sealed packets stand back to back, so a stream takes them in one call, and a run of equal ones is what UDP
segmentation would take.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport calloc, free
from libc.string cimport memmove

from ovpn3._fast.linux cimport MSG_DONTWAIT, MSG_NOSIGNAL, send, sendmmsg


cdef bint outbox_open(Outbox *box) noexcept nogil:
    cdef int i
    box.arena = <uint8_t *> calloc(1, OUTBOX_BYTES + LARGEST_PACKET)
    for i in range(OUTBOX_PACKETS):
        box.headers[i].msg_hdr.msg_iov = &box.packets[i]
        box.headers[i].msg_hdr.msg_iovlen = 1
    return box.arena != NULL


cdef void outbox_close(Outbox *box) noexcept nogil:
    free(box.arena)
    box.arena = NULL


cdef uint8_t *outbox_end(Outbox *box) noexcept nogil:
    return box.arena + box.used


cdef bint outbox_add(Outbox *box, int size) noexcept nogil:
    if box.first and (box.last == OUTBOX_PACKETS or box.used + size > OUTBOX_BYTES):
        pull_down(box, size)
    if box.last == OUTBOX_PACKETS or box.used + size > OUTBOX_BYTES:
        return False
    box.packets[box.last].iov_base = box.arena + box.used
    box.packets[box.last].iov_len = size
    box.last += 1
    box.used += size
    return True


# Move what waits, and the `size` octets behind it, to the start of the arena.
cdef void pull_down(Outbox *box, int size) noexcept nogil:
    cdef uint8_t *start = <uint8_t *> box.packets[box.first].iov_base
    cdef Py_ssize_t gone = start - box.arena
    cdef int i
    memmove(box.arena, start, box.used - gone + size)
    box.used -= <int> gone
    for i in range(box.first, box.last):
        box.packets[i - box.first].iov_base = <uint8_t *> box.packets[i].iov_base - gone
        box.packets[i - box.first].iov_len = box.packets[i].iov_len
    box.last -= box.first
    box.first = 0


cdef int send_datagrams(Outbox *box, int sock, Counters *counters) noexcept nogil:
    cdef int sent, error = 0, i
    while box.first < box.last:
        sent = sendmmsg(sock, &box.headers[box.first], box.last - box.first, MSG_DONTWAIT | MSG_NOSIGNAL)
        counters.send_calls += 1
        if sent > 0:
            for i in range(box.first, box.first + sent):
                counters.transport_bytes_out += box.packets[i].iov_len
            counters.transport_packets_out += sent
            box.first += sent
        elif errno == EAGAIN:
            return EAGAIN
        elif errno != EINTR:
            error = errno
            counters.send_errors += 1
            counters.unsent_packets += 1
            box.first += 1
    box.first = box.last = box.used = 0
    return error


cdef int send_stream(Outbox *box, int sock, Counters *counters) noexcept nogil:
    cdef uint8_t *start
    cdef ssize_t sent
    while box.first < box.last:
        start = <uint8_t *> box.packets[box.first].iov_base
        sent = send(sock, start, box.arena + box.used - start, MSG_DONTWAIT | MSG_NOSIGNAL)
        counters.send_calls += 1
        if sent > 0:
            take_off(box, sent, counters)
        elif errno == EAGAIN:
            return EAGAIN
        elif errno != EINTR:
            counters.send_errors += 1
            return errno
    box.first = box.last = box.used = 0
    return 0


# Forget `sent` octets; a packet sent in part keeps its rest.
cdef void take_off(Outbox *box, size_t sent, Counters *counters) noexcept nogil:
    cdef iovec *packet
    counters.transport_bytes_out += sent
    while sent:
        packet = &box.packets[box.first]
        if sent < packet.iov_len:
            packet.iov_base = <uint8_t *> packet.iov_base + sent
            packet.iov_len -= sent
            return
        sent -= packet.iov_len
        box.first += 1
        counters.transport_packets_out += 1
