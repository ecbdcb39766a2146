// CompressedPackedForward on connections: against a real ledger, the test plays the client.

#include "tests/ingest/front_bench.h"
#include "tests/ingest/squeeze.h"

static const struct front_bench_options PLAIN = {
    .inflated = {.size_max = 4 << 20, .ratio_max = 200},
};

static void
squeezed_send(
    struct front_bench *bench, struct peer_end *end, const struct wire *wire, size_t members)
{
    scoped(buffer_done) struct buffer out = {0};
    wire_squeezed(&out, "api_call", wire, members);
    end_send(bench, end, buffer_view(&out));
}

Test(conn_gzip, acks_compressed_frames)
{
    struct front_bench bench;
    struct peer_end end;
    front_bench_open(&bench, &PLAIN);
    end_open(&bench, &end, true);
    squeezed_send(&bench, &end, &(struct wire){.events = 5, .chunk = "one"}, 1);
    end_expect_ack(&bench, &end, "one");
    squeezed_send(&bench, &end, &(struct wire){.events = 500, .first = 5, .chunk = "many"}, 7);
    end_expect_ack(&bench, &end, "many");
    squeezed_send(&bench, &end, &(struct wire){.events = 0, .chunk = "none"}, 1);
    end_expect_ack(&bench, &end, "none");
    squeezed_send(&bench, &end, &(struct wire){.events = 505, .chunk = "again"}, 2);
    end_expect_ack(&bench, &end, "again");
    cr_assert_eq(metric_get(&bench.metrics.events), 1010);
    cr_assert_eq(metric_get(&bench.metrics.duplicates), 505);
    end_close(&end);
    front_bench_close(&bench);
}

// Results name an entry by its place among all that came out, whatever member it was in.
Test(conn_gzip, tells_results_by_index_across_members)
{
    enum { BAD = 33 };
    struct front_bench bench;
    struct peer_end end;
    scoped(buffer_done) struct buffer entries = {0}, packed = {0}, out = {0}, wanted = {0};
    front_bench_open(&bench, &PLAIN);
    end_open(&bench, &end, true);
    wire_entries(&entries, &(struct wire){.events = BAD});
    pack_nil(&entries);
    wire_entries(&entries, &(struct wire){.events = 5, .first = BAD});
    for (size_t at = 0; at < entries.size; at += 100)
        squeeze(
            &packed,
            bytes_of(entries.data + at, entries.size - at < 100 ? entries.size - at : 100));
    pack_array(&out, 3);
    pack_text(&out, "api_call");
    pack_bin(&out, buffer_view(&packed));
    pack_map(&out, 3);
    pack_text(&out, "compressed");
    pack_text(&out, "gzip");
    pack_text(&out, "tally");
    pack_map(&out, 1);
    pack_text(&out, "results");
    pack_bool(&out, true);
    pack_text(&out, "chunk");
    pack_text(&out, "c1");
    end_send(&bench, &end, buffer_view(&out));
    pack_map(&wanted, 4);
    pack_text(&wanted, "ack");
    pack_text(&wanted, "c1");
    pack_text(&wanted, "duplicates");
    pack_uint(&wanted, 0);
    pack_text(&wanted, "rejected");
    pack_array(&wanted, 1);
    pack_array(&wanted, 2);
    pack_uint(&wanted, BAD);
    pack_text(&wanted, refusal_name(REFUSAL_ENTRY));
    pack_text(&wanted, "conflicts");
    pack_array(&wanted, 0);
    end_expect(&bench, &end, buffer_view(&wanted));
    end_close(&end);
    front_bench_close(&bench);
}

Test(conn_gzip, takes_frames_byte_by_byte)
{
    struct front_bench bench;
    struct peer_end end;
    front_bench_open(&bench, &PLAIN);
    end_open(&bench, &end, true);
    scoped(buffer_done) struct buffer out = {0};
    wire_squeezed(&out, "api_call", &(struct wire){.events = 20, .chunk = "slow"}, 3);
    for (size_t i = 0; i < out.size; i++) {
        end_send(&bench, &end, bytes_of(out.data + i, 1));
        bench_turn(&bench);
    }
    end_expect_ack(&bench, &end, "slow");
    cr_assert_eq(metric_get(&bench.metrics.events), 20);
    end_close(&end);
    front_bench_close(&bench);
}

