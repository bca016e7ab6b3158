"""The loop of a tunnel's thread. A turn: commands, then what the socket brought, then what the tun brought, then
timers, then send. Each part has a budget, so none can starve another; a batch is what is there now, never waited for.
"""

from libc.errno cimport EAGAIN, EINTR, EINVAL, EMSGSIZE, ENODATA, ENODEV, errno
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport clock_gettime, timespec
from posix.unistd cimport close, read, write

from ovpn3._fast.atomics cimport load_acquire
from ovpn3._fast.channel cimport (
    COMPRESSED,
    MALFORMED,
    IN_BAND_BYTES,
    MAX_OVERHEAD,
    NO_KEY,
    PAYLOAD_EXIT,
    PAYLOAD_IP,
    PAYLOAD_PING,
    PAYLOAD_UNKNOWN,
    REPLAYED,
    Sealed,
    Slot,
    channel_clear,
    channel_find,
    channel_install,
    channel_open,
    channel_overhead,
    channel_retire,
    channel_seal,
    channel_use,
    exit_into,
    payload_kind,
    ping_into,
    slot_free,
)
from ovpn3._fast.coalesce cimport (
    HEADROOM,
    join_allow,
    join_cancel,
    join_close,
    join_flush,
    join_open,
    join_place,
    join_take,
)
from ovpn3._fast.inbox cimport inbox_close, inbox_fit, inbox_open, inbox_take, receive
from ovpn3._fast.linux cimport (
    CLOCK_BOOTTIME,
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    POLLIN,
    PR_SET_TIMERSLACK,
    SCHED_BATCH,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    eventfd,
    eventfd_read,
    eventfd_write,
    pollfd,
    ppoll,
    prctl,
    sched_param,
    sched_setscheduler,
)
from ovpn3._fast.mss cimport clamp_mss, is_syn
from ovpn3._fast.outbox cimport (
    FRAME_BYTES,
    MAX_PREFIX,
    largest_unfragmented,
    outbox_add,
    outbox_close,
    outbox_end,
    outbox_has_room,
    outbox_open,
    outbox_segment,
    send_datagrams,
    send_stream,
)
from ovpn3._fast.packet cimport is_data, put_u16
from ovpn3._fast.ring cimport (
    EVENT_CLOSED,
    EVENT_COMPRESSED,
    EVENT_CONTROL_PACKET,
    EVENT_FIRST_DATA,
    EVENT_INACTIVE,
    EVENT_KEY_EXPIRING,
    EVENT_PEER_EXIT,
    EVENT_PEER_TIMEOUT,
    EVENT_SOCKET_ERROR,
    EVENT_TUN_ERROR,
    ORDER_ATTACH_TUN,
    ORDER_DETACH_TUN,
    ORDER_INACTIVE,
    ORDER_INSTALL_KEY,
    ORDER_KEEPALIVE,
    ORDER_MSSFIX,
    ORDER_PAUSE,
    ORDER_RESUME,
    ORDER_RETIRE_KEY,
    ORDER_SEND_CONTROL,
    ORDER_SEND_EXIT,
    ORDER_USE_KEY,
    Command,
    pop_command,
    push_event,
)
from ovpn3._fast.segment cimport Cut, cut_next, cut_open
from ovpn3._fast.vnet cimport TUN_F_TSO4, TUN_F_USO4, VNET_BYTES, VnetHeader

cdef enum:
    BUDGET = 64  # reads from the tun in one turn
    TRICKLE_PACKETS = 16  # more in one batch are no trickle
    GATHER_NS = 150_000  # packets may have to wait for others,
    STREAM_GATHER_NS = 300_000  # and in a stream, which delays them more than that anyway
    TRICKLE_NS = 100_000  # batches further apart than this, and a pause, are no trickle
    GATHER_LEAST = 2  # or it wasn't worth it, and isn't tried again
    LEAST_REFRAIN_NS = 1_000_000  # for so long, or twice as long as the last time:
    MOST_REFRAIN_NS = 64_000_000  # whoever sends one packet and waits for the answer isn't kept waiting
    TIMER_SLACK_NS = 1_000
    FLUSH_BYTES = 32768  # send once this much is sealed, while it is still warm in the cache
    MAX_PAYLOAD = 65535
    PATH_S = 60  # a path that has become wider, or takes runs again, is noticed after this time
    SMALLEST_MSS = 48  # we ask for, whatever the path claims to carry
    TCP_OVER_IPV4 = 40  # octets of headers
    NS_PER_S = 1_000_000_000
    NS_PER_MS = 1_000_000

