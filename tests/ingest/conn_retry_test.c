// Connections while the ledger has little room.

#include "tests/ingest/front_bench.h"

// An entry that waits for room is read again, but its value is rounded once.
Test(conn_retry, counts_rounded_values_once)
{
    enum { EVENTS = 200 };
    struct front_bench bench;
    struct peer_end end;
    scoped(buffer_done) struct buffer out = {0};
    front_bench_open(&bench, &(struct front_bench_options){.group_events_max = 4});
    end_open(&bench, &end, true);
    wire_rounded(&out, "api_call", EVENTS, "c1");
    end_send(&bench, &end, buffer_view(&out));
    end_expect_ack(&bench, &end, "c1");
    bench_turn(&bench);
    cr_assert_eq(metric_get(&bench.metrics.events), EVENTS);
    cr_assert_eq(metric_get(&bench.metrics.values_rounded), EVENTS);
    end_close(&end);
    front_bench_close(&bench);
}
