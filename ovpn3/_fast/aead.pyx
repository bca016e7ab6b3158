"""AES-GCM and ChaCha20-Poly1305 with a 12-byte nonce and a 16-byte tag, by ipsec-mb where it works, else by libcrypto.

Both libraries are asked to seal and open the same packets when this module is loaded; ipsec-mb is used only if it
agrees with libcrypto on all of them.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset

from ovpn3._fast.ipsecmb cimport (
    CHACHA_CONTEXT_BYTES,
    GCM_CONTEXT_BYTES,
    GCM_KEY_BYTES,
    KEY_ALIGNMENT,
    Library,
    library_load,
)
from ovpn3._fast.libcrypto cimport (
    CRYPTO_memcmp,
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
    OPENSSL_cleanse,
)

AES_128_GCM = CIPHER_AES_128_GCM
AES_192_GCM = CIPHER_AES_192_GCM
AES_256_GCM = CIPHER_AES_256_GCM
CHACHA20_POLY1305 = CIPHER_CHACHA20_POLY1305

cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)

cdef enum:
    MAX_BYTES = 1 << 30  # libcrypto counts in int
    CHACHA_KEY_BYTES = 32
    TRIAL_BYTES = 1500

cdef Library ipsec_mb  # set up once, before the first key
cdef bint ipsec_mb_usable = False


@cython.final
cdef class Aead:
    cdef AeadKey key
    cdef bint sealing

    def __cinit__(self, int cipher, const uint8_t[::1] key not None, *, bint sealing, bint fast=True):
        if aead_key_bytes(cipher) == 0:
            raise ValueError("unknown cipher")
        if key.shape[0] != aead_key_bytes(cipher):
            raise ValueError("wrong key length")
        self.sealing = sealing
        if aead_start(&self.key, cipher, &key[0], sealing, fast) < 0:
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


cdef int aead_start(AeadKey *key, int cipher, const uint8_t *secret, bint sealing, bint fast) noexcept nogil:
    if fast and ipsec_mb_usable:
        return start_fast(key, cipher, secret, sealing)
    key.context = EVP_CIPHER_CTX_new()
    if key.context == NULL:
        return -1
    return 0 if EVP_CipherInit_ex(key.context, evp_cipher(cipher), NULL, secret, NULL, sealing) == 1 else -1


cdef int start_fast(AeadKey *key, int cipher, const uint8_t *secret, bint sealing) noexcept nogil:
    cdef int size = aead_key_bytes(cipher) // 8 - 2  # 0, 1, 2 for 16, 24, 32 octets
    key.expanded = aligned_alloc(KEY_ALIGNMENT, GCM_KEY_BYTES)
    if key.expanded == NULL:
        return -1
    memset(key.expanded, 0, GCM_KEY_BYTES)
    if cipher == CIPHER_CHACHA20_POLY1305:
        memcpy(key.expanded, secret, CHACHA_KEY_BYTES)
    else:
        ipsec_mb.gcm_expand[size](secret, key.expanded)
        key.gcm = ipsec_mb.gcm_seal[size] if sealing else ipsec_mb.gcm_open[size]
    return 0


cdef void aead_wipe(AeadKey *key) noexcept nogil:
    EVP_CIPHER_CTX_free(key.context)  # cleanses the key schedule; takes NULL
    if key.expanded != NULL:
        OPENSSL_cleanse(key.expanded, GCM_KEY_BYTES)
        free(key.expanded)
    memset(key, 0, sizeof(AeadKey))


cdef int seal_into(AeadKey *key, uint8_t *dst, uint8_t *tag, const uint8_t *src, int size,
                   const uint8_t *nonce, const uint8_t *aad, int aad_size) noexcept nogil:
    cdef uint8_t context[GCM_CONTEXT_BYTES]
    if key.gcm != NULL:
        key.gcm(key.expanded, context, dst, src, <uint64_t> size, nonce, aad, <uint64_t> aad_size, tag, TAG_BYTES)
        return 0
    if key.expanded != NULL:
        chacha(key.expanded, True, dst, tag, src, size, nonce, aad, aad_size)
        return 0
    return evp_seal(key.context, dst, tag, src, size, nonce, aad, aad_size)


cdef int open_into(AeadKey *key, uint8_t *dst, const uint8_t *tag, const uint8_t *src, int size,
                   const uint8_t *nonce, const uint8_t *aad, int aad_size) noexcept nogil:
    cdef uint8_t context[GCM_CONTEXT_BYTES]
    cdef uint8_t right_tag[TAG_BYTES]
    if key.gcm != NULL:
        key.gcm(key.expanded, context, dst, src, <uint64_t> size, nonce, aad, <uint64_t> aad_size, right_tag, TAG_BYTES)
    elif key.expanded != NULL:
        chacha(key.expanded, False, dst, right_tag, src, size, nonce, aad, aad_size)
    else:
        return evp_open(key.context, dst, tag, src, size, nonce, aad, aad_size)
    return 0 if CRYPTO_memcmp(right_tag, tag, TAG_BYTES) == 0 else -1


cdef void chacha(const void *key, bint sealing, uint8_t *dst, uint8_t *tag, const uint8_t *src, int size,
                 const uint8_t *nonce, const uint8_t *aad, int aad_size) noexcept nogil:
    cdef uint8_t context[CHACHA_CONTEXT_BYTES]
    ipsec_mb.chacha_start(key, context, nonce, aad, <uint64_t> aad_size)
    if sealing:
        ipsec_mb.chacha_seal(key, context, dst, src, <uint64_t> size)
    else:
        ipsec_mb.chacha_open(key, context, dst, src, <uint64_t> size)
    ipsec_mb.chacha_end(context, tag, TAG_BYTES)


cdef int evp_seal(EVP_CIPHER_CTX *context, uint8_t *dst, uint8_t *tag, const uint8_t *src, int size,
                  const uint8_t *nonce, const uint8_t *aad, int aad_size) noexcept nogil:
    cdef int written
    if EVP_EncryptInit_ex(context, NULL, NULL, NULL, nonce) != 1:
        return -1
    if aad_size and EVP_EncryptUpdate(context, NULL, &written, aad, aad_size) != 1:
        return -1
    if size and EVP_EncryptUpdate(context, dst, &written, src, size) != 1:
        return -1
    # These modes have no final block, so nothing is written to `tag` before the tag itself.
    if EVP_EncryptFinal_ex(context, tag, &written) != 1:
        return -1
    return 0 if EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) == 1 else -1


cdef int evp_open(EVP_CIPHER_CTX *context, uint8_t *dst, const uint8_t *tag, const uint8_t *src, int size,
                  const uint8_t *nonce, const uint8_t *aad, int aad_size) noexcept nogil:
    cdef int written
    cdef uint8_t unused[TAG_BYTES]
    if EVP_DecryptInit_ex(context, NULL, NULL, NULL, nonce) != 1:
        return -1
    if EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, <void *> tag) != 1:
        return -1
    if aad_size and EVP_DecryptUpdate(context, NULL, &written, aad, aad_size) != 1:
        return -1
    if size and EVP_DecryptUpdate(context, dst, &written, src, size) != 1:
        return -1
    return 0 if EVP_DecryptFinal_ex(context, unused, &written) == 1 else -1


# ---- the choice of the library ----

# Whether both libraries make the same of a packet, sealed and opened, and ipsec-mb sees a forged tag.
cdef bint agree(int cipher, int size, int aad_size) noexcept nogil:
    cdef uint8_t text[TRIAL_BYTES]
    cdef uint8_t one[TRIAL_BYTES + TAG_BYTES]
    cdef uint8_t other[TRIAL_BYTES + TAG_BYTES]
    cdef AeadKey keys[3]
    cdef bint same
    cdef int i
    for i in range(TRIAL_BYTES):
        text[i] = <uint8_t> (i * 7 + cipher + size)
    memset(keys, 0, sizeof(keys))
    same = (aead_start(&keys[0], cipher, text, True, False) == 0 and start_fast(&keys[1], cipher, text, True) == 0
            and start_fast(&keys[2], cipher, text, False) == 0
            and seal_into(&keys[0], one + TAG_BYTES, one, text, size, text + 40, text + 60, aad_size) == 0
            and seal_into(&keys[1], other + TAG_BYTES, other, text, size, text + 40, text + 60, aad_size) == 0
            and memcmp(one, other, TAG_BYTES + size) == 0
            and open_into(&keys[2], other + TAG_BYTES, one, one + TAG_BYTES, size, text + 40, text + 60, aad_size) == 0
            and memcmp(other + TAG_BYTES, text, size) == 0)
    one[0] ^= 1
    same = same and open_into(&keys[2], other + TAG_BYTES, one, one + TAG_BYTES, size, text + 40, text + 60,
                              aad_size) < 0
    for i in range(3):
        aead_wipe(&keys[i])
    return same


cdef str choose_library():
    global ipsec_mb_usable
    cdef const char *objection = library_load(&ipsec_mb)
    cdef int cipher, size
    if objection != NULL:
        return objection.decode()
    for cipher in (CIPHER_AES_128_GCM, CIPHER_AES_192_GCM, CIPHER_AES_256_GCM, CIPHER_CHACHA20_POLY1305):
        for size in (1, 15, 16, 17, 64, 255, 256, 1023, 1400, TRIAL_BYTES):
            if not agree(cipher, size, 4) or not agree(cipher, size, 8):
                return "it does not agree with libcrypto"
    ipsec_mb_usable = True
    return ""


IPSEC_MB_OBJECTION = choose_library()
