"""Bounded rings between Python and the pump's thread, and the numbers of the events."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcpy

from ovpn3._fast.atomics cimport load_acquire, store_release

CONTROL_PACKET = EVENT_CONTROL_PACKET
FIRST_DATA = EVENT_FIRST_DATA
KEY_EXPIRING = EVENT_KEY_EXPIRING
PEER_TIMEOUT = EVENT_PEER_TIMEOUT
INACTIVE = EVENT_INACTIVE
PEER_EXIT = EVENT_PEER_EXIT
SOCKET_ERROR = EVENT_SOCKET_ERROR
TUN_ERROR = EVENT_TUN_ERROR
CLOSED = EVENT_CLOSED
COMPRESSED = EVENT_COMPRESSED


cdef bint commands_fit(CommandRing *ring) noexcept nogil:
    return ring.written - load_acquire(&ring.read) < RING_SLOTS


cdef bint push_command(CommandRing *ring, const Command *command) noexcept nogil:
    if not commands_fit(ring):
        return False
    ring.slots[ring.written % RING_SLOTS] = command[0]
    store_release(&ring.written, ring.written + 1)
    return True


cdef bint pop_command(CommandRing *ring, Command *command) noexcept nogil:
    if ring.read == load_acquire(&ring.written):
        return False
    command[0] = ring.slots[ring.read % RING_SLOTS]
    store_release(&ring.read, ring.read + 1)
    return True


cdef bint push_event(EventRing *ring, int kind, int64_t value, const uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint32_t used = ring.written - load_acquire(&ring.read)
    cdef uint32_t room = RING_SLOTS - RESERVED_SLOTS if kind == EVENT_CONTROL_PACKET else RING_SLOTS
    cdef Event *event = &ring.slots[ring.written % RING_SLOTS]
    if used >= room or size > EVENT_BYTES:
        return False
    event.kind = kind
    event.value = value
    event.size = size
    if size:
        memcpy(event.data, data, size)
    store_release(&ring.written, ring.written + 1)
    return True


cdef list drain_events(EventRing *ring):
    cdef uint32_t written = load_acquire(&ring.written)
    cdef Event *event
    found = []
    while ring.read != written:
        event = &ring.slots[ring.read % RING_SLOTS]
        found.append((event.kind, event.value, PyBytes_FromStringAndSize(<char *> event.data, event.size)))
        store_release(&ring.read, ring.read + 1)
    return found
