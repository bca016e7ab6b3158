"""Replay window: each id is accepted once, within reach of the highest seen."""

cimport cython
from libc.string cimport memset

cdef enum:
    SILENCE_NS = 30_000_000_000


@cython.final
cdef class Replay:
    cdef ReplayWindow window

    def accept(self, uint64_t packet_id, double now):
        if not 0 <= now < 1e9:
            raise ValueError("time out of range")
        return bool(replay_accept(&self.window, packet_id, <uint64_t> (now * 1e9)))


cdef bint replay_accept(ReplayWindow *window, uint64_t packet_id, uint64_t now_ns) noexcept nogil:
    cdef uint64_t one_id
    cdef uint64_t *word = &window.seen[(packet_id // 64) % WINDOW_WORDS]
    cdef uint64_t bit = (<uint64_t> 1) << (packet_id % 64)
    if now_ns >= window.expires_ns:
        window.floor = window.highest
    window.expires_ns = now_ns + SILENCE_NS
    if packet_id == 0:
        return False
    if packet_id > window.highest:
        if packet_id - window.highest >= WINDOW_IDS:
            memset(window.seen, 0, sizeof(window.seen))
        else:
            for one_id in range(window.highest + 1, packet_id):  # skipped for now, may still come
                window.seen[(one_id // 64) % WINDOW_WORDS] &= ~((<uint64_t> 1) << (one_id % 64))
        word[0] |= bit
        window.highest = packet_id
        return True
    if window.highest - packet_id >= WINDOW_IDS or packet_id <= window.floor or word[0] & bit:
        return False
    word[0] |= bit
    return True
