// The real program: TALLY_BIN_DIR/tallyd, started in a temporary directory, spoken to over its
// sockets.

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/unpack.h"
#include "ledger/control.h"
#include "tests/ingest/ping.h"
#include "tests/ingest/wire.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 24, WAIT_S = 60 };

struct place {
    char dir[64];  // of the test
    const char *data;
    struct arena arena;
};

struct daemon {
    pid_t pid;
    const char *tcp;
    const char *udp;
    const char *unix_path;
    const char *metrics;
};

static void
place_open(struct place *place)
{
    *place = (struct place){.dir = "/tmp/tally-tallyd-XXXXXX"};
    cr_assert_not_null(mkdtemp(place->dir));
    place->data = arena_format(&place->arena, "%s/data", place->dir);
}

static int
path_remove(const char *path, const struct stat *state, int kind, struct FTW *walk)
{
    (void)state;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void
place_close(struct place *place)
{
    arena_done(&place->arena);
    cr_assert_eq(nftw(place->dir, path_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

// --- the program ---

static const char *
program(void)
{
    static char path[4096];
    const char *dir = getenv("TALLY_BIN_DIR");
    if (dir == NULL)
        cr_skip_test("TALLY_BIN_DIR is not set: where is tallyd?");
    (void)snprintf(path, sizeof path, "%s/tallyd", dir);
    if (access(path, X_OK) != 0)
        cr_skip_test("%s is not built", path);
    return path;
}

// more: further arguments, NULL-terminated. Free ports and a small map unless they say otherwise.
static pid_t
tallyd_spawn(const struct place *place, const char *const *more)
{
    const char *args[ARGS_MAX] = {
        program(),
        "--data",
        place->data,
        "--tcp",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--map-size",
        "256M",
        "--log-level",
        "error"};
    size_t count = 11;
    for (size_t i = 0; more != NULL && more[i] != NULL; i++) {
        cr_assert_lt(count, ARGS_MAX - 1);
        args[count++] = more[i];
    }
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        // A test that fails takes its tallyd with it.
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(args[0], (char *const *)args);
        _exit(127);
    }
    return pid;
}

static void
wait_a_little(void)
{
    (void)poll(NULL, 0, 5);
}

// The exit status, or -signal.
static int
tallyd_wait(pid_t pid)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_S * SECOND_NS;
    int state = 0;
    pid_t ended;
    while ((ended = waitpid(pid, &state, WNOHANG)) == 0) {
        if (clock_monotonic_ns() > deadline_ns) {
            (void)kill(pid, SIGKILL);
            cr_assert_fail("tallyd did not end");
        }
        wait_a_little();
    }
    cr_assert_eq(ended, pid);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
}

static struct bytes
file_read(struct arena *arena, const char *path)
{
    char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return bytes_of(NULL, 0);
    ssize_t size = read(fd, text, sizeof text);
    close(fd);
    return arena_bytes(arena, bytes_of(text, size > 0 ? (size_t)size : 0));
}

static const char *
member(struct place *place, const struct json *root, const char *key)
{
    const struct json *found = json_member(root, key);
    cr_assert_not_null(found, "%s", key);
    return found->type == JSON_STRING ? arena_text_of(&place->arena, found->text) : NULL;
}

// What the program says about itself once it listens.
static bool
daemon_read(struct place *place, struct daemon *daemon)
{
    struct json *root = NULL;
    struct error error;
    int64_t pid = 0;
    const char *path = arena_format(&place->arena, "%s/tallyd.json", place->data);
    struct bytes text = file_read(&place->arena, path);
    if (text.size == 0)
        return false;
    cr_assert_eq(json_parse(text, NULL, &place->arena, &root, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(json_int64(json_member(root, "pid"), &pid), STATUS_OK);
    if (pid != daemon->pid)
        return false;
    daemon->tcp = member(place, root, "tcp");
    daemon->udp = member(place, root, "udp");
    daemon->unix_path = member(place, root, "unix");
    daemon->metrics = member(place, root, "metrics");
    return true;
}

static struct daemon
tallyd_start(struct place *place, const char *const *more)
{
    struct daemon daemon = {.pid = tallyd_spawn(place, more)};
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_S * SECOND_NS;
    while (!daemon_read(place, &daemon)) {
        int state;
        cr_assert_eq(waitpid(daemon.pid, &state, WNOHANG), 0, "tallyd ended at its start");
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "tallyd does not listen");
        wait_a_little();
    }
    return daemon;
}

static void
tallyd_stop(const struct daemon *daemon)
{
    cr_assert_eq(kill(daemon->pid, SIGTERM), 0);
    cr_assert_eq(tallyd_wait(daemon->pid), 0);
}

// --- clients ---

static int
inet_connect(const char *address, int type)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)strtol(colon + 1, NULL, 10))};
    cr_assert_eq(inet_pton(AF_INET, host, &in.sin_addr), 1, "%s", host);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&in, sizeof in), 0, "%s: %d", address, errno);
    return fd;
}

