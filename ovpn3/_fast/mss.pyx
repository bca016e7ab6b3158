"""MSS clamping (RFC 9293 §3.7.1 option, RFC 1624 checksum update)."""

from libc.stdint cimport uint32_t

from ovpn3._fast.packet cimport get_u16, put_u16

cdef enum:
    TCP = 6
    SYN = 2
    OPTION_END = 0
    OPTION_PAD = 1
    OPTION_MSS = 2
    MSS_OPTION_BYTES = 4


def clamp(uint8_t[::1] packet not None, int mss_v4):
    if not 0 <= mss_v4 <= 65535:
        raise ValueError("MSS out of range")
    if packet.shape[0]:
        clamp_mss(&packet[0], <int> min(packet.shape[0], 65535), mss_v4)


cdef bint is_syn(const uint8_t *packet, int size) noexcept nogil:
    cdef int ip_bytes = tcp_start(packet, size)
    return ip_bytes >= 0 and packet[ip_bytes + 13] & SYN != 0


cdef void clamp_mss(uint8_t *packet, int size, int mss_v4) noexcept nogil:
    cdef int ip_bytes = tcp_start(packet, size), tcp_bytes, at
    if mss_v4 == 0 or not is_syn(packet, size):
        return
    cdef uint8_t *tcp = packet + ip_bytes
    cdef int limit = mss_v4 if packet[0] >> 4 == 4 else mss_v4 - 20
    tcp_bytes = (tcp[12] >> 4) * 4
    if tcp_bytes > size - ip_bytes:
        return
    at = 20
    while at < tcp_bytes and tcp[at] != OPTION_END:
        if tcp[at] == OPTION_PAD:
            at += 1
        elif at + 1 >= tcp_bytes or tcp[at + 1] < 2 or at + tcp[at + 1] > tcp_bytes:
            return
        elif tcp[at] == OPTION_MSS and tcp[at + 1] == MSS_OPTION_BYTES:
            if limit > 0 and get_u16(tcp + at + 2) > <uint32_t> limit:
                lower(tcp, at + 2, <uint32_t> limit)
            return
        else:
            at += tcp[at + 1]


# Where the TCP header starts, or -1 if this isn't the first fragment of a TCP packet with a whole basic header.
cdef int tcp_start(const uint8_t *packet, int size) noexcept nogil:
    cdef int start = -1
    if size >= 20 and packet[0] >> 4 == 4 and packet[9] == TCP and get_u16(packet + 6) & 0x1FFF == 0:
        start = (packet[0] & 15) * 4
    elif size >= 40 and packet[0] >> 4 == 6 and packet[6] == TCP:
        start = 40
    return start if start >= 20 and size >= start + 20 else -1


# Set the 16-bit value at `at` of the TCP header and update its checksum: HC' = ~(~HC + ~m + m').
cdef void lower(uint8_t *tcp, int at, uint32_t value) noexcept nogil:
    cdef uint32_t before = get_u16(tcp + at), after = value, total
    if at & 1:  # straddles two words of the sum
        before = (before >> 8 | before << 8) & 0xFFFF
        after = (after >> 8 | after << 8) & 0xFFFF
    total = (~get_u16(tcp + 16) & 0xFFFF) + (~before & 0xFFFF) + after
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    put_u16(tcp + at, value)
    put_u16(tcp + 16, ~total & 0xFFFF)
