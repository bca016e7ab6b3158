"""Codec of the first octets of a packet.

    DATA_V2: opcode << 3 | key id, peer id (3 octets), packet id (4)      authenticated: all of it
    DATA_V1: opcode << 3 | key id, packet id (4)                          authenticated: the packet id
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    OPCODE_DATA_V1 = 6
    OPCODE_DATA_V2 = 9
    NO_PEER_ID = 0xFFFFFF
    MAX_HEADER_BYTES = 8

cdef struct DataHeader:
    int key_id
    uint64_t packet_id
    int aad_start
    int size

# Whether this is tunnel data; all else belongs to the control channel.
cdef inline bint is_data(uint8_t first) noexcept nogil:
    return first >> 3 == OPCODE_DATA_V2 or first >> 3 == OPCODE_DATA_V1

cdef inline void put_u32(uint8_t *dst, uint32_t value) noexcept nogil:
    dst[0] = <uint8_t> (value >> 24)
    dst[1] = <uint8_t> (value >> 16)
    dst[2] = <uint8_t> (value >> 8)
    dst[3] = <uint8_t> value

cdef inline uint32_t get_u32(const uint8_t *src) noexcept nogil:
    return <uint32_t> src[0] << 24 | <uint32_t> src[1] << 16 | <uint32_t> src[2] << 8 | src[3]

cdef inline void put_u16(uint8_t *dst, uint32_t value) noexcept nogil:
    dst[0] = <uint8_t> (value >> 8)
    dst[1] = <uint8_t> value

cdef inline uint32_t get_u16(const uint8_t *src) noexcept nogil:
    return <uint32_t> src[0] << 8 | src[1]

# Octets of header with this peer id (NO_PEER_ID: DATA_V1).
cdef inline int header_bytes(uint32_t peer_id) noexcept nogil:
    return 5 if peer_id == NO_PEER_ID else 8

cdef void pack_data_into(uint8_t *dst, int key_id, uint32_t peer_id, uint32_t packet_id,
                         DataHeader *header) noexcept nogil

# 0, or -1 if it isn't a data packet or is too short for its header.
cdef int unpack_data(const uint8_t *packet, int size, DataHeader *header) noexcept nogil
