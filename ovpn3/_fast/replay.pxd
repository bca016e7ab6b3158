"""Replay window of data packets: the last ids, and nothing from before a silence."""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    MAX_REACH = 65536
    MAX_WORDS = 1024
    DEFAULT_REACH = 2048
    DEFAULT_SILENCE_S = 30

# How far back from the highest an id may be, and how long a silence has to be; many windows may follow one rule.
cdef struct ReplayRule:
    uint32_t reach
    uint32_t words  # of the bitmap that are in use: a power of two
    uint64_t silence_ns

cdef struct ReplayWindow:
    uint64_t highest
    uint64_t floor  # ids up to here are too old whatever the bitmap says
    uint64_t expires_ns
    uint64_t seen[MAX_WORDS]  # ring of bits, place = id modulo their number

# ValueError unless `reach` is from 0, which takes packets in order only, to MAX_REACH, and the silence 0 to 600 s.
cdef int replay_rule(ReplayRule *rule, int reach, double silence_s) except -1

# Accept an authenticated id (true) and remember it, or reject it. A zeroed window is a fresh one.
cdef bint replay_accept(ReplayWindow *window, const ReplayRule *rule, uint64_t packet_id,
                        uint64_t now_ns) noexcept nogil