cdef enum Source:
    FROM_COMMANDS
    FROM_SOCK
    FROM_TUN


cdef Tunnel *tunnel_new(int directions, int sock, bint stream, int queue_limit, bint gso, bint gro, const uint8_t *peer,
                        int peer_bytes, const uint8_t *prefix, int prefix_bytes) noexcept nogil:
    cdef Tunnel *tunnel = <Tunnel *> calloc(1, sizeof(Tunnel))
    cdef epoll_event event
    if tunnel == NULL:
        return NULL
    tunnel.directions = directions
    tunnel.stream = stream
    tunnel.prefix_bytes = FRAME_BYTES if stream else prefix_bytes
    memcpy(tunnel.prefix, prefix, prefix_bytes)
    tunnel.gather_ns = STREAM_GATHER_NS if stream else GATHER_NS
    tunnel.queue_limit = queue_limit
    tunnel.sock = tunnel.tun = -1
    tunnel.command_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    tunnel.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    tunnel.epoll = epoll_create1(EPOLL_CLOEXEC)
    event.events = EPOLLIN
    event.data.u32 = FROM_COMMANDS
    if (tunnel.event_fd < 0 or epoll_ctl(tunnel.epoll, EPOLL_CTL_ADD, tunnel.command_fd, &event) < 0
            or not inbox_open(&tunnel.inbox, sock, stream, prefix_bytes != 0, gro and directions & RECEIVES,
                              &tunnel.counters)
            or not outbox_open(&tunnel.outbox, peer, peer_bytes) or not join_open(&tunnel.joiner, write_tun, tunnel)):
        tunnel_free(tunnel)
        return NULL
    tunnel.frame = <uint8_t *> malloc(HEADROOM + MAX_PAYLOAD)
    if tunnel.frame == NULL:
        tunnel_free(tunnel)
        return NULL
    tunnel.gso = gso and directions & SENDS and not stream
    if tunnel.gso:
        outbox_segment(&tunnel.outbox, sock, &tunnel.counters)
    tunnel.sock = sock
    fit(tunnel, 0)
    return tunnel


cdef void tunnel_free(Tunnel *tunnel) noexcept nogil:
    cdef Command command
    while pop_command(&tunnel.commands, &command):
        discard(&command)
    channel_clear(&tunnel.channel)
    inbox_close(&tunnel.inbox)
    outbox_close(&tunnel.outbox)
    join_close(&tunnel.joiner)
    free(tunnel.frame)
    close_if_open(tunnel.epoll)
    close_if_open(tunnel.command_fd)
    close_if_open(tunnel.event_fd)
    close_if_open(tunnel.sock)
    close_if_open(tunnel.tun)
    free(tunnel)


cdef void close_if_open(int fd) noexcept nogil:
    if fd >= 0:
        close(fd)


cdef void discard(Command *command) noexcept nogil:
    if command.order == ORDER_INSTALL_KEY:
        slot_free(<Slot *> command.data)
    elif command.order == ORDER_ATTACH_TUN:
        close(<int> command.first)
    else:
        free(command.data)


