"""The seam between Python and the pump's thread: two bounded rings, one producer and one consumer each."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    RING_SLOTS = 64
    EVENT_BYTES = 2560  # largest control packet handed up
    RESERVED_SLOTS = 24  # of the event ring: a flood of control packets leaves these to the rest

# What Python tells the pump.
cdef enum Order:
    ORDER_SEND_CONTROL = 1
    ORDER_SEND_EXIT
    ORDER_ATTACH_TUN
    ORDER_DETACH_TUN
    ORDER_INSTALL_KEY
    ORDER_USE_KEY
    ORDER_RETIRE_KEY
    ORDER_KEEPALIVE
    ORDER_INACTIVE
    ORDER_MSSFIX
    ORDER_PAUSE
    ORDER_RESUME

# What the pump tells Python. `value` is in brackets.
cdef enum Kind:
    EVENT_CONTROL_PACKET = 1  # first octet
    EVENT_FIRST_DATA = 2  # key id: an authentic packet came under it
    EVENT_KEY_EXPIRING = 3  # key id: time to renegotiate
    EVENT_PEER_TIMEOUT = 4  # nothing came for the restart interval
    EVENT_INACTIVE = 5  # too little tunnel traffic
    EVENT_PEER_EXIT = 6  # the peer said good-bye in the data channel
    EVENT_SOCKET_ERROR = 7  # errno; the pump goes on
    EVENT_TUN_ERROR = 8  # errno; the tun is detached if it is gone
    EVENT_CLOSED = 9  # errno or 0 for end of stream: the stream is dead
    EVENT_COMPRESSED = 10  # a packet was dropped because it is compressed; told once

cdef struct Command:
    int order
    int64_t first
    int64_t second
    void *data  # owned by whoever holds the command

cdef struct Event:
    int kind
    int64_t value
    uint32_t size
    uint8_t data[EVENT_BYTES]

# Positions run freely and wrap; the difference is what is in the ring.
cdef struct CommandRing:
    uint32_t written
    uint32_t read
    Command slots[RING_SLOTS]

cdef struct EventRing:
    uint32_t written
    uint32_t read
    Event slots[RING_SLOTS]

cdef bint commands_fit(CommandRing *ring) noexcept nogil

# True, or false if the ring is full and the command is still the caller's.
cdef bint push_command(CommandRing *ring, const Command *command) noexcept nogil
cdef bint pop_command(CommandRing *ring, Command *command) noexcept nogil

# Copy an event into the ring; false if there is no room for one of its kind.
cdef bint push_event(EventRing *ring, int kind, int64_t value, const uint8_t *data, uint32_t size) noexcept nogil

# Everything in the ring as a list of (kind, value, data).
cdef list drain_events(EventRing *ring)
