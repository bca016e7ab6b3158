"""AES-GCM and ChaCha20-Poly1305 of Intel's multi-buffer library (libIPSec_MB.so.1), where it is installed.

One call seals or opens a packet: several times faster than libcrypto for packets of usual sizes. The library is loaded
at run time, so neither building nor running needs it.
"""

from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    GCM_KEY_BYTES = 2048  # the library's 1008, and room
    GCM_CONTEXT_BYTES = 256  # 88
    CHACHA_CONTEXT_BYTES = 512  # 208
    KEY_ALIGNMENT = 64

ctypedef void (*GcmExpand)(const void *key, void *expanded) noexcept nogil
ctypedef void (*GcmCrypt)(const void *expanded, void *context, uint8_t *dst, const uint8_t *src, uint64_t size,
                          const uint8_t *nonce, const uint8_t *aad, uint64_t aad_size, uint8_t *tag,
                          uint64_t tag_size) noexcept nogil
ctypedef void (*ChachaStart)(const void *key, void *context, const void *nonce, const void *aad,
                             uint64_t aad_size) noexcept nogil
ctypedef void (*ChachaCrypt)(const void *key, void *context, void *dst, const void *src, uint64_t size) noexcept nogil
ctypedef void (*ChachaEnd)(void *context, void *tag, uint64_t tag_size) noexcept nogil

# The functions chosen for this processor; by key size 16, 24, 32.
cdef struct Library:
    GcmExpand gcm_expand[3]
    GcmCrypt gcm_seal[3]
    GcmCrypt gcm_open[3]
    ChachaStart chacha_start
    ChachaCrypt chacha_seal
    ChachaCrypt chacha_open
    ChachaEnd chacha_end

# Fill in the functions; 0, or a word on why not.
cdef const char *library_load(Library *library) noexcept nogil