static int
tcp_connect(const char *address)
{
    return inet_connect(address, SOCK_STREAM);
}

static int
udp_connect(const char *address)
{
    return inet_connect(address, SOCK_DGRAM);
}

static int
unix_connect(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char dir[4096];
    (void)snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    *slash = '\0';
    int dir_fd = open(dir, O_PATH | O_CLOEXEC);
    cr_assert_geq(dir_fd, 0, "%s", dir);
    (void)snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d/%s", dir_fd, slash + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&un, sizeof un), 0, "%s: %d", path, errno);
    close(dir_fd);
    return fd;
}

static void
bytes_send(int fd, struct bytes bytes)
{
    while (bytes.size > 0) {
        ssize_t size = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        cr_assert_gt(size, 0, "send: %d", errno);
        bytes = bytes_of(bytes.data + size, bytes.size - (size_t)size);
    }
}

// Reads until one whole msgpack value is there, which must be all. Empty: the server hung up.
static struct bytes
answer_read(struct place *place, int fd)
{
    uint8_t data[4096];
    size_t size = 0;
    struct unpack_scan scan = {0};
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        cr_assert_eq(poll(&poll_fd, 1, WAIT_S * 1000), 1, "no answer");
        ssize_t more = recv(fd, data + size, sizeof data - size, 0);
        if (more <= 0)
            return bytes_of(NULL, 0);
        size += (size_t)more;
        enum unpack_result result = unpack_scan(&scan, bytes_of(data, size), sizeof data);
        cr_assert(result == UNPACK_COMPLETE || result == UNPACK_INCOMPLETE);
        if (result == UNPACK_COMPLETE) {
            cr_assert_eq(scan.size, size, "more than one answer");
            return arena_bytes(&place->arena, bytes_of(data, size));
        }
    }
}

static void
ack_expect(struct place *place, int fd, const char *chunk)
{
    scoped(buffer_done) struct buffer wanted = {0};
    pack_map(&wanted, 1);
    pack_text(&wanted, "ack");
    pack_text(&wanted, chunk);
    cr_assert(bytes_equal(answer_read(place, fd), buffer_view(&wanted)), "ack of %s", chunk);
}

static void
results_expect(
    struct place *place, int fd, const char *chunk, uint32_t duplicates, const char *reason)
{
    scoped(buffer_done) struct buffer wanted = {0};
    pack_map(&wanted, 4);
    pack_text(&wanted, "ack");
    pack_text(&wanted, chunk);
    pack_text(&wanted, "duplicates");
    pack_uint(&wanted, duplicates);
    pack_text(&wanted, "rejected");
    pack_array(&wanted, reason != NULL);
    if (reason != NULL) {
        pack_array(&wanted, 2);
        pack_uint(&wanted, 0);
        pack_text(&wanted, reason);
    }
    pack_text(&wanted, "conflicts");
    pack_array(&wanted, 0);
    cr_assert(bytes_equal(answer_read(place, fd), buffer_view(&wanted)), "results of %s", chunk);
}

