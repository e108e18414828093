/* What a write costs that carries one event: the floor of whoever sends one event a write.
 *
 * writes CONNECTIONS BYTES ROUNDS
 *
 * Writes BYTES to each of CONNECTIONS on the loopback interface in turn, ROUNDS times. Another process reads
 * them, and answers once a round is whole, so that the two go in step as a gateway and its clients do. Prints
 * one number: microseconds of the writer's processor time for a write.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, MOST = 1024 };

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double spent(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

/* Reads all that comes; says so by a byte on the first connection when a round has come. */
static void read_all(const struct sockaddr_in *where, int count, long round) {
    static char buffer[BUFFER];
    int epoll = epoll_create1(0), first = -1;
    for (int i = 0; i < count; i++) {
        int made = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(made, (const struct sockaddr *)where, sizeof *where)) die("connect");
        if (first < 0) first = made;
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = made};
        epoll_ctl(epoll, EPOLL_CTL_ADD, made, &wanted);
    }
    for (long came = 0;;) {
        struct epoll_event ready[MOST];
        int found = epoll_wait(epoll, ready, MOST, -1);
        for (int i = 0; i < found; i++) {
            ssize_t size = read(ready[i].data.fd, buffer, BUFFER);
            if (size <= 0) exit(0);
            came += size;
        }
        if (came >= round) {
            came -= round;
            if (write(first, "", 1) != 1) die("write");
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int count = atoi(argv[1]), size = atoi(argv[2]), rounds = atoi(argv[3]);
    if (count < 1 || count > MOST || size < 1 || size > BUFFER || rounds < 1) return 2;
    static char event[BUFFER];
    int sockets[MOST], on = 1;
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof where;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&where, length) || listen(listener, count)) die("listen");
    getsockname(listener, (struct sockaddr *)&where, &length);
    pid_t reader = fork();
    if (reader < 0) die("fork");
    if (reader == 0) read_all(&where, count, (long)count * size);
    for (int i = 0; i < count; i++) {
        sockets[i] = accept(listener, NULL, NULL);
        if (sockets[i] < 0) die("accept");
        setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    memset(event, 'x', size);
    double before = spent();
    for (int round = 0; round < rounds; round++) {
        char answer;
        for (int i = 0; i < count; i++)
            if (write(sockets[i], event, size) != size) die("write");
        if (read(sockets[0], &answer, 1) != 1) die("read");
    }
    printf("%.2f\n", (spent() - before) / ((double)rounds * count));
    for (int i = 0; i < count; i++) close(sockets[i]);
    waitpid(reader, NULL, 0);
    return 0;
}
