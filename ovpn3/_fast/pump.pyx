"""Python's handle on a tunnel's native thread."""

cimport cython
from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.fcntl cimport F_DUPFD_CLOEXEC, F_GETFL, F_SETFL, O_NONBLOCK, fcntl
from posix.signal cimport SIG_SETMASK, sigfillset
from posix.types cimport sigset_t
from posix.unistd cimport close

from ovpn3._fast.atomics cimport store_release
from ovpn3._fast.channel cimport KEY_SLOTS, Slot, slot_free, slot_new
from ovpn3._fast.counters cimport Counters
from ovpn3._fast.linux cimport (
    SO_TYPE,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
    eventfd_read,
    eventfd_write,
    getsockopt,
    pthread_create,
    pthread_join,
    pthread_sigmask,
    pthread_t,
    socklen_t,
)
from ovpn3._fast.loop cimport Tunnel, tunnel_free, tunnel_new, tunnel_run
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
    drain_events,
    push_command,
)

cdef enum:
    MAX_QUEUE_LIMIT = 256
    MIN_MTU = 68
    MAX_MTU = 65535

cdef double MAX_SECONDS = 1e9


@cython.final
cdef class Pump:
    cdef Tunnel *tunnel
    cdef pthread_t thread
    cdef bint running
    cdef int installed  # bit per key id
    cdef Counters last  # once stopped

    def __cinit__(self, int sock_fd, *, bint stream, int queue_limit=64, bint offload=True):
        if not 1 <= queue_limit <= MAX_QUEUE_LIMIT:
            raise ValueError("queue limit out of range")
        cdef int kind = 0
        cdef socklen_t size = sizeof(kind)
        if getsockopt(sock_fd, SOL_SOCKET, SO_TYPE, &kind, &size) < 0:
            PyErr_SetFromErrno(OSError)
        if kind != (SOCK_STREAM if stream else SOCK_DGRAM):
            raise ValueError("not the kind of socket announced")
        cdef int fd = own_copy(sock_fd)
        self.tunnel = tunnel_new(fd, stream, queue_limit, offload)
        if self.tunnel == NULL:
            close(fd)
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self.tunnel != NULL:
            self.end()

    def start(self):
        cdef sigset_t every_signal, before
        if self.running:
            raise ValueError("already started")
        # Signals are for Python's threads; a new thread inherits the mask.
        sigfillset(&every_signal)
        self.usable()
        pthread_sigmask(SIG_SETMASK, &every_signal, &before)
        cdef int error = pthread_create(&self.thread, NULL, tunnel_run, self.tunnel)
        pthread_sigmask(SIG_SETMASK, &before, NULL)
        if error:
            raise OSError(error, "no thread")
        self.running = True

    def stop(self):
        if self.tunnel != NULL:
            self.end()

    @property
    def event_fd(self):
        return self.usable().event_fd

    def events(self):
        cdef uint64_t count
        eventfd_read(self.usable().event_fd, &count)  # before draining, so that later news wakes again
        return drain_events(&self.tunnel.events)

    def stats(self):
        return self.tunnel.counters if self.tunnel != NULL else self.last

    def send_control(self, const uint8_t[::1] packet not None):
        if not 1 <= packet.shape[0] <= EVENT_BYTES:
            raise ValueError("control packet empty or too long")
        self.usable()
        cdef void *copy = malloc(packet.shape[0])
        if copy == NULL:
            raise MemoryError
        memcpy(copy, &packet[0], packet.shape[0])
        if not self.post(ORDER_SEND_CONTROL, packet.shape[0], 0, copy):
            free(copy)
            raise BufferError("too many commands")

    def send_exit(self):
        self.tell(ORDER_SEND_EXIT)

    def attach_tun(self, int fd, int mtu):
        if not MIN_MTU <= mtu <= MAX_MTU:
            raise ValueError("MTU out of range")
        self.usable()
        cdef int copy = own_copy(fd)
        if not self.post(ORDER_ATTACH_TUN, copy, mtu, NULL):
            close(copy)
            raise BufferError("too many commands")

    def detach_tun(self):
        self.tell(ORDER_DETACH_TUN)

    def install_key(self, int key_id, int cipher, const uint8_t[::1] send_key not None,
                    const uint8_t[::1] send_iv not None, const uint8_t[::1] recv_key not None,
                    const uint8_t[::1] recv_iv not None, int peer_id=-1):
        self.usable()
        cdef Slot *slot = slot_new(key_id, cipher, send_key, send_iv, recv_key, recv_iv, peer_id)
        if not self.post(ORDER_INSTALL_KEY, 0, 0, slot):
            slot_free(slot)
            raise BufferError("too many commands")
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

    cdef Tunnel *usable(self) except NULL:
        if self.tunnel == NULL:
            raise ValueError("pump is stopped")
        return self.tunnel

    cdef int check_installed(self, int key_id) except -1:
        self.usable()
        if not 0 <= key_id < KEY_SLOTS or not self.installed >> key_id & 1:
            raise ValueError("no such key")
        return 0

    cdef int tell(self, Order order, int64_t first=0, int64_t second=0) except -1:
        self.usable()
        if not self.post(order, first, second, NULL):
            raise BufferError("too many commands")
        return 0

    cdef bint post(self, Order order, int64_t first, int64_t second, void *data) noexcept:
        cdef Command command
        command.order, command.first, command.second, command.data = order, first, second, data
        if not push_command(&self.tunnel.commands, &command):
            return False
        eventfd_write(self.tunnel.command_fd, 1)
        return True

    # Let the thread carry out what was ordered, wait for it, free everything.
    cdef void end(self) noexcept:
        cdef Tunnel *tunnel = self.tunnel
        cdef pthread_t thread = self.thread
        cdef bint running = self.running
        if running:
            store_release(&tunnel.stop, 1)
            eventfd_write(tunnel.command_fd, 1)
        self.tunnel = NULL  # first: another Python thread may come while this one waits
        self.running = False
        with nogil:
            if running:
                pthread_join(thread, NULL)
            self.last = tunnel.counters
            tunnel_free(tunnel)


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