cdef void *tunnel_run(void *argument) noexcept nogil:
    cdef Tunnel *tunnel = <Tunnel *> argument
    cdef epoll_event events[3]
    cdef bint stopping, sock_ready = False, tun_ready = False
    cdef int count, i
    tunnel.now = tunnel.path_asked = monotonic_ns()
    restart_clocks(tunnel)
    yield_to_wakers()
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS)  # a short pause is to be as short as asked for
    while True:
        tunnel.now = monotonic_ns()
        stopping = load_acquire(&tunnel.stop)  # first: what was ordered before it is still done
        obey(tunnel)
        sock_ready = sock_ready and not (tunnel.paused or tunnel.closed) and recv_run(tunnel)
        tun_ready = tun_ready and wants_tun(tunnel) and read_burst(tunnel)
        run_timers(tunnel)
        send_run(tunnel)
        tell_news(tunnel)
        if stopping:
            return NULL
        watch(tunnel)
        if not (sock_ready or tun_ready) and gathers(tunnel):
            tun_ready = gather(tunnel)
            sock_ready = True
            continue
        count = epoll_wait(tunnel.epoll, events, 3, 0 if sock_ready or tun_ready else until_next_timer(tunnel))
        for i in range(count):
            if events[i].data.u32 == FROM_TUN:
                tun_ready = True
            elif events[i].data.u32 == FROM_SOCK:
                if events[i].events & EPOLLOUT:
                    tunnel.blocked = False
                if events[i].events & ~<uint32_t> EPOLLOUT:
                    sock_ready = True
            else:
                drain(tunnel.command_fd)


# A packet that wakes us doesn't interrupt who is running, often the very receiver of the packets before it. Under
# load more packets are then there at once: 40 % less CPU per byte received. On an idle CPU nothing changes.
cdef void yield_to_wakers() noexcept nogil:
    cdef sched_param param
    param.sched_priority = 0
    sched_setscheduler(0, SCHED_BATCH, &param)


# It counts what the machine has slept, so after that the peer is known to be silent with the next ping at the latest.
cdef int64_t monotonic_ns() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_BOOTTIME, &time)
    return <int64_t> time.tv_sec * NS_PER_S + time.tv_nsec


cdef void drain(int fd) noexcept nogil:
    cdef uint64_t value
    eventfd_read(fd, &value)


# ---- waiting for more packets ----

cdef bint gathers(const Tunnel *tunnel) noexcept nogil:
    return tunnel.trickle and tunnel.now - tunnel.last_batch < tunnel.gather_ns and not tunnel.blocked


# Under a steady trickle of packets sleep on for a moment, as a network card holds its interrupt back: to wake for each
# packet costs more than the packet. The tun and commands are not kept waiting. Whether the tun is ready.
cdef bint gather(Tunnel *tunnel) noexcept nogil:
    cdef pollfd others[2]
    cdef timespec pause
    pause.tv_sec = 0
    pause.tv_nsec = tunnel.gather_ns - (tunnel.now - tunnel.last_batch)
    others[0].fd = tunnel.command_fd
    others[1].fd = tunnel.tun if wants_tun(tunnel) else -1
    others[0].events = others[1].events = POLLIN
    others[0].revents = others[1].revents = 0
    tunnel.gathered = ppoll(others, 2, &pause, NULL) == 0
    if others[0].revents:
        drain(tunnel.command_fd)
    return others[1].revents != 0


cdef void note_batch(Tunnel *tunnel, uint64_t packets) noexcept nogil:
    if packets:
        if tunnel.gathered and packets < GATHER_LEAST:
            tunnel.refrain_ns = min(max(2 * tunnel.refrain_ns, <int64_t> LEAST_REFRAIN_NS), <int64_t> MOST_REFRAIN_NS)
            tunnel.refrain_until = tunnel.now + tunnel.refrain_ns
        elif tunnel.gathered:
            tunnel.refrain_ns = 0
        tunnel.gathered = False
        tunnel.trickle = (packets <= TRICKLE_PACKETS
                          and tunnel.now - tunnel.last_batch < tunnel.gather_ns + TRICKLE_NS
                          and tunnel.now >= tunnel.refrain_until)
        tunnel.last_batch = tunnel.now


# ---- commands ----

cdef void obey(Tunnel *tunnel) noexcept nogil:
    cdef Command command
    while pop_command(&tunnel.commands, &command):
        carry_out(tunnel, &command)


