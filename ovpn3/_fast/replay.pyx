"""Replay window: each id is accepted once, within reach of the highest seen."""

cimport cython
from libc.string cimport memset


@cython.final
cdef class Replay:
    cdef ReplayRule rule
    cdef ReplayWindow window

    def __cinit__(self, int reach=DEFAULT_REACH, double silence_s=DEFAULT_SILENCE_S):
        replay_rule(&self.rule, reach, silence_s)

    def accept(self, uint64_t packet_id, double now):
        if not 0 <= now < 1e9:
            raise ValueError("time out of range")
        return bool(replay_accept(&self.window, &self.rule, packet_id, <uint64_t> (now * 1e9)))


cdef int replay_rule(ReplayRule *rule, int reach, double silence_s) except -1:
    if not 0 <= reach <= MAX_REACH or not 0 <= silence_s <= 600:
        raise ValueError("replay window out of range")
    rule.reach, rule.words, rule.silence_ns = reach, 1, <uint64_t> (silence_s * 1e9)
    while rule.words * 64 < rule.reach:
        rule.words *= 2
    return 0


cdef bint replay_accept(ReplayWindow *window, const ReplayRule *rule, uint64_t packet_id,
                        uint64_t now_ns) noexcept nogil:
    cdef uint64_t one_id
    cdef uint64_t mask = rule.words - 1
    cdef uint64_t *word = &window.seen[packet_id // 64 & mask]
    cdef uint64_t bit = (<uint64_t> 1) << (packet_id % 64)
    if now_ns >= window.expires_ns:
        window.floor = window.highest
    window.expires_ns = now_ns + rule.silence_ns
    if packet_id == 0:
        return False
    if packet_id > window.highest:
        if packet_id - window.highest >= 64 * rule.words:
            memset(window.seen, 0, sizeof(uint64_t) * rule.words)
        else:
            for one_id in range(window.highest + 1, packet_id):  # skipped for now, may still come
                window.seen[one_id // 64 & mask] &= ~((<uint64_t> 1) << (one_id % 64))
        word[0] |= bit
        window.highest = packet_id
        return True
    if window.highest - packet_id >= rule.reach or packet_id <= window.floor or word[0] & bit:
        return False
    word[0] |= bit
    return True