// The ledger's groups are smaller than a frame, so that a put stops in its middle, again and again,
// while several connections have something to inflate.
Test(conn_gzip, goes_on_with_frames_that_waited_for_room)
{
    enum { ENDS = 6, FRAMES = 4, EVENTS = 400 };
    struct front_bench bench;
    struct peer_end ends[ENDS];
    struct front_bench_options options = PLAIN;
    options.group_events_max = 64;
    front_bench_open(&bench, &options);
    uint32_t first = 0;
    for (int i = 0; i < ENDS; i++)
        end_open(&bench, &ends[i], true);
    for (int frame = 0; frame < FRAMES; frame++)
        for (int i = 0; i < ENDS; i++, first += EVENTS)
            squeezed_send(
                &bench,
                &ends[i],
                &(struct wire){.events = EVENTS, .first = first, .chunk = "c"},
                3);
    scoped(buffer_done) struct buffer wanted = {0};
    for (int frame = 0; frame < FRAMES; frame++) {
        pack_map(&wanted, 1);
        pack_text(&wanted, "ack");
        pack_text(&wanted, "c");
    }
    for (int i = 0; i < ENDS; i++)
        end_expect(&bench, &ends[i], buffer_view(&wanted));
    cr_assert_eq(metric_get(&bench.metrics.events), ENDS * FRAMES * EVENTS);
    cr_assert_eq(metric_get(&bench.metrics.duplicates), 0);
    for (int i = 0; i < ENDS; i++)
        end_close(&ends[i]);
    BENCH_TURN_UNTIL(&bench, front_connections(bench.front) == 0);
    front_bench_close(&bench);
}

// Who hangs up in the middle of a put does not keep the others from inflating.
Test(conn_gzip, lets_others_inflate_when_a_client_leaves)
{
    struct front_bench bench;
    struct peer_end leaver, stayer;
    struct front_bench_options options = PLAIN;
    options.group_events_max = 16;
    front_bench_open(&bench, &options);
    end_open(&bench, &leaver, true);
    end_open(&bench, &stayer, true);
    squeezed_send(&bench, &leaver, &(struct wire){.events = 2000, .chunk = "left"}, 1);
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.events) > 0);
    end_close(&leaver);
    squeezed_send(&bench, &stayer, &(struct wire){.events = 3, .first = 9000, .chunk = "c"}, 1);
    end_expect_ack(&bench, &stayer, "c");
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.events) == 2003);
    end_close(&stayer);
    front_bench_close(&bench);
}

// Who sends and sends and reads no ack has at some point enough of them unread, and stops; but not
// with the one buffer for inflating in its hands.
Test(conn_gzip, does_not_wait_for_a_client_that_reads_nothing)
{
    enum { FRAMES = 40 };
    struct front_bench bench;
    struct peer_end deaf, good;
    struct front_bench_options options = PLAIN;
    options.group_events_max = 16;
    options.acks_max = 1;
    front_bench_open(&bench, &options);
    end_open(&bench, &deaf, true);
    end_open(&bench, &good, true);
    int small = 1;
    cr_assert_eq(setsockopt(deaf.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    for (uint32_t i = 0; i < FRAMES; i++) {
        squeezed_send(
            &bench, &deaf, &(struct wire){.events = 100, .first = 100 * i, .chunk = "unread"}, 1);
        squeezed_send(
            &bench, &good, &(struct wire){.events = 2, .first = 90000 + 2 * i, .chunk = "c"}, 1);
        end_expect_ack(&bench, &good, "c");
    }
    end_close(&deaf);
    end_close(&good);
    front_bench_close(&bench);
}

struct broken_row {
    const char *name;
    enum frame_fault fault;
    size_t cut;        // bytes that are missing at the end of the members
    const char *tail;  // what comes behind them
    size_t zeros;      // what they hold instead of events
};

// clang-format off
static const struct broken_row BROKEN[] = {
    {.name = "nothing", .fault = FRAME_GZIP_BROKEN, .cut = SIZE_MAX},
    {.name = "one byte short", .fault = FRAME_GZIP_BROKEN, .cut = 1},
    {.name = "half a member", .fault = FRAME_GZIP_BROKEN, .cut = 60},
    {.name = "garbage behind", .fault = FRAME_GZIP_BROKEN, .tail = "x"},
    {.name = "too many times its size", .fault = FRAME_GZIP_RATIO, .zeros = 1 << 20},
    {.name = "a cut entry", .fault = FRAME_ENTRIES_BROKEN},
};
// clang-format on

static void
broken_pack(const struct broken_row *row, struct buffer *out)
{
    scoped(buffer_done) struct buffer content = {0}, packed = {0};
    for (size_t i = 0; i < row->zeros; i++)
        buffer_u8(&content, 0);
    if (row->zeros == 0)
        wire_entries(&content, &(struct wire){.events = 10, .first = 100});
    if (row->fault == FRAME_ENTRIES_BROKEN)
        content.size--;
    squeeze(&packed, buffer_view(&content));
    packed.size -= row->cut < packed.size ? row->cut : packed.size;
    if (row->tail != NULL)
        buffer_text(&packed, row->tail);
    wire_gzip(out, "api_call", buffer_view(&packed), "never");
}

Test(conn_gzip, stores_nothing_of_a_broken_frame)
{
    struct front_bench bench;
    front_bench_open(&bench, &PLAIN);
    for (size_t i = 0; i < sizeof BROKEN / sizeof BROKEN[0]; i++) {
        struct peer_end end;
        scoped(buffer_done) struct buffer out = {0};
        broken_pack(&BROKEN[i], &out);
        end_open(&bench, &end, true);
        end_send(&bench, &end, buffer_view(&out));
        end_expect_close(&bench, &end);
        cr_assert_eq(
            metric_get(&bench.metrics.broken[BROKEN[i].fault]) > 0, true, "%s", BROKEN[i].name);
        end_close(&end);
    }
    cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_GZIP_BROKEN]), 4);
    cr_assert_eq(metric_get(&bench.metrics.events), 0);
    cr_assert_eq(metric_get(&bench.metrics.frames), 0);
    struct peer_end end;
    end_open(&bench, &end, true);
    squeezed_send(&bench, &end, &(struct wire){.events = 1, .chunk = "alive"}, 1);
    end_expect_ack(&bench, &end, "alive");
    end_close(&end);
    front_bench_close(&bench);
}

