"""Replay window of data packets: the last 2048 ids, and nothing from before a silence of 30 seconds."""

from libc.stdint cimport uint64_t

cdef enum:
    WINDOW_IDS = 2048
    WINDOW_WORDS = 32

cdef struct ReplayWindow:
    uint64_t highest
    uint64_t floor  # ids up to here are too old whatever the bitmap says
    uint64_t expires_ns
    uint64_t seen[WINDOW_WORDS]  # ring of bits, place = id modulo WINDOW_IDS

# Accept an authenticated id (true) and remember it, or reject it. A zeroed window is a fresh one.
cdef bint replay_accept(ReplayWindow *window, uint64_t packet_id, uint64_t now_ns) noexcept nogil