static void
wire_send(int fd, const struct wire *wire)
{
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api_call", wire);
    bytes_send(fd, buffer_view(&out));
}

// The body of an HTTP answer whose status is 200.
static const char *
http_get(struct place *place, const char *address, const char *path)
{
    scoped(buffer_done) struct buffer answer = {0};
    int fd = tcp_connect(address);
    const char *request =
        arena_format(&place->arena, "GET %s HTTP/1.0\r\nHost: test\r\n\r\n", path);
    bytes_send(fd, bytes_text(request));
    char data[4096];
    ssize_t size;
    while ((size = recv(fd, data, sizeof data, 0)) > 0)
        buffer_put(&answer, data, (size_t)size);
    close(fd);
    const char *text = arena_text_of(&place->arena, buffer_view(&answer));
    cr_assert_not_null(strstr(text, " 200 "), "%s: %s", path, text);
    const char *body = strstr(text, "\r\n\r\n");
    cr_assert_not_null(body);
    return body + 4;
}

// --- tests ---

Test(tallyd, takes_events_on_tcp_and_unix_and_acks_them)
{
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, NULL);
    int tcp = tcp_connect(daemon.tcp);
    wire_send(tcp, &(struct wire){.events = 10, .chunk = "c1"});
    ack_expect(&place, tcp, "c1");
    int local = unix_connect(daemon.unix_path);
    wire_send(local, &(struct wire){.events = 10, .chunk = "c2", .results = true});
    results_expect(&place, local, "c2", 10, NULL);
    const char *metrics = http_get(&place, daemon.metrics, "/metrics");
    cr_assert_not_null(strstr(metrics, "\ntally_ingest_events_total 20\n"), "%s", metrics);
    cr_assert_not_null(strstr(metrics, "\ntally_ingest_connections 2\n"));
    cr_assert_str_eq(http_get(&place, daemon.metrics, "/health"), "{\"status\":\"ok\"}\n");
    close(tcp);
    close(local);
    tallyd_stop(&daemon);
    cr_assert_eq(access(daemon.unix_path, F_OK), -1, "the socket is removed");
    cr_assert_not(daemon_read(&place, &daemon), "tallyd.json is removed");
    place_close(&place);
}

Test(tallyd, shows_rejects_over_http_and_in_a_file)
{
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, NULL);
    int tcp = tcp_connect(daemon.tcp);
    struct wire wire = {.events = 1, .chunk = "c1", .results = true, .time_ns = SECOND_NS};
    wire_send(tcp, &wire);
    results_expect(&place, tcp, "c1", 0, "time too old");
    cr_assert_not_null(
        strstr(http_get(&place, daemon.metrics, "/rejects"), "\"reason\":\"time too old\""));
    close(tcp);
    tallyd_stop(&daemon);
    struct bytes file =
        file_read(&place.arena, arena_format(&place.arena, "%s/rejects.ndjson", place.data));
    cr_assert_not_null(strstr(arena_text_of(&place.arena, file), "\"reason\":\"time too old\""));
    place_close(&place);
}

Test(tallyd, lets_its_own_user_backfill_over_the_unix_socket_only)
{
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, NULL);
    struct wire wire = {.events = 1, .chunk = "c1", .results = true, .time_ns = SECOND_NS};
    wire.backfill = "b1";
    int tcp = tcp_connect(daemon.tcp);
    wire_send(tcp, &wire);
    results_expect(&place, tcp, "c1", 0, "backfill not permitted");
    int local = unix_connect(daemon.unix_path);
    wire_send(local, &wire);
    results_expect(&place, local, "c1", 0, "backfill is not open");
    const struct control_request open = {
        .kind = CONTROL_BACKFILL,
        .backfill = {.act = BACKFILL_OPEN, .id = bytes_text("b1"), .who = bytes_text("ann")},
    };
    struct control_answer answer;
    struct error error = {0};
    cr_assert_eq(control_do(place.data, &open, &answer, &error), STATUS_OK, "%s", error.text);
    wire_send(local, &wire);
    results_expect(&place, local, "c1", 0, NULL);
    close(tcp);
    close(local);
    tallyd_stop(&daemon);
    place_close(&place);
}

