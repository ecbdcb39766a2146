// Clients that mean no good, many kinds at a time, against a tallyd on this machine.
//
//     hostile TCP_ADDRESS UDP_ADDRESS|none SECONDS BOMB_MIB kind=connections ...
//
// One thread. Every kind is a row of a table: what it sends, in which steps, whether it reads, and
// what it does at the end. Connections that the server closes are made again; each thousandth of a
// second those go on whose time has come. Sources are spread over 127.0.0.0/8, so that ports do not
// run out. BOMB_MIB is what compressed entries inflate to. It says "ready", begins when it is told
// a line, stops by itself, or at SIGTERM, and prints what it did as one line of JSON. Only loopback
// addresses are taken.

#include "base/assert.h"
#include "base/clock.h"
#include "tests/ingest/ping.h"
#include "tests/ingest/squeeze.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 16384,
    SECONDS_MAX = 600,
    MILLISECOND = 1000000,
    EVENTS_AT_ONCE = 256,
    AGAIN_MS = 20,  // after a connection failed or ended
    HALF_FRAME = 8 << 20,
    BOMB_MIB_MAX = 1024,
    RESENT_EVENTS = 100,
    UDP_AT_ONCE = 20,
};

enum ending {
    ENDING_SILENT,  // stays, and says nothing more
    ENDING_AGAIN,   // begins its bytes again
    ENDING_CLOSE,
    ENDING_RESET,
};

struct kind {
    const char *name;
    void (*pack)(struct buffer *out, size_t bomb_size);  // NULL: nothing is sent
    size_t step;                                         // bytes at a time
    int64_t pause_ms;                                    // between two steps
    int64_t delay_ms;                                    // before the first connection
    enum ending ending;
    bool stops_half_way;
    bool is_deaf;  // never reads, and has little room for what it does not read
    bool is_datagram;
};

struct state {
    const struct kind *kind;
    struct buffer bytes;
    uint64_t connected, failed, closed_by_server, sent, rounds, received;
};

struct peer {
    struct state *state;
    int fd;  // -1: to be connected
    size_t at;
    int64_t due_ns;
};

struct hostile {
    struct sockaddr_in tcp, udp;
    bool has_udp;
    int epoll_fd;
    uint32_t sources;
    struct peer *peers;
    size_t peers_count;
    size_t bomb_size;
    int64_t now_ns;
};

// --- what they send ---

static void
message_pack(struct buffer *out, size_t bomb_size)
{
    (void)bomb_size;
    wire_packed(
        out, "hostile", &(struct wire){.events = 100, .chunk = "slow", .subject = "hostile"});
}

// Never finished, so it does not matter what is in it.
static void
half_pack(struct buffer *out, size_t bomb_size)
{
    (void)bomb_size;
    pack_array(out, 2);
    pack_text(out, "hostile");
    struct buffer zeros = {0};
    memset(buffer_reserve(&zeros, HALF_FRAME), 0, HALF_FRAME);
    buffer_commit(&zeros, HALF_FRAME);
    pack_bin(out, buffer_view(&zeros));
    buffer_done(&zeros);
}

// The shortest chunk that is answered: acks pile up quickest.
static void
empty_pack(struct buffer *out, size_t bomb_size)
{
    (void)bomb_size;
    struct wire wire = {.events = 0, .chunk = "a chunk whose acks are never read by anybody"};
    for (uint32_t i = 0; i < 64; i++)
        wire_forward(out, "hostile", &wire);
}

static void
resent_pack(struct buffer *out, size_t bomb_size)
{
    (void)bomb_size;
    struct wire wire = {
        .events = RESENT_EVENTS, .first = 1000, .chunk = "again", .subject = "resent"};
    wire_packed(out, "hostile", &wire);
}

static void
bytewise_pack(struct buffer *out, size_t bomb_size)
{
    (void)bomb_size;
    struct wire wire = {.events = 1, .chunk = "b", .subject = "bytewise"};
    wire_packed(out, "hostile", &wire);
}

// As much as may be inflated, and every entry is refused; broken at the very end.
static void
bomb_pack(struct buffer *out, size_t bomb_size)
{
    struct buffer nils = {0}, packed = {0};
    memset(buffer_reserve(&nils, bomb_size), 0xc0, bomb_size);
    buffer_commit(&nils, bomb_size);
    buffer_u8(&nils, 0xc1);
    squeeze(&packed, buffer_view(&nils));
    // zlib makes it about a thousandth; padding with empty members keeps it below the ratio.
    struct buffer empty = {0};
    squeeze(&empty, bytes_of("", 0));
    while (packed.size < bomb_size / 150)
        buffer_bytes(&packed, buffer_view(&empty));
    wire_gzip(out, "hostile", buffer_view(&packed), "bomb");
    buffer_done(&nils);
    buffer_done(&packed);
    buffer_done(&empty);
}

