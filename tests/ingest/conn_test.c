// Connections against a real ledger in a temporary directory. A front without a thread is turned by
// the test, which plays the client on the other end of a socket pair.

#include "ingest/conn.h"

#include "base/clock.h"
#include "ingest/front.h"
#include "ledger/backfill.h"
#include "tests/ingest/wire.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAME_MAX = 1 << 20 };

struct bench {
    char dir[64];
    struct ledger *ledger;
    struct rejects *rejects;
    struct ingest_metrics metrics;
    struct front *front;
    int client;            // the test's end
    struct buffer answer;  // what the client has read
    bool is_ended;         // the server closed the connection
};

static int64_t wall_ns;

static int64_t
wall_now_ns(void)
{
    return wall_ns;
}

static int
client_adopt(struct bench *bench, bool is_own_user)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct peer peer = {.text = "test", .is_own_user = is_own_user};
    cr_assert(front_adopt(bench->front, fds[0], &peer));
    cr_assert_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    return fds[1];
}

struct bench_options {
    struct desk_options desk;
    struct loop_options loop;
    uint64_t group_size_bytes;
    uint32_t group_events_max;
    bool is_stranger;  // the peer is another user
};

static void
bench_open(struct bench *bench, const struct bench_options *options)
{
    struct error error = {0};
    *bench = (struct bench){.dir = "/tmp/tally-conn-XXXXXX"};
    wall_ns = 1700167680 * SECOND_NS;
    cr_assert_not_null(mkdtemp(bench->dir));
    ingest_metrics_init(&bench->metrics);
    struct ledger_create_options create = {.shards = 2, .map_size = 64 << 20};
    cr_assert_eq(ledger_create(bench->dir, &create, &error), STATUS_OK, "%s", error.text);
    struct ledger_options ledger = {
        .now_ns = wall_now_ns,
        .group_size_bytes = options->group_size_bytes,
        .group_events_max = options->group_events_max,
    };
    cr_assert_eq(
        ledger_open(bench->dir, &ledger, &bench->ledger, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(
        rejects_open(NULL, &bench->metrics.rejects_unlisted, &bench->rejects, &error), STATUS_OK);
    struct front_options front = {
        .ledger = bench->ledger,
        .rejects = bench->rejects,
        .metrics = &bench->metrics,
        .desk = options->desk,
        .loop = options->loop,
    };
    cr_assert_eq(front_open(&front, &bench->front, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(front_bind(bench->front, &error), STATUS_OK, "%s", error.text);
    bench->client = client_adopt(bench, !options->is_stranger);
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
bench_close(struct bench *bench)
{
    struct error error = {0};
    if (bench->client >= 0)
        close(bench->client);
    front_close(bench->front);
    cr_assert_eq(ledger_close(bench->ledger, &error), STATUS_OK, "%s", error.text);
    rejects_close(bench->rejects);
    buffer_done(&bench->answer);
    cr_assert_eq(nftw(bench->dir, path_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static const struct bench_options PLAIN = {
    .desk =
        {
               .connections_max = 8,
               .tickets = 64,
               .conn_tickets = 32,
               .frame_max = FRAME_MAX,
               .connection_memory = 2 * FRAME_MAX,
               .memory_max = 8 * FRAME_MAX,
               .acks_max = 64 * 1024,
               .linger_ns = 5 * INT64_C(1000000000),
               },
    .loop = {.entries = 64, .buffers = 16, .buffer_size = 4096},
};

static void
turn(struct bench *bench)
{
    struct error error = {0};
    cr_assert_eq(front_turn(bench->front, 5 * 1000000, &error), STATUS_OK, "%s", error.text);
}

static void
client_read(struct bench *bench)
{
    uint8_t data[4096];
    ssize_t size;
    while ((size = read(bench->client, data, sizeof data)) > 0)
        buffer_put(&bench->answer, data, (size_t)size);
    if (size == 0 || (size < 0 && errno == ECONNRESET))
        bench->is_ended = true;
}

#define TURN_UNTIL(bench, condition)                                                               \
    do {                                                                                           \
        int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;                               \
        while (!(condition)) {                                                                     \
            cr_assert_lt(clock_monotonic_ns(), deadline_ns, "waited too long for " #condition);    \
            turn(bench);                                                                           \
        }                                                                                          \
    } while (0)

// Turns and reads until the client has got at least size bytes.
static void
answer_await(struct bench *bench, size_t size)
{
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (bench->answer.size < size) {
        cr_assert_lt(
            clock_monotonic_ns(), deadline_ns, "%zu of %zu bytes came", bench->answer.size, size);
        cr_assert_not(bench->is_ended, "the server hung up");
        turn(bench);
        client_read(bench);
    }
}

// Sends everything, turning the front while the socket is full.
static void
client_send(struct bench *bench, struct bytes bytes)
{
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (bytes.size > 0) {
        ssize_t size = send(bench->client, bytes.data, bytes.size, MSG_NOSIGNAL);
        cr_assert(size > 0 || errno == EAGAIN, "send: %d", errno);
        if (size > 0)
            bytes = bytes_of(bytes.data + size, bytes.size - (size_t)size);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        if (size <= 0)
            turn(bench);
    }
}

// What the server should answer to a chunk; with results, the counts and the lists as they are
// given.
struct expected {
    const char *chunk;
    bool has_results;
    uint32_t duplicates;
    uint32_t rejected_count;
    struct {
        uint32_t index;
        const char *reason;
    } rejected[4];
    uint32_t conflicts_count;
    uint32_t conflicts[4];
};

static void
expected_pack(const struct expected *expected, struct buffer *out)
{
    pack_map(out, expected->has_results ? 4 : 1);
    pack_text(out, "ack");
    pack_text(out, expected->chunk);
    if (!expected->has_results)
        return;
    pack_text(out, "duplicates");
    pack_uint(out, expected->duplicates);
    pack_text(out, "rejected");
    pack_array(out, expected->rejected_count);
    for (uint32_t i = 0; i < expected->rejected_count; i++) {
        pack_array(out, 2);
        pack_uint(out, expected->rejected[i].index);
        pack_text(out, expected->rejected[i].reason);
    }
    pack_text(out, "conflicts");
    pack_array(out, expected->conflicts_count);
    for (uint32_t i = 0; i < expected->conflicts_count; i++)
        pack_uint(out, expected->conflicts[i]);
}

static void
answer_expect(struct bench *bench, const struct expected *expected)
{
    scoped(buffer_done) struct buffer wanted = {0};
    expected_pack(expected, &wanted);
    answer_await(bench, wanted.size);
    cr_assert(
        bytes_equal(buffer_view(&bench->answer), buffer_view(&wanted)),
        "the answer for %s differs",
        expected->chunk);
    buffer_reset(&bench->answer);
}

static void
wire_send(
    struct bench *bench,
    void (*make)(struct buffer *, const char *, const struct wire *),
    const struct wire *wire)
{
    scoped(buffer_done) struct buffer out = {0};
    make(&out, "api_call", wire);
    client_send(bench, buffer_view(&out));
}

// --- acks ---

Test(conn, acks_a_chunk_in_each_mode)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    wire_send(&bench, wire_message, &(struct wire){.events = 1, .first = 0, .chunk = "c1"});
    answer_expect(&bench, &(struct expected){.chunk = "c1"});
    wire_send(&bench, wire_forward, &(struct wire){.events = 5, .first = 10, .chunk = "c2"});
    answer_expect(&bench, &(struct expected){.chunk = "c2"});
    wire_send(&bench, wire_packed, &(struct wire){.events = 5, .first = 20, .chunk = "c3"});
    answer_expect(&bench, &(struct expected){.chunk = "c3"});
    cr_assert_eq(metric_get(&bench.metrics.events), 11);
    cr_assert_eq(metric_get(&bench.metrics.frames), 3);
    cr_assert_eq(metric_get(&bench.metrics.acks), 3);
    bench_close(&bench);
}

// No fate, no ack: while the front does not collect, nothing may be answered, however long the
// commit takes.
Test(conn, acks_nothing_before_its_fates_are_known)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    wire_send(&bench, wire_forward, &(struct wire){.events = 3, .chunk = "c1"});
    TURN_UNTIL(&bench, metric_get(&bench.metrics.events) == 3);
    // The turn that put them has offered nothing yet, so their commit cannot have begun.
    cr_assert_eq(front_pending(bench.front), 3);
    client_read(&bench);
    cr_assert_eq(bench.answer.size, 0);
    cr_assert_eq(metric_get(&bench.metrics.acks), 0);
    answer_expect(&bench, &(struct expected){.chunk = "c1"});
    cr_assert_eq(front_pending(bench.front), 0);
    bench_close(&bench);
}

Test(conn, answers_nothing_without_a_chunk)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    wire_send(&bench, wire_forward, &(struct wire){.events = 3});
    wire_send(&bench, wire_forward, &(struct wire){.events = 3, .first = 10, .results = true});
    wire_send(&bench, wire_forward, &(struct wire){.events = 1, .first = 20, .chunk = "last"});
    answer_expect(&bench, &(struct expected){.chunk = "last"});
    TURN_UNTIL(&bench, front_pending(bench.front) == 0);
    client_read(&bench);
    cr_assert_eq(bench.answer.size, 0);
    cr_assert_eq(metric_get(&bench.metrics.events), 7);
    bench_close(&bench);
}

Test(conn, acks_a_chunk_without_events)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    wire_send(&bench, wire_packed, &(struct wire){.events = 0, .chunk = "empty", .results = true});
    answer_expect(&bench, &(struct expected){.chunk = "empty", .has_results = true});
    bench_close(&bench);
}

Test(conn, ignores_heartbeats_between_frames)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    client_send(&bench, bytes_of("\xc0\xc0", 2));
    wire_send(&bench, wire_forward, &(struct wire){.events = 1, .chunk = "c1"});
    client_send(&bench, bytes_of("\xc0", 1));
    answer_expect(&bench, &(struct expected){.chunk = "c1"});
    TURN_UNTIL(&bench, metric_get(&bench.metrics.heartbeats) == 3);
    bench_close(&bench);
}

// --- results ---

Test(conn, tells_duplicates_when_asked)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    struct wire wire = {.events = 4, .chunk = "c1", .results = true, .value = 3};
    wire_send(&bench, wire_forward, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "c1", .has_results = true});
    wire_send(&bench, wire_packed, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "c1", .has_results = true, .duplicates = 4});
    wire.results = false;
    wire_send(&bench, wire_forward, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "c1"});
    cr_assert_eq(metric_get(&bench.metrics.duplicates), 8);
    bench_close(&bench);
}

