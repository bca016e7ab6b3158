"""Epoch data keys: AEAD keys that follow each other within one key id, without a handshake.

    packet  header (4), epoch (2), counter (6) | ciphertext | tag (16)      authenticated: the first 12 octets
    nonce   implicit IV (12) xor (epoch, counter, 0)
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ovpn3._fast.aead cimport NONCE_BYTES, AeadKey
from ovpn3._fast.replay cimport ReplayWindow

cdef enum:
    EPOCH_SECRET_BYTES = 32
    EPOCH_HEADER_BYTES = 12
    FUTURE_EPOCHS = 16  # so many ahead of the current one are recognised
    EPOCHS_KEPT = FUTURE_EPOCHS + 2  # with the current one and the one before
    LATE_EPOCH = 0xF000  # time for a handshake

cdef enum:  # beyond int, and so apart
    LAST_COUNTER = 0xFFFF_FFFF_FFFF

# One direction in one epoch.
cdef struct EpochKey:
    uint32_t number  # 0: there is no key
    uint8_t secret[EPOCH_SECRET_BYTES]
    uint8_t iv[NONCE_BYTES]
    AeadKey key
    uint64_t counter  # of the last packet sent
    uint64_t units  # of the AES-GCM limit
    ReplayWindow replay

cdef struct Epochs:
    int cipher
    bint fast
    EpochKey send
    EpochKey kept[EPOCHS_KEPT]  # to receive with, place = number modulo EPOCHS_KEPT
    uint32_t current

# From each direction's first secret, or NULL. Belongs to the caller.
cdef Epochs *epochs_new(int cipher, const uint8_t *send_secret, const uint8_t *recv_secret, bint fast) noexcept nogil

# Wipe and free; takes NULL.
cdef void epochs_free(Epochs *epochs) noexcept nogil

# Send in the next epoch from now on. 0, or -1 if this was the last one.
cdef int epochs_advance(Epochs *epochs) noexcept nogil

# The key to receive a packet of that epoch with, or NULL.
cdef EpochKey *epochs_find(Epochs *epochs, uint32_t number) noexcept nogil

# An authentic packet of that epoch came: a later one than before is the current one now, and we send in none before it.
cdef void epochs_reached(Epochs *epochs, uint32_t number) noexcept nogil

cdef void epoch_nonce(uint8_t *nonce, const EpochKey *key, const uint8_t *packet_id) noexcept nogil
