"""Intel's multi-buffer library, found at run time."""

from libc.stdint cimport uint32_t

from ovpn3._fast.linux cimport RTLD_LOCAL, RTLD_NOW, dlopen, dlsym

cdef enum:
    VERSION_1_2 = 0x010200  # the layout below is that of these and all later 1.x, which append to it only
    VERSION_2 = 0x020000
    ARCH_SSE = 2  # slower ones emulate AES with tables, which leak keys through the cache

# The beginning of the library's IMB_MGR.
cdef struct Manager:
    uint64_t flags
    uint64_t features
    uint64_t reserved[5]
    uint32_t architecture
    int error
    void *before_gcm[24]
    GcmCrypt gcm_seal[3]
    GcmCrypt gcm_open[3]
    void *gcm_in_parts[15]
    GcmExpand gcm_precompute[3]
    GcmExpand gcm_expand[3]
    void *before_chacha[56]
    ChachaStart chacha_start
    ChachaCrypt chacha_seal
    ChachaCrypt chacha_open
    ChachaEnd chacha_end

ctypedef uint32_t (*GetVersion)() noexcept nogil
ctypedef Manager *(*NewManager)(uint64_t flags) noexcept nogil
ctypedef void (*StartManager)(Manager *manager, int *architecture) noexcept nogil
ctypedef void (*FreeManager)(Manager *manager) noexcept nogil


cdef const char *library_load(Library *library) noexcept nogil:
    cdef void *handle = dlopen("libIPSec_MB.so.1", RTLD_NOW | RTLD_LOCAL)
    if handle == NULL:
        return "not installed"
    cdef GetVersion version = <GetVersion> dlsym(handle, "imb_get_version")
    cdef NewManager new = <NewManager> dlsym(handle, "alloc_mb_mgr")
    cdef StartManager start = <StartManager> dlsym(handle, "init_mb_mgr_auto")
    cdef FreeManager end = <FreeManager> dlsym(handle, "free_mb_mgr")
    if version == NULL or new == NULL or start == NULL or end == NULL or not VERSION_1_2 <= version() < VERSION_2:
        return "not version 1.2 to 1.x"
    cdef Manager *manager = new(0)
    if manager == NULL:
        return "out of memory"
    start(manager, NULL)
    cdef bint usable = manager.error == 0 and manager.architecture >= ARCH_SSE
    if usable:
        take_functions(library, manager)
    end(manager)  # the functions don't need it
    if not usable:
        return "the processor has no AES instructions"
    return NULL


cdef void take_functions(Library *library, const Manager *manager) noexcept nogil:
    cdef int i
    for i in range(3):
        library.gcm_expand[i] = manager.gcm_expand[i]
        library.gcm_seal[i] = manager.gcm_seal[i]
        library.gcm_open[i] = manager.gcm_open[i]
    library.chacha_start = manager.chacha_start
    library.chacha_seal = manager.chacha_seal
    library.chacha_open = manager.chacha_open
    library.chacha_end = manager.chacha_end
