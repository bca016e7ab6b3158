"""What a ring with one producer and one consumer needs of C11's memory model, as the compiler's builtins."""

from libc.stdint cimport uint32_t

cdef extern from *:
    """
    static inline unsigned int ovpn3_load(const unsigned int *from) { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }
    static inline void ovpn3_store(unsigned int *to, unsigned int value) { __atomic_store_n(to, value, __ATOMIC_RELEASE); }
    """
    uint32_t load_acquire "ovpn3_load"(const uint32_t *source) nogil
    void store_release "ovpn3_store"(uint32_t *target, uint32_t value) nogil
