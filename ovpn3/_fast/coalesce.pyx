"""Coalescing: what a network card and the kernel's GRO do for packets from the wire, done for those from the tunnel.

Packets of a batch that follow each other in a TCP or UDP flow become one super packet, which costs the kernel little
more than one packet. A packet is decrypted to where its payload belongs, right behind the payload so far:

    headers | payload 1 | payload 2 | payload 3
                             headers 3 |               the octets under headers 3 are saved and put back

While the payload so far is shorter than the headers, and when the flow changes, the packet is moved there instead.

Of a few bare acknowledgements of one flow that came together only the last goes on, as cards with LRO do it: had the
data they acknowledge been joined, there would have been one only. The kernel spends most of an upload's time on them.

The kernel trusts the sums of a super packet, so all sums of its parts are checked before: what is wrong goes on alone.
Packets of one flow never overtake each other; those of different flows may.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint16_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from ovpn3._fast.checksum cimport TCP, UDP, add_octets, add_pseudo_header, fold, put_sum, sums_hold
from ovpn3._fast.packet cimport get_u16, get_u32, put_u16
from ovpn3._fast.vnet cimport (
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    TUN_F_TSO4,
    TUN_F_TSO6,
    TUN_F_USO4,
    TUN_F_USO6,
    VNET_BYTES,
)

cdef enum:
    MAX_PACKET = 65535
    MAX_UDP_PACKETS = 64  # of one super packet, as the kernel's own
    MAX_SUPERSEDED = 5  # by one acknowledgement: the sender answers it with a burst, for which others have to wait
    ACK = 0x10
    PSH = 0x08
    DONT_FRAGMENT = 0x4000
    TIMESTAMPS_ONLY = 0x0101080A  # two fillers, kind, size (RFC 7323, appendix A)


def coalesce(packets, uint32_t offloads):
    cdef Joiner joiner
    cdef const uint8_t[::1] packet
    frames: list[bytes] = []
    memset(&joiner, 0, sizeof(joiner))
    batch = list(packets)
    for packet in batch:
        if packet is None or not 1 <= packet.shape[0] <= MAX_PACKET:
            raise ValueError("a packet has 1 to 65535 octets")
    if not join_open(&joiner, collect, <void *> frames):
        raise MemoryError
    try:
        join_allow(&joiner, offloads)
        for packet in batch:
            memcpy(join_place(&joiner, <int> packet.shape[0]), &packet[0], packet.shape[0])
            join_take(&joiner, <int> packet.shape[0])
        join_flush(&joiner)
    finally:
        join_close(&joiner)
    return frames


cdef void collect(void *owner, uint8_t *packet, int size, int packets, const VnetHeader *header) noexcept with gil:
    memcpy(packet - VNET_BYTES, header, VNET_BYTES)
    (<list> owner).append(PyBytes_FromStringAndSize(<char *> packet - VNET_BYTES, VNET_BYTES + size))


cdef bint join_open(Joiner *joiner, Emit emit, void *owner) noexcept nogil:
    cdef int i
    joiner.emit = emit
    joiner.owner = owner
    joiner.arena = <uint8_t *> calloc(FLOWS, FLOW_BYTES)
    for i in range(FLOWS):
        joiner.flows[i].packet = joiner.arena + i * FLOW_BYTES + HEADROOM
    joiner.spare = &joiner.flows[0]
    return joiner.arena != NULL


cdef void join_close(Joiner *joiner) noexcept nogil:
    free(joiner.arena)
    joiner.arena = NULL


cdef void join_allow(Joiner *joiner, uint32_t offloads) noexcept nogil:
    joiner.tcp_v4 = offloads & TUN_F_TSO4 != 0
    joiner.tcp_v6 = offloads & TUN_F_TSO6 != 0
    joiner.udp = offloads & TUN_F_USO4 != 0 and offloads & TUN_F_USO6 != 0


cdef uint8_t *join_place(Joiner *joiner, int size) noexcept nogil:
    cdef Flow *flow = joiner.current
    if flow != NULL and not is_sound(flow):
        pass_on(joiner, flow)
        flow = NULL
    joiner.at_end = (flow != NULL and has_room(flow, size - flow.headers.size)
                     and flow.size >= 2 * flow.headers.size)
    if joiner.at_end:
        joiner.place = flow.packet + flow.size - flow.headers.size
        memcpy(joiner.saved, joiner.place, flow.headers.size)
    else:
        joiner.place = joiner.spare.packet
    return joiner.place


cdef void join_cancel(Joiner *joiner) noexcept nogil:
    if joiner.at_end:
        memcpy(joiner.place, joiner.saved, joiner.current.headers.size)


cdef void join_take(Joiner *joiner, int size) noexcept nogil:
    cdef Headers headers
    cdef Flow *flow
    read_headers(joiner, joiner.place, size, &headers)
    if joiner.at_end:
        flow = joiner.current
        if continues(flow, joiner.place, size, &headers):
            memcpy(joiner.place, joiner.saved, headers.size)
            extend(joiner, flow, size, &headers)
            return
        memcpy(joiner.spare.packet, joiner.place, size)
        join_cancel(joiner)
    flow = same_flow(joiner, joiner.spare.packet, size, &headers)
    if flow != NULL and is_sound(flow):
        if continues(flow, joiner.spare.packet, size, &headers):
            memcpy(flow.packet + flow.size, joiner.spare.packet + headers.size, size - headers.size)
            extend(joiner, flow, size, &headers)
            return
        if supersedes(flow, joiner.spare.packet, size, &headers):
            memcpy(flow.packet, joiner.spare.packet, size)
            flow.superseded += 1
            joiner.superseded += 1
            return
    if flow != NULL:
        pass_on(joiner, flow)
    if not headers.size:
        pass_others(joiner, joiner.spare.packet, size)
    if headers.size and not headers.push:
        begin(joiner, size, &headers)
    else:
        pass_alone(joiner, joiner.spare.packet, size)


cdef void join_flush(Joiner *joiner) noexcept nogil:
    cdef Flow *flow = oldest(joiner)
    while flow != NULL:
        pass_on(joiner, flow)
        flow = oldest(joiner)


# ---- flows ----

# The packet at the spare place becomes the first of a super packet.
cdef void begin(Joiner *joiner, int size, const Headers *headers) noexcept nogil:
    cdef Flow *flow = joiner.spare
    flow.size = size
    flow.packets = 1
    flow.superseded = 0
    flow.sound = False
    flow.headers = headers[0]
    flow.segment = size - headers.size
    flow.sequence = get_u32(flow.packet + headers.l4 + 4) + <uint32_t> flow.segment
    joiner.clock += 1
    flow.age = joiner.clock
    joiner.current = flow
    joiner.spare = free_flow(joiner)


# A place for the next packet, if need be that of the oldest flow.
cdef Flow *free_flow(Joiner *joiner) noexcept nogil:
    cdef Flow *flow
    cdef int i
    for i in range(FLOWS):
        if joiner.flows[i].packets == 0:
            return &joiner.flows[i]
    flow = oldest(joiner)
    pass_on(joiner, flow)
    return flow


# The payload of a packet of `size` octets stands at the end of the flow.
cdef void extend(Joiner *joiner, Flow *flow, int size, const Headers *headers) noexcept nogil:
    cdef int payload = size - headers.size
    flow.size += payload
    flow.packets += 1
    flow.sequence += <uint32_t> payload
    joiner.current = flow
    if headers.push:
        flow.packet[headers.l4 + 13] |= PSH
    if headers.push or payload < flow.segment or (headers.protocol == UDP and flow.packets == MAX_UDP_PACKETS):
        pass_on(joiner, flow)


cdef bint has_room(const Flow *flow, int payload) noexcept nogil:
    return 0 < payload <= flow.segment and flow.size + payload <= MAX_PACKET


cdef bint is_sound(Flow *flow) noexcept nogil:
    if not flow.sound:
        flow.sound = sums_hold(flow.packet, flow.size, flow.headers.l4, flow.headers.protocol)
    return flow.sound


cdef Flow *oldest(Joiner *joiner) noexcept nogil:
    cdef Flow *found = NULL
    cdef int i
    for i in range(FLOWS):
        if joiner.flows[i].packets and (found == NULL or <int> (joiner.flows[i].age - found.age) < 0):
            found = &joiner.flows[i]
    return found


# The flow whose packets this one must not overtake, if it is TCP or UDP.
cdef Flow *same_flow(Joiner *joiner, const uint8_t *packet, int size, const Headers *headers) noexcept nogil:
    cdef Flow *flow
    cdef int i
    if headers.size:
        for i in range(FLOWS):
            flow = &joiner.flows[i]
            if (flow.packets and flow.headers.protocol == headers.protocol and same_hosts(flow.packet, packet)
                    and memcmp(flow.packet + headers.l4, packet + headers.l4, 4) == 0):
                return flow
    return NULL


# Pass on what is between the same hosts as a packet that can't be joined, which may belong to any of their flows.
cdef void pass_others(Joiner *joiner, const uint8_t *packet, int size) noexcept nogil:
    cdef int i
    if size >= (20 if packet[0] >> 4 == 4 else 40):
        for i in range(FLOWS):
            if joiner.flows[i].packets and same_hosts(joiner.flows[i].packet, packet):
                pass_on(joiner, &joiner.flows[i])


cdef bint same_hosts(const uint8_t *one, const uint8_t *other) noexcept nogil:
    if one[0] >> 4 != other[0] >> 4:
        return False
    return memcmp(one + 12, other + 12, 8) == 0 if one[0] >> 4 == 4 else memcmp(one + 8, other + 8, 32) == 0


cdef void pass_alone(Joiner *joiner, uint8_t *packet, int size) noexcept nogil:
    cdef VnetHeader header
    memset(&header, 0, sizeof(header))
    joiner.emit(joiner.owner, packet, size, 1, &header)


cdef void pass_on(Joiner *joiner, Flow *flow) noexcept nogil:
    cdef VnetHeader header
    if flow.packets == 1:
        pass_alone(joiner, flow.packet, flow.size)
    else:
        finish(flow, &header)
        joiner.emit(joiner.owner, flow.packet, flow.size, flow.packets, &header)
    flow.packets = 0
    if joiner.current == flow:
        joiner.current = NULL


# Make one packet of what was joined: lengths, sums, and what the kernel needs to take it apart again.
cdef void finish(Flow *flow, VnetHeader *header) noexcept nogil:
    cdef uint8_t *packet = flow.packet
    cdef uint8_t *l4 = packet + flow.headers.l4
    cdef int l4_bytes = flow.size - flow.headers.l4
    cdef uint16_t pseudo = fold(add_pseudo_header(packet, l4_bytes, flow.headers.protocol, 0))
    header.flags = NEEDS_CSUM
    header.header_bytes = <uint16_t> flow.headers.size
    header.gso_size = <uint16_t> flow.segment
    header.csum_start = <uint16_t> flow.headers.l4
    if packet[0] >> 4 == 4:
        put_u16(packet + 2, <uint32_t> flow.size)
        put_u16(packet + 10, 0)
        put_sum(packet + 10, ~fold(add_octets(packet, 20, 0)))
    else:
        put_u16(packet + 4, <uint32_t> flow.size - 40)
    if flow.headers.protocol == UDP:
        put_u16(l4 + 4, <uint32_t> l4_bytes)
        header.gso_type = GSO_UDP_L4
        header.csum_offset = 6
    else:
        header.gso_type = GSO_TCPV4 if packet[0] >> 4 == 4 else GSO_TCPV6
        header.csum_offset = 16
    put_sum(l4 + header.csum_offset, pseudo)


# ---- packets ----

# Whether a packet could be part of a super packet that the tun takes, and what its headers are.
cdef void read_headers(const Joiner *joiner, const uint8_t *packet, int size, Headers *headers) noexcept nogil:
    cdef int l4
    headers.size = 0
    if size >= 28 and packet[0] == 0x45:
        if get_u16(packet + 2) != <uint32_t> size or get_u16(packet + 6) & ~DONT_FRAGMENT:
            return
        headers.l4 = 20
        headers.protocol = packet[9]
    elif size >= 48 and packet[0] >> 4 == 6:
        if get_u16(packet + 4) + 40 != <uint32_t> size:
            return
        headers.l4 = 40
        headers.protocol = packet[6]
    else:
        return
    l4 = headers.l4
    if headers.protocol == UDP:
        headers.push = False
        if (joiner.udp and size > l4 + 8 and get_u16(packet + l4 + 4) == <uint32_t> (size - l4)
                and get_u16(packet + l4 + 6)):
            headers.size = l4 + 8
    elif headers.protocol == TCP and (joiner.tcp_v4 if l4 == 20 else joiner.tcp_v6) and size >= l4 + 20:
        headers.push = packet[l4 + 13] & PSH != 0
        if (packet[l4 + 13] & ~PSH == ACK and packet[l4 + 12] >> 4 >= 5 and packet[l4 + 12] & 15 == 0
                and size >= l4 + (packet[l4 + 12] >> 4) * 4):
            headers.size = l4 + (packet[l4 + 12] >> 4) * 4


# Whether the packet is the next of the flow, so that cutting the super packet gives it back as it is.
cdef bint continues(const Flow *flow, const uint8_t *packet, int size, const Headers *headers) noexcept nogil:
    cdef const uint8_t *first = flow.packet
    cdef int l4 = headers.l4
    if (not headers.size or headers.size != flow.headers.size or headers.protocol != flow.headers.protocol
            or l4 != flow.headers.l4 or not has_room(flow, size - headers.size) or not same_hosts(first, packet)
            or memcmp(first + l4, packet + l4, 4) != 0 or not same_service(first, packet)):
        return False
    # Nobody reads the identification of what may not be fragmented (RFC 6864).
    if (l4 == 20 and not packet[6] & 0x40
            and get_u16(packet + 4) != (get_u16(first + 4) + <uint32_t> flow.packets & 0xFFFF)):
        return False
    if headers.protocol == TCP:
        # acknowledgement and size of header; window; urgent pointer and options
        if (get_u32(packet + l4 + 4) != flow.sequence or memcmp(first + l4 + 8, packet + l4 + 8, 5) != 0
                or memcmp(first + l4 + 14, packet + l4 + 14, 2) != 0
                or memcmp(first + l4 + 18, packet + l4 + 18, headers.size - l4 - 18) != 0):
            return False
    return sums_hold(packet, size, l4, headers.protocol)


# Whether both are bare acknowledgements, and this later one says all that the other did: it acknowledges more, and
# carries neither a mark nor an option beyond timestamps. A repeated one, a new window alone, SACK and ECN are news.
cdef bint supersedes(const Flow *flow, const uint8_t *packet, int size, const Headers *headers) noexcept nogil:
    cdef const uint8_t *first = flow.packet
    cdef int l4 = headers.l4
    return (flow.superseded < MAX_SUPERSEDED and headers.protocol == TCP and not headers.push
            and size == headers.size == flow.headers.size == flow.size
            and (size == l4 + 20
                 or size == l4 + 32 and get_u32(packet + l4 + 20) == get_u32(first + l4 + 20) == TIMESTAMPS_ONLY)
            and same_service(first, packet)
            and get_u32(packet + l4 + 4) == get_u32(first + l4 + 4)
            and <int> (get_u32(packet + l4 + 8) - get_u32(first + l4 + 8)) > 0
            and sums_hold(packet, size, l4, TCP))


# Whether the network is to treat both alike. Theirs is the same version of IP.
cdef bint same_service(const uint8_t *one, const uint8_t *other) noexcept nogil:
    if one[0] >> 4 == 4:  # type of service; flags; time to live
        return one[1] == other[1] and get_u16(one + 6) == get_u16(other + 6) and one[8] == other[8]
    return memcmp(one, other, 4) == 0 and one[7] == other[7]  # traffic class and flow label; hop limit
