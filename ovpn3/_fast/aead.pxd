"""AEAD seal and open with a context keyed once; per packet only the nonce is set."""

from libc.stdint cimport uint8_t

from ovpn3._fast.ipsecmb cimport GcmCrypt
from ovpn3._fast.libcrypto cimport EVP_CIPHER_CTX

cdef enum:
    NONCE_BYTES = 12
    TAG_BYTES = 16

cdef enum:
    CIPHER_AES_128_GCM = 1
    CIPHER_AES_192_GCM = 2
    CIPHER_AES_256_GCM = 3
    CIPHER_CHACHA20_POLY1305 = 4

# One direction of one key. Nothing but the four functions below knows what it is made of.
cdef struct AeadKey:
    EVP_CIPHER_CTX *context  # libcrypto, or NULL
    void *expanded  # ipsec-mb: an AES-GCM key schedule or a ChaCha20 key, or NULL
    GcmCrypt gcm  # seals or opens with the schedule; NULL for ChaCha20

# Key length of a cipher in bytes, 0 if unknown.
cdef int aead_key_bytes(int cipher) noexcept nogil

# Make a key ready; `fast`: by ipsec-mb if it is in use. 0, or -1 if the library refuses; `aead_wipe` is due either way.
cdef int aead_start(AeadKey *key, int cipher, const uint8_t *secret, bint sealing, bint fast) noexcept nogil

# Cleanse and free. Harmless on a key that is all zero.
cdef void aead_wipe(AeadKey *key) noexcept nogil

# Encrypt `size` bytes from src to dst (the same place, or apart), write the tag. 0 or -1.
cdef int seal_into(AeadKey *key, uint8_t *dst, uint8_t *tag, const uint8_t *src, int size,
                   const uint8_t *nonce, const uint8_t *aad, int aad_size) noexcept nogil

# Decrypt and verify. -1 if the tag is wrong: dst then holds rubbish that nobody may look at.
cdef int open_into(AeadKey *key, uint8_t *dst, const uint8_t *tag, const uint8_t *src, int size,
                   const uint8_t *nonce, const uint8_t *aad, int aad_size) noexcept nogil