cdef void carry_out(Tunnel *tunnel, Command *command) noexcept nogil:
    if command.order == ORDER_SEND_CONTROL:
        memcpy(packet_place(tunnel), command.data, command.first)
        enqueue(tunnel, <int> command.first)
        free(command.data)
    elif command.order == ORDER_SEND_EXIT:
        send_in_band(tunnel, exit_into)
    elif command.order == ORDER_ATTACH_TUN:
        attach_tun(tunnel, <int> command.first, <int> command.second & 0xFFFF, <uint32_t> (command.second >> 16))
    elif command.order == ORDER_DETACH_TUN:
        detach_tun(tunnel)
    elif command.order == ORDER_INSTALL_KEY:
        channel_install(&tunnel.channel, <Slot *> command.data)
        forget_told(tunnel)
    elif command.order == ORDER_USE_KEY:
        channel_use(&tunnel.channel, <int> command.first)
        if tunnel.directions & SENDS and tunnel.channel.active != NULL:
            tunnel.counters.ipsec_mb_active = tunnel.channel.active.send_key.expanded != NULL
    elif command.order == ORDER_RETIRE_KEY:
        channel_retire(&tunnel.channel, <int> command.first)
        forget_told(tunnel)
    elif command.order == ORDER_KEEPALIVE:
        tunnel.ping_every = command.first
        tunnel.restart_after = command.second
        restart_clocks(tunnel)
    elif command.order == ORDER_INACTIVE:
        tunnel.inactive_after = command.first
        tunnel.inactive_bytes = command.second
        restart_clocks(tunnel)
    elif command.order == ORDER_MSSFIX:
        tunnel.mss_v4 = <int> command.first
    elif command.order == ORDER_PAUSE:
        tunnel.paused = True
    elif command.order == ORDER_RESUME:
        tunnel.paused = False
        restart_clocks(tunnel)


# `offloads`: what the tun was granted, TUN_F_ bits; 0 means that its packets have no header before them.
cdef void attach_tun(Tunnel *tunnel, int tun, int mtu, uint32_t offloads) noexcept nogil:
    detach_tun(tunnel)
    tunnel.tun = tun
    tunnel.vnet = offloads != 0
    join_allow(&tunnel.joiner, offloads)
    fit(tunnel, mtu)
    if tunnel.directions & SENDS:
        tunnel.counters.tso_active = offloads & TUN_F_TSO4 != 0
        tunnel.counters.uso_active = offloads & TUN_F_USO4 != 0


# Take packets for this MTU, compressed or not.
cdef void fit(Tunnel *tunnel, int mtu) noexcept nogil:
    inbox_fit(&tunnel.inbox, mtu + MAX_OVERHEAD + tunnel.prefix_bytes)
    tunnel.channel.largest = min(tunnel.inbox.largest, <int> MAX_PAYLOAD)


cdef void detach_tun(Tunnel *tunnel) noexcept nogil:
    if tunnel.tun >= 0:
        # The device may live on under another descriptor, so closing alone would not end the watch.
        watch_one(tunnel, tunnel.tun, FROM_TUN, 0, &tunnel.watched_tun)
        close(tunnel.tun)
        tunnel.tun = -1
        tunnel.counters.tso_active = tunnel.counters.uso_active = 0


# What a retired key said must not silence its successor of the same id.
cdef void forget_told(Tunnel *tunnel) noexcept nogil:
    tunnel.told_heard &= tunnel.channel.heard
    tunnel.told_expiring &= tunnel.channel.expiring


# ---- what epoll watches ----

cdef bint wants_tun(const Tunnel *tunnel) noexcept nogil:
    # Datagrams push back: while the socket is full, packets wait, and are dropped, in the tun's own queue.
    return (tunnel.tun >= 0 and tunnel.channel.active != NULL and not tunnel.paused and not tunnel.closed
            and tunnel.directions & SENDS and (tunnel.stream or not tunnel.blocked))


cdef void watch(Tunnel *tunnel) noexcept nogil:
    cdef uint32_t sock = 0
    if not tunnel.paused and not tunnel.closed:
        sock = (EPOLLIN if tunnel.directions & RECEIVES else 0) | (EPOLLOUT if tunnel.blocked else 0)
    watch_one(tunnel, tunnel.sock, FROM_SOCK, sock, &tunnel.watched_sock)
    if tunnel.tun >= 0:
        watch_one(tunnel, tunnel.tun, FROM_TUN, EPOLLIN if wants_tun(tunnel) else 0, &tunnel.watched_tun)