// What arrived whole before SIGTERM is committed and acked, then the program ends with 0.
// docs/wire.md: W183
Test(tallyd, drains_on_sigterm)
{
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, NULL);
    int tcp = tcp_connect(daemon.tcp);
    wire_send(tcp, &(struct wire){.events = 1, .chunk = "first"});
    ack_expect(&place, tcp, "first");
    wire_send(tcp, &(struct wire){.events = 20000, .first = 100, .chunk = "second"});
    // The program may not have read it yet; then it is not acked, and the client sends it again.
    cr_assert_eq(kill(daemon.pid, SIGTERM), 0);
    struct bytes answer = answer_read(&place, tcp);
    cr_assert_eq(tallyd_wait(daemon.pid), 0);
    close(tcp);
    daemon = tallyd_start(&place, NULL);
    tcp = tcp_connect(daemon.tcp);
    wire_send(
        tcp, &(struct wire){.events = 20000, .first = 100, .chunk = "second", .results = true});
    results_expect(&place, tcp, "second", answer.size > 0 ? 20000 : 0, NULL);
    close(tcp);
    tallyd_stop(&daemon);
    place_close(&place);
}

// Every event of a chunk that was acked is known after a kill -9: sent again, all of them are
// duplicates.
// docs/wire.md: W51
Test(tallyd, keeps_acked_events_through_kill_9)
{
    struct place place;
    place_open(&place);
    uint32_t acked = 0;
    for (uint32_t round = 0; round < 4; round++) {
        struct daemon daemon = tallyd_start(&place, NULL);
        int tcp = tcp_connect(daemon.tcp);
        if (acked > 0) {
            wire_send(tcp, &(struct wire){.events = acked, .chunk = "all", .results = true});
            results_expect(&place, tcp, "all", acked, NULL);
        }
        for (uint32_t i = 0; i < 5; i++) {
            char chunk[32];
            (void)snprintf(chunk, sizeof chunk, "c%u-%u", round, i);
            wire_send(tcp, &(struct wire){.events = 300, .first = acked, .chunk = chunk});
            ack_expect(&place, tcp, chunk);
            acked += 300;
        }
        // One more is under way when it dies.
        wire_send(tcp, &(struct wire){.events = 300, .first = 1000000 + round * 300, .chunk = "x"});
        cr_assert_eq(kill(daemon.pid, SIGKILL), 0);
        cr_assert_eq(tallyd_wait(daemon.pid), -SIGKILL);
        close(tcp);
    }
    struct daemon daemon = tallyd_start(&place, NULL);
    int tcp = tcp_connect(daemon.tcp);
    wire_send(tcp, &(struct wire){.events = acked, .chunk = "all", .results = true});
    results_expect(&place, tcp, "all", acked, NULL);
    close(tcp);
    tallyd_stop(&daemon);
    place_close(&place);
}

// A valid message cut at every byte, over and over on connections of their own, then the whole one:
// only that counts.
Test(tallyd, is_not_killed_by_truncations)
{
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, NULL);
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api", &(struct wire){.events = 2, .chunk = "c1", .results = true});
    for (size_t size = 0; size < out.size; size++) {
        int tcp = tcp_connect(daemon.tcp);
        bytes_send(tcp, bytes_of(out.data, size));
        cr_assert_eq(shutdown(tcp, SHUT_WR), 0);
        cr_assert_eq(answer_read(&place, tcp).size, 0, "%zu bytes are answered", size);
        close(tcp);
    }
    int tcp = tcp_connect(daemon.tcp);
    bytes_send(tcp, buffer_view(&out));
    results_expect(&place, tcp, "c1", 0, NULL);
    close(tcp);
    tallyd_stop(&daemon);
    place_close(&place);
}

