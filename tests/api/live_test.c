// Figures out of the text that tallyd serves.

#include "api/live.h"

#include <criterion/criterion.h>

Test(live, adds_up_the_rows_of_a_metric)
{
    struct live_figures figures;
    live_figures_read(
        "# HELP tally_events_stored_total events\n"
        "# TYPE tally_events_stored_total counter\n"
        "tally_events_stored_total{shard=\"0\"} 7\n"
        "tally_events_stored_total{shard=\"1\"} 5\n"
        "tally_events_stored_total_more 100\n"
        "tally_ingest_duplicates_total 3\n"
        "tally_ingest_events_rejected_total{reason=\"time too old\"} 2\n"
        "tally_ingest_events_rejected_total{reason=\"x y z\"} 4\n"
        "tally_ingest_connections 9\n"
        "tally_ingest_connections_accepted_total 50\n"
        "tally_ingest_bytes_received_total 9007199254740993",
        &figures);
    cr_assert_eq(figures.stored, 12);
    cr_assert_eq(figures.duplicates, 3);
    cr_assert_eq(figures.conflicts, 0);
    cr_assert_eq(figures.rejected, 6);
    cr_assert_eq(figures.connections, 9);
    cr_assert_eq(figures.bytes_received, 9007199254740993);
}

Test(live, finds_nothing_in_nothing)
{
    static const char *const texts[] = {
        "", "\n", "tally_events_stored_total", "tally_events_stored_total{", "x 1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct live_figures figures;
        live_figures_read(texts[i], &figures);
        cr_assert_eq(figures.stored, 0);
    }
}