Test(conn, tells_events_without_id_by_chunk_and_position)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    struct wire wire = {.events = 4, .chunk = "c1", .results = true, .without_id = true};
    wire_send(&bench, wire_forward, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "c1", .has_results = true});
    wire_send(&bench, wire_forward, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "c1", .has_results = true, .duplicates = 4});
    wire.chunk = "c2";
    wire_send(&bench, wire_forward, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "c2", .has_results = true});
    bench_close(&bench);
}

Test(conn, tells_conflicts_by_index_and_keeps_them_readable)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    struct wire wire = {.events = 2, .first = 1, .chunk = "c1", .results = true, .value = 3};
    wire_send(&bench, wire_forward, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "c1", .has_results = true});
    // Events 0 to 3, of which 1 and 2 are known with another value.
    wire = (struct wire){.events = 4, .first = 0, .chunk = "c2", .results = true, .value = 4};
    wire_send(&bench, wire_forward, &wire);
    scoped(buffer_done) struct buffer rejects = {0};
    TURN_UNTIL(&bench, metric_get(&bench.metrics.conflicts) == 2);
    answer_await(&bench, 1);
    // The two may have gone to different shards, so their order is not given.
    scoped(buffer_done) struct buffer one = {0}, other = {0};
    struct expected expected = {
        .chunk = "c2", .has_results = true, .conflicts_count = 2, .conflicts = {1, 2}
    };
    expected_pack(&expected, &one);
    expected.conflicts[0] = 2;
    expected.conflicts[1] = 1;
    expected_pack(&expected, &other);
    answer_await(&bench, one.size);
    struct bytes answer = buffer_view(&bench.answer);
    cr_assert(bytes_equal(answer, buffer_view(&one)) || bytes_equal(answer, buffer_view(&other)));
    rejects_collect(bench.rejects);
    rejects_print(bench.rejects, &rejects);
    buffer_u8(&rejects, 0);
    cr_assert_not_null(strstr((char *)rejects.data, "\"reason\":\"conflict\""));
    cr_assert_not_null(strstr((char *)rejects.data, "\"id\":\"event-1\""));
    cr_assert_not_null(strstr((char *)rejects.data, "\"id\":\"event-2\""));
    bench_close(&bench);
}

