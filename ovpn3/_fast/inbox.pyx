"""Packets fresh from the transport: a batch of datagrams, or a stretch of a stream of framed packets."""

from libc.errno cimport EAGAIN, EBADMSG, EINTR, ENODATA, errno
from libc.stdlib cimport calloc, free
from libc.string cimport memmove

from ovpn3._fast.linux cimport (
    IPPROTO_UDP,
    MSG_DONTWAIT,
    MSG_TRUNC,
    UDP_GRO,
    mmsghdr,
    recv,
    recvmmsg,
    setsockopt,
)
from ovpn3._fast.outbox cimport FRAME_BYTES
from ovpn3._fast.packet cimport get_u16


cdef enum:
    RELAYED_WHOLE = 0  # not a fragment
    FROM_IPV4 = 1
    FROM_NAME = 3
    FROM_IPV6 = 4
    BEFORE_ADDRESS = 4
    AFTER_ADDRESS = 2


cdef bint inbox_open(Inbox *box, int sock, bint stream, bint relayed, bint offload, Counters *counters) noexcept nogil:
    cdef int on = 1
    box.stream = stream
    box.relayed = relayed
    box.joined = offload and not stream and setsockopt(sock, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) == 0
    counters.gro_active = box.joined
    # Zeroed pages cost nothing before they are used, and most buffers never fill.
    box.arena = <uint8_t *> calloc(1, JOINED_PACKETS * JOINED_STRIDE if box.joined else INBOX_BYTES)
    inbox_fit(box, 0)
    return box.arena != NULL


cdef void inbox_close(Inbox *box) noexcept nogil:
    free(box.arena)
    box.arena = NULL


cdef void inbox_fit(Inbox *box, int size) noexcept nogil:
    cdef int i, stride
    box.largest = max(<int> SMALLEST_STRIDE, (size + 63) // 64 * 64)
    stride = JOINED_STRIDE if box.joined else box.largest
    box.slots = JOINED_PACKETS if box.joined else min(<int> INBOX_PACKETS, INBOX_BYTES // stride)
    for i in range(box.slots):
        box.buffers[i].iov_base = box.arena + i * stride
        box.buffers[i].iov_len = stride
        box.headers[i].msg_hdr.msg_iov = &box.buffers[i]
        box.headers[i].msg_hdr.msg_iovlen = 1
        box.headers[i].msg_hdr.msg_control = &box.joints[i]


cdef int receive(Inbox *box, int sock, Counters *counters) noexcept nogil:
    counters.receive_calls += 1
    return receive_stream(box, sock, counters) if box.stream else receive_datagrams(box, sock, counters)


cdef int receive_datagrams(Inbox *box, int sock, Counters *counters) noexcept nogil:
    cdef int got, i
    for i in range(box.slots):
        box.headers[i].msg_hdr.msg_controllen = sizeof(Joint)  # the kernel puts there what it used
    got = recvmmsg(sock, box.headers, box.slots, MSG_DONTWAIT, NULL)
    box.taken = box.offset = 0
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


cdef int inbox_take(Inbox *box, const uint8_t **packet, Counters *counters) noexcept nogil:
    return take_frame(box, packet, counters) if box.stream else take_datagram(box, packet, counters)


cdef int take_datagram(Inbox *box, const uint8_t **packet, Counters *counters) noexcept nogil:
    cdef int size, left, start = 0
    cdef mmsghdr *message
    while box.taken < box.filled:
        message = &box.headers[box.taken]
        left = <int> message.msg_len - box.offset
        size = next_size(box, left)
        counters.gro_receives += box.offset == 0 and size < left
        packet[0] = <uint8_t *> box.buffers[box.taken].iov_base + box.offset
        if size < left:
            box.offset += size
        else:
            box.offset = 0
            box.taken += 1
        counters.transport_packets_in += 1
        counters.transport_bytes_in += size
        if box.relayed:
            start = relay_header(packet[0], size)
        if start < size <= box.largest and not message.msg_hdr.msg_flags & MSG_TRUNC:
            packet[0] += start
            return size - start
        counters.malformed_packets += 1
    return 0


# Octets of a SOCKS proxy's header (RFC 1928 section 7): reserved (2), fragment, kind, address, port (2). `size` if it
# is none, or if the datagram is a fragment.
cdef int relay_header(const uint8_t *packet, int size) noexcept nogil:
    cdef int address = 0
    if size <= BEFORE_ADDRESS or packet[2] != RELAYED_WHOLE:
        return size
    if packet[3] == FROM_IPV4:
        address = 4
    elif packet[3] == FROM_IPV6:
        address = 16
    elif packet[3] == FROM_NAME:
        address = 1 + packet[BEFORE_ADDRESS]
    return BEFORE_ADDRESS + address + AFTER_ADDRESS if address else size


# Octets of the next datagram in the message at hand, of which `left` octets are left. All but its last are of one size.
cdef int next_size(const Inbox *box, int left) noexcept nogil:
    cdef const Joint *joint = &box.joints[box.taken]
    cdef bint joined = box.headers[box.taken].msg_hdr.msg_controllen > 0
    return min(joint.size, left) if joined and joint.size > 0 else left


cdef int take_frame(Inbox *box, const uint8_t **packet, Counters *counters) noexcept nogil:
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
