"""Data channel: keys by id, their limits, and the messages that travel inside data packets.

    DATA_V2: header (8, with packet id) | tag (16) | ciphertext        nonce = packet id | implicit IV
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from ovpn3._fast.aead cimport (
    CIPHER_CHACHA20_POLY1305,
    NONCE_BYTES,
    aead_key_bytes,
    aead_start,
    aead_wipe,
    open_into,
    seal_into,
)
from ovpn3._fast.libcrypto cimport OPENSSL_cleanse
from ovpn3._fast.packet cimport NO_PEER_ID, DataHeader, header_bytes, pack_data_into, put_u32, unpack_data
from ovpn3._fast.replay cimport replay_accept

cdef enum:
    LAST_PACKET_ID = 0xFFFFFFFE
    LATE_PACKET_ID = 0xFF000000
    MAX_UNITS = 0xF_FFFF_FFFF  # AES-GCM packets + 16-byte blocks under one key: 2^36 - 1
    LATE_UNITS = 0xE_0000_0000  # 7/8 of it
    MAX_FORGERIES = 0x10_0000_0000
    LATE_FORGERIES = 0x8_0000_0000
    MAGIC_BYTES = 16
    OCC_EXIT = 6
    MAX_PAYLOAD = 65535

cdef const uint8_t *PING = b"\x2a\x18\x7b\xf3\x64\x1e\xb4\xcb\x07\xed\x2d\x0a\x98\x1f\xc7\x48"
cdef const uint8_t *OCC = b"\x28\x7f\x34\x6b\xd4\xef\x7a\x81\x2d\x56\xb8\xd3\xaf\xc5\x45\x9c"


@cython.final
cdef class DataChannel:
    """The channel one packet at a time, for tests and benchmarks: the pump runs the same functions."""

    cdef Channel channel

    def __dealloc__(self):
        channel_clear(&self.channel)

    def install(self, int key_id, int cipher, const uint8_t[::1] send_key not None, const uint8_t[::1] send_iv not None,
                const uint8_t[::1] recv_key not None, const uint8_t[::1] recv_iv not None, int peer_id=-1, *,
                uint32_t packets_sent=0, uint64_t units_used=0, bint fast=True):
        cdef Slot *slot = slot_new(key_id, cipher, send_key, send_iv, recv_key, recv_iv, peer_id, fast)
        slot.last_sent = packets_sent
        slot.sent_units = slot.received_units = units_used
        channel_install(&self.channel, slot)

    def use(self, int key_id):
        if not 0 <= key_id < KEY_SLOTS or self.channel.slots[key_id] == NULL:
            raise ValueError("no such key")
        channel_use(&self.channel, key_id)

    def retire(self, int key_id):
        if not 0 <= key_id < KEY_SLOTS or self.channel.slots[key_id] == NULL:
            raise ValueError("no such key")
        channel_retire(&self.channel, key_id)

    def seal(self, const uint8_t[::1] payload not None):
        cdef uint8_t buffer[MAX_OVERHEAD + MAX_PAYLOAD]
        if payload.shape[0] > MAX_PAYLOAD:
            raise ValueError("payload too long")
        cdef const uint8_t *start = &payload[0] if payload.shape[0] else buffer
        cdef int size = channel_seal(&self.channel, buffer, start, <int> payload.shape[0])
        if size < 0:
            raise ValueError(reason(size))
        return PyBytes_FromStringAndSize(<char *> buffer, size)

    def open(self, const uint8_t[::1] packet not None, double now):
        cdef uint8_t payload[MAX_PAYLOAD]
        cdef Sealed sealed
        if packet.shape[0] > MAX_OVERHEAD + MAX_PAYLOAD or not 0 <= now < 1e9:
            raise ValueError("packet too long or time out of range")
        cdef int size = MALFORMED, code
        if packet.shape[0]:
            size = channel_find(&self.channel, &packet[0], <int> packet.shape[0], &sealed)
        if size > MAX_PAYLOAD:
            raise ValueError("packet too long or time out of range")
        code = size if size < 0 else channel_open(&self.channel, &sealed, payload, <uint64_t> (now * 1e9))
        if code < 0:
            raise ValueError(reason(code))
        return PyBytes_FromStringAndSize(<char *> payload, size)

    @property
    def expiring(self):
        return [i for i in range(KEY_SLOTS) if self.channel.expiring >> i & 1]


cdef str reason(int code):
    return {MALFORMED: "malformed", NO_KEY: "no key", FORGED: "forged", REPLAYED: "replayed", SPENT: "spent"}[code]


cdef Slot *slot_new(int key_id, int cipher, const uint8_t[::1] send_key, const uint8_t[::1] send_iv,
                    const uint8_t[::1] recv_key, const uint8_t[::1] recv_iv, int peer_id, bint fast) except NULL:
    cdef int key_bytes = aead_key_bytes(cipher)
    if not 0 <= key_id < KEY_SLOTS or not -1 <= peer_id <= NO_PEER_ID:
        raise ValueError("key id or peer id out of range")
    if key_bytes == 0:
        raise ValueError("unknown cipher")
    if send_key.shape[0] != key_bytes or recv_key.shape[0] != key_bytes:
        raise ValueError("wrong key length")
    if send_iv.shape[0] != IMPLICIT_IV_BYTES or recv_iv.shape[0] != IMPLICIT_IV_BYTES:
        raise ValueError("wrong implicit IV length")
    cdef Slot *slot = <Slot *> calloc(1, sizeof(Slot))
    if slot == NULL:
        raise MemoryError
    slot.key_id = key_id
    slot.peer_id = NO_PEER_ID if peer_id == -1 else peer_id
    slot.limited = cipher != CIPHER_CHACHA20_POLY1305
    memcpy(slot.send_iv, &send_iv[0], IMPLICIT_IV_BYTES)
    memcpy(slot.recv_iv, &recv_iv[0], IMPLICIT_IV_BYTES)
    if (aead_start(&slot.send_key, cipher, &send_key[0], True, fast) < 0
            or aead_start(&slot.recv_key, cipher, &recv_key[0], False, fast) < 0):
        slot_free(slot)
        raise ValueError("the key was refused")
    return slot


cdef void slot_free(Slot *slot) noexcept nogil:
    if slot != NULL:
        aead_wipe(&slot.send_key)
        aead_wipe(&slot.recv_key)
        OPENSSL_cleanse(slot, sizeof(Slot))
        free(slot)


cdef void channel_install(Channel *channel, Slot *slot) noexcept nogil:
    channel_retire(channel, slot.key_id)
    channel.slots[slot.key_id] = slot


cdef void channel_use(Channel *channel, int key_id) noexcept nogil:
    channel.active = channel.slots[key_id]


cdef void channel_retire(Channel *channel, int key_id) noexcept nogil:
    cdef Slot *slot = channel.slots[key_id]
    if slot == channel.active:
        channel.active = NULL
    channel.slots[key_id] = NULL
    channel.expiring &= ~(<uint32_t> 1 << key_id)
    channel.heard &= ~(<uint32_t> 1 << key_id)
    slot_free(slot)


cdef void channel_clear(Channel *channel) noexcept nogil:
    cdef int key_id
    for key_id in range(KEY_SLOTS):
        channel_retire(channel, key_id)


cdef int channel_overhead(const Channel *channel) noexcept nogil:
    return header_bytes(channel.active.peer_id) + TAG_BYTES if channel.active != NULL else 0


cdef int channel_seal(Channel *channel, uint8_t *packet, const uint8_t *payload, int size) noexcept nogil:
    cdef Slot *slot = channel.active
    cdef DataHeader header
    cdef uint8_t nonce[NONCE_BYTES]
    cdef uint8_t *tag
    if slot == NULL:
        return NO_KEY
    slot.sent_units += units(slot, size)
    if slot.last_sent >= LATE_PACKET_ID - 1 or slot.sent_units > LATE_UNITS:
        channel.expiring |= <uint32_t> 1 << slot.key_id
    if slot.last_sent >= LAST_PACKET_ID or slot.sent_units > MAX_UNITS:
        return SPENT
    slot.last_sent += 1
    pack_data_into(packet, slot.key_id, slot.peer_id, slot.last_sent, &header)
    fill_nonce(nonce, slot.last_sent, slot.send_iv)
    tag = packet + header.size
    if seal_into(&slot.send_key, tag + TAG_BYTES, tag, payload, size, nonce, packet + header.aad_start,
                 header.size - header.aad_start) < 0:
        return MALFORMED
    return header.size + TAG_BYTES + size


cdef int channel_find(Channel *channel, const uint8_t *packet, int size, Sealed *sealed) noexcept nogil:
    cdef DataHeader *header = &sealed.header
    if unpack_data(packet, size, header) < 0 or size < header.size + TAG_BYTES:
        return MALFORMED
    cdef Slot *slot = channel.slots[header.key_id]
    if slot == NULL:
        return NO_KEY
    if slot.received_units > MAX_UNITS or slot.forgeries >= MAX_FORGERIES:
        return SPENT
    sealed.slot = slot
    sealed.packet = packet
    sealed.size = size - header.size - TAG_BYTES
    return sealed.size


cdef int channel_open(Channel *channel, const Sealed *sealed, uint8_t *payload, uint64_t now_ns) noexcept nogil:
    cdef const DataHeader *header = &sealed.header
    cdef const uint8_t *tag = sealed.packet + header.size
    cdef Slot *slot = sealed.slot
    cdef uint8_t nonce[NONCE_BYTES]
    fill_nonce(nonce, header.packet_id, slot.recv_iv)
    if open_into(&slot.recv_key, payload, tag, tag + TAG_BYTES, sealed.size, nonce, sealed.packet + header.aad_start,
                 header.size - header.aad_start) < 0:
        slot.forgeries += 1
        if slot.forgeries > LATE_FORGERIES:
            channel.expiring |= <uint32_t> 1 << slot.key_id
        return FORGED
    if not replay_accept(&slot.replay, header.packet_id, now_ns):
        return REPLAYED
    slot.received_units += units(slot, sealed.size)
    if slot.received_units > LATE_UNITS or header.packet_id >= LATE_PACKET_ID:
        channel.expiring |= <uint32_t> 1 << slot.key_id
    channel.heard |= <uint32_t> 1 << slot.key_id
    return 0


# What a packet costs of the AES-GCM limit: one, and one for each block begun.
cdef inline uint64_t units(const Slot *slot, int size) noexcept nogil:
    return 1 + (<uint64_t> size + 15) // 16 if slot.limited else 0


cdef inline void fill_nonce(uint8_t *nonce, uint32_t packet_id, const uint8_t *implicit_iv) noexcept nogil:
    put_u32(nonce, packet_id)
    memcpy(nonce + 4, implicit_iv, IMPLICIT_IV_BYTES)


cdef int payload_kind(const uint8_t *payload, int size) noexcept nogil:
    if size >= MAGIC_BYTES and memcmp(payload, PING, MAGIC_BYTES) == 0:
        return PAYLOAD_PING
    if size > MAGIC_BYTES and memcmp(payload, OCC, MAGIC_BYTES) == 0:
        return PAYLOAD_EXIT if payload[MAGIC_BYTES] == OCC_EXIT else PAYLOAD_OCC
    if size >= 20 and (payload[0] >> 4 == 4 or payload[0] >> 4 == 6):
        return PAYLOAD_IP
    return PAYLOAD_UNKNOWN


cdef int ping_into(uint8_t *dst) noexcept nogil:
    memcpy(dst, PING, MAGIC_BYTES)
    return MAGIC_BYTES


cdef int exit_into(uint8_t *dst) noexcept nogil:
    memcpy(dst, OCC, MAGIC_BYTES)
    dst[MAGIC_BYTES] = OCC_EXIT
    return MAGIC_BYTES + 1