// Five entries: good, no subject, good, NaN, good.
static void
mixed_pack(struct buffer *out, const char *chunk)
{
    struct wire wire = {.events = 1};
    pack_array(out, 3);
    pack_text(out, "api_call");
    pack_array(out, 5);
    wire_entries(out, &wire);
    buffer_text(out, "\x92\x01\x81\xa4type\xa1t");
    wire.first = 1;
    wire_entries(out, &wire);
    buffer_text(out, "\x92\x01\x82\xa7subject\xa1s\xa5value\xa3NaN");
    wire.first = 2;
    wire_entries(out, &wire);
    wire_options(out, &(struct wire){.chunk = chunk, .results = true});
}

Test(conn, rejects_an_event_without_deciding_for_its_neighbours)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    scoped(buffer_done) struct buffer out = {0};
    mixed_pack(&out, "c1");
    client_send(&bench, buffer_view(&out));
    struct expected expected = {
        .chunk = "c1",
        .has_results = true,
        .rejected_count = 2,
        .rejected = {{1, "subject missing"}, {3, "value is not a number"}},
    };
    answer_expect(&bench, &expected);
    cr_assert_eq(metric_get(&bench.metrics.events), 3);
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_SUBJECT_MISSING]), 1);
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_VALUE_INVALID]), 1);
    client_send(&bench, buffer_view(&out));
    expected.duplicates = 3;
    answer_expect(&bench, &expected);
    scoped(buffer_done) struct buffer rejects = {0};
    rejects_collect(bench.rejects);
    rejects_print(bench.rejects, &rejects);
    buffer_u8(&rejects, 0);
    cr_assert_not_null(strstr(
        (char *)rejects.data,
        "\"peer\":\"test\",\"reason\":\"value is not a number\",\"subject\":\"s\",\"index\":3}"));
    bench_close(&bench);
}

Test(conn, rejects_by_the_clock)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    struct wire wire = {.events = 1, .chunk = "old", .results = true};
    wire.time_ns = wall_ns - 36 * DAY_NS;
    wire_send(&bench, wire_forward, &wire);
    struct expected expected = {
        .chunk = "old",
        .has_results = true,
        .rejected_count = 1,
        .rejected = {{0, "time too old"}}};
    answer_expect(&bench, &expected);
    wire.chunk = "new";
    wire.time_ns = wall_ns + HOUR_NS;
    wire_send(&bench, wire_forward, &wire);
    expected.chunk = "new";
    expected.rejected[0].reason = "time too far ahead";
    answer_expect(&bench, &expected);
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_TOO_OLD]), 1);
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_TOO_FAR_AHEAD]), 1);
    bench_close(&bench);
}