// Whole and within all limits, but nothing in it counts.
static void
nils_pack(struct buffer *out, size_t bomb_size)
{
    struct buffer nils = {0};
    size_t size = bomb_size / 8;
    memset(buffer_reserve(&nils, size), 0xc0, size);
    buffer_commit(&nils, size);
    pack_array(out, 2);
    pack_text(out, "hostile");
    pack_bin(out, buffer_view(&nils));
    buffer_done(&nils);
}

static void
ratio_pack(struct buffer *out, size_t bomb_size)
{
    struct buffer zeros = {0}, packed = {0};
    memset(buffer_reserve(&zeros, bomb_size), 0, bomb_size);
    buffer_commit(&zeros, bomb_size);
    squeeze(&packed, buffer_view(&zeros));
    wire_gzip(out, "hostile", buffer_view(&packed), "ratio");
    buffer_done(&zeros);
    buffer_done(&packed);
}

static void
garbage_pack(struct buffer *out, size_t bomb_size)
{
    (void)bomb_size;
    uint64_t state = 20261122;
    // Begins with a byte that msgpack never uses, after a message that is none.
    buffer_text(out, "\x93\xa1");
    for (uint32_t i = 0; i < 4096; i++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        buffer_u8(out, (uint8_t)(state >> 56));
    }
}

static void
digest_pack(struct buffer *out, size_t bomb_size)
{
    (void)bomb_size;
    struct ping ping = {
        .host = bytes_text("hostile"),
        .salt = bytes_text("0123456789abcdef"),
        .nonce = bytes_text("not the one that was sent"),
        .key = bytes_text("not the key"),
    };
    ping_pack(&ping, out);
}

// clang-format off
static const struct kind KINDS[] = {
    {.name = "slow", .pack = message_pack, .step = 1, .pause_ms = 1000},
    // After the others, who would find no memory for their messages.
    {.name = "half",
     .pack = half_pack,
     .step = 256 << 10,
     .pause_ms = 1,
     .delay_ms = 1500,
     .stops_half_way = true},
    {.name = "deaf",
     .pack = empty_pack,
     .step = 64 << 10,
     .pause_ms = 5,
     .ending = ENDING_AGAIN,
     .is_deaf = true},
    {.name = "bytewise", .pack = bytewise_pack, .step = 1, .pause_ms = 1, .ending = ENDING_AGAIN},
    {.name = "resend",
     .pack = resent_pack,
     .step = 64 << 10,
     .pause_ms = 5,
     .ending = ENDING_AGAIN},
    {.name = "bomb", .pack = bomb_pack, .step = 64 << 10, .pause_ms = 5},
    {.name = "ratio", .pack = ratio_pack, .step = 64 << 10, .pause_ms = 5},
    {.name = "nils", .pack = nils_pack, .step = 256 << 10, .pause_ms = 5, .ending = ENDING_AGAIN},
    {.name = "garbage", .pack = garbage_pack, .step = 64 << 10, .pause_ms = 5},
    {.name = "digest", .pack = digest_pack, .step = 64 << 10, .pause_ms = 5},
    {.name = "mute"},
    {.name = "storm", .ending = ENDING_CLOSE},
    {.name = "reset", .pack = bytewise_pack, .step = 20, .ending = ENDING_RESET},
    {.name = "udp",
     .pack = garbage_pack,
     .step = 1200,
     .pause_ms = 1,
     .ending = ENDING_AGAIN,
     .is_datagram = true},
};
// clang-format on

enum { KINDS_COUNT = sizeof KINDS / sizeof KINDS[0] };

// --- connections ---

static void
peer_close(struct hostile *hostile, struct peer *peer, bool is_reset)
{
    // Linger 0: the peer is told nothing but a reset.
    struct linger linger = {.l_onoff = 1};
    if (is_reset)
        (void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    (void)close(peer->fd);
    peer->fd = -1;
    peer->at = 0;
    peer->due_ns = hostile->now_ns + AGAIN_MS * (int64_t)MILLISECOND;
}

static int
source_bind(struct hostile *hostile, int fd)
{
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + hostile->sources++ % 65000);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    return bind(fd, (const struct sockaddr *)&from, sizeof from);
}

