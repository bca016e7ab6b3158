"""System interfaces that Cython's own declarations lack."""

from libc.stdint cimport uint32_t, uint64_t
from posix.types cimport sigset_t
from posix.time cimport timespec
from posix.uio cimport iovec

cdef extern from "<time.h>" nogil:
    enum:
        CLOCK_BOOTTIME

cdef extern from "<dlfcn.h>" nogil:
    enum:
        RTLD_NOW
        RTLD_LOCAL
    void *dlopen(const char *name, int flags)
    void *dlsym(void *handle, const char *symbol)

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t

    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags

    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type

    enum:
        AF_UNSPEC
        MSG_DONTWAIT
        MSG_NOSIGNAL
        MSG_TRUNC
        SOCK_DGRAM
        SOCK_STREAM
        SOL_SOCKET
        SO_TYPE

    struct sockaddr:
        unsigned short sa_family

    int connect(int fd, const sockaddr *address, socklen_t size)
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *buffer, size_t size, int flags)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, timespec *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
    size_t CMSG_LEN(size_t size)

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_IP
        IPPROTO_IPV6
        IPPROTO_UDP
        IPV6_MTU
        IP_MTU

cdef extern from "<netinet/udp.h>" nogil:
    enum:
        UDP_GRO
        UDP_SEGMENT

cdef extern from "<sys/epoll.h>" nogil:
    union epoll_data_t:
        uint32_t u32

    struct epoll_event:
        uint32_t events
        epoll_data_t data

    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLLIN
        EPOLLOUT

    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int count, int timeout_ms)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents

    enum:
        POLLIN

    int ppoll(pollfd *descriptors, unsigned long count, const timespec *timeout, const sigset_t *signals)

cdef extern from "<sys/prctl.h>" nogil:
    enum:
        PR_SET_TIMERSLACK

    int prctl(int option, unsigned long value)

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK

    int eventfd(unsigned int value, int flags)
    int eventfd_read(int fd, uint64_t *value)
    int eventfd_write(int fd, uint64_t value)

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t

    struct pthread_attr_t:
        pass

    int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *) noexcept nogil,
                       void *argument)
    int pthread_join(pthread_t thread, void **result)

cdef extern from "<signal.h>" nogil:
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)

cdef extern from "<sched.h>" nogil:
    struct sched_param:
        int sched_priority

    enum:
        SCHED_BATCH

    int sched_setscheduler(int pid, int policy, const sched_param *param)