Test(conn, cuts_a_long_list_of_rejects_and_says_how_many)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    enum { REJECTED = TICKET_LIST_MAX + 500 };
    scoped(buffer_done) struct buffer out = {0};
    pack_array(&out, 3);
    pack_text(&out, "api_call");
    pack_array(&out, REJECTED);
    for (uint32_t i = 0; i < REJECTED; i++)
        pack_int(&out, 5);
    wire_options(&out, &(struct wire){.chunk = "c1", .results = true});
    client_send(&bench, buffer_view(&out));
    scoped(buffer_done) struct buffer wanted = {0};
    pack_map(&wanted, 5);
    pack_text(&wanted, "ack");
    pack_text(&wanted, "c1");
    pack_text(&wanted, "duplicates");
    pack_uint(&wanted, 0);
    pack_text(&wanted, "rejected");
    pack_array(&wanted, TICKET_LIST_MAX);
    for (uint32_t i = 0; i < TICKET_LIST_MAX; i++) {
        pack_array(&wanted, 2);
        pack_uint(&wanted, i);
        pack_text(&wanted, "entry is not [time, record]");
    }
    pack_text(&wanted, "conflicts");
    pack_array(&wanted, 0);
    pack_text(&wanted, "rejected_count");
    pack_uint(&wanted, REJECTED);
    answer_await(&bench, wanted.size);
    cr_assert(bytes_equal(buffer_view(&bench.answer), buffer_view(&wanted)));
    bench_close(&bench);
}

// --- backfill ---

Test(conn, lets_its_own_user_backfill)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    struct wire wire = {.events = 2, .chunk = "c1", .results = true, .backfill = "b1"};
    wire.time_ns = wall_ns - 400 * DAY_NS;
    wire_send(&bench, wire_forward, &wire);
    const struct expected not_open = {
        .chunk = "c1",
        .has_results = true,
        .rejected_count = 2,
        .rejected = {{0, "backfill is not open"}, {1, "backfill is not open"}},
    };
    answer_expect(&bench, &not_open);
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_BATCH_NOT_OPEN]), 2);
    struct error error = {0};
    uint64_t count = 0;
    const struct backfill open = {
        .act = BACKFILL_OPEN, .id = bytes_text("b1"), .who = bytes_text("ann")};
    cr_assert_eq(ledger_backfill(bench.ledger, &open, &count, &error), STATUS_OK, "%s", error.text);
    wire_send(&bench, wire_forward, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "c1", .has_results = true});
    cr_assert_eq(metric_get(&bench.metrics.events), 4);
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_BATCH_NOT_OPEN]), 2);
    bench_close(&bench);
}

Test(conn, lets_nobody_else_backfill)
{
    struct bench bench;
    struct bench_options options = PLAIN;
    options.is_stranger = true;
    bench_open(&bench, &options);
    struct wire wire = {.events = 2, .chunk = "c1", .results = true, .backfill = "b1"};
    wire_send(&bench, wire_forward, &wire);
    struct expected expected = {
        .chunk = "c1",
        .has_results = true,
        .rejected_count = 2,
        .rejected = {{0, "backfill not permitted"}, {1, "backfill not permitted"}},
    };
    answer_expect(&bench, &expected);
    cr_assert_eq(metric_get(&bench.metrics.events), 0);
    wire.backfill = NULL;
    wire_send(&bench, wire_forward, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "c1", .has_results = true});
    bench_close(&bench);
}

// --- bytes as they arrive ---

Test(conn, takes_frames_byte_by_byte)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 2, .chunk = "c1"});
    buffer_u8(&out, 0xc0);
    wire_forward(&out, "api", &(struct wire){.events = 2, .first = 2, .chunk = "c2"});
    for (size_t i = 0; i < out.size; i++) {
        client_send(&bench, bytes_of(out.data + i, 1));
        TURN_UNTIL(&bench, metric_get(&bench.metrics.bytes_received) == (int64_t)i + 1);
    }
    scoped(buffer_done) struct buffer wanted = {0};
    expected_pack(&(struct expected){.chunk = "c1"}, &wanted);
    expected_pack(&(struct expected){.chunk = "c2"}, &wanted);
    answer_await(&bench, wanted.size);
    cr_assert(bytes_equal(buffer_view(&bench.answer), buffer_view(&wanted)));
    cr_assert_eq(metric_get(&bench.metrics.events), 4);
    bench_close(&bench);
}

// Frames of many sizes in one stream, cut at places that have nothing to do with them, through
// receive buffers of 4 KiB: every event once.
Test(conn, takes_frames_across_receive_buffers)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    scoped(buffer_done) struct buffer out = {0};
    uint32_t number = 0;
    for (uint32_t i = 0; i < 60; i++) {
        struct wire wire = {.events = 1 + i * i % 400, .first = number};
        (i % 2 == 0 ? wire_packed : wire_forward)(&out, "api", &wire);
        number += wire.events;
    }
    wire_forward(&out, "api", &(struct wire){.events = 0, .chunk = "end"});
    size_t at = 0, step = 1;
    while (at < out.size) {
        size_t size = step < out.size - at ? step : out.size - at;
        client_send(&bench, bytes_of(out.data + at, size));
        at += size;
        step = step * 7 % 9001 + 1;
        turn(&bench);
    }
    TURN_UNTIL(&bench, metric_get(&bench.metrics.events) == number);
    answer_expect(&bench, &(struct expected){.chunk = "end"});
    TURN_UNTIL(&bench, front_pending(bench.front) == 0);
    cr_assert_eq(metric_get(&bench.metrics.duplicates), 0);
    cr_assert_eq(metric_get(&bench.metrics.conflicts), 0);
    bench_close(&bench);
}

