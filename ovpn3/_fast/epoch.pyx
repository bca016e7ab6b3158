"""Epoch data keys: AEAD keys that follow each other within one key id; tested through the data channel.

    secret of the next epoch = expand(secret, "datakey upd", 32)
    key = expand(secret, "data_key", its length)                  implicit IV = expand(secret, "data_iv", 12)
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strlen

from ovpn3._fast.aead cimport aead_key_bytes, aead_start, aead_wipe
from ovpn3._fast.libcrypto cimport HMAC, EVP_sha256, OPENSSL_cleanse
from ovpn3._fast.packet cimport put_u16

cdef enum:
    LAST_EPOCH = 0xFFFF
    LAST_RECEIVED = LAST_EPOCH - FUTURE_EPOCHS - 1
    PACKET_ID_BYTES = 8
    MAX_INFO_BYTES = 32
    DIGEST_BYTES = 32
    MAX_KEY_BYTES = 32

cdef const char *NEXT = "datakey upd"
cdef const char *DATA_KEY = "data_key"
cdef const char *DATA_IV = "data_iv"


cdef Epochs *epochs_new(int cipher, const uint8_t *send_secret, const uint8_t *recv_secret, bint fast) noexcept nogil:
    cdef Epochs *epochs = <Epochs *> calloc(1, sizeof(Epochs))
    cdef EpochKey *first
    if epochs == NULL:
        return NULL
    epochs.cipher, epochs.fast, epochs.current = cipher, fast, 1
    first = &epochs.kept[1]
    first.number = epochs.send.number = 1
    memcpy(first.secret, recv_secret, EPOCH_SECRET_BYTES)
    memcpy(epochs.send.secret, send_secret, EPOCH_SECRET_BYTES)
    if make_key(epochs, &epochs.send, True) < 0 or make_key(epochs, first, False) < 0 or not keep_until(epochs, 1):
        epochs_free(epochs)
        return NULL
    return epochs


cdef void epochs_free(Epochs *epochs) noexcept nogil:
    cdef int i
    if epochs == NULL:
        return
    aead_wipe(&epochs.send.key)
    for i in range(EPOCHS_KEPT):
        aead_wipe(&epochs.kept[i].key)
    OPENSSL_cleanse(epochs, sizeof(Epochs))
    free(epochs)


cdef int epochs_advance(Epochs *epochs) noexcept nogil:
    return -1 if epochs.send.number == LAST_EPOCH else succeed(epochs, &epochs.send, &epochs.send, True)


cdef EpochKey *epochs_find(Epochs *epochs, uint32_t number) noexcept nogil:
    cdef EpochKey *found = &epochs.kept[number % EPOCHS_KEPT]
    return found if number and number <= LAST_RECEIVED and found.number == number else NULL


cdef void epochs_reached(Epochs *epochs, uint32_t number) noexcept nogil:
    if number <= epochs.current:
        return
    keep_until(epochs, number)
    epochs.current = number
    while epochs.send.number < number and epochs_advance(epochs) == 0:
        pass


# Have the keys of all epochs that may follow `number`, in the places of those long gone.
cdef bint keep_until(Epochs *epochs, uint32_t number) noexcept nogil:
    cdef uint32_t later
    cdef EpochKey *before
    for later in range(epochs.current + 1, number + FUTURE_EPOCHS + 1):
        before = &epochs.kept[(later - 1) % EPOCHS_KEPT]
        if (epochs.kept[later % EPOCHS_KEPT].number != later
                and succeed(epochs, before, &epochs.kept[later % EPOCHS_KEPT], False) < 0):
            return False
    return True


# Make `next`, which may be the same place, the epoch after `key`'s.
cdef int succeed(Epochs *epochs, const EpochKey *key, EpochKey *next, bint sealing) noexcept nogil:
    cdef uint8_t secret[EPOCH_SECRET_BYTES]
    cdef uint32_t number = key.number + 1
    cdef bint derived = expand(secret, EPOCH_SECRET_BYTES, key.secret, NEXT)
    aead_wipe(&next.key)
    OPENSSL_cleanse(next, sizeof(EpochKey))
    if not derived:
        return -1
    memcpy(next.secret, secret, EPOCH_SECRET_BYTES)
    OPENSSL_cleanse(secret, EPOCH_SECRET_BYTES)
    next.number = number
    return make_key(epochs, next, sealing)


cdef int make_key(const Epochs *epochs, EpochKey *key, bint sealing) noexcept nogil:
    cdef uint8_t secret[MAX_KEY_BYTES]
    cdef int made = -1
    if (expand(secret, aead_key_bytes(epochs.cipher), key.secret, DATA_KEY)
            and expand(key.iv, NONCE_BYTES, key.secret, DATA_IV)):
        made = aead_start(&key.key, epochs.cipher, secret, sealing, epochs.fast)
    OPENSSL_cleanse(secret, MAX_KEY_BYTES)
    if made < 0:
        key.number = 0
    return made


# HKDF-Expand-Label of RFC 8446 section 7.1 with "ovpn " for "tls13 ", no context, and SHA-256: one block is enough.
cdef bint expand(uint8_t *dst, int size, const uint8_t *secret, const char *label) noexcept nogil:
    cdef uint8_t info[MAX_INFO_BYTES]
    cdef uint8_t digest[DIGEST_BYTES]
    cdef int label_bytes = <int> strlen(label)
    put_u16(info, size)
    info[2] = <uint8_t> (5 + label_bytes)
    memcpy(info + 3, b"ovpn ", 5)
    memcpy(info + 8, label, label_bytes)
    info[8 + label_bytes] = 0  # no context
    info[9 + label_bytes] = 1  # the first block
    if HMAC(EVP_sha256(), secret, EPOCH_SECRET_BYTES, info, 10 + label_bytes, digest, NULL) == NULL:
        return False
    memcpy(dst, digest, size)
    OPENSSL_cleanse(digest, DIGEST_BYTES)
    return True


cdef void epoch_nonce(uint8_t *nonce, const EpochKey *key, const uint8_t *packet_id) noexcept nogil:
    cdef uint64_t one, other
    memcpy(&one, key.iv, PACKET_ID_BYTES)
    memcpy(&other, packet_id, PACKET_ID_BYTES)
    one ^= other
    memcpy(nonce, &one, PACKET_ID_BYTES)
    memcpy(nonce + PACKET_ID_BYTES, key.iv + PACKET_ID_BYTES, NONCE_BYTES - PACKET_ID_BYTES)
