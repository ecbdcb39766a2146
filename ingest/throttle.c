#include "ingest/throttle.h"

static const int64_t PERIOD_NS = THROTTLE_PERIOD_S * INT64_C(1000000000);

bool
throttle_allows(struct throttle *throttle, int64_t now_ns, uint64_t *out_suppressed)
{
    if (throttle->lines == 0 || now_ns - throttle->period_start_ns >= PERIOD_NS) {
        throttle->period_start_ns = now_ns;
        throttle->lines = 0;
    }
    if (throttle->lines == THROTTLE_LINES) {
        throttle->suppressed++;
        return false;
    }
    throttle->lines++;
    *out_suppressed = throttle->suppressed;
    throttle->suppressed = 0;
    return true;
}