// The group holds fewer events than a frame has: the frame waits in the middle and goes on, and
// nothing is put twice.
Test(conn, goes_on_with_a_frame_that_was_stopped_in_the_middle)
{
    struct bench bench;
    struct bench_options options = PLAIN;
    options.group_events_max = 64;
    options.group_size_bytes = 128 * 1024;
    bench_open(&bench, &options);
    struct wire wire = {.events = 5000, .chunk = "big", .results = true};
    wire_send(&bench, wire_packed, &wire);
    answer_expect(&bench, &(struct expected){.chunk = "big", .has_results = true});
    cr_assert_eq(metric_get(&bench.metrics.events), 5000);
    wire.chunk = "again";
    wire_send(&bench, wire_forward, &wire);
    wire_send(&bench, wire_forward, &(struct wire){.events = 0, .chunk = "behind"});
    scoped(buffer_done) struct buffer wanted = {0};
    struct expected again = {.chunk = "again", .has_results = true, .duplicates = 5000};
    struct expected behind = {.chunk = "behind"};
    scoped(buffer_done) struct buffer swapped = {0};
    expected_pack(&again, &wanted);
    expected_pack(&behind, &wanted);
    // Acks go out in the order in which chunks complete: the empty chunk may overtake the large
    // one's commit.
    expected_pack(&behind, &swapped);
    expected_pack(&again, &swapped);
    answer_await(&bench, wanted.size);
    struct bytes answer = buffer_view(&bench.answer);
    cr_assert(
        bytes_equal(answer, buffer_view(&wanted)) || bytes_equal(answer, buffer_view(&swapped)));
    bench_close(&bench);
}

Test(conn, stores_nothing_of_an_incomplete_frame)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api", &(struct wire){.events = 100, .chunk = "c1"});
    client_send(&bench, bytes_of(out.data, out.size - 1));
    cr_assert_eq(shutdown(bench.client, SHUT_WR), 0);
    TURN_UNTIL(&bench, (client_read(&bench), bench.is_ended));
    cr_assert_eq(metric_get(&bench.metrics.events), 0);
    cr_assert_eq(bench.answer.size, 0);
    TURN_UNTIL(&bench, front_connections(bench.front) == 0);
    cr_assert_eq(metric_get(&bench.metrics.memory), 0);
    bench_close(&bench);
}

Test(conn, answers_a_client_that_only_shut_its_sending_side)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    wire_send(&bench, wire_forward, &(struct wire){.events = 100, .chunk = "c1"});
    cr_assert_eq(shutdown(bench.client, SHUT_WR), 0);
    answer_expect(&bench, &(struct expected){.chunk = "c1"});
    TURN_UNTIL(&bench, (client_read(&bench), bench.is_ended));
    TURN_UNTIL(&bench, front_connections(bench.front) == 0);
    bench_close(&bench);
}

// --- bad input ---

static const struct {
    const char *name;
    const char *bytes;
    size_t size;
    enum frame_fault fault;
} BROKEN[] = {
    {"never used byte",                    "\xc1",                          1,  FRAME_NOT_MSGPACK},
    {"nested too deep",
     "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91"
     "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91",            34,
     FRAME_NOT_MSGPACK                                                                           },
    {"millions of elements in five bytes", "\xdd\x04\x00\x00\x00",          5,  FRAME_TOO_LARGE  },
    {"gigabytes of text",                  "\x92\xa1t\xdb\xff\xff\xff\xff", 8,  FRAME_TOO_LARGE  },
    {"GET / HTTP/1.1",                     "GET / HTTP/1.1\r\n\r\n",        18, FRAME_NOT_FORWARD},
    {"gzip",
     "\x93\xa1t\xc4\x00\x81\xaa"
     "compressed\xa4gzip",                                                  22,
     FRAME_GZIP_BROKEN                                                                           },
};

Test(conn, closes_on_a_broken_frame_and_only_that_connection)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    int good = bench.client;
    for (size_t i = 0; i < sizeof BROKEN / sizeof BROKEN[0]; i++) {
        int64_t before = metric_get(&bench.metrics.broken[BROKEN[i].fault]);
        bench.client = client_adopt(&bench, true);
        bench.is_ended = false;
        client_send(&bench, bytes_of(BROKEN[i].bytes, BROKEN[i].size));
        TURN_UNTIL(&bench, (client_read(&bench), bench.is_ended));
        cr_assert_eq(
            metric_get(&bench.metrics.broken[BROKEN[i].fault]), before + 1, "%s", BROKEN[i].name);
        close(bench.client);
    }
    bench.client = good;
    bench.is_ended = false;
    wire_send(&bench, wire_forward, &(struct wire){.events = 1, .chunk = "alive"});
    answer_expect(&bench, &(struct expected){.chunk = "alive"});
    cr_assert_eq(front_connections(bench.front), 1);
    bench_close(&bench);
}

