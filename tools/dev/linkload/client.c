/* Asks an OpenAI-compatible server from many connections at once, and costs little itself.
 *
 * client HOST PORT PATH BODY_FILE CLIENTS REQUESTS KEPT KEY
 *
 * KEPT is 1 for connections that are used again and 0 for a new one for each request. Each connection sends a
 * request when the answer to the one before is whole. Prints one JSON object: the answers, their events, the
 * seconds, and the quantiles of the time to the first text in milliseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, TAIL = 8, MOST_HEAD = 1 << 14 };

struct connection {
    int socket;
    double asked;
    int first; /* whether the first text has come */
    long left; /* of a body whose length is known; -1: it is in chunks; -2: in the head */
    char head[MOST_HEAD + 1];
    size_t head_size;
    char tail[TAIL];
    size_t tail_size;
};

static struct sockaddr_in where;
static int kept, epoll, to_ask, running;
static char *request;
static size_t request_size;
static double *waits;
static long answers, events, firsts;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void ask(struct connection *c) {
    if (c->socket < 0) {
        c->socket = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->socket, (struct sockaddr *)&where, sizeof where)) die("connect");
        int on = 1;
        setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->socket, &wanted);
    }
    c->asked = now();
    c->first = 0;
    c->left = -2;
    c->head_size = c->tail_size = 0;
    if (write(c->socket, request, request_size) != (ssize_t)request_size) die("write");
}

static void next(struct connection *c) {
    if (to_ask > 0) {
        to_ask--;
        ask(c);
    } else {
        running--;
        if (c->socket >= 0) close(c->socket);
        c->socket = -1;
    }
}

static void whole(struct connection *c) {
    answers++;
    if (!kept) {
        close(c->socket);
        c->socket = -1;
    }
    next(c);
}

static void note_first(struct connection *c, const char *data, size_t size) {
    if (c->first) return;
    static const char name[] = "\"content\":";
    const char *end = data + size, *at = data;
    while ((at = memmem(at, (size_t)(end - at), name, sizeof name - 1))) {
        at += sizeof name - 1;
        if (at < end && *at == ' ') at++;
        if (at + 1 >= end || at[0] != '"' || at[1] == '"') continue; /* null, empty, or cut off */
        c->first = 1;
        waits[firsts++] = (now() - c->asked) * 1e3;
        return;
    }
}

static void body(struct connection *c, const char *data, size_t size) {
    if (!size) return;
    note_first(c, data, size);
    if (c->left >= 0) {
        c->left -= (long)size;
        if (c->left <= 0) whole(c);
        return;
    }
    for (const char *at = data; (at = memmem(at, size - (size_t)(at - data), "data:", 5)); at += 5) events++;
    if (size >= TAIL) {
        memcpy(c->tail, data + size - TAIL, TAIL);
        c->tail_size = TAIL;
    } else {
        size_t keep = c->tail_size + size > TAIL ? TAIL - size : c->tail_size;
        memmove(c->tail, c->tail + c->tail_size - keep, keep);
        memcpy(c->tail + keep, data, size);
        c->tail_size = keep + size;
    }
    if (c->tail_size >= 5 && !memcmp(c->tail + c->tail_size - 5, "0\r\n\r\n", 5)) whole(c);
}

static void take(struct connection *c, char *data, size_t size) {
    if (c->left != -2) {
        body(c, data, size);
        return;
    }
    size_t room = MOST_HEAD - c->head_size, part = size < room ? size : room;
    memcpy(c->head + c->head_size, data, part);
    c->head_size += part;
    c->head[c->head_size] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return;
    if (strncmp(c->head, "HTTP/1.1 200", 12)) {
        fprintf(stderr, "%.200s\n", c->head);
        exit(1);
    }
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->left = length && length < end ? atol(length + 17) : -1;
    size_t before = (size_t)(end + 4 - c->head), behind = c->head_size - before;
    body(c, data + (size - behind), behind);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int count, char **words) {
    if (count != 9) {
        fprintf(stderr, "client HOST PORT PATH BODY_FILE CLIENTS REQUESTS KEPT KEY\n");
        return 2;
    }
    where.sin_family = AF_INET;
    where.sin_port = htons((unsigned short)atoi(words[2]));
    inet_pton(AF_INET, words[1], &where.sin_addr);
    static char content[BUFFER];
    FILE *file = fopen(words[4], "rb");
    if (!file) die(words[4]);
    size_t size = fread(content, 1, sizeof content - 1, file);
    fclose(file);
    int clients = atoi(words[5]), requests = atoi(words[6]);
    kept = atoi(words[7]);
    request_size = (size_t)asprintf(&request,
                                    "POST %s HTTP/1.1\r\nHost: %s:%s\r\nAuthorization: Bearer %s\r\n"
                                    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                    words[3], words[1], words[2], words[8], size, content);
    waits = calloc((size_t)requests + (size_t)clients, sizeof *waits);
    epoll = epoll_create1(0);
    struct connection *all = calloc((size_t)clients, sizeof *all);
    double began = now();
    to_ask = requests;
    for (int i = 0; i < clients && to_ask > 0; i++) {
        all[i].socket = -1;
        running++;
        next(&all[i]);
    }
    static char data[BUFFER];
    while (running > 0) {
        struct epoll_event ready[256];
        int found = epoll_wait(epoll, ready, 256, 60000);
        if (found <= 0) die("nothing came for a minute");
        for (int i = 0; i < found; i++) {
            struct connection *c = ready[i].data.ptr;
            ssize_t got = read(c->socket, data, sizeof data);
            if (got <= 0) die("an answer broke off");
            take(c, data, (size_t)got);
        }
    }
    double seconds = now() - began;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double own = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    qsort(waits, (size_t)firsts, sizeof *waits, by_size);
    double none = -1, *sorted = firsts ? waits : &none;
    long last = firsts ? firsts - 1 : 0;
    printf("{\"answers\": %ld, \"events\": %ld, \"seconds\": %.4f, \"own_s\": %.4f, \"first_p50_ms\": %.3f, "
           "\"first_p99_ms\": %.3f, \"first_least_ms\": %.3f}\n",
           answers, events, seconds, own, sorted[last / 2], sorted[last * 99 / 100], sorted[0]);
    return 0;
}