static uint64_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static long
resident_kib(struct place *place, pid_t pid)
{
    struct bytes text =
        file_read(&place->arena, arena_format(&place->arena, "/proc/%d/status", pid));
    const char *line = strstr(arena_text_of(&place->arena, text), "VmRSS:");
    cr_assert_not_null(line);
    return strtol(line + 6, NULL, 10);
}

Test(tallyd, is_neither_killed_nor_bloated_by_bad_input)
{
    static const struct bytes claims[] = {
        {(const uint8_t *)"\xdd\x04\x00\x00\x00",          5},
        {(const uint8_t *)"\xdf\xff\xff\xff\xff",          5},
        {(const uint8_t *)"\x92\xa1t\xc6\x00\xff\xff\xff", 8},
        {(const uint8_t *)"\x92\xa1t\xdd\x00\xff\xff\x00", 8},
        {(const uint8_t *)"\xc6\xff\xff\xff\xff",          5},
    };
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, NULL);
    long before_kib = resident_kib(&place, daemon.pid);
    uint64_t state = 42;
    for (uint32_t round = 0; round < 400; round++) {
        uint8_t data[256];
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)random_next(&state);
        struct bytes bytes = round % 4 == 0 ? claims[round / 4 % 5]
                                            : bytes_of(data, 1 + random_next(&state) % sizeof data);
        int tcp = tcp_connect(daemon.tcp);
        bytes_send(tcp, bytes);
        cr_assert_eq(shutdown(tcp, SHUT_WR), 0);
        char rest[64];
        // An answer is possible in principle; what matters is that the connection ends.
        while (recv(tcp, rest, sizeof rest, 0) > 0)
            continue;
        close(tcp);
    }
    cr_assert_lt(resident_kib(&place, daemon.pid), before_kib + 64 * 1024);
    int tcp = tcp_connect(daemon.tcp);
    wire_send(tcp, &(struct wire){.events = 1, .chunk = "alive"});
    ack_expect(&place, tcp, "alive");
    close(tcp);
    tallyd_stop(&daemon);
    place_close(&place);
}

Test(tallyd, refuses_a_second_instance)
{
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, NULL);
    cr_assert_eq(tallyd_wait(tallyd_spawn(&place, NULL)), 1);
    int tcp = tcp_connect(daemon.tcp);
    wire_send(tcp, &(struct wire){.events = 1, .chunk = "c1"});
    ack_expect(&place, tcp, "c1");
    close(tcp);
    int local = unix_connect(daemon.unix_path);
    close(local);
    tallyd_stop(&daemon);
    place_close(&place);
}

Test(tallyd, exits_2_on_another_shard_count)
{
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, (const char *const[]){"--shards", "3", NULL});
    tallyd_stop(&daemon);
    cr_assert_eq(
        tallyd_wait(tallyd_spawn(&place, (const char *const[]){"--shards", "2", NULL})), 2);
    daemon = tallyd_start(&place, (const char *const[]){"--shards", "3", NULL});
    tallyd_stop(&daemon);
    daemon = tallyd_start(&place, NULL);
    tallyd_stop(&daemon);
    place_close(&place);
}

