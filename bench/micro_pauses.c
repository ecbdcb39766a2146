// How long the machine keeps its processors from everybody while nothing is measured: whether this
// is a good minute to measure in.
#include "bench/micro.h"
#include "bench/pauses.h"

#include <math.h>
#include <poll.h>

enum status
micro_pauses(const struct micro_options *options, struct micro_figures *out, struct error *error)
{
    struct pauses pauses;
    (void)error;
    pauses_start(&pauses, PAUSES_ALONE_NS);
    (void)poll(NULL, 0, (int)options->seconds * 1000);
    struct pauses_found found = pauses_stop(&pauses);
    bool is_known = pauses_are_known(&found);
    double percent = is_known ? pauses_percent(&found) : (double)NAN;
    double max_us = is_known ? (double)found.max_ns / 1e3 : (double)NAN;
    micro_add(out, "machine_paused_percent", percent, 3, "% of the time, for more than 1 ms");
    micro_add(out, "machine_pause_max_us", max_us, 0, "us, the longest");
    return STATUS_OK;
}
