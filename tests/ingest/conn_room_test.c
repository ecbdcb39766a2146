// What clients do that mean no good, or nothing at all: nobody else may notice, and it ends.

#include "ingest/conn.h"
#include "tests/ingest/front_bench.h"
#include "tests/ingest/squeeze.h"

#include <poll.h>

enum { MILLISECOND = 1000000 };

static void
bench_settle(struct front_bench *bench)
{
    for (uint32_t i = 0; i < 4; i++)
        bench_turn(bench);
}

static void
wire_send(struct front_bench *bench, struct peer_end *end, const struct wire *wire)
{
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", wire);
    end_send(bench, end, buffer_view(&out));
}

// A frame of a great many entries that all are refused: the quickest way to keep the front busy.
static void
nils_pack(struct buffer *out, size_t count, const char *chunk)
{
    scoped(buffer_done) struct buffer entries = {0};
    memset(buffer_reserve(&entries, count), 0xc0, count);
    buffer_commit(&entries, count);
    pack_array(out, 3);
    pack_text(out, "api");
    pack_bin(out, buffer_view(&entries));
    wire_options(out, &(struct wire){.chunk = chunk});
}

// --- slices ---

Test(conn_room, serves_others_between_the_entries_of_a_large_frame)
{
    struct front_bench bench;
    struct peer_end large, small;
    front_bench_open(&bench, &(struct front_bench_options){0});
    end_open(&bench, &large, true);
    end_open(&bench, &small, true);
    scoped(buffer_done) struct buffer out = {0};
    nils_pack(&out, 1000 * 1000, "large");
    end_send(&bench, &large, buffer_view(&out));
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.frames) == 1);
    wire_send(&bench, &small, &(struct wire){.events = 1, .chunk = "small"});
    end_expect_ack(&bench, &small, "small");
    end_read(&large);
    cr_assert_eq(large.answer.size, 0, "the small chunk is acked before the large one is through");
    end_expect_ack(&bench, &large, "large");
    int64_t rejected = 0;
    for (size_t i = 0; i < REFUSAL_COUNT; i++)
        rejected += metric_get(&bench.metrics.rejected[i]);
    cr_assert_eq(rejected, 1000 * 1000, "each entry once");
    end_close(&large);
    end_close(&small);
    front_bench_close(&bench);
}

// The same for many frames in one piece.
Test(conn_room, serves_others_between_many_heartbeats)
{
    enum { HEARTBEATS = 100 * 1000 };
    struct front_bench bench;
    struct peer_end end;
    front_bench_open(&bench, &(struct front_bench_options){.buffer_size = 128 * 1024});
    end_open(&bench, &end, true);
    static uint8_t nils[HEARTBEATS];
    memset(nils, 0xc0, sizeof nils);
    end_send(&bench, &end, bytes_of(nils, sizeof nils));
    int64_t before = 0;
    while (before < HEARTBEATS) {
        bench_turn(&bench);
        int64_t now = metric_get(&bench.metrics.heartbeats);
        // Each is more work than a hundred looks at an item.
        cr_assert_leq(now - before, SLICE_WORK / 100, "%ld in one turn", now - before);
        before = now;
    }
    cr_assert_eq(before, HEARTBEATS);
    end_close(&end);
    front_bench_close(&bench);
}

Test(conn_room, inflates_a_bounded_amount_in_a_turn)
{
    enum { CLIENTS = 8, SIZE = 500 * 1000 };
    struct front_bench bench;
    struct peer_end ends[CLIENTS];
    // Entries that turn out to be broken at their very end, so that no slice ends before it.
    scoped(buffer_done) struct buffer entries = {0};
    scoped(buffer_done) struct buffer packed = {0};
    scoped(buffer_done) struct buffer out = {0};
    memset(buffer_reserve(&entries, SIZE), 0xc0, SIZE);
    buffer_commit(&entries, SIZE);
    buffer_u8(&entries, 0xc1);
    squeeze(&packed, buffer_view(&entries));
    wire_gzip(&out, "api", buffer_view(&packed), "bomb");
    struct front_bench_options options = {
        .inflated = {.size_max = SIZE + 1, .ratio_max = 2000}
    };
    front_bench_open(&bench, &options);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        end_open(&bench, &ends[i], true);
        cr_assert_eq(write(ends[i].fd, out.data, out.size), (ssize_t)out.size);
    }
    uint32_t turns = 0;
    while (metric_get(&bench.metrics.broken[FRAME_ENTRIES_BROKEN]) < CLIENTS) {
        bench_turn(&bench);
        turns++;
    }
    // Each is eight pieces to inflate and sixteen to look through; a turn has two.
    cr_assert_geq(turns, CLIENTS * (8 + 16) / 2, "%u turns", turns);
    for (uint32_t i = 0; i < CLIENTS; i++)
        end_close(&ends[i]);
    front_bench_close(&bench);
}