cdef void watch_one(Tunnel *tunnel, int fd, Source source, uint32_t wanted, uint32_t *watched) noexcept nogil:
    cdef epoll_event event
    if wanted == watched[0]:
        return
    event.events = wanted
    event.data.u32 = source
    # Errors and hang-ups are reported even for an empty set: an unwanted descriptor has to go.
    epoll_ctl(tunnel.epoll, EPOLL_CTL_DEL if not wanted else EPOLL_CTL_MOD if watched[0] else EPOLL_CTL_ADD, fd, &event)
    watched[0] = wanted


# ---- tun to transport ----

# Seal what the tun has, up to the budget. True if more may wait.
cdef bint read_burst(Tunnel *tunnel) noexcept nogil:
    cdef int _
    for _ in range(BUDGET):
        if tunnel.outbox.used >= FLUSH_BYTES or waiting(tunnel) >= tunnel.queue_limit:
            send_run(tunnel)
        if not wants_tun(tunnel) or not read_one(tunnel):
            return False
    return True


# Packets in the outbox.
cdef int waiting(const Tunnel *tunnel) noexcept nogil:
    return tunnel.outbox.last - tunnel.outbox.first


cdef bint read_one(Tunnel *tunnel) noexcept nogil:
    cdef VnetHeader header
    cdef int header_bytes = VNET_BYTES if tunnel.vnet else 0
    cdef uint8_t *packet = tunnel.frame + HEADROOM
    cdef int size = <int> read(tunnel.tun, packet - header_bytes, header_bytes + MAX_PAYLOAD) - header_bytes
    if size <= 0:
        if size + header_bytes >= 0 or (errno != EAGAIN and errno != EINTR):
            lose_tun(tunnel, errno if size + header_bytes < 0 else ENODEV)
        return False
    memset(&header, 0, sizeof(header))
    memcpy(&header, packet - header_bytes, header_bytes)
    if cut_open(&tunnel.cut, &header, packet, size) < 0:
        tunnel.counters.tun_malformed_frames += 1
    elif tunnel.stream and waiting(tunnel) >= tunnel.queue_limit:
        tunnel.counters.queue_overflows += 1
    else:
        seal_segments(tunnel)
    return True


cdef void seal_segments(Tunnel *tunnel) noexcept nogil:
    cdef uint8_t *segment
    cdef int size = cut_next(&tunnel.cut, &segment), packets = 0
    while size:
        packets += 1
        tunnel.counters.tun_bytes_in += size
        if packets == 1:  # a SYN travels alone
            clamp(tunnel, segment, size)
        if not outbox_has_room(&tunnel.outbox, size + MAX_OVERHEAD + MAX_PREFIX):
            send_run(tunnel)
        if outbox_has_room(&tunnel.outbox, size + MAX_OVERHEAD + MAX_PREFIX):
            enqueue(tunnel, channel_seal(&tunnel.channel, packet_place(tunnel), segment, size))
        else:
            tunnel.counters.queue_overflows += 1
        size = cut_next(&tunnel.cut, &segment)
    tunnel.counters.tun_packets_in += packets
    tunnel.counters.tun_super_packets_in += packets > 1


# Lower the MSS that a SYN announces to what the tunnel carries whole, over the path as it is known by now.
cdef void clamp(Tunnel *tunnel, uint8_t *packet, int size) noexcept nogil:
    cdef int limit = tunnel.mss_v4, path
    if not limit or not is_syn(packet, size):
        return
    path = 0 if tunnel.stream else largest_unfragmented(tunnel.sock)
    if path:
        path -= tunnel.prefix_bytes + channel_overhead(&tunnel.channel) + TCP_OVER_IPV4
        limit = min(limit, max(path, <int> SMALLEST_MSS))
    clamp_mss(packet, size, limit)


cdef void lose_tun(Tunnel *tunnel, int error) noexcept nogil:
    tunnel.counters.tun_read_errors += 1
    detach_tun(tunnel)
    tell(tunnel, EVENT_TUN_ERROR, error)


