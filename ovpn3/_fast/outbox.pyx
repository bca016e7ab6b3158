"""Packets on their way to the transport.

Sealed packets stand back to back, so a stream takes them in one call. Of datagrams, a run of equal ones goes out as
one message: the kernel carries it through its stack in one piece and cuts it last (UDP_SEGMENT, Linux 4.18).
"""

from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, ENOPROTOOPT, errno
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from ovpn3._fast.linux cimport (
    CMSG_LEN,
    IP_MTU,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_MTU,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    UDP_SEGMENT,
    getsockopt,
    send,
    sendmmsg,
    socklen_t,
)

cdef enum:
    MAX_SEGMENTS = 64  # of one message, before Linux 6.9
    MAX_MESSAGE = 65507  # octets of payload that fit an IPv4 packet
    UDP_OVER_IPV4 = 28  # octets of headers
    UDP_OVER_IPV6 = 48


cdef bint outbox_open(Outbox *box, const uint8_t *peer, int peer_bytes) noexcept nogil:
    cdef int i
    memcpy(box.peer, peer, peer_bytes)
    box.arena = <uint8_t *> calloc(1, OUTBOX_BYTES + LARGEST_PACKET)
    for i in range(OUTBOX_PACKETS):
        box.runs[i].segmentation.header.cmsg_len = CMSG_LEN(sizeof(uint16_t))
        box.runs[i].segmentation.header.cmsg_level = IPPROTO_UDP
        box.runs[i].segmentation.header.cmsg_type = UDP_SEGMENT
        box.messages[i].msg_hdr.msg_iov = &box.runs[i].octets
        box.messages[i].msg_hdr.msg_iovlen = 1
        box.messages[i].msg_hdr.msg_name = box.peer if peer_bytes else NULL
        box.messages[i].msg_hdr.msg_namelen = peer_bytes
    return box.arena != NULL


cdef void outbox_close(Outbox *box) noexcept nogil:
    free(box.arena)
    box.arena = NULL


cdef void outbox_segment(Outbox *box, int sock, Counters *counters) noexcept nogil:
    cdef int ignored
    if read_option(sock, IPPROTO_UDP, UDP_SEGMENT, &ignored):  # else the kernel would send a run as it stands
        # Without a connection the path isn't known: the kernel will say.
        allow_segments(box, MAX_MESSAGE if box.messages[0].msg_hdr.msg_name else largest_unfragmented(sock), counters)


cdef void allow_segments(Outbox *box, int largest, Counters *counters) noexcept nogil:
    box.largest_segment = largest
    counters.gso_active = largest > 0


cdef int largest_unfragmented(int sock) noexcept nogil:
    cdef int mtu
    if read_option(sock, IPPROTO_IPV6, IPV6_MTU, &mtu):
        return max(mtu - UDP_OVER_IPV6, 0)
    if read_option(sock, IPPROTO_IP, IP_MTU, &mtu):
        return max(mtu - UDP_OVER_IPV4, 0)
    return 0


cdef bint read_option(int sock, int level, int name, int *value) noexcept nogil:
    cdef socklen_t size = sizeof(int)
    return getsockopt(sock, level, name, value, &size) == 0


cdef uint8_t *outbox_end(Outbox *box) noexcept nogil:
    return box.arena + box.used


cdef bint outbox_has_room(const Outbox *box, int size) noexcept nogil:
    cdef int before = <int> (<uint8_t *> box.packets[box.first].iov_base - box.arena) if box.first < box.last else 0
    return (box.last - box.first < OUTBOX_PACKETS - CONTROL_PACKETS
            and box.used - before + size <= OUTBOX_BYTES - CONTROL_BYTES)


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
        sent = sendmmsg(sock, box.messages, lay_out(box), MSG_DONTWAIT | MSG_NOSIGNAL)
        counters.send_calls += 1
        if sent > 0:
            for i in range(sent):
                note_sent(box, i, counters)
        elif errno == EAGAIN:
            return EAGAIN
        elif is_run(box, 0) and errno in (EIO, EINVAL, EMSGSIZE, ENOPROTOOPT):
            reconsider(box, sock, counters)  # nothing has gone out: the loop sends the same packets
        elif errno != EINTR:
            error = errno
            counters.send_errors += 1
            counters.unsent_packets += 1
            box.first += 1
    box.first = box.last = box.used = 0
    return error


# Make messages of all that waits. How many.
cdef int lay_out(Outbox *box) noexcept nogil:
    cdef int first = box.first, count = 0
    cdef Run *run
    while first < box.last:
        run = &box.runs[count]
        measure_run(box, first, run)
        box.messages[count].msg_hdr.msg_control = &run.segmentation if run.packets > 1 else NULL
        box.messages[count].msg_hdr.msg_controllen = sizeof(Segmentation) if run.packets > 1 else 0
        first += run.packets
        count += 1
    return count


# The packets from `first` on that can be one message: all of one size, only the last may be smaller.
cdef void measure_run(const Outbox *box, int first, Run *run) noexcept nogil:
    cdef size_t segment = box.packets[first].iov_len, total = segment
    cdef int last = first + 1
    if segment <= <size_t> box.largest_segment:
        while (last < box.last and last - first < MAX_SEGMENTS and box.packets[last - 1].iov_len == segment
               and box.packets[last].iov_len <= segment and total + box.packets[last].iov_len <= MAX_MESSAGE):
            total += box.packets[last].iov_len
            last += 1
    run.octets.iov_base = box.packets[first].iov_base
    run.octets.iov_len = total
    run.packets = last - first
    run.segmentation.size = <uint16_t> segment


cdef bint is_run(const Outbox *box, int message) noexcept nogil:
    return box.runs[message].packets > 1


cdef void note_sent(Outbox *box, int message, Counters *counters) noexcept nogil:
    cdef int packets = box.runs[message].packets
    counters.gso_sends += is_run(box, message)
    counters.transport_packets_out += packets
    counters.transport_bytes_out += box.messages[message].msg_len
    box.first += packets


# A run was refused. If the path has changed, go by what it carries now; if not, segmentation itself doesn't work here.
cdef void reconsider(Outbox *box, int sock, Counters *counters) noexcept nogil:
    cdef int largest = largest_unfragmented(sock)
    allow_segments(box, largest if largest != box.largest_segment else 0, counters)


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
