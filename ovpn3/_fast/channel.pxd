"""Data channel: up to eight live keys, chosen by key id."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ovpn3._fast.aead cimport TAG_BYTES, AeadKey
from ovpn3._fast.cbc cimport CBC_OVERHEAD, CbcKey
from ovpn3._fast.epoch cimport EpochKey, Epochs
from ovpn3._fast.packet cimport MAX_HEADER_BYTES, DataHeader
from ovpn3._fast.replay cimport ReplayRule, ReplayWindow

cdef enum:
    KEY_SLOTS = 8
    IMPLICIT_IV_BYTES = 8
    MAX_FRAMING_BYTES = 2
    MAX_OVERHEAD = MAX_HEADER_BYTES + CBC_OVERHEAD + MAX_FRAMING_BYTES  # with AEAD it is less

# What stands before a payload to say how it is compressed. None of ours is; those received may be, as in brackets.
cdef enum Framing:
    FRAMING_NONE = 0
    FRAMING_LZO_STUB = 1  # FA, payload (66, LZO)
    FRAMING_STUB = 2  # FB, payload with its first octet at the end (69, LZ4 with its first octet at the end)
    FRAMING_STUB_V2 = 3  # the payload; one that begins with 50 has 50 00 before it (50 01, LZ4)

# Why a packet could not be sealed or opened.
cdef enum:
    MALFORMED = -1
    NO_KEY = -2
    FORGED = -3
    REPLAYED = -4
    SPENT = -5  # a limit of the key is used up
    COMPRESSED = -6  # and that isn't allowed, or it is damaged or too large

# What an opened payload is.
cdef enum:
    PAYLOAD_IP = 1
    PAYLOAD_PING = 2
    PAYLOAD_EXIT = 3
    PAYLOAD_OCC = 4
    PAYLOAD_UNKNOWN = 5

cdef struct Slot:
    AeadKey send_key
    AeadKey recv_key
    uint8_t send_iv[IMPLICIT_IV_BYTES]
    uint8_t recv_iv[IMPLICIT_IV_BYTES]
    int key_id
    uint32_t peer_id
    bint limited  # AES-GCM: packets and blocks are counted
    CbcKey send_cbc  # in place of the AEAD keys
    CbcKey recv_cbc
    Epochs *epochs  # in place of the AEAD keys, or NULL
    Framing framing
    bint uncommon  # CBC or framing
    bint decompress  # what is compressed
    uint64_t late_octets  # of payload, both ways, after which it is time for another key; 0 is never
    uint64_t late_packets
    uint64_t octets
    uint64_t packets_received
    uint64_t last_sent
    uint64_t sent_units
    uint64_t received_units
    uint64_t forgeries
    ReplayRule replay_rule
    ReplayWindow replay

cdef struct Channel:
    Slot *slots[KEY_SLOTS]
    Slot *active  # the one to send with, or NULL
    uint32_t expiring  # bit per key id: time to renegotiate
    uint32_t heard  # bit per key id: an authentic packet came
    int largest  # payload that may come out of a compressed one

# A received packet whose key has been found.
cdef struct Sealed:
    Slot *slot
    EpochKey *epoch  # or NULL
    DataHeader header
    const uint8_t *packet
    int size  # of the payload as it was sealed, at most
    int room  # for the payload

# A slot with its own copy of the keys, `fast`: by ipsec-mb where it works; ValueError if a length or a number is wrong.
# For CBC the IVs are HMAC keys, of the `digest`'s length; with `epochs` the keys are the secrets of the first ones, and
# the IVs are empty. Belongs to the caller.
cdef Slot *slot_new(int key_id, int cipher, const uint8_t[::1] send_key, const uint8_t[::1] send_iv,
                    const uint8_t[::1] recv_key, const uint8_t[::1] recv_iv, int peer_id, bint fast,
                    str digest=*, int framing=*, bint decompress=*, bint epochs=*,
                    int replay_reach=*, double replay_silence_s=*) except NULL

# Wipe and free; takes NULL.
cdef void slot_free(Slot *slot) noexcept nogil

# The channel becomes the owner; an older key of the same id goes.
cdef void channel_install(Channel *channel, Slot *slot) noexcept nogil

cdef void channel_use(Channel *channel, int key_id) noexcept nogil

# Wipe a key. If it was the one in use nothing can be sent until `channel_use`.
cdef void channel_retire(Channel *channel, int key_id) noexcept nogil

cdef void channel_clear(Channel *channel) noexcept nogil

# Octets by which the key in use makes a packet larger than its payload, at most; 0 without a key.
cdef int channel_overhead(const Channel *channel) noexcept nogil

# Seal `size` octets of payload, which don't overlap the packet. Size of the packet, or a code.
cdef int channel_seal(Channel *channel, uint8_t *packet, const uint8_t *payload, int size) noexcept nogil

# Find the key of a packet: the largest size of its payload, or a code. `sealed` is good as long as the packet is.
cdef int channel_find(Channel *channel, const uint8_t *packet, int size, Sealed *sealed) noexcept nogil

# Authenticate and decrypt to `payload`, then check for replay. Size of the payload, or a code.
cdef int channel_open(Channel *channel, const Sealed *sealed, uint8_t *payload, uint64_t now_ns) noexcept nogil

cdef int payload_kind(const uint8_t *payload, int size) noexcept nogil

# Write the in-band message; return its size.
cdef enum:
    IN_BAND_BYTES = 17  # at most
cdef int ping_into(uint8_t *dst) noexcept nogil
cdef int exit_into(uint8_t *dst) noexcept nogil