Test(tallyd, exits_2_on_what_cannot_be_asked)
{
    // clang-format off
    static const char *const rows[][5] = {
        {"--no-such-option", NULL},
        {"--tcp", "0.0.0.0:0", NULL},
        {"--metrics", "0.0.0.0:0", NULL},
        {"--tcp", "nonsense", NULL},
        {"--tcp", "127.0.0.1:99999999", NULL},
        {"--log-format", "xml", NULL},
        {"--log-level", "loud", NULL},
        {"--frame-max", "512M", NULL},
        {"--frame-max", "16M", "--memory", "17M", NULL},
        {"--frame-max", "16M", "--connection-memory", "1M", NULL},
        {"--connections-max", "0", NULL},
        {"--udp", "0.0.0.0:0", NULL},
        {"--udp", "nonsense", NULL},
        {"--udp-allow", "10.0.0.0/33", NULL},
        {"--udp-buffer", "1", NULL},
        {"--memory", "64M", NULL},
        {"--ratio-max", "0", NULL},
        {"--handshake-timeout", "0s", NULL},
        {"--stall-timeout", "0s", NULL},
        {"--idle-timeout", "0s", NULL},
        {"--shared-key-file", "/dev/null", NULL},
        {"--shared-key-file", "/nowhere/at/all", NULL},
        {"--shared-key", "secret", NULL},
        {"--users", "/nowhere/at/all", NULL},
    };
    // clang-format on
    struct place place;
    place_open(&place);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(tallyd_wait(tallyd_spawn(&place, rows[i])), 2, "%s", rows[i][0]);
    cr_assert_eq(access(place.data, F_OK), -1, "nothing was made");
    place_close(&place);
}

Test(tallyd, listens_beyond_this_machine_when_told_that_it_is_insecure)
{
    struct place place;
    place_open(&place);
    struct daemon daemon =
        tallyd_start(&place, (const char *const[]){"--tcp", "0.0.0.0:0", "--insecure", NULL});
    cr_assert_eq(strncmp(daemon.tcp, "0.0.0.0:", 8), 0, "%s", daemon.tcp);
    tallyd_stop(&daemon);
    place_close(&place);
}

// Without --udp it is where TCP is; beyond this machine it wants to be told who may send.
Test(tallyd, takes_datagrams_where_it_is_told_to)
{
    static const struct {
        const char *args[6];
        const char *address;
    } rows[] = {
        {{NULL},                                                         "127.0.0.1:"},
        {{"--udp", "none", NULL},                                        NULL        },
        {{"--tcp", "none", NULL},                                        NULL        },
        {{"--tcp", "none", "--udp", "127.0.0.2:0", NULL},                "127.0.0.2:"},
        {{"--udp", "0.0.0.0:0", "--insecure", NULL},                     "0.0.0.0:"  },
        {{"--udp", "0.0.0.0:0", "--udp-allow", "10.0.0.0/8", NULL},      "0.0.0.0:"  },
        {{"--udp-allow", "10.0.0.0/8", "--udp-allow", "fd00::/8", NULL}, "127.0.0.1:"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct place place;
        place_open(&place);
        struct daemon daemon = tallyd_start(&place, rows[i].args);
        if (rows[i].address == NULL)
            cr_assert_null(daemon.udp, "row %zu", i);
        else
            cr_assert_eq(strncmp(daemon.udp, rows[i].address, strlen(rows[i].address)), 0);
        tallyd_stop(&daemon);
        place_close(&place);
    }
}

Test(tallyd, takes_events_in_datagrams_and_acks_them)
{
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, NULL);
    int udp = udp_connect(daemon.udp);
    wire_send(udp, &(struct wire){.events = 10, .chunk = "c1"});
    ack_expect(&place, udp, "c1");
    wire_send(udp, &(struct wire){.events = 10, .chunk = "c1", .results = true});
    results_expect(&place, udp, "c1", 10, NULL);
    bytes_send(udp, bytes_of("\xc1", 1));
    bytes_send(udp, bytes_of("\0", 1));
    struct bytes echo = answer_read(&place, udp);
    cr_assert(echo.size == 1 && echo.data[0] == 0);
    const char *metrics = http_get(&place, daemon.metrics, "/metrics");
    cr_assert_not_null(strstr(metrics, "\ntally_udp_datagrams_total 4\n"), "%s", metrics);
    cr_assert_not_null(strstr(metrics, "\ntally_udp_dropped_total{by=\"kernel\"} 0\n"));
    cr_assert_not_null(strstr(metrics, "\ntally_udp_dropped_total{by=\"broken\"} 1\n"));
    cr_assert_not_null(strstr(metrics, "\ntally_ingest_events_total 20\n"));
    close(udp);
    tallyd_stop(&daemon);
    place_close(&place);
}

