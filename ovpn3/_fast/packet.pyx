"""Codec of data packet headers."""


def pack_data_header(int key_id, uint32_t peer_id, uint32_t packet_id):
    cdef uint8_t dst[MAX_HEADER_BYTES]
    cdef DataHeader header
    if not 0 <= key_id <= 7 or peer_id > NO_PEER_ID:
        raise ValueError("key id or peer id out of range")
    pack_data_into(dst, key_id, peer_id, packet_id, &header)
    return (<char *> dst)[:header.size]


def unpack_data_header(const uint8_t[::1] packet not None):
    cdef DataHeader header
    if packet.shape[0] == 0 or unpack_data(&packet[0], <int> min(packet.shape[0], 65536), &header) < 0:
        raise ValueError("not a data packet")
    return header.key_id, header.packet_id, header.aad_start, header.size


cdef void pack_data_into(uint8_t *dst, int key_id, uint32_t peer_id, uint32_t packet_id,
                         DataHeader *header) noexcept nogil:
    header.key_id = key_id
    header.packet_id = packet_id
    header.size = header_bytes(peer_id)
    if peer_id == NO_PEER_ID:
        dst[0] = <uint8_t> (OPCODE_DATA_V1 << 3 | key_id)
        header.aad_start = 1
    else:
        put_u32(dst, <uint32_t> (OPCODE_DATA_V2 << 3 | key_id) << 24 | peer_id)
        header.aad_start = 0
    put_u32(dst + header.size - 4, packet_id)


cdef int unpack_data(const uint8_t *packet, int size, DataHeader *header) noexcept nogil:
    if size < 1 or not is_data(packet[0]):
        return -1
    header.aad_start = packet[0] >> 3 == OPCODE_DATA_V1
    header.size = 5 if header.aad_start else 8
    if size < header.size:
        return -1
    header.key_id = packet[0] & 7
    header.packet_id = get_u32(packet + header.size - 4)
    return 0