// What was sent whole before a broken frame is stored and acked all the same.
Test(conn_gzip, acks_what_came_before_a_broken_frame)
{
    struct front_bench bench;
    struct peer_end end;
    front_bench_open(&bench, &PLAIN);
    end_open(&bench, &end, true);
    scoped(buffer_done) struct buffer out = {0};
    wire_squeezed(&out, "api_call", &(struct wire){.events = 3, .chunk = "c1"}, 1);
    broken_pack(&BROKEN[1], &out);
    wire_squeezed(&out, "api_call", &(struct wire){.events = 3, .first = 50, .chunk = "c2"}, 1);
    end_send(&bench, &end, buffer_view(&out));
    end_expect_ack(&bench, &end, "c1");
    end_expect_close(&bench, &end);
    cr_assert_eq(metric_get(&bench.metrics.events), 3);
    end_close(&end);
    front_bench_close(&bench);
}

// At the limit, and a byte beyond it.
Test(conn_gzip, holds_the_limit_of_inflated_bytes)
{
    scoped(buffer_done) struct buffer entries = {0}, out = {0};
    const struct wire wire = {.events = 200, .chunk = "c"};
    wire_entries(&entries, &wire);
    wire_squeezed(&out, "api_call", &wire, 1);
    for (size_t under = 0; under < 2; under++) {
        struct front_bench bench;
        struct peer_end end;
        struct front_bench_options options = PLAIN;
        options.inflated.size_max = entries.size - under;
        front_bench_open(&bench, &options);
        end_open(&bench, &end, true);
        end_send(&bench, &end, buffer_view(&out));
        if (under)
            end_expect_close(&bench, &end);
        else
            end_expect_ack(&bench, &end, "c");
        cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_GZIP_TOO_LARGE]), (int64_t)under);
        end_close(&end);
        front_bench_close(&bench);
    }
}

// Inflated entries count as memory while they wait, and are given back.
Test(conn_gzip, counts_the_memory_of_inflated_entries)
{
    struct front_bench bench;
    struct peer_end end;
    struct front_bench_options options = PLAIN;
    options.group_events_max = 16;
    front_bench_open(&bench, &options);
    end_open(&bench, &end, true);
    squeezed_send(&bench, &end, &(struct wire){.events = 8000, .chunk = "c"}, 1);
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.memory) > 256 << 10);
    cr_assert_lt(metric_get(&bench.metrics.events), 8000);
    end_expect_ack(&bench, &end, "c");
    BENCH_TURN_UNTIL(&bench, metric_get(&bench.metrics.memory) < 128 << 10);
    end_close(&end);
    front_bench_close(&bench);
}
