// A turn's work is shared out: who always wants more gets a little at a time, and who wants little
// gets it at once.

#include "ingest/conn.h"
#include "tests/ingest/front_bench.h"

enum {
    BUFFER_SIZE = 128 * 1024,
    LARGE_PART = 64 * 1024,  // of a large message, in a turn
    CLIENTS = 8,
    NILS = 100 * 1000,
    ENTRY_COST = 32,  // in looks at an item
    FRAME_COST = 256,
};

static const struct front_bench_options OPTIONS = {.buffer_size = BUFFER_SIZE};

// A frame of entries that all are refused: for its size, nothing is more work.
static void
nils_pack(struct buffer *out, size_t count)
{
    scoped(buffer_done) struct buffer entries = {0};
    memset(buffer_reserve(&entries, count), 0xc0, count);
    buffer_commit(&entries, count);
    pack_array(out, 3);
    pack_text(out, "api");
    pack_bin(out, buffer_view(&entries));
    wire_options(out, &(struct wire){.chunk = "nils"});
}

// Into the kernel, without a turn.
static void
end_put(struct peer_end *end, const struct buffer *bytes)
{
    cr_assert_eq(write(end->fd, bytes->data, bytes->size), (ssize_t)bytes->size);
}

static int64_t
rejected(const struct front_bench *bench)
{
    return metric_get(&bench->metrics.rejected[REFUSAL_ENTRY]);
}

static void
greedy_open(struct front_bench *bench, struct peer_end ends[CLIENTS], const struct buffer *bytes)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        end_open(bench, &ends[i], true);
        end_put(&ends[i], bytes);
    }
}

// Whose frame is through sends it again: they want more for as long as it takes.
static void
greedy_go_on(struct front_bench *bench, struct peer_end ends[CLIENTS], const struct buffer *bytes)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        end_read(&ends[i]);
        if (ends[i].answer.size == 0)
            continue;
        end_expect_ack(bench, &ends[i], "nils");
        end_put(&ends[i], bytes);
    }
}

static void
greedy_close(struct front_bench *bench, struct peer_end ends[CLIENTS])
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        end_expect_ack(bench, &ends[i], "nils");
        end_close(&ends[i]);
    }
}

// However many they are. Each has a whole slice when it comes, so the first turn is the longest.
Test(conn_share, bounds_the_work_of_a_turn)
{
    struct front_bench bench;
    struct peer_end ends[CLIENTS];
    scoped(buffer_done) struct buffer out = {0};
    nils_pack(&out, NILS);
    front_bench_open(&bench, &OPTIONS);
    greedy_open(&bench, ends, &out);
    int64_t before = 0, first = 0, most = 0;
    while (before < CLIENTS * NILS) {
        bench_turn(&bench);
        int64_t now = rejected(&bench);
        if (before == 0)
            first = now;
        else if (now - before > most)
            most = now - before;
        before = now;
    }
    cr_assert_eq(before, CLIENTS * NILS, "each entry once");
    cr_assert_leq(first, (TURN_WORK_MAX + SLICE_WORK) / ENTRY_COST, "%ld at first", first);
    cr_assert_leq(most, 2 * SLICE_WORK / ENTRY_COST, "%ld later", most);
    greedy_close(&bench, ends);
    front_bench_close(&bench);
}

// Of eight that want more than there is each gets some of every two turns.
Test(conn_share, lets_nobody_wait_who_wants_much)
{
    struct front_bench bench;
    struct peer_end ends[CLIENTS];
    scoped(buffer_done) struct buffer out = {0};
    nils_pack(&out, NILS);
    front_bench_open(&bench, &OPTIONS);
    greedy_open(&bench, ends, &out);
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.frames) == CLIENTS);
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.acks) > 0);
    // The first is through: had they come one after the other, much more would be left to do.
    int64_t done = rejected(&bench);
    cr_assert_geq(done, CLIENTS * NILS * 3 / 4, "%ld of %d", done, CLIENTS * NILS);
    greedy_close(&bench, ends);
    front_bench_close(&bench);
}

// It did not use its share for some turns, so its frame is put in one, although that is more than
// what the others get in a turn.
Test(conn_share, puts_a_frame_now_and_then_at_once)
{
    enum { EVENTS = 1000, WAITED = 40 };
    struct front_bench bench;
    struct peer_end ends[CLIENTS], light;
    scoped(buffer_done) struct buffer out = {0}, chunk = {0};
    nils_pack(&out, NILS);
    wire_packed(&chunk, "api", &(struct wire){.events = EVENTS, .chunk = "light"});
    cr_assert_lt(chunk.size, BUFFER_SIZE);
    cr_assert_gt(EVENTS * ENTRY_COST, SLICE_WORK / (CLIENTS + 1));
    front_bench_open(&bench, &OPTIONS);
    end_open(&bench, &light, true);
    greedy_open(&bench, ends, &out);
    for (uint32_t i = 0; i < WAITED; i++)
        bench_turn(&bench);
    end_put(&light, &chunk);
    bench_turn(&bench);
    cr_assert_lt(rejected(&bench), CLIENTS * NILS, "the others are still at it");
    cr_assert_eq(metric_get(&bench.metrics.events), EVENTS);
    // Its ack waits for the disk, however long that takes, and for none of the others.
    BENCH_TURN_UNTIL(
        &bench, (greedy_go_on(&bench, ends, &out), end_read(&light), light.answer.size > 0));
    end_expect_ack(&bench, &light, "light");
    end_close(&light);
    greedy_close(&bench, ends);
    front_bench_close(&bench);
}

