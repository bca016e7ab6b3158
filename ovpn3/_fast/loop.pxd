"""One tunnel's native thread: tun, transport socket, commands and timers, without the GIL from start to end.

A tunnel may also have two threads, one for each direction, each with a Tunnel of its own that does half the work.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from ovpn3._fast.channel cimport Channel
from ovpn3._fast.coalesce cimport Joiner
from ovpn3._fast.counters cimport Counters
from ovpn3._fast.inbox cimport Inbox
from ovpn3._fast.outbox cimport MAX_PREFIX, Outbox
from ovpn3._fast.ring cimport CommandRing, EventRing
from ovpn3._fast.segment cimport Cut

cdef enum Direction:
    SENDS = 1  # from the tun to the transport; control packets and pings
    RECEIVES = 2  # from the transport to the tun; time-outs

cdef struct Tunnel:
    # Set before the thread starts, constant after.
    int directions
    bint stream
    int sock
    int command_fd  # eventfd: commands wait
    int event_fd  # eventfd: events wait
    bint gso  # datagrams may go out in runs, where that works
    int64_t gather_ns  # a trickle of packets may have to wait
    uint8_t prefix[MAX_PREFIX]  # datagrams: what stands before each packet
    int prefix_bytes  # before each packet, for the length of the packet or that
    int queue_limit  # stream: packets that may wait before tunnel packets are dropped
    uint32_t stop  # atomic: set once
    CommandRing commands
    EventRing events
    Counters counters
    const Counters *twin  # those of the other direction's thread, or NULL
    # The thread's own.
    int epoll
    int tun  # -1: none
    bint vnet  # each packet of the tun has a VnetHeader before it
    int mss_v4
    bint paused
    bint blocked  # the transport takes nothing more for now
    bint closed  # the stream is dead
    bint news  # events were pushed since Python was last woken
    bint timed_out
    bint told_compressed
    bint went_inactive
    uint32_t watched_sock  # epoll events asked for
    uint32_t watched_tun
    uint32_t told_heard  # what of channel.heard and channel.expiring Python knows
    uint32_t told_expiring
    int64_t now  # all times: monotonic nanoseconds; intervals of 0 are off
    int64_t ping_every
    int64_t restart_after
    int64_t inactive_after
    int64_t inactive_bytes
    int64_t inactive_mark  # tunnel bytes when the peer was last active enough
    int64_t last_active
    int64_t last_sent
    int64_t last_batch  # when the socket last had packets
    bint trickle  # they come one after the other, each just too late for the batch before
    bint gathered  # we have waited for more of them
    int64_t refrain_ns  # from that, when it was in vain
    int64_t refrain_until
    int64_t path_asked  # when we last asked what the path carries
    int64_t last_received
    int64_t socket_error_told
    int64_t tun_error_told
    Channel channel
    Inbox inbox
    Outbox outbox
    Joiner joiner  # packets for the tun
    Cut cut  # packets from the tun
    uint8_t *frame  # read from the tun

# A tunnel that has taken over the descriptor, or NULL with errno set (then the descriptor is still the caller's).
# `gso`, `gro`: let the kernel cut and join datagrams. `peer`: a sockaddr to send to, if the socket isn't connected.
# `prefix`: a header that a SOCKS proxy wants before each datagram; then those received have one too.
cdef Tunnel *tunnel_new(int directions, int sock, bint stream, int queue_limit, bint gso, bint gro, const uint8_t *peer,
                        int peer_bytes, const uint8_t *prefix, int prefix_bytes) noexcept nogil


# Free everything it owns. The thread must have ended.
cdef void tunnel_free(Tunnel *tunnel) noexcept nogil

# The thread's body; `argument` is the tunnel. Returns when `stop` is set and command_fd woken.
cdef void *tunnel_run(void *argument) noexcept nogil