Test(conn, stores_what_came_before_a_broken_frame_and_nothing_of_it)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api", &(struct wire){.events = 2, .chunk = "c1"});
    // Ten good entries, then a byte that is never used: packed, so that only the frame's check can
    // see it.
    scoped(buffer_done) struct buffer entries = {0};
    wire_entries(&entries, &(struct wire){.events = 10, .first = 50});
    buffer_u8(&entries, 0xc1);
    pack_array(&out, 2);
    pack_text(&out, "api");
    pack_bin(&out, buffer_view(&entries));
    client_send(&bench, buffer_view(&out));
    answer_expect(&bench, &(struct expected){.chunk = "c1"});
    TURN_UNTIL(&bench, (client_read(&bench), bench.is_ended));
    cr_assert_eq(metric_get(&bench.metrics.events), 2);
    cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_ENTRIES_BROKEN]), 1);
    bench_close(&bench);
}

static uint64_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

Test(conn, survives_random_bytes)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    int good = bench.client;
    uint64_t state = 20261122;
    for (uint32_t round = 0; round < 300; round++) {
        uint8_t data[512];
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)random_next(&state);
        bench.client = client_adopt(&bench, true);
        bench.is_ended = false;
        client_send(&bench, bytes_of(data, 1 + random_next(&state) % sizeof data));
        cr_assert_eq(shutdown(bench.client, SHUT_WR), 0);
        TURN_UNTIL(&bench, (client_read(&bench), bench.is_ended));
        close(bench.client);
        TURN_UNTIL(&bench, front_connections(bench.front) == 1);
    }
    bench.client = good;
    bench.is_ended = false;
    buffer_reset(&bench.answer);
    wire_send(&bench, wire_forward, &(struct wire){.events = 1, .chunk = "alive"});
    answer_expect(&bench, &(struct expected){.chunk = "alive"});
    bench_close(&bench);
}

// --- limits ---

Test(conn, refuses_one_connection_too_many)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    int clients[8];
    for (uint32_t i = 1; i < 8; i++)
        clients[i] = client_adopt(&bench, true);
    struct peer peer = {.text = "late"};
    cr_assert_not(front_adopt(bench.front, -1, &peer));
    cr_assert_eq(metric_get(&bench.metrics.connections_refused), 1);
    close(clients[3]);
    TURN_UNTIL(&bench, front_connections(bench.front) == 7);
    clients[3] = client_adopt(&bench, true);
    for (uint32_t i = 1; i < 8; i++)
        close(clients[i]);
    TURN_UNTIL(&bench, front_connections(bench.front) == 1);
    bench_close(&bench);
}

// A client that sends chunks and never reads acks fills its bound; then it is not read from any
// more, and its connection holds no more memory, until it reads.
// docs/wire.md: W181, W207
Test(conn, stops_reading_from_a_client_that_reads_no_acks)
{
    struct bench bench;
    struct bench_options options = PLAIN;
    options.desk.acks_max = 2048;
    bench_open(&bench, &options);
    scoped(buffer_done) struct buffer out = {0};
    char chunk[201];
    memset(chunk, 'c', sizeof chunk - 1);
    chunk[sizeof chunk - 1] = '\0';
    wire_forward(&out, "api", &(struct wire){.events = 0, .chunk = chunk});
    // Sends until the socket stays full although the front turns.
    uint64_t sent = 0, idle = 0;
    size_t at = 0;
    while (idle < 40) {
        ssize_t size = send(bench.client, out.data + at, out.size - at, MSG_NOSIGNAL);
        cr_assert(size > 0 || errno == EAGAIN);
        if (size > 0) {
            at = (at + (size_t)size) % out.size;
            sent += at == 0;
            idle = 0;
        } else {
            idle++;
            turn(&bench);
        }
        cr_assert_lt(sent, 1000000, "the client is never stopped");
    }
    cr_assert_lt(metric_get(&bench.metrics.memory), 1 << 20);
    int64_t acked = metric_get(&bench.metrics.acks);
    cr_assert_lt(acked, (int64_t)sent);
    // It reads at last: every chunk that went out whole is answered.
    size_t ack_size = 0;
    scoped(buffer_done) struct buffer ack = {0};
    expected_pack(&(struct expected){.chunk = chunk}, &ack);
    ack_size = ack.size;
    answer_await(&bench, sent * ack_size);
    cr_assert_geq(metric_get(&bench.metrics.acks), (int64_t)sent);
    bench_close(&bench);
}