// --- time ---

// docs/wire.md: W185
Test(conn_room, ends_a_message_that_does_not_come_on)
{
    struct front_bench bench;
    struct peer_end silent, trickling, idle;
    front_bench_open(&bench, &(struct front_bench_options){.stall_ns = 300 * MILLISECOND});
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 1000, .chunk = "never"});
    end_open(&bench, &idle, true);
    end_open(&bench, &silent, true);
    end_open(&bench, &trickling, true);
    end_send(&bench, &silent, bytes_of(out.data, 100));
    // One byte at a time is not progress.
    size_t at = 0;
    int64_t deadline_ns = clock_monotonic_ns() + BENCH_WAIT_S * SECOND_NS;
    while (!trickling.is_ended && at < out.size - 1) {
        at += send(trickling.fd, out.data + at, 1, MSG_NOSIGNAL) == 1;
        bench_turn(&bench);
        end_read(&trickling);
        end_read(&silent);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)poll(NULL, 0, 2);
    }
    end_expect_close(&bench, &silent);
    cr_assert(trickling.is_ended);
    cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_SLOW]), 2);
    cr_assert_eq(metric_get(&bench.metrics.events), 0);
    // Who is between messages may be silent, and others go on.
    wire_send(&bench, &idle, &(struct wire){.events = 1, .chunk = "alive"});
    end_expect_ack(&bench, &idle, "alive");
    end_close(&silent);
    end_close(&trickling);
    end_close(&idle);
    front_bench_close(&bench);
}

// A frame may take longer than that as long as it comes on.
// docs/wire.md: W185
Test(conn_room, lets_a_message_take_its_time_that_comes_on)
{
    struct front_bench bench;
    struct peer_end end;
    front_bench_open(&bench, &(struct front_bench_options){.stall_ns = 1 * MILLISECOND});
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 10000, .chunk = "long"});
    end_open(&bench, &end, true);
    size_t at = 0;
    // Two seconds, which is four ticks, for 600 KB.
    int64_t start_ns = clock_monotonic_ns();
    while (at < out.size) {
        int64_t elapsed_ms = (clock_monotonic_ns() - start_ns) / MILLISECOND;
        size_t due = out.size * (size_t)elapsed_ms / 2000;
        due = due < out.size ? due : out.size;
        if (due > at)
            end_send(&bench, &end, bytes_of(out.data + at, due - at));
        at = due > at ? due : at;
        bench_turn(&bench);
    }
    end_expect_ack(&bench, &end, "long");
    end_close(&end);
    front_bench_close(&bench);
}

// docs/wire.md: W137, W185, W233
Test(conn_room, ends_who_reads_no_acks)
{
    struct front_bench bench;
    struct peer_end deaf, good;
    struct front_bench_options options = {.stall_ns = 300 * MILLISECOND, .acks_max = 4096};
    front_bench_open(&bench, &options);
    end_open(&bench, &deaf, true);
    end_open(&bench, &good, true);
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api", &(struct wire){.events = 0, .chunk = "unread"});
    size_t at = 0;
    int64_t deadline_ns = clock_monotonic_ns() + BENCH_WAIT_S * SECOND_NS;
    while (metric_get(&bench.metrics.broken[FRAME_ACKS_UNREAD]) == 0) {
        ssize_t size = send(deaf.fd, out.data + at, out.size - at, MSG_NOSIGNAL);
        at = size > 0 ? (at + (size_t)size) % out.size : at;
        bench_turn(&bench);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    }
    BENCH_TURN_UNTIL(&bench, front_connections(bench.front) == 1);
    wire_send(&bench, &good, &(struct wire){.events = 1, .chunk = "alive"});
    end_expect_ack(&bench, &good, "alive");
    end_close(&deaf);
    end_close(&good);
    front_bench_close(&bench);
}