static const char *
secret_write(struct place *place, const char *name, const char *text)
{
    const char *path = arena_format(&place->arena, "%s/%s", place->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

// Answers HELO as a client with this key would, and returns the next answer.
static struct bytes
greeting_answer(struct place *place, int fd, const char *key, struct ping *out_ping)
{
    struct bytes helo = answer_read(place, fd);
    struct cursor in = cursor_over(helo);
    struct unpack_item item;
    // ["HELO", {"nonce": nonce
    for (int i = 0; i < 5; i++)
        cr_assert(unpack_next(&in, &item));
    cr_assert(item.type == UNPACK_STR && item.text.size == 32);
    *out_ping = (struct ping){
        .host = bytes_text("client"),
        .salt = bytes_text("salt"),
        .nonce = item.text,
        .key = bytes_text(key),
    };
    scoped(buffer_done) struct buffer out = {0};
    ping_pack(out_ping, &out);
    bytes_send(fd, buffer_view(&out));
    return answer_read(place, fd);
}

// Datagrams cannot show the shared key: who asks for them is told, and does not wonder why nothing
// listens.
Test(tallyd, takes_datagrams_beside_a_shared_key_from_named_networks_only)
{
    struct place place;
    place_open(&place);
    const char *key = secret_write(&place, "key", "a shared key\n");
    static const struct {
        const char *args[4];
        bool is_refused;
        bool has_udp;
    } rows[] = {
        {{NULL},                                                false, false},
        {{"--udp", "none"},                                     false, false},
        {{"--udp", "127.0.0.1:0"},                              true,  false},
        {{"--udp", "127.0.0.1:0", "--udp-allow", "10.0.0.0/8"}, false, true },
        {{"--udp-allow", "127.0.0.0/8"},                        false, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *args[8] = {"--shared-key-file", key};
        for (size_t n = 0; n < 4; n++)
            args[2 + n] = rows[i].args[n];
        if (rows[i].is_refused) {
            cr_assert_eq(tallyd_wait(tallyd_spawn(&place, args)), 2, "row %zu", i);
            continue;
        }
        struct daemon daemon = tallyd_start(&place, args);
        cr_assert_eq(daemon.udp != NULL, rows[i].has_udp, "row %zu", i);
        tallyd_stop(&daemon);
    }
    place_close(&place);
}

// With a shared key a listener beyond this machine needs no --insecure; the own user on the unix
// socket needs no key.
Test(tallyd, asks_for_the_shared_key_on_tcp)
{
    struct place place;
    place_open(&place);
    const char *key = secret_write(&place, "key", "a shared key\n");
    struct daemon daemon = tallyd_start(
        &place, (const char *const[]){"--tcp", "0.0.0.0:0", "--shared-key-file", key, NULL});
    struct ping ping;
    cr_assert_null(daemon.udp, "a datagram cannot show the key");
    int wrong = tcp_connect(daemon.tcp);
    scoped(buffer_done) struct buffer wanted = {0};
    pong_refusal_pack("shared key mismatch", &wanted);
    cr_assert(bytes_equal(greeting_answer(&place, wrong, "another", &ping), buffer_view(&wanted)));
    cr_assert_eq(answer_read(&place, wrong).size, 0, "the server hung up");
    close(wrong);
    int right = tcp_connect(daemon.tcp);
    struct bytes pong = greeting_answer(&place, right, "a shared key", &ping);
    buffer_reset(&wanted);
    pong_pack(&ping, &wanted);
    cr_assert(bytes_equal(pong, buffer_view(&wanted)));
    wire_send(right, &(struct wire){.events = 3, .chunk = "c1"});
    ack_expect(&place, right, "c1");
    close(right);
    int local = unix_connect(daemon.unix_path);
    wire_send(local, &(struct wire){.events = 3, .chunk = "c2"});
    ack_expect(&place, local, "c2");
    close(local);
    const char *metrics = http_get(&place, daemon.metrics, "/metrics");
    cr_assert_not_null(strstr(metrics, "\ntally_ingest_handshakes_total 1\n"));
    cr_assert_not_null(strstr(
        metrics, "\ntally_ingest_handshakes_failed_total{reason=\"shared key mismatch\"} 1\n"));
    tallyd_stop(&daemon);
    place_close(&place);
}

// Every datagram that was sent before SIGTERM is acked before the program ends, and is known to the
// next one.
Test(tallyd, drains_datagrams_on_sigterm)
{
    enum { SENT = 40, EVENTS = 50 };
    struct place place;
    place_open(&place);
    struct daemon daemon = tallyd_start(&place, NULL);
    int udp = udp_connect(daemon.udp);
    for (uint32_t i = 0; i < SENT; i++)
        wire_send(udp, &(struct wire){.events = EVENTS, .first = i * EVENTS, .chunk = "c1"});
    tallyd_stop(&daemon);
    for (uint32_t i = 0; i < SENT; i++)
        ack_expect(&place, udp, "c1");
    close(udp);
    daemon = tallyd_start(&place, NULL);
    udp = udp_connect(daemon.udp);
    for (uint32_t i = 0; i < SENT; i++) {
        struct wire wire = {.events = EVENTS, .first = i * EVENTS, .chunk = "c1", .results = true};
        wire_send(udp, &wire);
        results_expect(&place, udp, "c1", EVENTS, NULL);
    }
    close(udp);
    tallyd_stop(&daemon);
    place_close(&place);
}

// HTTP knows no shared key.
Test(tallyd, does_not_open_its_metrics_for_a_shared_key)
{
    struct place place;
    place_open(&place);
    const char *key = secret_write(&place, "key", "a shared key\n");
    const char *const rows[] = {"--metrics", "0.0.0.0:0", "--shared-key-file", key, NULL};
    cr_assert_eq(tallyd_wait(tallyd_spawn(&place, rows)), 2);
    place_close(&place);
}

Test(tallyd, helps_and_tells_its_version)
{
    struct place place;
    place_open(&place);
    int silent = open("/dev/null", O_WRONLY);
    cr_assert_geq(dup2(silent, STDOUT_FILENO), 0);
    cr_assert_eq(tallyd_wait(tallyd_spawn(&place, (const char *const[]){"--help", NULL})), 0);
    cr_assert_eq(tallyd_wait(tallyd_spawn(&place, (const char *const[]){"--version", NULL})), 0);
    close(silent);
    place_close(&place);
}

Test(tallyd, works_in_a_folder_whose_path_is_long)
{
    struct place place;
    place_open(&place);
    char name[101];
    memset(name, 'd', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const char *deep = arena_format(&place.arena, "%s/%s", place.dir, name);
    cr_assert_eq(mkdir(deep, 0700), 0);
    place.data = arena_format(&place.arena, "%s/%s", deep, name);
    struct daemon daemon = tallyd_start(&place, (const char *const[]){"--tcp", "none", NULL});
    cr_assert_null(daemon.tcp);
    cr_assert_null(daemon.udp);
    cr_assert_gt(strlen(daemon.unix_path), 200);
    int local = unix_connect(daemon.unix_path);
    wire_send(local, &(struct wire){.events = 1, .chunk = "c1"});
    ack_expect(&place, local, "c1");
    close(local);
    tallyd_stop(&daemon);
    place_close(&place);
}
