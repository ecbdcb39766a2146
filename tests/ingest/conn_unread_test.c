// Clients that do not read what they are told, and frames of many connections that wait for a
// ticket.

#include "tests/ingest/front_bench.h"

enum { FRAMES = 60, ENTRIES = 1000 };

// So many acks with lists of rejects that no socket holds them all.
static void
acks_pile_up(struct front_bench *bench, struct peer_end *end)
{
    scoped(buffer_done) struct buffer out = {0};
    for (uint32_t i = 0; i < FRAMES; i++) {
        pack_array(&out, 3);
        pack_text(&out, "api");
        pack_array(&out, ENTRIES);
        for (uint32_t entry = 0; entry < ENTRIES; entry++)
            pack_nil(&out);
        wire_options(&out, &(struct wire){.chunk = "refused", .results = true});
    }
    end_send(bench, end, buffer_view(&out));
    BENCH_TURN_UNTIL(bench, metric_get(&bench->metrics.acks) == FRAMES);
}

// docs/wire.md: W184, W228
Test(conn_unread, does_not_wait_for_ever_for_acks_to_be_read)
{
    struct front_bench bench;
    struct peer_end end;
    struct front_bench_options options = {.acks_max = 64 << 20, .linger_ns = 50 * 1000000};
    front_bench_open(&bench, &options);
    end_open(&bench, &end, true);
    acks_pile_up(&bench, &end);
    cr_assert_eq(front_connections(bench.front), 1, "an open connection may take its time");
    cr_assert_eq(shutdown(end.fd, SHUT_WR), 0);
    BENCH_TURN_UNTIL(&bench, front_connections(bench.front) == 0);
    BENCH_TURN_UNTIL(&bench, (end_read(&end), end.is_ended));
    cr_assert_lt(end.answer.size, (size_t)FRAMES * ENTRIES * 30, "the test must have cut them");
    end_close(&end);
    front_bench_close(&bench);
}

// However long a connection is waited for otherwise.
//
// docs/wire.md: W183, W230
Test(conn_unread, drains_within_a_bounded_time)
{
    struct front_bench bench;
    struct peer_end end;
    struct front_bench_options options = {.acks_max = 64 << 20, .linger_ns = 3600 * SECOND_NS};
    _Static_assert((int)FRONT_DRAIN_S < (int)BENCH_WAIT_S, "the bench waits long enough");
    front_bench_open(&bench, &options);
    end_open(&bench, &end, true);
    acks_pile_up(&bench, &end);
    front_drain(bench.front);
    BENCH_TURN_UNTIL(&bench, front_connections(bench.front) == 0);
    end_close(&end);
    front_bench_close(&bench);
}

// docs/wire.md: W209
Test(conn_unread, takes_more_frames_of_many_connections_than_tickets)
{
    enum { ENDS = 8, EVENTS = 20 };
    struct front_bench bench;
    struct peer_end ends[ENDS];
    struct front_bench_options options = {.tickets = 3};
    front_bench_open(&bench, &options);
    for (uint32_t i = 0; i < ENDS; i++)
        end_open(&bench, &ends[i], true);
    for (uint32_t i = 0; i < ENDS; i++) {
        scoped(buffer_done) struct buffer out = {0};
        for (uint32_t event = 0; event < EVENTS; event++)
            wire_message(&out, "api", &(struct wire){.first = i * EVENTS + event});
        wire_forward(&out, "api", &(struct wire){.chunk = "last"});
        cr_assert_eq(write(ends[i].fd, out.data, out.size), (ssize_t)out.size);
    }
    for (uint32_t i = 0; i < ENDS; i++) {
        end_expect_ack(&bench, &ends[i], "last");
        end_close(&ends[i]);
    }
    cr_assert_eq(metric_get(&bench.metrics.events), ENDS * EVENTS);
    front_bench_close(&bench);
}