// The entries of a large message are looked through before the first is put; that takes turns, too.
Test(conn_share, looks_through_a_large_message_in_slices)
{
    enum { SIZE = 1000 * 1000 };
    struct front_bench bench;
    struct peer_end end;
    scoped(buffer_done) struct buffer out = {0};
    nils_pack(&out, SIZE);
    front_bench_open(&bench, &OPTIONS);
    end_open(&bench, &end, true);
    end_send(&bench, &end, buffer_view(&out));
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.bytes_received) == (int64_t)out.size);
    uint32_t turns = 0;
    for (; metric_get(&bench.metrics.frames) == 0; turns++)
        bench_turn(&bench);
    cr_assert_geq(turns, SIZE / SLICE_WORK, "%u turns", turns);
    BENCH_TURN_UNTIL(&bench, rejected(&bench) == SIZE);
    end_expect_ack(&bench, &end, "nils");
    end_close(&end);
    front_bench_close(&bench);
}

// What turns out to be broken far behind ends the connection, and nothing of it counted.
Test(conn_share, breaks_a_message_after_some_slices)
{
    enum { SIZE = 1000 * 1000 };
    struct front_bench bench;
    struct peer_end end;
    scoped(buffer_done) struct buffer out = {0};
    nils_pack(&out, SIZE);
    out.data[SIZE] = 0xc1;
    front_bench_open(&bench, &OPTIONS);
    end_open(&bench, &end, true);
    end_send(&bench, &end, buffer_view(&out));
    end_expect_close(&bench, &end);
    cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_ENTRIES_BROKEN]), 1);
    cr_assert_eq(metric_get(&bench.metrics.frames) + rejected(&bench), 0);
    end_close(&end);
    front_bench_close(&bench);
}

// Small frames cost something, too.
Test(conn_share, bounds_the_frames_of_a_turn)
{
    enum { HEARTBEATS = 50 * 1000 };
    struct front_bench bench;
    struct peer_end end;
    static uint8_t nils[HEARTBEATS];
    memset(nils, 0xc0, sizeof nils);
    front_bench_open(&bench, &OPTIONS);
    end_open(&bench, &end, true);
    cr_assert_eq(write(end.fd, nils, sizeof nils), (ssize_t)sizeof nils);
    int64_t before = 0;
    while (before < HEARTBEATS) {
        bench_turn(&bench);
        int64_t now = metric_get(&bench.metrics.heartbeats);
        cr_assert_leq(now - before, SLICE_WORK / FRAME_COST, "%ld in one turn", now - before);
        before = now;
    }
    cr_assert_eq(before, HEARTBEATS);
    end_close(&end);
    front_bench_close(&bench);
}

// The kernel has more of it than a turn takes.
Test(conn_share, receives_a_large_message_bit_by_bit)
{
    struct front_bench bench;
    struct peer_end end;
    scoped(buffer_done) struct buffer out = {0};
    nils_pack(&out, 1000 * 1000);
    front_bench_open(&bench, &OPTIONS);
    end_open(&bench, &end, true);
    int room = 1 << 20;
    cr_assert_eq(setsockopt(end.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    size_t sent = 0;
    int64_t before = 0;
    while (before < (int64_t)out.size) {
        ssize_t size = write(end.fd, out.data + sent, out.size - sent);
        if (size > 0)
            sent += (size_t)size;
        if (before == 0)
            cr_assert_gt(sent, BUFFER_SIZE + LARGE_PART, "the kernel takes only %zu", sent);
        bench_turn(&bench);
        int64_t now = metric_get(&bench.metrics.bytes_received);
        int64_t most = before == 0 ? BUFFER_SIZE : LARGE_PART;
        cr_assert_leq(now - before, most, "%ld in one turn", now - before);
        before = now;
    }
    end_expect_ack(&bench, &end, "nils");
    end_close(&end);
    front_bench_close(&bench);
}

// Who sends much in small messages is read once in a turn.
Test(conn_share, receives_from_a_busy_client_once_in_a_turn)
{
    enum { EVENTS = 1000, FRAMES = 12 };
    struct front_bench bench;
    struct peer_end end;
    scoped(buffer_done) struct buffer out = {0}, wanted = {0};
    for (uint32_t i = 0; i < FRAMES; i++) {
        wire_packed(
            &out, "api", &(struct wire){.events = EVENTS, .first = i * EVENTS, .chunk = "c"});
        pack_map(&wanted, 1);
        pack_text(&wanted, "ack");
        pack_text(&wanted, "c");
    }
    cr_assert_gt(out.size, 3 * BUFFER_SIZE);
    front_bench_open(&bench, &OPTIONS);
    end_open(&bench, &end, true);
    int room = 1 << 20;
    cr_assert_eq(setsockopt(end.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    size_t sent = 0;
    int64_t before = 0;
    while (before < (int64_t)out.size) {
        ssize_t size = write(end.fd, out.data + sent, out.size - sent);
        if (size > 0)
            sent += (size_t)size;
        bench_turn(&bench);
        int64_t now = metric_get(&bench.metrics.bytes_received);
        cr_assert_leq(now - before, BUFFER_SIZE, "%ld in one turn", now - before);
        before = now;
    }
    end_expect(&bench, &end, buffer_view(&wanted));
    cr_assert_eq(metric_get(&bench.metrics.events), EVENTS * FRAMES);
    end_close(&end);
    front_bench_close(&bench);
}
