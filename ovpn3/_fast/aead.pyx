"""AEAD over the system's libcrypto: AES-GCM and ChaCha20-Poly1305 with a 12-byte nonce and a 16-byte tag."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from ovpn3._fast.libcrypto cimport (
    EVP_CIPHER,
    EVP_CIPHER_CTX_ctrl,
    EVP_CIPHER_CTX_free,
    EVP_CIPHER_CTX_new,
    EVP_CipherInit_ex,
    EVP_CTRL_AEAD_GET_TAG,
    EVP_CTRL_AEAD_SET_TAG,
    EVP_DecryptFinal_ex,
    EVP_DecryptInit_ex,
    EVP_DecryptUpdate,
    EVP_EncryptFinal_ex,
    EVP_EncryptInit_ex,
    EVP_EncryptUpdate,
    EVP_aes_128_gcm,
    EVP_aes_192_gcm,
    EVP_aes_256_gcm,
    EVP_chacha20_poly1305,
)

AES_128_GCM = CIPHER_AES_128_GCM
AES_192_GCM = CIPHER_AES_192_GCM
AES_256_GCM = CIPHER_AES_256_GCM
CHACHA20_POLY1305 = CIPHER_CHACHA20_POLY1305

cdef enum:
    MAX_BYTES = 1 << 30  # libcrypto counts in int


@cython.final
cdef class Aead:
    cdef AeadKey key
    cdef bint sealing

    def __cinit__(self, int cipher, const uint8_t[::1] key not None, *, bint sealing):
        if aead_key_bytes(cipher) == 0:
            raise ValueError("unknown cipher")
        if key.shape[0] != aead_key_bytes(cipher):
            raise ValueError("wrong key length")
        self.sealing = sealing
        if aead_start(&self.key, cipher, &key[0], sealing) < 0:
            raise ValueError("libcrypto refused the key")

    def __dealloc__(self):
        aead_wipe(&self.key)

    def seal(self, const uint8_t[::1] nonce not None, const uint8_t[::1] aad not None,
             const uint8_t[::1] plaintext not None):
        cdef int size = self.checked(nonce, aad, plaintext, 0, True)
        result = PyBytes_FromStringAndSize(NULL, TAG_BYTES + size)
        cdef uint8_t *tag = <uint8_t *> PyBytes_AS_STRING(result)
        if seal_into(&self.key, tag + TAG_BYTES, tag, start(plaintext), size, start(nonce), start(aad),
                     <int> aad.shape[0]) < 0:
            raise ValueError("libcrypto could not seal")
        return result

    def open(self, const uint8_t[::1] nonce not None, const uint8_t[::1] aad not None,
             const uint8_t[::1] sealed not None):
        cdef int size = self.checked(nonce, aad, sealed, TAG_BYTES, False) - TAG_BYTES
        result = PyBytes_FromStringAndSize(NULL, size)
        if open_into(&self.key, <uint8_t *> PyBytes_AS_STRING(result), start(sealed), start(sealed) + TAG_BYTES, size,
                     start(nonce), start(aad), <int> aad.shape[0]) < 0:
            raise ValueError("authentication failed")
        return result

    cdef int checked(self, const uint8_t[::1] nonce, const uint8_t[::1] aad, const uint8_t[::1] text, int least,
                     bint sealing) except -1:
        if self.sealing != sealing:
            raise ValueError("key is for the other direction")
        if nonce.shape[0] != NONCE_BYTES:
            raise ValueError("nonce must have 12 bytes")
        if not least <= text.shape[0] <= MAX_BYTES or aad.shape[0] > MAX_BYTES:
            raise ValueError("too short or too long")
        return <int> text.shape[0]


cdef const uint8_t *start(const uint8_t[::1] view) noexcept:
    return &view[0] if view.shape[0] else NULL


cdef int aead_key_bytes(int cipher) noexcept nogil:
    if cipher == CIPHER_AES_128_GCM:
        return 16
    if cipher == CIPHER_AES_192_GCM:
        return 24
    if cipher == CIPHER_AES_256_GCM or cipher == CIPHER_CHACHA20_POLY1305:
        return 32
    return 0


cdef const EVP_CIPHER *evp_cipher(int cipher) noexcept nogil:
    if cipher == CIPHER_AES_128_GCM:
        return EVP_aes_128_gcm()
    if cipher == CIPHER_AES_192_GCM:
        return EVP_aes_192_gcm()
    if cipher == CIPHER_AES_256_GCM:
        return EVP_aes_256_gcm()
    return EVP_chacha20_poly1305()


cdef int aead_start(AeadKey *key, int cipher, const uint8_t *secret, bint sealing) noexcept nogil:
    key.context = EVP_CIPHER_CTX_new()
    if key.context == NULL:
        return -1
    return 0 if EVP_CipherInit_ex(key.context, evp_cipher(cipher), NULL, secret, NULL, sealing) == 1 else -1


cdef void aead_wipe(AeadKey *key) noexcept nogil:
    EVP_CIPHER_CTX_free(key.context)  # cleanses the key schedule; takes NULL
    key.context = NULL


cdef int seal_into(AeadKey *key, uint8_t *dst, uint8_t *tag, const uint8_t *src, int size,
                   const uint8_t *nonce, const uint8_t *aad, int aad_size) noexcept nogil:
    cdef int written
    if EVP_EncryptInit_ex(key.context, NULL, NULL, NULL, nonce) != 1:
        return -1
    if aad_size and EVP_EncryptUpdate(key.context, NULL, &written, aad, aad_size) != 1:
        return -1
    if size and EVP_EncryptUpdate(key.context, dst, &written, src, size) != 1:
        return -1
    # These modes have no final block, so nothing is written to `tag` before the tag itself.
    if EVP_EncryptFinal_ex(key.context, tag, &written) != 1:
        return -1
    return 0 if EVP_CIPHER_CTX_ctrl(key.context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) == 1 else -1


cdef int open_into(AeadKey *key, uint8_t *dst, const uint8_t *tag, const uint8_t *src, int size,
                   const uint8_t *nonce, const uint8_t *aad, int aad_size) noexcept nogil:
    cdef int written
    cdef uint8_t unused[TAG_BYTES]
    if EVP_DecryptInit_ex(key.context, NULL, NULL, NULL, nonce) != 1:
        return -1
    if EVP_CIPHER_CTX_ctrl(key.context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, <void *> tag) != 1:
        return -1
    if aad_size and EVP_DecryptUpdate(key.context, NULL, &written, aad, aad_size) != 1:
        return -1
    if size and EVP_DecryptUpdate(key.context, dst, &written, src, size) != 1:
        return -1
    return 0 if EVP_DecryptFinal_ex(key.context, unused, &written) == 1 else -1