// A frame of refused events is answered with many times its bytes. Their acks are bounded too, also
// when all frames arrive in one turn.
Test(conn, bounds_the_acks_of_what_arrives_in_one_turn)
{
    enum { FRAMES = 60, ENTRIES = 1000 };
    struct bench bench;
    struct bench_options options = PLAIN;
    options.desk.acks_max = 4096;
    bench_open(&bench, &options);
    scoped(buffer_done) struct buffer out = {0};
    for (uint32_t i = 0; i < FRAMES; i++) {
        pack_array(&out, 3);
        pack_text(&out, "api");
        pack_array(&out, ENTRIES);
        for (uint32_t entry = 0; entry < ENTRIES; entry++)
            pack_nil(&out);
        wire_options(&out, &(struct wire){.chunk = "refused", .results = true});
    }
    cr_assert_eq(write(bench.client, out.data, out.size), (ssize_t)out.size);
    for (uint32_t i = 0; i < 40; i++) {
        turn(&bench);
        // What arrived, what the socket did not take, and one ack.
        cr_assert_lt(metric_get(&bench.metrics.memory), (int64_t)out.size + 128 * 1024);
    }
    cr_assert_lt(metric_get(&bench.metrics.acks), FRAMES, "the test must have stopped it");
    // It reads at last, and every frame is answered.
    TURN_UNTIL(&bench, (client_read(&bench), metric_get(&bench.metrics.acks) == FRAMES));
    bench_close(&bench);
}

// A ledger that is slower than its clients serves all of them, not only the ones that came last.
Test(conn, serves_in_turn_those_who_wait_for_room)
{
    enum { CLIENTS = 24, EVENTS = 30, TOTAL = 24000 };
    struct bench bench;
    struct bench_options options = PLAIN;
    options.group_events_max = 40;
    options.desk.connections_max = CLIENTS + 1;
    bench_open(&bench, &options);
    int clients[CLIENTS];
    size_t acked[CLIENTS] = {0};
    size_t at[CLIENTS] = {0};
    scoped(buffer_done) struct buffer out = {0};
    scoped(buffer_done) struct buffer ack = {0};
    wire_forward(&out, "api", &(struct wire){.events = EVENTS, .chunk = "c", .without_id = true});
    expected_pack(&(struct expected){.chunk = "c"}, &ack);
    for (uint32_t i = 0; i < CLIENTS; i++)
        clients[i] = client_adopt(&bench, true);
    while (metric_get(&bench.metrics.acks) < TOTAL) {
        for (uint32_t i = 0; i < CLIENTS; i++) {
            ssize_t size;
            while ((size = send(clients[i], out.data + at[i], out.size - at[i], MSG_NOSIGNAL)) > 0)
                at[i] = (at[i] + (size_t)size) % out.size;
            uint8_t data[4096];
            while ((size = read(clients[i], data, sizeof data)) > 0)
                acked[i] += (size_t)size;
        }
        turn(&bench);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        size_t frames = acked[i] / ack.size;
        cr_expect_gt(frames, TOTAL / CLIENTS * 2 / 3, "client %u: %zu frames", i, frames);
        close(clients[i]);
    }
    bench_close(&bench);
}

// Six clients with half a frame each want more memory than there is. Some frame can always finish,
// so all do.
// docs/wire.md: W180, W206
Test(conn, finishes_frames_although_memory_is_full)
{
    enum { CLIENTS = 6 };
    struct bench bench;
    struct bench_options options = PLAIN;
    options.desk.memory_max = 2 * FRAME_MAX;
    bench_open(&bench, &options);
    int first = bench.client;
    int clients[CLIENTS];
    struct buffer frames[CLIENTS] = {0};
    size_t sent[CLIENTS] = {0};
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = client_adopt(&bench, true);
        char chunk[16];
        (void)snprintf(chunk, sizeof chunk, "chunk-%u", i);
        wire_packed(
            &frames[i], "api", &(struct wire){.events = 12000, .first = i * 12000, .chunk = chunk});
        cr_assert_lt(frames[i].size, FRAME_MAX);
        cr_assert_gt(frames[i].size, FRAME_MAX / 2);
    }
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    while (metric_get(&bench.metrics.acks) < CLIENTS) {
        cr_assert_lt(
            clock_monotonic_ns(), deadline_ns, "%ld acks", metric_get(&bench.metrics.acks));
        for (uint32_t i = 0; i < CLIENTS; i++) {
            // A little of each in turn, so that all are in the middle when memory gets full.
            size_t left = frames[i].size - sent[i];
            size_t step = left < 8192 ? left : 8192;
            ssize_t size = send(clients[i], frames[i].data + sent[i], step, MSG_NOSIGNAL);
            if (size > 0)
                sent[i] += (size_t)size;
        }
        turn(&bench);
        // The bound, and what the kernel had delivered before reading stopped.
        cr_assert_lt(metric_get(&bench.metrics.memory), 2 * FRAME_MAX + 16 * 4096 * 2);
    }
    cr_assert_gt(metric_get(&bench.metrics.memory_full), 0, "the test must have filled the memory");
    cr_assert_eq(metric_get(&bench.metrics.events), CLIENTS * 12000);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        close(clients[i]);
        buffer_done(&frames[i]);
    }
    bench.client = first;
    TURN_UNTIL(&bench, front_connections(bench.front) == 1);
    cr_assert_eq(metric_get(&bench.metrics.memory), 0);
    bench_close(&bench);
}

#ifdef __SANITIZE_ADDRESS__
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

static size_t
allocated_bytes(void)
{
#ifdef __SANITIZE_ADDRESS__
    return __sanitizer_get_current_allocated_bytes();
#else
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#endif
}