# Where the next packet for the transport is made.
cdef uint8_t *packet_place(Tunnel *tunnel) noexcept nogil:
    return outbox_end(&tunnel.outbox) + tunnel.prefix_bytes


# Queue the packet made at its place; a negative size is the code of a packet that could not be sealed.
cdef void enqueue(Tunnel *tunnel, int size) noexcept nogil:
    if size >= 0 and not tunnel.closed:
        if tunnel.stream:
            put_u16(outbox_end(&tunnel.outbox), <uint32_t> size)
        elif tunnel.prefix_bytes:
            memcpy(outbox_end(&tunnel.outbox), tunnel.prefix, tunnel.prefix_bytes)
        if outbox_add(&tunnel.outbox, tunnel.prefix_bytes + size):
            return
    tunnel.counters.unsent_packets += 1


cdef void send_in_band(Tunnel *tunnel, int (*message_into)(uint8_t *) noexcept nogil) noexcept nogil:
    cdef uint8_t message[IN_BAND_BYTES]
    if tunnel.channel.active != NULL:
        enqueue(tunnel, channel_seal(&tunnel.channel, packet_place(tunnel), message, message_into(message)))


# Send what waits, unless the socket is known to be full.
cdef void send_run(Tunnel *tunnel) noexcept nogil:
    cdef int error
    if not waiting(tunnel) or tunnel.blocked or tunnel.closed or tunnel.paused:
        return
    tunnel.last_sent = tunnel.now
    if tunnel.gso and tunnel.now - tunnel.path_asked >= <int64_t> PATH_S * NS_PER_S:
        tunnel.path_asked = tunnel.now
        outbox_segment(&tunnel.outbox, tunnel.sock, &tunnel.counters)
    if tunnel.stream:
        error = send_stream(&tunnel.outbox, tunnel.sock, &tunnel.counters)
    else:
        error = send_datagrams(&tunnel.outbox, tunnel.sock, &tunnel.counters)
    tunnel.blocked = error == EAGAIN
    if error and error != EAGAIN:
        socket_failed(tunnel, error)


# ---- transport to tun ----

# Handle what one receive call brings. True if more may wait.
cdef bint recv_run(Tunnel *tunnel) noexcept nogil:
    cdef int more = receive(&tunnel.inbox, tunnel.sock, &tunnel.counters)
    cdef const uint8_t *packet = NULL
    cdef uint64_t before = tunnel.counters.transport_packets_in
    cdef int size = inbox_take(&tunnel.inbox, &packet, &tunnel.counters) if more >= 0 else 0
    while size > 0:
        if is_data(packet[0]):
            take_data(tunnel, packet, size)
        elif tell_with(tunnel, EVENT_CONTROL_PACKET, packet[0], packet, <uint32_t> size):
            tunnel.last_received = tunnel.now
            tunnel.timed_out = False
        else:
            tunnel.counters.control_dropped += 1
        size = inbox_take(&tunnel.inbox, &packet, &tunnel.counters)
    join_flush(&tunnel.joiner)
    tunnel.counters.tun_superseded_acks += tunnel.joiner.superseded
    tunnel.joiner.superseded = 0
    note_batch(tunnel, tunnel.counters.transport_packets_in - before)
    if size < 0:
        tunnel.counters.frame_errors += 1
        socket_failed(tunnel, -size)
    elif more == -ENODATA:
        tunnel.counters.end_of_stream += 1
        socket_failed(tunnel, 0)
    elif more < 0:
        tunnel.counters.receive_errors += 1
        socket_failed(tunnel, -more)
    return more > 0


