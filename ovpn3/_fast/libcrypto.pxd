"""The libcrypto calls this package makes; the only place that declares them."""

cdef extern from "openssl/crypto.h" nogil:
    void OPENSSL_cleanse(void *memory, size_t bytes)
    int CRYPTO_memcmp(const void *one, const void *other, size_t bytes)

cdef extern from "openssl/rand.h" nogil:
    int RAND_bytes(unsigned char *dst, int bytes)

cdef extern from "openssl/evp.h" nogil:
    ctypedef struct EVP_CIPHER:
        pass
    ctypedef struct EVP_CIPHER_CTX:
        pass
    ctypedef struct ENGINE:
        pass
    ctypedef struct EVP_MD:
        pass

    enum:
        EVP_CTRL_AEAD_GET_TAG
        EVP_CTRL_AEAD_SET_TAG

    const EVP_CIPHER *EVP_aes_128_gcm()
    const EVP_CIPHER *EVP_aes_192_gcm()
    const EVP_CIPHER *EVP_aes_256_gcm()
    const EVP_CIPHER *EVP_chacha20_poly1305()
    const EVP_CIPHER *EVP_aes_128_cbc()
    const EVP_CIPHER *EVP_aes_192_cbc()
    const EVP_CIPHER *EVP_aes_256_cbc()
    EVP_CIPHER_CTX *EVP_CIPHER_CTX_new()
    void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *context)
    int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *context, int command, int number, void *data)
    int EVP_CipherInit_ex(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, ENGINE *engine, const unsigned char *key,
                          const unsigned char *iv, int encrypting)
    int EVP_CipherUpdate(EVP_CIPHER_CTX *context, unsigned char *dst, int *dst_bytes, const unsigned char *src,
                         int src_bytes)
    int EVP_CipherFinal_ex(EVP_CIPHER_CTX *context, unsigned char *dst, int *dst_bytes)
    int EVP_EncryptInit_ex(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, ENGINE *engine,
                           const unsigned char *key, const unsigned char *iv)
    int EVP_EncryptUpdate(EVP_CIPHER_CTX *context, unsigned char *dst, int *dst_bytes, const unsigned char *src,
                          int src_bytes)
    int EVP_EncryptFinal_ex(EVP_CIPHER_CTX *context, unsigned char *dst, int *dst_bytes)
    int EVP_DecryptInit_ex(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, ENGINE *engine,
                           const unsigned char *key, const unsigned char *iv)
    int EVP_DecryptUpdate(EVP_CIPHER_CTX *context, unsigned char *dst, int *dst_bytes, const unsigned char *src,
                          int src_bytes)
    int EVP_DecryptFinal_ex(EVP_CIPHER_CTX *context, unsigned char *dst, int *dst_bytes)
    const EVP_MD *EVP_get_digestbyname(const char *name)
    const EVP_MD *EVP_sha256()
    int EVP_MD_size(const EVP_MD *md)

cdef extern from "openssl/hmac.h" nogil:
    ctypedef struct HMAC_CTX:
        pass

    # Deprecated, but its successor can't be started anew with the same key before OpenSSL 3.0.3.
    HMAC_CTX *HMAC_CTX_new()
    void HMAC_CTX_free(HMAC_CTX *context)
    int HMAC_Init_ex(HMAC_CTX *context, const void *key, int key_bytes, const EVP_MD *md, ENGINE *engine)
    int HMAC_Update(HMAC_CTX *context, const unsigned char *src, size_t src_bytes)
    unsigned char *HMAC(const EVP_MD *md, const void *key, int key_bytes, const unsigned char *src, size_t src_bytes,
                        unsigned char *digest, unsigned int *digest_bytes)
    int HMAC_Final(HMAC_CTX *context, unsigned char *digest, unsigned int *digest_bytes)
