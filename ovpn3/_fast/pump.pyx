"""Python's handle on a tunnel's native thread."""

cimport cython
from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.fcntl cimport F_DUPFD_CLOEXEC, F_GETFL, F_SETFL, O_NONBLOCK, fcntl
from posix.signal cimport SIG_SETMASK, sigfillset
from posix.types cimport sigset_t
from posix.unistd cimport close

from ovpn3._fast.atomics cimport store_release
from ovpn3._fast.channel cimport KEY_SLOTS, Slot, slot_new
from ovpn3._fast.replay cimport DEFAULT_REACH, DEFAULT_SILENCE_S
from ovpn3._fast.linux cimport (
    AF_UNSPEC,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLLIN,
    SO_TYPE,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
    connect,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    eventfd_read,
    eventfd_write,
    getsockopt,
    pthread_create,
    pthread_join,
    pthread_sigmask,
    pthread_t,
    sockaddr,
    socklen_t,
)
from ovpn3._fast.loop cimport RECEIVES, SENDS, Tunnel, tunnel_free, tunnel_new, tunnel_run
from ovpn3._fast.outbox cimport MAX_PREFIX, PEER_BYTES
from ovpn3._fast.ring cimport (
    EVENT_BYTES,
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
    Order,
    commands_fit,
    drain_events,
    push_command,
)

cdef enum:
    MAX_QUEUE_LIMIT = 256
    MIN_MTU = 68
    MAX_MTU = 65535
    MAX_THREADS = 2

# Bits of `offloads`. Those of the tun come with its descriptor.
cdef enum:
    OFFLOAD_GSO = 4
    OFFLOAD_GRO = 8
    OFFLOAD_IPSEC_MB = 16

GSO = OFFLOAD_GSO
GRO = OFFLOAD_GRO
IPSEC_MB = OFFLOAD_IPSEC_MB

cdef double MAX_SECONDS = 1e9


