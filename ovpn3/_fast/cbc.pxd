"""AES-CBC with an HMAC over IV and ciphertext: what servers use that can do no AEAD.

    HMAC | IV (16) | ciphertext of whole blocks
"""

from libc.stdint cimport uint8_t

from ovpn3._fast.libcrypto cimport EVP_CIPHER_CTX, HMAC_CTX

cdef enum:
    BLOCK_BYTES = 16
    MAX_DIGEST_BYTES = 64
    CBC_OVERHEAD = MAX_DIGEST_BYTES + 2 * BLOCK_BYTES  # of a packet, at most

cdef enum:
    CIPHER_AES_128_CBC = 5
    CIPHER_AES_192_CBC = 6
    CIPHER_AES_256_CBC = 7

# One direction of one key. All zero: none.
cdef struct CbcKey:
    EVP_CIPHER_CTX *cipher
    HMAC_CTX *mac  # NULL: nothing is authenticated (auth none)
    int digest_bytes

# Key length of a cipher in octets, 0 if it is none of these.
cdef int cbc_key_bytes(int cipher) noexcept nogil

# Octets of a digest by OpenSSL's name, 0 if unknown.
cdef int digest_size(const char *digest) noexcept nogil

# Make a key ready; an empty `digest` is none. 0, or -1 if the library refuses; `cbc_wipe` is due either way.
cdef int cbc_start(CbcKey *key, int cipher, const uint8_t *secret, const char *digest, const uint8_t *mac_secret,
                   bint sealing) noexcept nogil

# Cleanse and free. Harmless on a key that is all zero.
cdef void cbc_wipe(CbcKey *key) noexcept nogil

# Encrypt and authenticate `size` octets of text, which don't overlap `dst`. Octets written, or -1.
cdef int cbc_seal(CbcKey *key, uint8_t *dst, const uint8_t *text, int size) noexcept nogil

# Authenticate, then decrypt to `text`, which has room for `size` octets. Octets of text, or -1.
cdef int cbc_open(CbcKey *key, uint8_t *text, const uint8_t *src, int size) noexcept nogil
