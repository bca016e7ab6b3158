"""Data channel: keys by id, their limits, and the messages that travel inside data packets.

    AEAD    header (8, with packet id) | tag (16) | ciphertext        nonce = packet id | implicit IV
    CBC     header (4) | HMAC | IV (16) | ciphertext                  packet id before the payload
    epoch   header (12, with packet id) | ciphertext | tag (16)       see `epoch`

A payload that the server has compressed is decompressed to where it would have been decrypted to, with room for
no more than one that isn't compressed may have.
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
from ovpn3._fast.cbc cimport BLOCK_BYTES, cbc_key_bytes, cbc_open, cbc_seal, cbc_start, cbc_wipe, digest_size
from ovpn3._fast.decompress cimport METHOD_LZ4, METHOD_LZO, Method, decompress_into
from ovpn3._fast.epoch cimport (
    EPOCH_HEADER_BYTES,
    EPOCH_SECRET_BYTES,
    LAST_COUNTER,
    LATE_EPOCH,
    epoch_nonce,
    epochs_advance,
    epochs_find,
    epochs_free,
    epochs_new,
    epochs_reached,
)
from ovpn3._fast.libcrypto cimport OPENSSL_cleanse
from ovpn3._fast.packet cimport (
    NO_PEER_ID,
    DataHeader,
    get_u16,
    get_u32,
    header_bytes,
    pack_data_into,
    put_u16,
    put_u32,
    unpack_data,
)
from ovpn3._fast.replay cimport DEFAULT_REACH, DEFAULT_SILENCE_S, ReplayRule, ReplayWindow, replay_accept, replay_rule

cdef enum:  # beyond int, and so apart: with GCC 13 a block with one of these is unsigned as a whole
    LAST_PACKET_ID = 0xFFFFFFFE
    LATE_PACKET_ID = 0xFF000000
    MAX_UNITS = 0xF_FFFF_FFFF  # AES-GCM packets + 16-byte blocks under one key: 2^36 - 1
    LATE_UNITS = 0xE_0000_0000  # 7/8 of it
    MAX_FORGERIES = 0x10_0000_0000
    LATE_FORGERIES = 0x8_0000_0000

cdef enum:
    MAGIC_BYTES = 16
    OCC_EXIT = 6
    MAX_PAYLOAD = 65535
    HEADER_BYTES = 4  # of DATA_V2
    ID_BYTES = 4
    TEXT_BYTES = ID_BYTES + MAX_FRAMING_BYTES + MAX_PAYLOAD + BLOCK_BYTES
    LZO_STUB = 0xFA
    LZO_DATA = 0x66
    STUB = 0xFB
    LZ4_DATA = 0x69
    STUB_V2 = 0x50
    STUB_V2_PLAIN = 0
    STUB_V2_LZ4 = 1

NO_FRAMING = FRAMING_NONE
LZO_STUB_FRAMING = FRAMING_LZO_STUB
STUB_FRAMING = FRAMING_STUB
STUB_V2_FRAMING = FRAMING_STUB_V2

cdef const uint8_t *PING = b"\x2a\x18\x7b\xf3\x64\x1e\xb4\xcb\x07\xed\x2d\x0a\x98\x1f\xc7\x48"
cdef const uint8_t *OCC = b"\x28\x7f\x34\x6b\xd4\xef\x7a\x81\x2d\x56\xb8\xd3\xaf\xc5\x45\x9c"


@cython.final
cdef class DataChannel:
    """The channel one packet at a time, for tests and benchmarks: the pump runs the same functions."""

    cdef Channel channel

    def __cinit__(self, *, int largest=MAX_PAYLOAD):
        if not 0 <= largest <= MAX_PAYLOAD:
            raise ValueError("payload too long")
        self.channel.largest = largest

    def __dealloc__(self):
        channel_clear(&self.channel)

    def install(self, int key_id, int cipher, const uint8_t[::1] send_key not None, const uint8_t[::1] send_iv not None,
                const uint8_t[::1] recv_key not None, const uint8_t[::1] recv_iv not None, int peer_id=-1, *,
                str digest="", int framing=FRAMING_NONE, bint decompress=False, uint64_t reneg_bytes=0,
                uint64_t reneg_packets=0, bint epochs=False, int replay_reach=DEFAULT_REACH,
                double replay_silence_s=DEFAULT_SILENCE_S, uint32_t packets_sent=0, uint64_t units_used=0,
                bint fast=True):
        cdef Slot *slot = slot_new(key_id, cipher, send_key, send_iv, recv_key, recv_iv, peer_id, fast, digest, framing,
                                   decompress, epochs, replay_reach, replay_silence_s)
        slot.late_octets = reneg_bytes
        slot.late_packets = reneg_packets
        slot.last_sent = packets_sent
        slot.sent_units = slot.received_units = units_used
        if epochs:
            slot.epochs.send.units = units_used
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
        cdef int size = MALFORMED
        if packet.shape[0]:
            size = channel_find(&self.channel, &packet[0], <int> packet.shape[0], &sealed)
        if size > MAX_PAYLOAD:
            raise ValueError("packet too long or time out of range")
        if size >= 0:
            size = channel_open(&self.channel, &sealed, payload, <uint64_t> (now * 1e9))
        if size < 0:
            raise ValueError(reason(size))
        return PyBytes_FromStringAndSize(<char *> payload, size)

    @property
    def expiring(self):
        return [i for i in range(KEY_SLOTS) if self.channel.expiring >> i & 1]


cdef str reason(int code):
    names = {MALFORMED: "malformed", NO_KEY: "no key", FORGED: "forged", REPLAYED: "replayed", SPENT: "spent",
             COMPRESSED: "compressed"}
    return names[code]


cdef Slot *slot_new(int key_id, int cipher, const uint8_t[::1] send_key, const uint8_t[::1] send_iv,
                    const uint8_t[::1] recv_key, const uint8_t[::1] recv_iv, int peer_id, bint fast,
                    str digest="", int framing=FRAMING_NONE, bint decompress=False, bint epochs=False,
                    int replay_reach=DEFAULT_REACH, double replay_silence_s=DEFAULT_SILENCE_S) except NULL:
    cdef bint cbc = cbc_key_bytes(cipher) > 0
    cdef ReplayRule rule
    cdef int key_bytes = cbc_key_bytes(cipher) if cbc else aead_key_bytes(cipher)
    cdef bytes digest_name = digest.encode()
    cdef int iv_bytes = digest_size(digest_name) if cbc else IMPLICIT_IV_BYTES
    if epochs and (cbc or peer_id == -1):
        raise ValueError("epochs are for AEAD ciphers and DATA_V2")
    if epochs and key_bytes:
        key_bytes, iv_bytes = EPOCH_SECRET_BYTES, 0
    if not 0 <= key_id < KEY_SLOTS or not -1 <= peer_id <= NO_PEER_ID:
        raise ValueError("key id or peer id out of range")
    if key_bytes == 0:
        raise ValueError("unknown cipher")
    if send_key.shape[0] != key_bytes or recv_key.shape[0] != key_bytes:
        raise ValueError("wrong key length")
    if bool(digest) > cbc or (digest and iv_bytes == 0):
        raise ValueError("unknown digest, or none wanted")
    if send_iv.shape[0] != iv_bytes or recv_iv.shape[0] != iv_bytes:
        raise ValueError("wrong length of implicit IV or HMAC key")
    if framing < 0 or framing > <int> FRAMING_STUB_V2:
        raise ValueError("unknown framing")
    replay_rule(&rule, replay_reach, replay_silence_s)
    cdef Slot *slot = <Slot *> calloc(1, sizeof(Slot))
    if slot == NULL:
        raise MemoryError
    slot.key_id = key_id
    slot.peer_id = NO_PEER_ID if peer_id == -1 else peer_id
    slot.framing = <Framing> framing
    slot.replay_rule = rule
    slot.uncommon = cbc or framing != FRAMING_NONE
    slot.decompress = decompress and framing != FRAMING_NONE
    slot.limited = not cbc and cipher != CIPHER_CHACHA20_POLY1305
    cdef int started
    if cbc:
        started = start_cbc(slot, cipher, send_key, send_iv, recv_key, recv_iv, digest_name)
    elif epochs:
        slot.epochs = epochs_new(cipher, &send_key[0], &recv_key[0], fast)
        started = -1 if slot.epochs == NULL else 0
    else:
        started = start_aead(slot, cipher, send_key, send_iv, recv_key, recv_iv, fast)
    if started < 0:
        slot_free(slot)
        raise ValueError("the key was refused")
    return slot


cdef int start_aead(Slot *slot, int cipher, const uint8_t[::1] send_key, const uint8_t[::1] send_iv,
                    const uint8_t[::1] recv_key, const uint8_t[::1] recv_iv, bint fast) noexcept:
    memcpy(slot.send_iv, &send_iv[0], IMPLICIT_IV_BYTES)
    memcpy(slot.recv_iv, &recv_iv[0], IMPLICIT_IV_BYTES)
    if aead_start(&slot.send_key, cipher, &send_key[0], True, fast) < 0:
        return -1
    return aead_start(&slot.recv_key, cipher, &recv_key[0], False, fast)


cdef int start_cbc(Slot *slot, int cipher, const uint8_t[::1] send_key, const uint8_t[::1] send_mac,
                   const uint8_t[::1] recv_key, const uint8_t[::1] recv_mac, const char *digest) noexcept:
    cdef const uint8_t *send_secret = &send_mac[0] if send_mac.shape[0] else NULL
    cdef const uint8_t *recv_secret = &recv_mac[0] if recv_mac.shape[0] else NULL
    if cbc_start(&slot.send_cbc, cipher, &send_key[0], digest, send_secret, True) < 0:
        return -1
    return cbc_start(&slot.recv_cbc, cipher, &recv_key[0], digest, recv_secret, False)


cdef void slot_free(Slot *slot) noexcept nogil:
    if slot != NULL:
        aead_wipe(&slot.send_key)
        aead_wipe(&slot.recv_key)
        cbc_wipe(&slot.send_cbc)
        cbc_wipe(&slot.recv_cbc)
        epochs_free(slot.epochs)
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
    cdef const Slot *slot = channel.active
    if slot == NULL:
        return 0
    if slot.send_cbc.cipher != NULL:
        return header_bytes(slot.peer_id) + slot.send_cbc.digest_bytes + 2 * BLOCK_BYTES + MAX_FRAMING_BYTES
    cdef int header = header_bytes(slot.peer_id) if slot.epochs == NULL else <int> EPOCH_HEADER_BYTES
    return header + TAG_BYTES + (MAX_FRAMING_BYTES if slot.uncommon else 0)


cdef int channel_seal(Channel *channel, uint8_t *packet, const uint8_t *payload, int size) noexcept nogil:
    cdef Slot *slot = channel.active
    cdef DataHeader header
    if slot == NULL:
        return NO_KEY
    slot.octets += size
    slot.last_sent += 1
    if not (begin_packet(slot, packet, &header, size) if slot.epochs == NULL
            else begin_epoch_packet(slot, packet, &header, size)):
        slot.last_sent -= 1
        channel.expiring |= <uint32_t> 1 << slot.key_id
        return SPENT
    if is_late(slot):
        channel.expiring |= <uint32_t> 1 << slot.key_id
    if slot.uncommon:
        return seal_uncommon(slot, packet, &header, payload, size)
    return seal_aead(slot, packet, &header, payload, size)


# Write the header; False if the key is used up.
cdef inline bint begin_packet(Slot *slot, uint8_t *packet, DataHeader *header, int size) noexcept nogil:
    slot.sent_units += units(slot, size)
    if slot.last_sent > LAST_PACKET_ID or slot.sent_units > MAX_UNITS:
        return False
    pack_data_into(packet, slot.key_id, slot.peer_id, <uint32_t> slot.last_sent, header)
    return True


# The same in the present epoch, or the next one.
cdef bint begin_epoch_packet(Slot *slot, uint8_t *packet, DataHeader *header, int size) noexcept nogil:
    cdef EpochKey *key = &slot.epochs.send
    if ((key.counter == LAST_COUNTER or key.units + units(slot, size) > MAX_UNITS)
            and epochs_advance(slot.epochs) < 0):
        return False
    key.units += units(slot, size)
    key.counter += 1
    pack_data_into(packet, slot.key_id, slot.peer_id, 0, header)
    put_u16(packet + HEADER_BYTES, key.number)
    put_u16(packet + HEADER_BYTES + 2, <uint32_t> (key.counter >> 32))
    put_u32(packet + HEADER_BYTES + 4, <uint32_t> key.counter)
    header.size = EPOCH_HEADER_BYTES
    return True


# The tag stands before the text, with epochs behind it.
cdef inline int seal_aead(Slot *slot, uint8_t *packet, const DataHeader *header, const uint8_t *text,
                          int size) noexcept nogil:
    cdef uint8_t nonce[NONCE_BYTES]
    cdef uint8_t *rest = packet + header.size
    cdef AeadKey *key = &slot.send_key
    cdef int tag = 0, start = TAG_BYTES
    if slot.epochs != NULL:
        key, tag, start = &slot.epochs.send.key, size, 0
        epoch_nonce(nonce, &slot.epochs.send, packet + HEADER_BYTES)
    else:
        fill_nonce(nonce, <uint32_t> header.packet_id, slot.send_iv)
    if seal_into(key, rest + start, rest + tag, text, size, nonce, packet + header.aad_start,
                 header.size - header.aad_start) < 0:
        return MALFORMED
    return header.size + TAG_BYTES + size


cdef int channel_find(Channel *channel, const uint8_t *packet, int size, Sealed *sealed) noexcept nogil:
    cdef DataHeader *header = &sealed.header
    cdef int overhead = TAG_BYTES, padding = 0
    if unpack_data(packet, size, header) < 0 or size < header.size + TAG_BYTES:  # others take more
        return MALFORMED
    cdef Slot *slot = channel.slots[header.key_id]
    if slot == NULL:
        return NO_KEY
    sealed.slot, sealed.packet, sealed.epoch = slot, packet, NULL
    cdef uint64_t *used = &slot.received_units
    if slot.epochs != NULL:
        if header.aad_start:
            return MALFORMED
        sealed.epoch = epochs_find(slot.epochs, get_u16(packet + HEADER_BYTES))
        if sealed.epoch == NULL:
            return NO_KEY
        used = &sealed.epoch.units
        header.packet_id = <uint64_t> get_u16(packet + HEADER_BYTES + 2) << 32 | get_u32(packet + HEADER_BYTES + 4)
        header.size = EPOCH_HEADER_BYTES
    elif slot.recv_cbc.cipher != NULL:
        header.size -= ID_BYTES
        overhead, padding = slot.recv_cbc.digest_bytes + 2 * BLOCK_BYTES, BLOCK_BYTES
    if size < header.size + overhead or size > MAX_OVERHEAD + MAX_PAYLOAD:
        return MALFORMED
    if used[0] > MAX_UNITS or slot.forgeries >= MAX_FORGERIES:
        return SPENT
    sealed.size = sealed.room = size - header.size - overhead + padding
    if slot.decompress:
        sealed.room = max(sealed.room, channel.largest)
    return sealed.room


cdef int channel_open(Channel *channel, const Sealed *sealed, uint8_t *payload, uint64_t now_ns) noexcept nogil:
    cdef Slot *slot = sealed.slot
    cdef uint64_t packet_id = sealed.header.packet_id
    cdef ReplayWindow *replay = &slot.replay
    cdef uint64_t *used = &slot.received_units
    cdef int size = open_uncommon(sealed, payload, &packet_id) if slot.uncommon else open_aead(sealed, payload)
    if size == FORGED:
        slot.forgeries += 1
        if slot.forgeries > LATE_FORGERIES:
            channel.expiring |= <uint32_t> 1 << slot.key_id
    if size < 0:
        return size
    if sealed.epoch != NULL:
        epochs_reached(slot.epochs, sealed.epoch.number)
        replay, used = &sealed.epoch.replay, &sealed.epoch.units
    if not replay_accept(replay, &slot.replay_rule, packet_id, now_ns):
        return REPLAYED
    used[0] += units(slot, sealed.size)
    slot.octets += size
    slot.packets_received += 1
    if is_late(slot) or (slot.epochs == NULL and (used[0] > LATE_UNITS or packet_id >= LATE_PACKET_ID)):
        channel.expiring |= <uint32_t> 1 << slot.key_id
    channel.heard |= <uint32_t> 1 << slot.key_id
    return size


cdef inline int open_aead(const Sealed *sealed, uint8_t *dst) noexcept nogil:
    cdef const DataHeader *header = &sealed.header
    cdef const uint8_t *rest = sealed.packet + header.size
    cdef uint8_t nonce[NONCE_BYTES]
    cdef AeadKey *key = &sealed.slot.recv_key
    cdef int tag = 0, start = TAG_BYTES
    if sealed.epoch != NULL:
        key, tag, start = &sealed.epoch.key, sealed.size, 0
        epoch_nonce(nonce, sealed.epoch, sealed.packet + HEADER_BYTES)
    else:
        fill_nonce(nonce, <uint32_t> header.packet_id, sealed.slot.recv_iv)
    if open_into(key, dst, rest + tag, rest + start, sealed.size, nonce, sealed.packet + header.aad_start,
                 header.size - header.aad_start) < 0:
        return FORGED
    return sealed.size


# Whether it is time for another key: for a limit of its own, or for what reneg-bytes and reneg-pkts let it do.
cdef inline bint is_late(const Slot *slot) noexcept nogil:
    cdef bint used = (slot.epochs.send.number >= LATE_EPOCH if slot.epochs != NULL
                      else slot.last_sent >= LATE_PACKET_ID or slot.sent_units > LATE_UNITS)
    return (used or (slot.late_octets and slot.octets > slot.late_octets)
            or (slot.late_packets and slot.last_sent + slot.packets_received >= slot.late_packets))


# ---- CBC and framing: what old servers want. It takes a copy, and nobody chooses it for its speed. ----

cdef int seal_uncommon(Slot *slot, uint8_t *packet, const DataHeader *header, const uint8_t *payload,
                       int size) noexcept nogil:
    cdef uint8_t text[TEXT_BYTES]
    size = frame_into(slot.framing, text + ID_BYTES, payload, size)
    if slot.send_cbc.cipher == NULL:
        return seal_aead(slot, packet, header, text + ID_BYTES, size)
    put_u32(text, <uint32_t> header.packet_id)
    size = cbc_seal(&slot.send_cbc, packet + header.size - ID_BYTES, text, ID_BYTES + size)
    return MALFORMED if size < 0 else header.size - ID_BYTES + size


# Size of the payload, or a code.
cdef int open_uncommon(const Sealed *sealed, uint8_t *payload, uint64_t *packet_id) noexcept nogil:
    cdef Slot *slot = sealed.slot
    cdef uint8_t text[TEXT_BYTES + CBC_OVERHEAD]
    cdef int size
    if slot.recv_cbc.cipher == NULL:
        size = open_aead(sealed, text)
        return size if size < 0 else unframe_into(slot, payload, sealed.room, text, size)
    size = cbc_open(&slot.recv_cbc, text, sealed.packet + sealed.header.size,
                    slot.recv_cbc.digest_bytes + BLOCK_BYTES + sealed.size)
    if size < 0:
        return FORGED
    if size < ID_BYTES:
        return MALFORMED
    packet_id[0] = get_u32(text)
    return unframe_into(slot, payload, sealed.room, text + ID_BYTES, size - ID_BYTES)


# Size of the framed payload.
cdef int frame_into(Framing framing, uint8_t *dst, const uint8_t *payload, int size) noexcept nogil:
    cdef int start = 0
    if framing == FRAMING_LZO_STUB:
        dst[0] = LZO_STUB
        start = 1
    elif framing == FRAMING_STUB and size:
        dst[0] = STUB
        memcpy(dst + 1, payload + 1, size - 1)
        dst[size] = payload[0]
        return size + 1
    elif framing == FRAMING_STUB_V2 and size and payload[0] == STUB_V2:
        dst[0] = STUB_V2
        dst[1] = 0
        start = 2
    memcpy(dst + start, payload, size)
    return start + size


# Size of the payload, or a code. What is in `src` is no longer good then.
cdef int unframe_into(const Slot *slot, uint8_t *payload, int room, uint8_t *src, int size) noexcept nogil:
    cdef int start = 0
    if slot.framing == FRAMING_STUB and size >= 2 and src[0] == STUB:
        payload[0] = src[size - 1]
        memcpy(payload + 1, src + 1, size - 2)
        return size - 1
    if slot.framing == FRAMING_STUB and size >= 2 and src[0] == LZ4_DATA:
        src[0] = src[size - 1]
        return expand(slot, METHOD_LZ4, payload, room, src, size - 1)
    if slot.framing == FRAMING_LZO_STUB and size and src[0] == LZO_DATA:
        return expand(slot, METHOD_LZO, payload, room, src + 1, size - 1)
    if slot.framing == FRAMING_LZO_STUB or slot.framing == FRAMING_STUB:
        if size < 1 or src[0] != LZO_STUB:
            return MALFORMED
        start = 1
    elif slot.framing == FRAMING_STUB_V2 and size and src[0] == STUB_V2:
        start = 2
        if size >= start and src[1] == STUB_V2_LZ4:
            return expand(slot, METHOD_LZ4, payload, room, src + start, size - start)
        if size < start or src[1] != STUB_V2_PLAIN:
            return MALFORMED
    memcpy(payload, src + start, size - start)
    return size - start


cdef int expand(const Slot *slot, Method method, uint8_t *payload, int room, const uint8_t *src,
                int size) noexcept nogil:
    cdef int written = decompress_into(method, payload, room, src, size) if slot.decompress else -1
    return written if written >= 0 else COMPRESSED


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
