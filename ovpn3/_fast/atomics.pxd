"""What a ring with one producer and one consumer needs of C11's memory model, as the compiler's builtins."""

from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #define ovpn3_load(source) __atomic_load_n(source, __ATOMIC_ACQUIRE)
    #define ovpn3_store(target, value) __atomic_store_n(target, value, __ATOMIC_RELEASE)
    """
    uint32_t load_acquire "ovpn3_load"(const uint32_t *source) nogil
    void store_release "ovpn3_store"(uint32_t *target, uint32_t value) nogil