// Who reads is not closed, however rarely there is something to read.
Test(conn_room, keeps_who_reads_its_acks)
{
    struct front_bench bench;
    struct peer_end end;
    front_bench_open(&bench, &(struct front_bench_options){.stall_ns = 1});
    end_open(&bench, &end, true);
    int64_t end_ns = clock_monotonic_ns() + 3 * SECOND_NS / 2;
    while (clock_monotonic_ns() < end_ns) {
        wire_send(&bench, &end, &(struct wire){.events = 0, .chunk = "read"});
        end_expect_ack(&bench, &end, "read");
    }
    end_close(&end);
    front_bench_close(&bench);
}

// docs/wire.md: W186
Test(conn_room, ends_who_says_nothing_for_long)
{
    struct front_bench bench;
    struct peer_end idle, begun;
    front_bench_open(&bench, &(struct front_bench_options){.idle_ns = 300 * MILLISECOND});
    end_open(&bench, &idle, true);
    end_open(&bench, &begun, true);
    wire_send(&bench, &idle, &(struct wire){.events = 1, .chunk = "last"});
    end_expect_ack(&bench, &idle, "last");
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 10, .chunk = "begun"});
    end_send(&bench, &begun, bytes_of(out.data, out.size / 2));
    end_expect_close(&bench, &idle);
    cr_assert_eq(metric_get(&bench.metrics.connections_idle), 1);
    // In the middle of a message it is not idle; the stall timeout looks after that.
    end_send(&bench, &begun, bytes_of(out.data + out.size / 2, out.size - out.size / 2));
    end_expect_ack(&bench, &begun, "begun");
    end_close(&idle);
    end_close(&begun);
    front_bench_close(&bench);
}

// --- sizes ---

Test(conn_room, takes_a_frame_of_the_largest_size_and_none_larger)
{
    struct front_bench bench;
    struct peer_end end;
    front_bench_open(&bench, &(struct front_bench_options){0});
    scoped(buffer_done) struct buffer out = {0};
    nils_pack(&out, 100 * 1000, "exact");
    size_t entries = 100 * 1000 + BENCH_FRAME_MAX - out.size;
    for (size_t beyond = 0; beyond <= 1; beyond++) {
        buffer_reset(&out);
        nils_pack(&out, entries + beyond, "exact");
        cr_assert_eq(out.size, BENCH_FRAME_MAX + beyond);
        end_open(&bench, &end, true);
        size_t at = 0;
        // The server may hang up before all of it is sent.
        while (at < out.size && !end.is_ended) {
            ssize_t size = send(end.fd, out.data + at, out.size - at, MSG_NOSIGNAL);
            at += size > 0 ? (size_t)size : 0;
            bench_turn(&bench);
            if (beyond > 0)
                end_read(&end);
        }
        if (beyond == 0)
            end_expect_ack(&bench, &end, "exact");
        else
            end_expect_close(&bench, &end);
        cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_TOO_LARGE]), (int64_t)beyond);
        end_close(&end);
    }
    front_bench_close(&bench);
}

// --- memory ---

// Opens a connection and sends half of a frame, or as much of it as is read.
static void
half_send(struct front_bench *bench, struct peer_end *end, struct bytes frame)
{
    size_t at = 0;
    end_open(bench, end, true);
    for (uint32_t idle = 0; at < frame.size / 2 && idle < 4; idle++) {
        ssize_t size = send(end->fd, frame.data + at, frame.size / 2 - at, MSG_NOSIGNAL);
        at += size > 0 ? (size_t)size : 0;
        idle = size > 0 ? 0 : idle;
        bench_turn(bench);
    }
}

