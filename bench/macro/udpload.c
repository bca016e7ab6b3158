/* Many small UDP packets, or the counting of them, in batched calls but without offloads: each is a packet of its own.

   udpload send ADDRESS PORT BYTES SECONDS   as fast as it can; prints how many were sent
   udpload receive ADDRESS PORT              prints "ready", then how many came and in how many seconds;
                                             ends after half a second of silence, or 5 s if nothing comes at all */
#define _GNU_SOURCE
#include <err.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, LARGEST = 2048, SOCKET_BYTES = 8 << 20 };

static char payload[BATCH][LARGEST];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void prepare(size_t size) {
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){payload[i], size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
}

static int open_socket(const char *address, const char *port, int (*join)(int, const struct sockaddr *, socklen_t)) {
    struct addrinfo wanted = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_DGRAM}, *found;
    int sock, size = SOCKET_BYTES;
    if (getaddrinfo(address, port, &wanted, &found))
        errx(2, "not an address: %s", address);
    sock = socket(found->ai_family, SOCK_DGRAM, 0);
    if (sock < 0 || join(sock, found->ai_addr, found->ai_addrlen))
        err(1, "%s", address);
    setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    return sock;
}

static void send_packets(int sock, size_t size, double seconds) {
    double end = now() + seconds;
    unsigned long count = 0;
    int sent;
    prepare(size);
    while (now() < end)
        if ((sent = sendmmsg(sock, messages, BATCH, 0)) > 0)
            count += sent;
    printf("%lu\n", count);
}

static void set_patience(int sock, double seconds) {
    struct timeval time = {seconds, (seconds - (int)seconds) * 1e6};
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

static void count_packets(int sock) {
    double first = 0, last = 0;
    unsigned long count = 0;
    int got;
    prepare(LARGEST);
    set_patience(sock, 5);
    puts("ready");
    fflush(stdout);
    while ((got = recvmmsg(sock, messages, BATCH, MSG_WAITFORONE, NULL)) > 0) {
        last = now();
        if (!count) {
            first = last;
            set_patience(sock, 0.5);
        }
        count += got;
    }
    printf("%lu %f\n", count, last - first);
}

int main(int argc, char **argv) {
    if (argc == 6 && !strcmp(argv[1], "send") && atoi(argv[4]) <= LARGEST)
        send_packets(open_socket(argv[2], argv[3], connect), atoi(argv[4]), atof(argv[5]));
    else if (argc == 4 && !strcmp(argv[1], "receive"))
        count_packets(open_socket(argv[2], argv[3], bind));
    else
        errx(2, "usage: udpload send ADDRESS PORT BYTES SECONDS | receive ADDRESS PORT");
    return 0;
}
