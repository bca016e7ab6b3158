"""Packets fresh from the transport: a batch of datagrams, or a stretch of a stream of framed packets."""

from libc.errno cimport EAGAIN, EBADMSG, EINTR, ENODATA, errno
from libc.stdlib cimport calloc, free
from libc.string cimport memmove

from ovpn3._fast.linux cimport MSG_DONTWAIT, MSG_TRUNC, recv, recvmmsg
from ovpn3._fast.outbox cimport FRAME_BYTES
from ovpn3._fast.packet cimport get_u16


cdef bint inbox_open(Inbox *box, bint stream) noexcept nogil:
    box.arena = <uint8_t *> calloc(1, INBOX_BYTES)
    box.stream = stream
    inbox_fit(box, 0)
    return box.arena != NULL


cdef void inbox_close(Inbox *box) noexcept nogil:
    free(box.arena)
    box.arena = NULL


cdef void inbox_fit(Inbox *box, int size) noexcept nogil:
    cdef int i
    box.stride = max(<int> SMALLEST_STRIDE, (size + 63) // 64 * 64)
    box.slots = min(<int> INBOX_PACKETS, INBOX_BYTES // box.stride)
    for i in range(box.slots):
        box.buffers[i].iov_base = box.arena + i * box.stride
        box.buffers[i].iov_len = box.stride
        box.headers[i].msg_hdr.msg_iov = &box.buffers[i]
        box.headers[i].msg_hdr.msg_iovlen = 1


cdef int receive(Inbox *box, int sock, Counters *counters) noexcept nogil:
    counters.receive_calls += 1
    return receive_stream(box, sock, counters) if box.stream else receive_datagrams(box, sock, counters)


cdef int receive_datagrams(Inbox *box, int sock, Counters *counters) noexcept nogil:
    cdef int got = recvmmsg(sock, box.headers, box.slots, MSG_DONTWAIT, NULL)
    box.taken = 0
    box.filled = max(got, 0)
    if got < 0:
        return 0 if errno == EAGAIN or errno == EINTR else -errno
    return got == box.slots


cdef int receive_stream(Inbox *box, int sock, Counters *counters) noexcept nogil:
    cdef ssize_t got, room
    box.filled -= box.taken
    if box.taken and box.filled:
        memmove(box.arena, box.arena + box.taken, box.filled)
    box.taken = 0
    room = INBOX_BYTES - box.filled  # never 0: less than one frame was left
    got = recv(sock, box.arena + box.filled, room, MSG_DONTWAIT)
    if got == 0:
        return -ENODATA
    if got < 0:
        return 0 if errno == EAGAIN or errno == EINTR else -errno
    box.filled += <int> got
    counters.transport_bytes_in += got
    return got == room


cdef int inbox_take(Inbox *box, uint8_t **packet, Counters *counters) noexcept nogil:
    cdef int size
    if box.stream:
        return take_frame(box, packet, counters)
    while box.taken < box.filled:
        packet[0] = <uint8_t *> box.buffers[box.taken].iov_base
        size = <int> box.headers[box.taken].msg_len
        box.taken += 1
        counters.transport_packets_in += 1
        counters.transport_bytes_in += size
        if size and not box.headers[box.taken - 1].msg_hdr.msg_flags & MSG_TRUNC:
            return size
        counters.malformed_packets += 1
    return 0


cdef int take_frame(Inbox *box, uint8_t **packet, Counters *counters) noexcept nogil:
    cdef int size
    if box.filled - box.taken < FRAME_BYTES:
        return 0
    size = <int> get_u16(box.arena + box.taken)
    if size == 0:
        return -EBADMSG
    if box.filled - box.taken < FRAME_BYTES + size:
        return 0
    packet[0] = box.arena + box.taken + FRAME_BYTES
    box.taken += FRAME_BYTES + size
    counters.transport_packets_in += 1
    return size