cdef void take_data(Tunnel *tunnel, const uint8_t *packet, int size) noexcept nogil:
    cdef Sealed sealed
    cdef uint8_t *payload
    cdef int kind
    size = channel_find(&tunnel.channel, packet, size, &sealed)
    if size < 0:
        refuse(tunnel, size)
        return
    payload = join_place(&tunnel.joiner, size)
    size = channel_open(&tunnel.channel, &sealed, payload, <uint64_t> tunnel.now)
    if size < 0:
        join_cancel(&tunnel.joiner)
        refuse(tunnel, size)
        return
    tunnel.last_received = tunnel.now
    tunnel.timed_out = False
    kind = payload_kind(payload, size)
    if kind == PAYLOAD_IP:
        clamp(tunnel, payload, size)
        join_take(&tunnel.joiner, size)
        return
    join_cancel(&tunnel.joiner)
    if kind == PAYLOAD_PING:
        tunnel.counters.pings_in += 1
    elif kind == PAYLOAD_EXIT:
        tell(tunnel, EVENT_PEER_EXIT, 0)
    elif kind == PAYLOAD_UNKNOWN:
        tunnel.counters.unknown_payloads += 1


cdef void refuse(Tunnel *tunnel, int code) noexcept nogil:
    cdef Counters *counters = &tunnel.counters
    if code == COMPRESSED:
        counters.compressed_packets += 1
        tunnel.told_compressed = tunnel.told_compressed or tell_with(tunnel, EVENT_COMPRESSED, 0, NULL, 0)
    elif code == MALFORMED:
        counters.malformed_packets += 1
    elif code == NO_KEY:
        counters.unknown_key_packets += 1
    elif code == REPLAYED:
        counters.replay_errors += 1
    else:
        counters.decrypt_errors += 1


# Write a packet for the tun, `packets` of them in one.
cdef void write_tun(void *owner, uint8_t *packet, int size, int packets, const VnetHeader *header) noexcept nogil:
    cdef Tunnel *tunnel = <Tunnel *> owner
    cdef int header_bytes = VNET_BYTES if tunnel.vnet else 0
    if tunnel.tun < 0:
        tunnel.counters.no_tun_packets += packets
        return
    memcpy(packet - header_bytes, header, header_bytes)
    if write(tunnel.tun, packet - header_bytes, header_bytes + size) == header_bytes + size:
        tunnel.counters.tun_packets_out += packets
        tunnel.counters.tun_bytes_out += size + (packets - 1) * header.header_bytes
        tunnel.counters.tun_super_packets_out += packets > 1
    elif packets > 1 and (errno == EINVAL or errno == EMSGSIZE):
        write_singly(tunnel, packet, size, header)
    else:
        tunnel.counters.tun_write_errors += packets
        if tunnel.now - tunnel.tun_error_told >= NS_PER_S:
            tunnel.tun_error_told = tunnel.now
            tell(tunnel, EVENT_TUN_ERROR, errno)


# The tun refused a super packet, so it gets its packets, and no more super packets.
cdef void write_singly(Tunnel *tunnel, uint8_t *packet, int size, const VnetHeader *header) noexcept nogil:
    cdef Cut cut
    cdef VnetHeader plain
    cdef uint8_t *segment
    memset(&plain, 0, sizeof(plain))
    join_allow(&tunnel.joiner, 0)
    if cut_open(&cut, header, packet, size) < 0:
        return
    size = cut_next(&cut, &segment)
    while size:
        # The octets before a segment belong to the one before, which has been written.
        write_tun(tunnel, segment, size, 1, &plain)
        size = cut_next(&cut, &segment)


# ---- events ----

cdef bint tell_with(Tunnel *tunnel, int kind, int64_t value, const uint8_t *data, uint32_t size) noexcept nogil:
    if not push_event(&tunnel.events, kind, value, data, size):
        return False
    tunnel.news = True
    return True


cdef void tell(Tunnel *tunnel, int kind, int64_t value) noexcept nogil:
    tell_with(tunnel, kind, value, NULL, 0)


# A stream is dead (0: end of stream); datagrams go on, and say so once a second.
cdef void socket_failed(Tunnel *tunnel, int error) noexcept nogil:
    if tunnel.stream:
        if not tunnel.closed:
            tunnel.closed = True
            tell(tunnel, EVENT_CLOSED, error)
    elif tunnel.now - tunnel.socket_error_told >= NS_PER_S:
        tunnel.socket_error_told = tunnel.now
        tell(tunnel, EVENT_SOCKET_ERROR, error)


