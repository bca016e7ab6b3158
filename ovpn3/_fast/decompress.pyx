"""liblz4 and liblzo2. What their functions need no state for, they need no lock for."""

from ovpn3._fast.linux cimport RTLD_LOCAL, RTLD_NOW, dlopen, dlsym

LZO = METHOD_LZO
LZ4 = METHOD_LZ4

ctypedef int (*Lz4)(const uint8_t *src, uint8_t *dst, int size, int room) noexcept nogil
ctypedef int (*Lzo)(const uint8_t *src, unsigned long size, uint8_t *dst, unsigned long *room,
                    void *unused) noexcept nogil

cdef Lz4 lz4 = NULL  # set once, before the first key that wants them
cdef Lzo lzo = NULL


def load():
    global lz4, lzo
    if lz4 == NULL:
        lz4 = <Lz4> symbol("liblz4.so.1", "LZ4_decompress_safe")
    if lzo == NULL:
        lzo = <Lzo> symbol("liblzo2.so.2", "lzo1x_decompress_safe")
    return [method for method, found in ((LZO, lzo != NULL), (LZ4, lz4 != NULL)) if found]


def decompress(int method, const uint8_t[::1] src not None, uint8_t[::1] dst not None):
    if not max(src.shape[0], dst.shape[0]) <= 65535:
        raise ValueError("too long for a packet")
    cdef uint8_t nothing
    cdef int size = decompress_into(<Method> method, &dst[0] if dst.shape[0] else &nothing, <int> dst.shape[0],
                                    &src[0] if src.shape[0] else &nothing, <int> src.shape[0])
    if size < 0:
        raise ValueError("damaged, too large, or no library")
    return size


cdef void *symbol(const char *library, const char *name) noexcept:
    cdef void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL)
    return dlsym(handle, name) if handle != NULL else NULL


cdef int decompress_into(Method method, uint8_t *dst, int room, const uint8_t *src, int size) noexcept nogil:
    cdef unsigned long written = room
    if method == METHOD_LZ4 and lz4 != NULL:
        return lz4(src, dst, size, room)
    if method == METHOD_LZO and lzo != NULL and lzo(src, size, dst, &written, NULL) == 0:
        return <int> written
    return -1