static void
peer_connect(struct hostile *hostile, struct peer *peer)
{
    const struct kind *kind = peer->state->kind;
    int one = 1, small = 4096;
    int type = kind->is_datagram ? SOCK_DGRAM : SOCK_STREAM;
    const struct sockaddr_in *to = kind->is_datagram ? &hostile->udp : &hostile->tcp;
    peer->fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(peer->fd >= 0);
    if (kind->is_deaf)
        (void)setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (!kind->is_datagram)
        (void)setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int rc = source_bind(hostile, peer->fd);
    if (rc == 0)
        rc = connect(peer->fd, (const struct sockaddr *)to, sizeof *to);
    if (rc < 0 && errno != EINPROGRESS) {
        peer->state->failed++;
        peer_close(hostile, peer, true);
        return;
    }
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = peer};
    if (!kind->is_deaf)
        event.events |= EPOLLIN;
    rc = epoll_ctl(hostile->epoll_fd, EPOLL_CTL_ADD, peer->fd, &event);
    must(rc == 0);
    peer->state->connected++;
    peer->due_ns = hostile->now_ns + MILLISECOND;
}

// All of its bytes are sent.
static void
peer_end(struct hostile *hostile, struct peer *peer)
{
    enum ending ending = peer->state->kind->ending;
    peer->state->rounds++;
    if (ending == ENDING_CLOSE || ending == ENDING_RESET)
        peer_close(hostile, peer, ending == ENDING_RESET);
    else if (ending == ENDING_AGAIN)
        peer->at = 0;
    else
        peer->due_ns = INT64_MAX;
}

static void
peer_send(struct hostile *hostile, struct peer *peer)
{
    struct state *state = peer->state;
    const struct kind *kind = state->kind;
    size_t size = kind->stops_half_way ? state->bytes.size / 2 : state->bytes.size;
    size_t left = size - peer->at;
    size_t step = left < kind->step ? left : kind->step;
    peer->due_ns = hostile->now_ns + kind->pause_ms * MILLISECOND;
    ssize_t sent = step > 0 ? send(peer->fd, state->bytes.data + peer->at, step, MSG_NOSIGNAL) : 0;
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
        state->closed_by_server++;
        peer_close(hostile, peer, false);
        return;
    }
    if (sent > 0) {
        peer->at += (size_t)sent;
        state->sent += (uint64_t)sent;
    }
    if (peer->at == size)
        peer_end(hostile, peer);
}

static void
peer_go_on(struct hostile *hostile, struct peer *peer)
{
    if (peer->fd < 0) {
        peer_connect(hostile, peer);
        return;
    }
    uint32_t times = peer->state->kind->is_datagram ? UDP_AT_ONCE : 1;
    for (uint32_t i = 0; i < times && peer->fd >= 0; i++)
        peer_send(hostile, peer);
}

static void
peer_hear(struct hostile *hostile, struct peer *peer, uint32_t events)
{
    static uint8_t data[64 * 1024];
    ssize_t size = 1;
    if (peer->fd < 0)
        return;
    while (!peer->state->kind->is_deaf && size > 0) {
        size = recv(peer->fd, data, sizeof data, 0);
        if (size > 0)
            peer->state->received += (uint64_t)size;
    }
    if (peer->state->kind->is_datagram)
        return;
    if (size == 0 || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
        peer->state->closed_by_server++;
        peer_close(hostile, peer, false);
    }
}

static volatile sig_atomic_t is_stopping;

static void
on_stop(int number)
{
    (void)number;
    is_stopping = 1;
}

// Packing took its time; what was to come one after the other still does.
static void
hostile_begin(struct hostile *hostile)
{
    int c;
    (void)puts("ready");
    (void)fflush(stdout);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
    int64_t late_ns = clock_monotonic_ns() - hostile->now_ns;
    for (size_t i = 0; i < hostile->peers_count; i++)
        hostile->peers[i].due_ns += late_ns;
}

static void
hostile_run(struct hostile *hostile, int64_t seconds)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int64_t end_ns = clock_monotonic_ns() + seconds * SECOND_NS;
    while (!is_stopping && (hostile->now_ns = clock_monotonic_ns()) < end_ns) {
        int count = epoll_wait(hostile->epoll_fd, events, EVENTS_AT_ONCE, 1);
        for (int i = 0; i < count; i++)
            peer_hear(hostile, events[i].data.ptr, events[i].events);
        for (size_t i = 0; i < hostile->peers_count; i++)
            if (hostile->peers[i].due_ns <= hostile->now_ns)
                peer_go_on(hostile, &hostile->peers[i]);
    }
    for (size_t i = 0; i < hostile->peers_count; i++)
        if (hostile->peers[i].fd >= 0)
            peer_close(hostile, &hostile->peers[i], true);
}

