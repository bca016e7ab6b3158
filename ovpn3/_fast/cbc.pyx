"""AES-CBC with an HMAC; tested through the data channel."""

from libc.string cimport memset

from ovpn3._fast.libcrypto cimport (
    CRYPTO_memcmp,
    EVP_CIPHER,
    EVP_MD,
    EVP_CIPHER_CTX_free,
    EVP_CIPHER_CTX_new,
    EVP_CipherFinal_ex,
    EVP_CipherInit_ex,
    EVP_CipherUpdate,
    EVP_MD_size,
    EVP_aes_128_cbc,
    EVP_aes_192_cbc,
    EVP_aes_256_cbc,
    EVP_get_digestbyname,
    HMAC_CTX_free,
    HMAC_CTX_new,
    HMAC_Final,
    HMAC_Init_ex,
    HMAC_Update,
    RAND_bytes,
)

AES_128_CBC = CIPHER_AES_128_CBC
AES_192_CBC = CIPHER_AES_192_CBC
AES_256_CBC = CIPHER_AES_256_CBC


cdef int cbc_key_bytes(int cipher) noexcept nogil:
    if cipher == CIPHER_AES_128_CBC:
        return 16
    if cipher == CIPHER_AES_192_CBC:
        return 24
    if cipher == CIPHER_AES_256_CBC:
        return 32
    return 0


cdef const EVP_CIPHER *evp_cipher(int cipher) noexcept nogil:
    if cipher == CIPHER_AES_128_CBC:
        return EVP_aes_128_cbc()
    if cipher == CIPHER_AES_192_CBC:
        return EVP_aes_192_cbc()
    return EVP_aes_256_cbc()


cdef int digest_size(const char *digest) noexcept nogil:
    cdef const EVP_MD *md = EVP_get_digestbyname(digest)
    return EVP_MD_size(md) if md != NULL and EVP_MD_size(md) <= MAX_DIGEST_BYTES else 0


cdef int cbc_start(CbcKey *key, int cipher, const uint8_t *secret, const char *digest, const uint8_t *mac_secret,
                   bint sealing) noexcept nogil:
    key.cipher = EVP_CIPHER_CTX_new()
    if key.cipher == NULL or EVP_CipherInit_ex(key.cipher, evp_cipher(cipher), NULL, secret, NULL, sealing) != 1:
        return -1
    if digest[0] == 0:
        return 0
    key.digest_bytes = digest_size(digest)
    key.mac = HMAC_CTX_new()
    if key.digest_bytes == 0 or key.mac == NULL:
        return -1
    return 0 if HMAC_Init_ex(key.mac, mac_secret, key.digest_bytes, EVP_get_digestbyname(digest), NULL) == 1 else -1


cdef void cbc_wipe(CbcKey *key) noexcept nogil:
    EVP_CIPHER_CTX_free(key.cipher)  # these cleanse their keys, and take NULL
    HMAC_CTX_free(key.mac)
    memset(key, 0, sizeof(CbcKey))


cdef int cbc_seal(CbcKey *key, uint8_t *dst, const uint8_t *text, int size) noexcept nogil:
    cdef uint8_t *iv = dst + key.digest_bytes
    cdef int written, last
    if (RAND_bytes(iv, BLOCK_BYTES) != 1 or EVP_CipherInit_ex(key.cipher, NULL, NULL, NULL, iv, -1) != 1
            or EVP_CipherUpdate(key.cipher, iv + BLOCK_BYTES, &written, text, size) != 1
            or EVP_CipherFinal_ex(key.cipher, iv + BLOCK_BYTES + written, &last) != 1
            or authenticate(key, dst, iv, BLOCK_BYTES + written + last) < 0):
        return -1
    return key.digest_bytes + BLOCK_BYTES + written + last


cdef int cbc_open(CbcKey *key, uint8_t *text, const uint8_t *src, int size) noexcept nogil:
    cdef const uint8_t *iv = src + key.digest_bytes
    cdef uint8_t digest[MAX_DIGEST_BYTES]
    cdef int written, last
    size -= key.digest_bytes
    if size < 2 * BLOCK_BYTES or size % BLOCK_BYTES:
        return -1
    if authenticate(key, digest, iv, size) < 0 or CRYPTO_memcmp(digest, src, key.digest_bytes) != 0:
        return -1
    # Only now, or wrong padding would tell a forger something.
    if (EVP_CipherInit_ex(key.cipher, NULL, NULL, NULL, iv, -1) != 1
            or EVP_CipherUpdate(key.cipher, text, &written, iv + BLOCK_BYTES, size - BLOCK_BYTES) != 1
            or EVP_CipherFinal_ex(key.cipher, text + written, &last) != 1):
        return -1
    return written + last


cdef int authenticate(CbcKey *key, uint8_t *digest, const uint8_t *src, int size) noexcept nogil:
    cdef unsigned int written
    if key.mac == NULL:
        return 0
    if HMAC_Init_ex(key.mac, NULL, 0, NULL, NULL) != 1 or HMAC_Update(key.mac, src, size) != 1:
        return -1
    return 0 if HMAC_Final(key.mac, digest, &written) == 1 else -1