// docs/wire.md: W182
// Half frames on most connections, none of them ever finished: those whose messages fit into their
// share do not notice, and a larger one has its turn between those that waste theirs.
Test(conn_room, serves_others_while_half_frames_fill_the_memory)
{
    enum { HALVES = 12 };
    struct front_bench bench;
    struct peer_end halves[HALVES], good;
    struct front_bench_options options = {.memory_max = 2 * BENCH_FRAME_MAX};
    front_bench_open(&bench, &options);
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 12000, .chunk = "half"});
    cr_assert_gt(out.size / 2, BENCH_FRAME_MAX / 4);
    for (uint32_t i = 0; i < HALVES; i++)
        half_send(&bench, &halves[i], buffer_view(&out));
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.memory_full) > 0);
    end_open(&bench, &good, true);
    for (uint32_t i = 0; i < 20; i++) {
        wire_send(&bench, &good, &(struct wire){.events = 100, .first = i * 100, .chunk = "small"});
        end_expect_ack(&bench, &good, "small");
    }
    cr_assert_geq(front_connections(bench.front), 3, "while they still keep memory full");
    wire_send(&bench, &good, &(struct wire){.events = 12000, .first = 5000, .chunk = "large"});
    end_expect_ack(&bench, &good, "large");
    bench_settle(&bench);
    cr_assert_lt(metric_get(&bench.metrics.memory), 2 * BENCH_FRAME_MAX + 16 * 4096 * 2);
    for (uint32_t i = 0; i < HALVES; i++)
        end_close(&halves[i]);
    end_close(&good);
    front_bench_close(&bench);
}

// docs/wire.md: W182
// Who took the room and does not fill it is closed, long before linger_ns would end it.
Test(conn_room, closes_who_takes_the_room_and_does_not_fill_it)
{
    enum { HALVES = 12 };
    struct front_bench bench;
    struct peer_end halves[HALVES];
    struct front_bench_options options = {
        .memory_max = 2 * BENCH_FRAME_MAX, .linger_ns = 3600 * SECOND_NS};
    front_bench_open(&bench, &options);
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 12000, .chunk = "half"});
    for (uint32_t i = 0; i < HALVES; i++)
        half_send(&bench, &halves[i], buffer_view(&out));
    cr_assert_gt(metric_get(&bench.metrics.memory_full), 0, "the test must have filled the memory");
    // Each of them but the first, who filled the memory while there was some.
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.broken[FRAME_STALLED]) >= HALVES / 2);
    for (uint32_t i = 0; i < HALVES; i++)
        end_close(&halves[i]);
    front_bench_close(&bench);
}

// docs/wire.md: W182
// Those of whom nothing more comes waste their turns, and are closed for that.
Test(conn_room, closes_who_wastes_its_turns)
{
    enum { SILENT = 13, SIZE = 45 * 1000 };
    struct front_bench bench;
    struct peer_end silent[SILENT];
    struct front_bench_options options = {
        .memory_max = 2 * BENCH_FRAME_MAX, .linger_ns = 300 * MILLISECOND};
    front_bench_open(&bench, &options);
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 1200, .chunk = "silent"});
    cr_assert_gt(out.size, SIZE);
    for (uint32_t i = 0; i < SILENT; i++) {
        end_open(&bench, &silent[i], true);
        end_send(&bench, &silent[i], bytes_of(out.data, SIZE));
        bench_settle(&bench);
    }
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.memory_full) > 0);
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.broken[FRAME_STALLED]) > 0);
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.memory) < BENCH_FRAME_MAX / 2);
    for (uint32_t i = 0; i < SILENT; i++)
        end_close(&silent[i]);
    front_bench_close(&bench);
}