// The memory of a large frame is given back although the first byte of the next one lies there.
Test(conn, keeps_no_large_buffer_for_a_few_bytes)
{
    enum { CLIENTS = 7 };
    struct bench bench;
    struct bench_options options = PLAIN;
    options.desk.memory_max = 2 * FRAME_MAX;
    bench_open(&bench, &options);
    int first = bench.client;
    int clients[CLIENTS];
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 20000, .subject = ""});
    buffer_u8(&out, 0x93);
    cr_assert_gt(out.size, FRAME_MAX / 2);
    size_t before = allocated_bytes();
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = bench.client = client_adopt(&bench, true);
        client_send(&bench, buffer_view(&out));
    }
    TURN_UNTIL(&bench, metric_get(&bench.metrics.frames) == CLIENTS);
    TURN_UNTIL(&bench, allocated_bytes() < before + FRAME_MAX);
    for (uint32_t i = 0; i < CLIENTS; i++)
        close(clients[i]);
    bench.client = first;
    bench_close(&bench);
}

// Peers that went silent in the middle of a frame, or that read no acks, do not keep memory full
// for ever: the connections are closed, one after the other, until others can go on.
// docs/wire.md: W134, W182, W229
Test(conn, ends_who_keeps_memory_full)
{
    enum { SILENT = 4 };
    struct bench bench;
    struct bench_options options = PLAIN;
    options.desk.memory_max = 2 * FRAME_MAX;
    options.desk.linger_ns = 50 * 1000000;
    bench_open(&bench, &options);
    int first = bench.client;
    int silent[SILENT];
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 12000, .chunk = "late"});
    for (uint32_t i = 0; i < SILENT; i++) {
        silent[i] = client_adopt(&bench, true);
        size_t at = 0;
        // All but the last byte, or as much as is read.
        for (uint32_t idle = 0; at < out.size - 1 && idle < 5; idle++) {
            ssize_t size = send(silent[i], out.data + at, out.size - 1 - at, MSG_NOSIGNAL);
            if (size > 0) {
                at += (size_t)size;
                idle = 0;
            }
            turn(&bench);
        }
    }
    TURN_UNTIL(&bench, metric_get(&bench.metrics.memory_full) > 0);
    bench.client = first;
    wire_send(&bench, wire_forward, &(struct wire){.events = 1, .chunk = "alive"});
    answer_expect(&bench, &(struct expected){.chunk = "alive"});
    TURN_UNTIL(&bench, metric_get(&bench.metrics.broken[FRAME_STALLED]) > 0);
    cr_assert_eq(metric_get(&bench.metrics.events), 1, "nothing of the unfinished frames counts");
    for (uint32_t i = 0; i < SILENT; i++)
        close(silent[i]);
    bench_close(&bench);
}

// More frames than there are tickets: the rest waits its turn.
// docs/wire.md: W181, W208
Test(conn, takes_more_frames_than_tickets)
{
    struct bench bench;
    struct bench_options options = PLAIN;
    options.desk.tickets = 4;
    options.desk.conn_tickets = 3;
    bench_open(&bench, &options);
    scoped(buffer_done) struct buffer out = {0};
    for (uint32_t i = 0; i < 200; i++)
        wire_message(&out, "api", &(struct wire){.first = i});
    client_send(&bench, buffer_view(&out));
    TURN_UNTIL(&bench, metric_get(&bench.metrics.events) == 200);
    TURN_UNTIL(&bench, front_pending(bench.front) == 0);
    cr_assert_eq(metric_get(&bench.metrics.frames), 200);
    bench_close(&bench);
}

// --- ends ---

Test(conn, keeps_a_ticket_until_its_fates_come_although_the_peer_is_gone)
{
    struct bench bench;
    struct bench_options options = PLAIN;
    options.desk.connections_max = 64;
    bench_open(&bench, &options);
    for (uint32_t round = 0; round < 50; round++) {
        int client = client_adopt(&bench, true);
        scoped(buffer_done) struct buffer out = {0};
        wire_forward(
            &out, "api", &(struct wire){.events = 50, .first = round * 50, .chunk = "gone"});
        cr_assert_eq(write(client, out.data, out.size), (ssize_t)out.size);
        close(client);
        turn(&bench);
    }
    TURN_UNTIL(&bench, front_connections(bench.front) == 1);
    TURN_UNTIL(&bench, front_pending(bench.front) == 0);
    cr_assert_eq(metric_get(&bench.metrics.events), 50 * 50);
    wire_send(&bench, wire_forward, &(struct wire){.events = 1, .chunk = "alive"});
    answer_expect(&bench, &(struct expected){.chunk = "alive"});
    bench_close(&bench);
}

Test(conn, drains_what_arrived_whole_and_acks_it)
{
    struct bench bench;
    bench_open(&bench, &PLAIN);
    wire_send(&bench, wire_forward, &(struct wire){.events = 500, .chunk = "c1"});
    TURN_UNTIL(&bench, metric_get(&bench.metrics.events) == 500);
    front_drain(bench.front);
    answer_expect(&bench, &(struct expected){.chunk = "c1"});
    TURN_UNTIL(&bench, (client_read(&bench), bench.is_ended));
    TURN_UNTIL(&bench, front_connections(bench.front) == 0);
    bench_close(&bench);
}