// --- the command line ---

_Noreturn static void
usage_exit(const char *what)
{
    (void)fprintf(
        stderr,
        "hostile: %s\n"
        "usage: hostile 127.0.0.1:PORT 127.0.0.1:PORT|none SECONDS BOMB_MIB KIND=COUNT ...\n",
        what);
    exit(2);
}

static struct sockaddr_in
address_parse(const char *text)
{
    char host[32] = "";
    const char *colon = strrchr(text, ':');
    struct sockaddr_in in = {.sin_family = AF_INET};
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        usage_exit(text);
    memcpy(host, text, (size_t)(colon - text));
    in.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    bool is_loopback = inet_pton(AF_INET, host, &in.sin_addr) == 1 &&
                       (ntohl(in.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET && in.sin_port != 0;
    if (!is_loopback)
        usage_exit(text);
    return in;
}

static void
kind_add(struct hostile *hostile, struct state states[KINDS_COUNT], const char *text)
{
    const char *equals = strchr(text, '=');
    size_t count = equals != NULL ? strtoul(equals + 1, NULL, 10) : 0;
    struct state *state = NULL;
    for (size_t i = 0; equals != NULL && i < KINDS_COUNT; i++)
        if (strlen(KINDS[i].name) == (size_t)(equals - text) &&
            memcmp(KINDS[i].name, text, (size_t)(equals - text)) == 0)
            state = &states[i];
    if (state == NULL || count == 0 || count > CONNECTIONS_MAX - hostile->peers_count ||
        (state->kind->is_datagram && !hostile->has_udp))
        usage_exit(text);
    if (state->kind->pack != NULL && state->bytes.size == 0)
        state->kind->pack(&state->bytes, hostile->bomb_size);
    for (size_t i = 0; i < count; i++)
        // Not all in the same moment.
        hostile->peers[hostile->peers_count++] = (struct peer){
            .state = state,
            .fd = -1,
            .due_ns = hostile->now_ns + state->kind->delay_ms * MILLISECOND +
                      (int64_t)i * MILLISECOND / 2,
        };
}

static void
states_print(const struct state states[KINDS_COUNT])
{
    const char *before = "{";
    for (size_t i = 0; i < KINDS_COUNT; i++) {
        const struct state *state = &states[i];
        if (state->connected + state->failed == 0)
            continue;
        (void)printf(
            "%s\"%s\": {\"connected\": %lu, \"failed\": %lu, \"closed_by_server\": %lu, "
            "\"sent\": %lu, \"rounds\": %lu, \"received\": %lu}",
            before,
            state->kind->name,
            state->connected,
            state->failed,
            state->closed_by_server,
            state->sent,
            state->rounds,
            state->received);
        before = ", ";
    }
    (void)printf("}\n");
}

int
main(int argc, char **argv)
{
    static struct peer peers[CONNECTIONS_MAX];
    static struct state states[KINDS_COUNT];
    struct error error = {0};
    if (argc < 6)
        usage_exit("too few arguments");
    if (clock_init(&error) != STATUS_OK)
        usage_exit(error.text);
    struct hostile hostile = {.peers = peers, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    hostile.now_ns = clock_monotonic_ns();
    hostile.tcp = address_parse(argv[1]);
    hostile.has_udp = strcmp(argv[2], "none") != 0;
    if (hostile.has_udp)
        hostile.udp = address_parse(argv[2]);
    int64_t seconds = strtol(argv[3], NULL, 10);
    if (seconds < 1 || seconds > SECONDS_MAX)
        usage_exit(argv[3]);
    long bomb_mib = strtol(argv[4], NULL, 10);
    if (bomb_mib < 1 || bomb_mib > BOMB_MIB_MAX)
        usage_exit(argv[4]);
    hostile.bomb_size = (size_t)bomb_mib << 20;
    for (size_t i = 0; i < KINDS_COUNT; i++)
        states[i].kind = &KINDS[i];
    for (int i = 5; i < argc; i++)
        kind_add(&hostile, states, argv[i]);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGTERM, on_stop);
    hostile_begin(&hostile);
    hostile_run(&hostile, seconds);
    states_print(states);
    for (size_t i = 0; i < KINDS_COUNT; i++)
        buffer_done(&states[i].bytes);
    (void)close(hostile.epoll_fd);
    return 0;
}