@cython.final
cdef class Pump:
    cdef Tunnel *tunnels[MAX_THREADS]  # one that does all; or one that sends, one that receives
    cdef pthread_t threads[MAX_THREADS]
    cdef int count  # of tunnels; 0 once stopped
    cdef int running  # threads
    cdef bint fast
    cdef int installed  # bit per key id
    cdef int news_fd  # readable while one of several tunnels has events; of one, its own
    cdef dict last  # counters, once stopped

    def __cinit__(self, int sock_fd, *, bint stream, int queue_limit=64,
                  int offloads=OFFLOAD_GSO | OFFLOAD_GRO | OFFLOAD_IPSEC_MB, int threads=1, bytes peer=b"",
                  bytes prefix=b""):
        self.news_fd = -1
        if not 1 <= queue_limit <= MAX_QUEUE_LIMIT:
            raise ValueError("queue limit out of range")
        if not 1 <= threads <= MAX_THREADS:
            raise ValueError("number of threads out of range")
        if len(peer) > PEER_BYTES:
            raise ValueError("too long for an address")
        if len(prefix) > MAX_PREFIX or (prefix and stream):
            raise ValueError("too long a prefix, or one for a stream")
        cdef int kind = 0
        cdef socklen_t size = sizeof(kind)
        if getsockopt(sock_fd, SOL_SOCKET, SO_TYPE, &kind, &size) < 0:
            PyErr_SetFromErrno(OSError)
        if kind != (SOCK_STREAM if stream else SOCK_DGRAM):
            raise ValueError("not the kind of socket announced")
        self.fast = offloads & OFFLOAD_IPSEC_MB != 0
        cdef bint gso = offloads & OFFLOAD_GSO != 0, gro = offloads & OFFLOAD_GRO != 0
        cdef int fd
        for directions in ((SENDS | RECEIVES,), (SENDS, RECEIVES))[threads - 1]:
            fd = own_copy(sock_fd)
            self.tunnels[self.count] = tunnel_new(directions, fd, stream, queue_limit, gso, gro, peer, <int> len(peer),
                                                  prefix, <int> len(prefix))
            if self.tunnels[self.count] == NULL:
                close(fd)
                PyErr_SetFromErrno(OSError)
            self.count += 1
        if self.count == 2:
            self.tunnels[0].twin = &self.tunnels[1].counters
            self.tunnels[1].twin = &self.tunnels[0].counters
        self.news_fd = self.watch_news()

    def __dealloc__(self):
        self.end()

    def start(self):
        cdef sigset_t every_signal, before
        cdef int error = 0
        if self.running:
            raise ValueError("already started")
        self.usable()
        # Signals are for Python's threads; a new thread inherits the mask.
        sigfillset(&every_signal)
        pthread_sigmask(SIG_SETMASK, &every_signal, &before)
        while self.running < self.count and not error:
            error = pthread_create(&self.threads[self.running], NULL, tunnel_run, self.tunnels[self.running])
            self.running += not error
        pthread_sigmask(SIG_SETMASK, &before, NULL)
        if error:
            self.end()
            raise OSError(error, "no thread")

    def stop(self):
        self.end()

    @property
    def event_fd(self):
        self.usable()
        return self.news_fd

    def events(self):
        cdef uint64_t count
        cdef int i
        self.usable()
        found = []
        for i in range(self.count):
            eventfd_read(self.tunnels[i].event_fd, &count)  # before draining, so that later news wakes again
            found += drain_events(&self.tunnels[i].events)
        return found

    def stats(self):
        return totals(self.tunnels, self.count) if self.count else self.last

    def send_control(self, const uint8_t[::1] packet not None):
        if not 1 <= packet.shape[0] <= EVENT_BYTES:
            raise ValueError("control packet empty or too long")
        self.usable()
        cdef void *copy = malloc(packet.shape[0])
        if copy == NULL:
            raise MemoryError
        memcpy(copy, &packet[0], packet.shape[0])
        if not post(self.tunnels[0], ORDER_SEND_CONTROL, packet.shape[0], 0, copy):
            free(copy)
            raise BufferError("too many commands")

    def reconnect(self, bytes peer not None):
        cdef sockaddr nobody
        cdef const char *address = peer
        self.usable()
        memset(&nobody, 0, sizeof(nobody))
        nobody.sa_family = AF_UNSPEC
        # Both threads' sockets are one. What is sent between these two calls is lost.
        if (connect(self.tunnels[0].sock, &nobody, sizeof(nobody)) < 0
                or connect(self.tunnels[0].sock, <const sockaddr *> address, <socklen_t> len(peer)) < 0):
            PyErr_SetFromErrno(OSError)

    def send_exit(self):
        self.check_room()
        post(self.tunnels[0], ORDER_SEND_EXIT, 0, 0, NULL)

    def attach_tun(self, int fd, int mtu, int offloads=0):
        cdef int copies[MAX_THREADS]
        cdef int made = 0, i
        if not MIN_MTU <= mtu <= MAX_MTU:
            raise ValueError("MTU out of range")
        if not 0 <= offloads <= 0xFFFF:
            raise ValueError("offloads out of range")
        self.check_room()
        try:
            while made < self.count:
                copies[made] = own_copy(fd)
                made += 1
        except OSError:  # out of descriptors: no thread gets one
            for i in range(made):
                close(copies[i])
            raise
        for i in range(self.count):
            post(self.tunnels[i], ORDER_ATTACH_TUN, copies[i], mtu | <int64_t> offloads << 16, NULL)

    def detach_tun(self):
        self.tell(ORDER_DETACH_TUN)

    def install_key(self, int key_id, int cipher, const uint8_t[::1] send_key not None,
                    const uint8_t[::1] send_iv not None, const uint8_t[::1] recv_key not None,
                    const uint8_t[::1] recv_iv not None, int peer_id=-1, *, str digest="", int framing=0,
                    bint decompress=False, uint64_t reneg_bytes=0, uint64_t reneg_packets=0, bint epochs=False,
                    int replay_reach=DEFAULT_REACH, double replay_silence_s=DEFAULT_SILENCE_S):
        cdef Slot *slot
        cdef int i
        if epochs and self.count > 1:
            raise ValueError("epochs need both directions in one thread")
        self.check_room()
        for i in range(self.count):
            slot = slot_new(key_id, cipher, send_key, send_iv, recv_key, recv_iv, peer_id, self.fast, digest, framing,
                            decompress, epochs, replay_reach, replay_silence_s)
            slot.late_octets = reneg_bytes
            slot.late_packets = reneg_packets
            post(self.tunnels[i], ORDER_INSTALL_KEY, 0, 0, slot)
        self.installed |= 1 << key_id

    def use_key(self, int key_id):
        self.check_installed(key_id)
        self.tell(ORDER_USE_KEY, key_id)

    def retire_key(self, int key_id):
        self.check_installed(key_id)
        self.tell(ORDER_RETIRE_KEY, key_id)
        self.installed &= ~(1 << key_id)

    def set_keepalive(self, double ping_s, double restart_s):
        self.tell(ORDER_KEEPALIVE, nanoseconds(ping_s), nanoseconds(restart_s))

    def set_inactive(self, double seconds, int64_t least_bytes=0):
        if least_bytes < 0:
            raise ValueError("negative number of bytes")
        self.tell(ORDER_INACTIVE, nanoseconds(seconds), least_bytes)

    def set_mssfix(self, int mss_v4):
        if not 0 <= mss_v4 <= MAX_MTU:
            raise ValueError("MSS out of range")
        self.tell(ORDER_MSSFIX, mss_v4)

    def pause(self):
        self.tell(ORDER_PAUSE)

    def resume(self):
        self.tell(ORDER_RESUME)

    cdef int usable(self) except -1:
        if not self.count:
            raise ValueError("pump is stopped")
        return 0

    cdef int check_installed(self, int key_id) except -1:
        self.usable()
        if not 0 <= key_id < KEY_SLOTS or not self.installed >> key_id & 1:
            raise ValueError("no such key")
        return 0

    # A command that several tunnels get has to find room with all of them: nobody else posts commands.
    cdef int check_room(self) except -1:
        cdef int i
        self.usable()
        for i in range(self.count):
            if not commands_fit(&self.tunnels[i].commands):
                raise BufferError("too many commands")
        return 0

    cdef int tell(self, Order order, int64_t first=0, int64_t second=0) except -1:
        cdef int i
        self.check_room()
        for i in range(self.count):
            post(self.tunnels[i], order, first, second, NULL)
        return 0

    # A descriptor that is readable while there are events.
    cdef int watch_news(self) except -1:
        cdef epoll_event event
        cdef int i, news
        if self.count == 1:
            return self.tunnels[0].event_fd
        news = epoll_create1(EPOLL_CLOEXEC)
        if news < 0:
            PyErr_SetFromErrno(OSError)
        event.events = EPOLLIN
        event.data.u32 = 0
        for i in range(self.count):
            if epoll_ctl(news, EPOLL_CTL_ADD, self.tunnels[i].event_fd, &event) < 0:
                close(news)
                PyErr_SetFromErrno(OSError)
        return news

    # Let the threads carry out what was ordered, wait for them, free everything.
    cdef void end(self) noexcept:
        cdef Tunnel *tunnels[MAX_THREADS]
        cdef int count = self.count, running = self.running, i
        if not count:
            return
        for i in range(count):
            tunnels[i] = self.tunnels[i]
        self.last = totals(tunnels, count)  # for whoever asks while this thread waits
        self.count = self.running = 0  # first: another Python thread may come while this one waits
        for i in range(running):
            store_release(&tunnels[i].stop, 1)
            eventfd_write(tunnels[i].command_fd, 1)
        with nogil:
            for i in range(running):
                pthread_join(self.threads[i], NULL)
        self.last = totals(tunnels, count)
        if count > 1 and self.news_fd >= 0:
            close(self.news_fd)
        for i in range(count):
            tunnel_free(tunnels[i])


cdef dict totals(Tunnel **tunnels, int count):
    sums = <dict> tunnels[0].counters
    if count > 1:
        others = <dict> tunnels[1].counters
        sums = {name: number + others[name] for name, number in sums.items()}
    return sums


cdef bint post(Tunnel *tunnel, Order order, int64_t first, int64_t second, void *data) noexcept:
    cdef Command command
    command.order, command.first, command.second, command.data = order, first, second, data
    if not push_command(&tunnel.commands, &command):
        return False
    eventfd_write(tunnel.command_fd, 1)
    return True


# A descriptor of our own for the same file, non-blocking.
cdef int own_copy(int fd) except -1:
    cdef int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)
    if copy < 0:
        PyErr_SetFromErrno(OSError)
    cdef int flags = fcntl(copy, F_GETFL)
    if flags < 0 or fcntl(copy, F_SETFL, flags | O_NONBLOCK) < 0:
        close(copy)
        PyErr_SetFromErrno(OSError)
    return copy


# Seconds as whole nanoseconds; 0 stays 0 ("off"), ValueError outside 0..31 years.
cdef int64_t nanoseconds(double seconds) except -1:
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError("interval out of range")
    return <int64_t> (seconds * 1e9)