// Many that hold next to nothing, and send a great deal at once while memory is full: the kernel
// has it all ready, and none of them gets more than its share. Who sends little notices nothing.
Test(conn_room, takes_no_more_than_shares_of_many_bursts)
{
    enum { HALVES = 3, BURSTS = 10, BURST = 150 * 1000, SHARE = BENCH_FRAME_MAX / 2 / 16 };
    struct front_bench bench;
    struct peer_end halves[HALVES], bursts[BURSTS], good;
    struct front_bench_options options = {
        .memory_max = 2 * BENCH_FRAME_MAX, .buffer_size = 128 * 1024, .linger_ns = 60 * SECOND_NS};
    front_bench_open(&bench, &options);
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 12000, .chunk = "half"});
    for (uint32_t i = 0; i < HALVES; i++)
        half_send(&bench, &halves[i], buffer_view(&out));
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.memory_full) > 0);
    bench_settle(&bench);
    int64_t before = metric_get(&bench.metrics.memory);
    end_open(&bench, &good, true);
    for (uint32_t i = 0; i < BURSTS; i++)
        end_open(&bench, &bursts[i], true);
    bench_settle(&bench);
    for (uint32_t i = 0; i < BURSTS; i++)
        cr_assert_eq(send(bursts[i].fd, out.data, BURST, MSG_NOSIGNAL), BURST);
    // All of them have what they may have, and one of them a turn as the room's owner.
    int64_t shares = (int64_t)BURSTS * SHARE;
    int64_t most = 0;
    for (uint32_t i = 0; i < 200; i++) {
        if (i % 20 == 0) {
            wire_send(&bench, &good, &(struct wire){.events = 100, .first = i, .chunk = "small"});
            end_expect_ack(&bench, &good, "small");
        }
        bench_turn(&bench);
        int64_t now = metric_get(&bench.metrics.memory);
        most = now > most ? now : most;
        cr_assert_leq(now, before + shares + 2 * BURST, "%ld more", now - before);
    }
    cr_assert_gt(most, before + shares / 2, "the bursts came");
    for (uint32_t i = 0; i < BURSTS; i++)
        end_close(&bursts[i]);
    for (uint32_t i = 0; i < HALVES; i++)
        end_close(&halves[i]);
    end_close(&good);
    front_bench_close(&bench);
}

// Fills the memory with the beginnings of messages, all of which are read, and is silent.
enum { HOLDERS = 3 };

static void
memory_fill(struct front_bench *bench, struct peer_end holders[HOLDERS], struct bytes frame)
{
    static const size_t SIZES[HOLDERS] = {260 * 1000, 260 * 1000, 30 * 1000};
    int64_t sent = 0;
    for (uint32_t i = 0; i < HOLDERS; i++) {
        end_open(bench, &holders[i], true);
        end_send(bench, &holders[i], bytes_of(frame.data, SIZES[i]));
        sent += (int64_t)SIZES[i];
        BENCH_TURN_UNTIL(bench, metric_get(&bench->metrics.bytes_received) == sent);
    }
    BENCH_TURN_UNTIL(bench, metric_get(&bench->metrics.memory_full) > 0);
    int64_t held = metric_get(&bench->metrics.memory);
    cr_assert_gt(held, BENCH_FRAME_MAX / 2);
}

static void
late_open(struct front_bench *bench, struct peer_end *end, struct bytes frame)
{
    enum { SIZE = 100 * 1000 };
    end_open(bench, end, true);
    cr_assert_eq(send(end->fd, frame.data, SIZE, MSG_NOSIGNAL), SIZE);
}

// docs/wire.md: W182
// Others stop in the middle of their messages when it is their turn, and come again at once, for as
// long as it takes: who waited before they came has its turn before them.
Test(conn_room, serves_who_waits_before_who_comes_later)
{
    enum { LATER = 3 };
    struct front_bench bench;
    struct peer_end holders[HOLDERS], later[LATER], good;
    struct front_bench_options options = {
        .memory_max = 2 * BENCH_FRAME_MAX, .linger_ns = 60 * SECOND_NS};
    front_bench_open(&bench, &options);
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 12000, .chunk = "large"});
    memory_fill(&bench, holders, buffer_view(&out));
    for (uint32_t i = 0; i < LATER; i++)
        late_open(&bench, &later[i], buffer_view(&out));
    end_open(&bench, &good, true);
    size_t at = 0;
    int64_t stalled = 0;  // until its frame was whole; the commit takes its time
    int64_t deadline_ns = clock_monotonic_ns() + BENCH_WAIT_S * SECOND_NS;
    while (good.answer.size == 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "it waits for ever");
        if (metric_get(&bench.metrics.frames) == 0)
            stalled = metric_get(&bench.metrics.broken[FRAME_STALLED]);
        ssize_t size = send(good.fd, out.data + at, out.size - at, MSG_NOSIGNAL);
        at += size > 0 ? (size_t)size : 0;
        for (uint32_t i = 0; i < LATER; i++) {
            end_read(&later[i]);
            if (!later[i].is_ended)
                continue;
            end_close(&later[i]);
            late_open(&bench, &later[i], buffer_view(&out));
        }
        bench_turn(&bench);
        end_read(&good);
    }
    end_expect_ack(&bench, &good, "large");
    cr_assert_leq(stalled, LATER, "one turn of each, %ld", stalled);
    for (uint32_t i = 0; i < LATER; i++)
        end_close(&later[i]);
    for (uint32_t i = 0; i < HOLDERS; i++)
        end_close(&holders[i]);
    end_close(&good);
    front_bench_close(&bench);
}