cdef void tell_news(Tunnel *tunnel) noexcept nogil:
    tell_keys(tunnel, EVENT_FIRST_DATA, tunnel.channel.heard, &tunnel.told_heard)
    tell_keys(tunnel, EVENT_KEY_EXPIRING, tunnel.channel.expiring, &tunnel.told_expiring)
    if tunnel.news:
        tunnel.news = False
        eventfd_write(tunnel.event_fd, 1)


cdef void tell_keys(Tunnel *tunnel, int kind, uint32_t keys, uint32_t *told) noexcept nogil:
    cdef int key_id
    cdef uint32_t fresh = keys & ~told[0]
    if fresh:
        for key_id in range(8):
            if fresh >> key_id & 1 and tell_with(tunnel, kind, key_id, NULL, 0):
                told[0] |= <uint32_t> 1 << key_id


# ---- timers: computed when the thread is about to wait, never armed ----

cdef void restart_clocks(Tunnel *tunnel) noexcept nogil:
    tunnel.last_sent = tunnel.last_received = tunnel.last_active = tunnel.now
    tunnel.inactive_mark = tun_bytes(tunnel)
    tunnel.timed_out = tunnel.went_inactive = False


cdef int64_t tun_bytes(const Tunnel *tunnel) noexcept nogil:
    cdef uint64_t bytes = tunnel.counters.tun_bytes_in + tunnel.counters.tun_bytes_out
    return <int64_t> (bytes + (tunnel.twin.tun_bytes_in + tunnel.twin.tun_bytes_out if tunnel.twin != NULL else 0))


# When the next ping is due, and so on; 0 if never.
cdef int64_t ping_due(const Tunnel *tunnel) noexcept nogil:
    if not tunnel.directions & SENDS or not tunnel.ping_every or tunnel.channel.active == NULL:
        return 0
    return tunnel.last_sent + tunnel.ping_every


cdef int64_t timeout_due(const Tunnel *tunnel) noexcept nogil:
    if not tunnel.directions & RECEIVES or not tunnel.restart_after or tunnel.timed_out:
        return 0
    return tunnel.last_received + tunnel.restart_after


cdef int64_t inactive_due(const Tunnel *tunnel) noexcept nogil:
    if not tunnel.directions & RECEIVES or not tunnel.inactive_after or tunnel.went_inactive:
        return 0
    return tunnel.last_active + tunnel.inactive_after


cdef bint is_over(const Tunnel *tunnel, int64_t due) noexcept nogil:
    return due != 0 and tunnel.now >= due


cdef void run_timers(Tunnel *tunnel) noexcept nogil:
    if tunnel.paused or tunnel.closed:
        return
    if tun_bytes(tunnel) - tunnel.inactive_mark >= max(tunnel.inactive_bytes, <int64_t> 1):
        tunnel.inactive_mark = tun_bytes(tunnel)
        tunnel.last_active = tunnel.now
    if is_over(tunnel, ping_due(tunnel)):
        if not waiting(tunnel):  # else something will go out as soon as anything can
            send_in_band(tunnel, ping_into)
            tunnel.counters.pings_out += 1
        tunnel.last_sent = tunnel.now
    if is_over(tunnel, timeout_due(tunnel)):
        tunnel.timed_out = True
        tunnel.counters.peer_timeouts += 1
        tell(tunnel, EVENT_PEER_TIMEOUT, 0)
    if is_over(tunnel, inactive_due(tunnel)):
        tunnel.went_inactive = True
        tunnel.counters.inactive_timeouts += 1
        tell(tunnel, EVENT_INACTIVE, 0)


cdef int until_next_timer(const Tunnel *tunnel) noexcept nogil:
    cdef int64_t soonest = earlier(earlier(ping_due(tunnel), timeout_due(tunnel)), inactive_due(tunnel))
    if soonest == 0 or tunnel.paused or tunnel.closed:
        return -1
    # Up to the next whole millisecond: to wake early would be to wake twice.
    return <int> min((max(soonest - tunnel.now, <int64_t> 0) + NS_PER_MS - 1) // NS_PER_MS, <int64_t> 3_600_000)


cdef int64_t earlier(int64_t one, int64_t other) noexcept nogil:
    return min(one, other) if one and other else one + other
