"""Segmentation of what a tun hands over in one piece, as a network card would do it.

The header of segment n is written over the end of segment n-1, which is sealed and gone by then:

    headers | payload 1 | payload 2 | payload 3        as read
              headers 1 | payload 2                    segment 2, once segment 1 has been taken
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from ovpn3._fast.checksum cimport TCP, UDP, add_octets, add_pseudo_header, fold, put_sum, word
from ovpn3._fast.mss cimport clamp_mss
from ovpn3._fast.packet cimport get_u16, get_u32, put_u16, put_u32
from ovpn3._fast.vnet cimport (
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    VNET_BYTES,
)

cdef enum:
    MAX_PACKET = 65535
    UDP_CHECKSUM_AT = 6
    TCP_CHECKSUM_AT = 16
    TCP_FLAGS_AT = 13
    FIN_PSH = 0x09
    CWR = 0x80


def segments(const uint8_t[::1] frame not None, int mss_v4=0):
    cdef VnetHeader header
    cdef Cut cut
    cdef uint8_t *packet
    cdef int size, taken
    if not VNET_BYTES < frame.shape[0] <= VNET_BYTES + MAX_PACKET:
        raise ValueError("no packet, or too large")
    if not 0 <= mss_v4 <= MAX_PACKET:
        raise ValueError("MSS out of range")
    size = <int> frame.shape[0] - VNET_BYTES
    cdef uint8_t *copy = <uint8_t *> malloc(size)
    if copy == NULL:
        raise MemoryError
    try:
        memcpy(&header, &frame[0], VNET_BYTES)
        memcpy(copy, &frame[VNET_BYTES], size)
        if cut_open(&cut, &header, copy, size) < 0:
            raise ValueError("header and packet contradict each other")
        found = []
        taken = cut_next(&cut, &packet)
        while taken:
            clamp_mss(packet, taken, mss_v4)
            found.append(PyBytes_FromStringAndSize(<char *> packet, taken))
            taken = cut_next(&cut, &packet)
        return found
    finally:
        free(copy)


cdef int cut_open(Cut *cut, const VnetHeader *header, uint8_t *packet, int size) noexcept nogil:
    cut.packet = packet
    cut.size = size
    cut.header_bytes = 0
    cut.first = True
    if header.gso_type & ~GSO_ECN == GSO_NONE:
        return finish_checksum(packet, size, header) if header.flags & NEEDS_CSUM else 0
    return measure(cut, header)


# Complete the sum of a packet whose check field holds that of the pseudo-header.
cdef int finish_checksum(uint8_t *packet, int size, const VnetHeader *header) noexcept nogil:
    cdef int start = header.csum_start, at = start + header.csum_offset
    cdef uint16_t sum
    if at + 2 > size:
        return -1
    sum = ~fold(add_octets(packet + start, size - start, 0))
    put_sum(packet + at, 0xFFFF if sum == 0 and header.csum_offset == UDP_CHECKSUM_AT else sum)
    return 0


# Where the headers of a super packet end, and what of them is the same in all its segments.
cdef int measure(Cut *cut, const VnetHeader *header) noexcept nogil:
    cdef uint8_t *packet = cut.packet
    cdef int kind = header.gso_type & ~GSO_ECN, version = packet[0] >> 4
    cut.l4 = header.csum_start
    cut.segment = header.gso_size
    cut.protocol = UDP if kind == GSO_UDP_L4 else TCP
    if kind not in (GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4) or version not in (4, 6):
        return -1
    if (kind == GSO_TCPV4 and version != 4) or (kind == GSO_TCPV6 and version != 6):
        return -1
    if cut.l4 < (20 if version == 4 else 40) or (version == 4 and cut.l4 != (packet[0] & 15) * 4):
        return -1
    # Bounds first: everything up to the end of the headers is in the packet and fits our copy.
    if cut.size < cut.l4 + (8 if cut.protocol == UDP else 20):
        return -1
    cut.header_bytes = cut.l4 + (8 if cut.protocol == UDP else (packet[cut.l4 + 12] >> 4) * 4)
    if (cut.header_bytes > MAX_HEADERS or cut.header_bytes >= cut.size or cut.header_bytes < cut.l4 + 8
            or (cut.protocol == TCP and cut.header_bytes < cut.l4 + 20) or cut.segment == 0):
        cut.header_bytes = 0
        return -1
    memcpy(cut.headers, packet, cut.header_bytes)
    cut.sequence = get_u32(cut.headers + cut.l4 + 4)
    cut.identification = get_u16(cut.headers + 4)
    blank_what_changes(cut)
    return 0


cdef void blank_what_changes(Cut *cut) noexcept nogil:
    cdef uint8_t *headers = cut.headers
    put_u16(headers + cut.l4 + (UDP_CHECKSUM_AT if cut.protocol == UDP else TCP_CHECKSUM_AT), 0)
    if headers[0] >> 4 == 4:
        put_u16(headers + 2, 0)
        put_u16(headers + 4, 0)
        put_u16(headers + 10, 0)
        cut.ip_sum = add_octets(headers, cut.l4, 0)
    cut.l4_sum = add_pseudo_header(headers, 0, cut.protocol, 0)


cdef int cut_next(Cut *cut, uint8_t **packet) noexcept nogil:
    cdef int size = cut.size, payload
    packet[0] = cut.packet
    if not cut.header_bytes:
        cut.size = 0
        return size
    payload = min(cut.size - cut.header_bytes, cut.segment)
    if payload <= 0:
        return 0
    size = cut.header_bytes + payload
    write_headers(cut, size, payload == cut.size - cut.header_bytes)
    cut.first = False
    cut.packet += payload
    cut.size -= payload
    cut.sequence += <uint32_t> payload
    cut.identification += 1
    return size


cdef void write_headers(Cut *cut, int size, bint last) noexcept nogil:
    cdef uint8_t *packet = cut.packet
    cdef uint8_t *l4 = packet + cut.l4
    cdef int l4_bytes = size - cut.l4
    cdef uint16_t sum
    memcpy(packet, cut.headers, cut.header_bytes)
    if packet[0] >> 4 == 4:
        put_u16(packet + 2, <uint32_t> size)
        put_u16(packet + 4, cut.identification & 0xFFFF)
        put_sum(packet + 10, ~fold(cut.ip_sum + word(<uint64_t> size) + word(cut.identification & 0xFFFF)))
    else:
        put_u16(packet + 4, <uint32_t> size - 40)
    if cut.protocol == UDP:
        put_u16(l4 + 4, <uint32_t> l4_bytes)
    else:
        put_u32(l4 + 4, cut.sequence)
        if not last:
            l4[TCP_FLAGS_AT] &= <uint8_t> ~FIN_PSH
        if not cut.first:
            l4[TCP_FLAGS_AT] &= <uint8_t> ~CWR
    sum = ~fold(add_octets(l4, l4_bytes, cut.l4_sum + word(<uint64_t> l4_bytes)))
    if cut.protocol == UDP:
        put_sum(l4 + UDP_CHECKSUM_AT, 0xFFFF if sum == 0 else sum)
    else:
        put_sum(l4 + TCP_CHECKSUM_AT, sum)