// docs/wire.md: W182
// A loop that is slow itself, here 600 ms a turn, holds that against nobody who has sent.
Test(conn_room, takes_nobodys_turn_because_the_loop_is_slow)
{
    struct front_bench bench;
    struct peer_end holders[HOLDERS], good;
    struct front_bench_options options = {
        .memory_max = 2 * BENCH_FRAME_MAX, .buffer_size = 128 * 1024, .linger_ns = 60 * SECOND_NS};
    front_bench_open(&bench, &options);
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api", &(struct wire){.events = 12000, .chunk = "large"});
    memory_fill(&bench, holders, buffer_view(&out));
    end_open(&bench, &good, true);
    size_t at = 0;
    for (uint32_t i = 0; i < 100 && !good.is_ended && good.answer.size == 0; i++) {
        ssize_t size = send(good.fd, out.data + at, out.size - at, MSG_NOSIGNAL);
        at += size > 0 ? (size_t)size : 0;
        (void)poll(NULL, 0, 600);
        bench_turn(&bench);
        end_read(&good);
    }
    end_expect_ack(&bench, &good, "large");
    cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_STALLED]), 0);
    for (uint32_t i = 0; i < HOLDERS; i++)
        end_close(&holders[i]);
    end_close(&good);
    front_bench_close(&bench);
}

// What a connection holds, received or to be sent, stops at its limit, long before acks_max here,
// and goes on when acks are read.
// docs/wire.md: W205
Test(conn_room, stops_reading_who_holds_what_a_connection_may)
{
    struct front_bench bench;
    struct peer_end end;
    struct front_bench_options options = {
        .acks_max = 16 * BENCH_FRAME_MAX, .connection_memory = BENCH_FRAME_MAX};
    front_bench_open(&bench, &options);
    end_open(&bench, &end, true);
    char chunk[201];
    memset(chunk, 'c', sizeof chunk - 1);
    chunk[sizeof chunk - 1] = 0;
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api", &(struct wire){.events = 0, .chunk = chunk});
    size_t at = 0, frames = 0;
    // Unread, until nothing more is taken for some turns.
    for (uint32_t idle = 0; idle < 20;) {
        ssize_t size = send(end.fd, out.data + at, out.size - at, MSG_NOSIGNAL);
        at += size > 0 ? (size_t)size : 0;
        idle = size > 0 ? 0 : idle + 1;
        if (size <= 0)
            bench_turn(&bench);
        frames += at == out.size;
        at = at == out.size ? 0 : at;
    }
    int64_t held = metric_get(&bench.metrics.memory);
    cr_assert_geq(held, BENCH_FRAME_MAX);
    cr_assert_leq(held, 2 * BENCH_FRAME_MAX);
    // What lies in the socket is read when there is room again; each frame is acked.
    size_t rest = at > 0 ? out.size - at : 0;
    frames += rest > 0;
    scoped(buffer_done) struct buffer ack = {0};
    pack_map(&ack, 1);
    pack_text(&ack, "ack");
    pack_text(&ack, chunk);
    end_await(&bench, &end, (frames - (rest > 0)) * ack.size);
    end_send(&bench, &end, bytes_of(out.data + at, rest));
    end_await(&bench, &end, frames * ack.size);
    bench_settle(&bench);
    end_read(&end);
    cr_assert_eq(end.answer.size, frames * ack.size);
    end_close(&end);
    front_bench_close(&bench);
}
