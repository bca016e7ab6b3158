"""The data path's work over memory: no tun, no socket, no thread. For benchmarks and tests."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

from ovpn3._fast.aead cimport aead_key_bytes
from ovpn3._fast.channel cimport (
    IMPLICIT_IV_BYTES,
    MAX_OVERHEAD,
    Channel,
    Sealed,
    channel_clear,
    channel_find,
    channel_install,
    channel_open,
    channel_seal,
    channel_use,
    slot_new,
)
from ovpn3._fast.coalesce cimport Joiner, join_allow, join_close, join_flush, join_open, join_place, join_take
from ovpn3._fast.segment cimport Cut, cut_next, cut_open
from ovpn3._fast.vnet cimport VNET_BYTES, VnetHeader

cdef enum:
    MAX_PACKET = 65535
    MAX_PACKETS = 256
    SEALED_BYTES = 262144
    EVERY_OFFLOAD = 0xFF


# The last frame for the far tun, which stays in the joiner's memory until the next one.
cdef struct Out:
    const uint8_t *frame
    int size


@cython.final
cdef class Engine:
    cdef Channel near, far
    cdef Joiner joiner
    cdef uint8_t *frame  # as read from a tun
    cdef uint8_t *sealed  # packets one behind the other
    cdef int sizes[MAX_PACKETS]
    cdef Out out

    def __cinit__(self, int cipher, *, bint fast=True):
        if aead_key_bytes(cipher) == 0:
            raise ValueError("unknown cipher")
        key, iv = bytes(aead_key_bytes(cipher)), bytes(IMPLICIT_IV_BYTES)
        channel_install(&self.near, slot_new(0, cipher, key, iv, key, iv, 0, fast))
        channel_install(&self.far, slot_new(0, cipher, key, iv, key, iv, 0, fast))
        channel_use(&self.near, 0)
        self.frame = <uint8_t *> malloc(VNET_BYTES + MAX_PACKET)
        self.sealed = <uint8_t *> malloc(SEALED_BYTES)
        if self.frame == NULL or self.sealed == NULL or not join_open(&self.joiner, keep, &self.out):
            raise MemoryError
        join_allow(&self.joiner, EVERY_OFFLOAD)

    def __dealloc__(self):
        channel_clear(&self.near)
        channel_clear(&self.far)
        join_close(&self.joiner)
        free(self.frame)
        free(self.sealed)

    def run(self, const uint8_t[::1] frame not None, int rounds):
        cdef int64_t started, sealed, opened, sealing = 0, opening = 0
        cdef int size = <int> min(frame.shape[0], MAX_PACKET + VNET_BYTES + 1), count = 0, _
        if not VNET_BYTES < size <= VNET_BYTES + MAX_PACKET or rounds < 1:
            raise ValueError("no frame, too large a frame, or no rounds")
        with nogil:
            for _ in range(rounds):
                memcpy(self.frame, &frame[0], size)
                started = cpu_ns()
                count = self.seal(size)
                sealed = cpu_ns()
                if count < 0 or not self.open(count):
                    count = -1
                    break
                opened = cpu_ns()
                sealing += sealed - started
                opening += opened - sealed
        if count < 0:
            raise ValueError("not a frame that goes through in one piece")
        return sealing, opening, PyBytes_FromStringAndSize(<const char *> self.out.frame, self.out.size)

    # Cut and seal. How many packets, or -1.
    cdef int seal(self, int size) noexcept nogil:
        cdef VnetHeader header
        cdef Cut cut
        cdef uint8_t *segment
        cdef uint8_t *packet = self.sealed
        cdef int count = 0
        memcpy(&header, self.frame, VNET_BYTES)
        if cut_open(&cut, &header, self.frame + VNET_BYTES, size - VNET_BYTES) < 0:
            return -1
        size = cut_next(&cut, &segment)
        while size:
            if count == MAX_PACKETS or packet + size + MAX_OVERHEAD > self.sealed + SEALED_BYTES:
                return -1
            self.sizes[count] = channel_seal(&self.near, packet, segment, size)
            if self.sizes[count] < 0:
                return -1
            packet += self.sizes[count]
            count += 1
            size = cut_next(&cut, &segment)
        return count

    # Open and join.
    cdef bint open(self, int count) noexcept nogil:
        cdef Sealed sealed
        cdef const uint8_t *packet = self.sealed
        cdef int size, i
        for i in range(count):
            size = channel_find(&self.far, packet, self.sizes[i], &sealed)
            if size < 0:
                return False
            size = channel_open(&self.far, &sealed, join_place(&self.joiner, size), 0)
            if size < 0:
                return False
            join_take(&self.joiner, size)
            packet += self.sizes[i]
        join_flush(&self.joiner)
        return True


# Stands for the tun, and costs next to nothing.
cdef void keep(void *owner, uint8_t *packet, int size, int packets, const VnetHeader *header) noexcept nogil:
    cdef Out *out = <Out *> owner
    memcpy(packet - VNET_BYTES, header, VNET_BYTES)
    out.frame = packet - VNET_BYTES
    out.size = VNET_BYTES + size


cdef int64_t cpu_ns() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return <int64_t> time.tv_sec * 1_000_000_000 + time.tv_nsec
