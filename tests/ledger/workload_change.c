#include "base/assert.h"
#include "ledger/control.h"
#include "tests/ledger/workload.h"

#include <inttypes.h>

// Corrections, cuts and backfills: what the model says of each must be what the ledger says. They
// are durable when they are answered, so a death afterwards changes nothing.

// Whether an answer is the model's; asked again after a crash, what was done is refused.
static bool
is_right(const struct workload *workload, enum status status, enum status expected)
{
    return status == expected ||
           (workload->is_retry && expected == STATUS_OK && status == STATUS_EXISTS);
}

// With another event's time, or nearly its own: nothing is there, or is not any more. What would be
// taken out is not asked for.
static void
correct_at_another_time(struct workload *workload, const struct model_event *named)
{
    struct error error = {0};
    uint64_t block = 0;
    const struct model *model = &workload->model;
    const struct model_event *like = model_current(model, named, NULL);
    if (like == NULL || list_draw(workload, 2) == 0)
        like = &workload->history[list_draw(workload, workload->history_count)];
    const int64_t time_ns = like->time_ns + (int64_t)list_draw(workload, 3) - 1;
    const struct model_event *current = model_current(model, named, &time_ns);
    bool is_gone = current == NULL || current->until > 0;
    if (!workload->is_real || !is_gone || workload->is_retry || workload->keep_log_ns > 0)
        return;
    const struct correction correction = {
        .kind = ENTRY_CANCEL,
        .subject = bytes_text(named->subject),
        .source = bytes_text(named->source),
        .id = bytes_text(named->id),
        .has_time = true,
        .time_ns = time_ns,
        .who = bytes_text("model"),
        .why = bytes_text("drawn"),
    };
    enum status expected = current == NULL ? STATUS_NOT_FOUND : STATUS_EXISTS;
    enum status status = ledger_correct(workload->ledger, &correction, &block, &error);
    if (status != expected)
        fail(
            workload,
            "cancel of subject %s, id %s, time %" PRId64 ": %s, the model says %s",
            named->subject,
            named->id,
            time_ns,
            status_name(status),
            status_name(expected));
}

static void
correct(
    struct workload *workload,
    const struct model_event *named,
    const int128 *value,
    const struct model_event *properties)
{
    scoped(buffer_done) struct buffer buffer = {0};
    struct error error = {0};
    struct event event = {0};
    uint64_t block = 0;
    const struct model_event *current = model_current(&workload->model, named, NULL);
    bool has_time = list_draw(workload, 2) == 0;
    const int64_t time_ns = current != NULL ? current->time_ns : named->time_ns;
    enum status expected = model_correct(&workload->model, named, value, properties);
    workload->taken += expected == STATUS_OK;
    if (!workload->is_real)
        return;
    struct correction correction = {
        .kind = value != NULL || properties != NULL ? ENTRY_AMEND : ENTRY_CANCEL,
        .subject = bytes_text(named->subject),
        .source = bytes_text(named->source),
        .id = bytes_text(named->id),
        .has_time = has_time,
        .time_ns = time_ns,
        .who = bytes_text("model"),
        .why = bytes_text("drawn"),
    };
    if (value != NULL) {
        correction.has_value = true;
        correction.value.units = *value;
    }
    if (properties != NULL) {
        event_encode(properties, &buffer, &event);
        correction.has_properties = true;
        correction.properties = buffer_view(&buffer);
        correction.properties_count = event.properties_count;
    }
    enum status status = ledger_correct(workload->ledger, &correction, &block, &error);
    if (!is_right(workload, status, expected))
        fail(
            workload,
            "correction of subject %s, id %s: status %d (%s), the model says %d",
            named->subject,
            named->id,
            status,
            status ? error.text : "",
            expected);
}

void
change_event(struct workload *workload)
{
    struct model_event other;
    if (workload->history_count == 0)
        return;
    // The newest ones twice as often.
    uint64_t back = draw(workload, workload->history_count);
    back = chance(workload, 50) ? back % 50 : back;
    const struct model_event named = workload->history[workload->history_count - 1 - back];
    uint64_t kind = draw(workload, 4);
    make_payload(workload, &other);
    if (named.id[0] == '\0')
        return;
    correct_at_another_time(workload, &named);
    correct(
        workload,
        &named,
        kind == 2 || kind == 3 ? &other.value : NULL,
        kind == 1 || kind == 3 ? &other : NULL);
}

void
change_cut(struct workload *workload)
{
    struct error error = {0};
    uint32_t number = 0;
    // Most events are of the last hours.
    int64_t most_ns = chance(workload, 60) ? 4 * HOUR_NS : 6 * DAY_NS;
    int64_t back_ns = (int64_t)draw(workload, (uint64_t)most_ns);
    int64_t time_ns = workload_now_ns - back_ns;
    // One that is about to come has late events, too, and some that are not.
    if (list_draw(workload, 8) == 0)
        time_ns = workload_now_ns + workload->model.future_max_ns;
    // Whole seconds are what a cut keeps of its time.
    time_ns -= time_ns % (chance(workload, 70) ? 15 * MINUTE_NS : SECOND_NS);
    if (workload->model.cuts_count == MODEL_CUTS_MAX)
        return;
    uint32_t expected = model_cut(&workload->model, time_ns);
    if (!workload->is_real)
        return;
    succeed(workload, ledger_cut(workload->ledger, time_ns, &number, &error), &error);
    // The one before the crash has its number for good, in whichever shards it is.
    if (workload->is_retry && number == expected + 1) {
        workload->phantom_cut = expected;
        expected = model_cut(&workload->model, time_ns);
    }
    if (number != expected)
        fail(workload, "a cut has number %u, the model says %u", number, expected);
}

static void
backfill(struct workload *workload, enum backfill_act act, const char *id)
{
    struct error error = {0};
    uint64_t expected_count = 0;
    uint64_t count = 0;
    const struct backfill backfill = {
        .act = act,
        .id = bytes_text(id),
        .who = bytes_text("model"),
        .why = bytes_text("drawn"),
    };
    enum status expected = model_backfill(&workload->model, act, id, &expected_count);
    workload->taken += expected_count;
    workload->reverted += expected_count;
    if (!workload->is_real)
        return;
    enum status status = ledger_backfill(workload->ledger, &backfill, &count, &error);
    bool is_counted = count == expected_count || (workload->is_retry && count < expected_count);
    if (!is_right(workload, status, expected) || !is_counted)
        fail(
            workload,
            "backfill %d of %s: %s, %" PRIu64 " events, the model says %s, %" PRIu64,
            (int)act,
            id,
            status_name(status),
            count,
            status_name(expected),
            expected_count);
}

void
open_backfill(struct workload *workload)
{
    backfill(workload, BACKFILL_OPEN, make_new_backfill(workload));
}

void
change_backfill(struct workload *workload)
{
    uint64_t kind = draw(workload, 100);
    if (kind < 40)
        open_backfill(workload);
    else if (kind < 45)
        backfill(workload, BACKFILL_OPEN, make_backfill(workload));
    else if (kind < 55)
        backfill(workload, BACKFILL_CLOSE, make_live_backfill(workload, true));
    else
        backfill(workload, BACKFILL_REVERT, make_live_backfill(workload, false));
}
