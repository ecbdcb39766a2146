#include "base/assert.h"
#include "ledger/backfill_list.h"
#include "ledger/events.h"
#include "tests/ledger/workload.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Events as `tally events` lists them, and backfills, are the model's: each stored event once, by
// time, with what became of it. Drawn from a stream of its own, and nothing is changed.

enum { PAGES_MAX = 4 };

struct listed {
    const struct workload *workload;
    struct events_query query;
    bool *is_seen;  // of the model's events
    struct events_row last;
    size_t count;
};

static bool
is_chunk(const struct model_event *event)
{
    return event->id[0] == '\0' && event->chunk[0] != '\0';
}

// --- what the model says ---

// What an amend at this place made of the event; NULL: that was no amend.
static const struct model_event *
amend_at(const struct model *model, const struct model_event *event)
{
    for (uint32_t i = 0; i < model->count; i++) {
        const struct model_event *other = &model->events[i];
        bool is_same = strcmp(other->subject, event->subject) == 0 &&
                       strcmp(other->source, event->source) == 0 &&
                       strcmp(other->id, event->id) == 0;
        if (other->is_amend && other->from == event->until && is_same)
            return other;
    }
    return NULL;
}

static enum events_status
status_of(const struct model *model, const struct model_event *event)
{
    bool is_amended = false;
    while (event->until > 0) {
        const struct model_event *amend = amend_at(model, event);
        if (amend == NULL)
            return event->is_free ? EVENTS_REVERTED : EVENTS_CANCELLED;
        is_amended = true;
        event = amend;
    }
    return is_amended ? EVENTS_AMENDED : EVENTS_COUNTED;
}

static bool
is_same_text(struct bytes wanted, const char *have)
{
    return wanted.size == 0 || bytes_equal(wanted, bytes_text(have));
}

static bool
is_wanted(const struct events_query *query, const struct model_event *event)
{
    struct bytes part = query->id_part;
    struct bytes id = bytes_text(event->id);
    return !event->is_amend && event->time_ns >= query->from_ns && event->time_ns < query->to_ns &&
           is_same_text(query->subject, event->subject) && is_same_text(query->type, event->type) &&
           is_same_text(query->source, event->source) && is_same_text(query->id, event->id) &&
           (part.size == 0 ||
            (id.size > 0 && memmem(id.data, id.size, part.data, part.size) != NULL));
}

static bool
has_meter(const struct workload *workload, const char *type)
{
    for (int i = 0; i < WORKLOAD_METERS; i++) {
        const struct meter *meter = &workload->meters[i];
        if (meter->key != NULL && strcmp(meter->event_type, type) == 0)
            return true;
    }
    return false;
}

// --- the list ---

static bool
row_is(
    const struct workload *workload, const struct events_row *row, const struct model_event *event)
{
    const struct entry *entry = &row->entry;
    static const char unmetered[] = "no meter found";
    bool is_unmetered = row->validation_error != NULL &&
                        strncmp(row->validation_error, unmetered, strlen(unmetered)) == 0;
    return bytes_equal(entry->type, bytes_text(event->type)) &&
           bytes_equal(entry->id, bytes_text(is_chunk(event) ? event->chunk : event->id)) &&
           bytes_equal(entry->source, bytes_text(event->source)) &&
           bytes_equal(entry->batch, bytes_text(event->batch)) &&
           entry->value.units == event->value &&
           ((entry->flags & ENTRY_ID_IS_CHUNK) != 0) == is_chunk(event) &&
           row->status == status_of(&workload->model, event) &&
           is_unmetered == !has_meter(workload, event->type);
}

// Of one subject and time the latest in the log comes first: the last of those not seen yet.
static void
row_check(struct listed *listed, const struct events_row *row)
{
    const struct workload *workload = listed->workload;
    const struct entry *entry = &row->entry;
    const struct model *model = &workload->model;
    uint32_t i = model->count;
    while (i-- > 0) {
        const struct model_event *event = &model->events[i];
        if (!listed->is_seen[i] && event->time_ns == entry->time_ns &&
            bytes_equal(entry->subject, bytes_text(event->subject)) &&
            is_wanted(&listed->query, event))
            break;
    }
    if (i == UINT32_MAX || !row_is(workload, row, &model->events[i]))
        fail(
            workload,
            "list: subject %.*s, id %.*s, time %" PRId64 ", %s (%s): the model says %s%s, %s",
            (int)entry->subject.size,
            (const char *)entry->subject.data,
            (int)entry->id.size,
            (const char *)entry->id.data,
            entry->time_ns,
            events_status_name(row->status),
            row->validation_error != NULL ? row->validation_error : "no fault",
            i == UINT32_MAX ? "there is none" : model->events[i].id,
            i == UINT32_MAX ? "" : model->events[i].chunk,
            i == UINT32_MAX ? "" : events_status_name(status_of(model, &model->events[i])));
    listed->is_seen[i] = true;
}

static bool
comes_after(const struct events_row *row, const struct events_row *last)
{
    if (row->entry.time_ns != last->entry.time_ns)
        return row->entry.time_ns < last->entry.time_ns;
    if (row->shard != last->shard)
        return row->shard < last->shard;
    return row->block != last->block ? row->block < last->block : row->index < last->index;
}

static void
page_check(struct listed *listed, const struct events_result *page)
{
    const struct workload *workload = listed->workload;
    bool is_full = page->count == listed->query.limit;
    if (page->count > listed->query.limit || (page->next != NULL && !is_full))
        fail(
            workload,
            "list: a page of %zu events, %u are asked for",
            page->count,
            listed->query.limit);
    for (size_t i = 0; i < page->count; i++) {
        const struct events_row *row = &page->rows[i];
        if (listed->count > 0 && !comes_after(row, &listed->last))
            fail(workload, "list: event %zu is out of order", listed->count);
        row_check(listed, row);
        listed->last = *row;
        listed->count++;
    }
}

// What was not listed does not belong there, or not yet.
static void
rest_check(const struct listed *listed, bool has_more)
{
    const struct model *model = &listed->workload->model;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct model_event *event = &model->events[i];
        if (listed->is_seen[i] || !is_wanted(&listed->query, event))
            continue;
        if (!has_more || event->time_ns > listed->last.entry.time_ns)
            fail(listed->workload, "list: event %u (id %s) is not there", i, event->id);
    }
}

// --- what is asked ---

static struct events_query
make_query(struct workload *workload)
{
    static const uint32_t limits[] = {1, 3, 20, 150, EVENTS_LIMIT_MAX};
    struct events_query query = EVENTS_ALL;
    query.limit = limits[list_draw(workload, 5)];
    if (workload->model.count == 0 || list_draw(workload, 3) == 0)
        return query;
    const struct model_event *like =
        &workload->model.events[list_draw(workload, workload->model.count)];
    uint64_t wants = list_draw(workload, 64) & list_draw(workload, 64);
    if (wants & 1)
        query.subject = bytes_text(like->subject);
    if (wants & 2)
        query.type = bytes_text(like->type);
    if (wants & 4)
        query.source = bytes_text(like->source);
    if (wants & 8)
        query.id = bytes_text(is_chunk(like) ? like->chunk : like->id);
    if (wants & 16)
        query.id_part = bytes_text(list_draw(workload, 2) == 0 ? "e1" : "7");
    if (wants & 32)
        query.from_ns = like->time_ns;
    if (list_draw(workload, 4) == 0)
        query.to_ns = like->time_ns + (int64_t)list_draw(workload, 3) - 1;
    return query;
}

static void
check_events(struct workload *workload)
{
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct listed listed = {.workload = workload, .query = make_query(workload)};
    struct events_query query = listed.query;
    if (!workload->is_real)
        return;
    listed.is_seen = arena_array(&arena, workload->model.count, bool);
    for (int i = 0; i < PAGES_MAX && (i == 0 || query.after != NULL); i++) {
        struct events_result page;
        succeed(workload, events_list(workload->reader, &query, &arena, &page, &error), &error);
        page_check(&listed, &page);
        query.after = page.next;
    }
    rest_check(&listed, query.after != NULL);
    workload->shared->listed += listed.count;
}

static void
check_backfill(const struct workload *workload, const struct backfill_row *row)
{
    const struct model *model = &workload->model;
    uint64_t counts[EVENTS_REVERTED + 1] = {0};
    enum batch_state state = BATCH_CLOSED;
    bool is_known = false;
    for (uint32_t i = 0; i < model->backfills_count; i++) {
        const struct model_backfill *backfill = &model->backfills[i];
        if (!bytes_equal(row->id, bytes_text(backfill->id)))
            continue;
        is_known = true;
        if (backfill->is_open || backfill->is_reverted)
            state = backfill->is_open ? BATCH_OPEN : BATCH_REVERTED;
    }
    for (uint32_t i = 0; i < model->count; i++) {
        const struct model_event *event = &model->events[i];
        if (!event->is_amend && bytes_equal(row->id, bytes_text(event->batch)))
            counts[status_of(model, event)]++;
    }
    uint64_t counted = counts[EVENTS_COUNTED] + counts[EVENTS_AMENDED];
    if (!is_known || row->state != state || row->is_partial ||
        row->cancelled != counts[EVENTS_CANCELLED] || row->taken != counts[EVENTS_REVERTED] ||
        row->stored != counted + row->cancelled + row->taken)
        fail(
            workload,
            "backfill %.*s is %s with %" PRIu64 " events, %" PRIu64 " reverted, %" PRIu64
            " cancelled; the model says %s, %" PRIu64 " counted, %" PRIu64 ", %" PRIu64,
            (int)row->id.size,
            (const char *)row->id.data,
            batch_state_name(row->state),
            row->stored,
            row->taken,
            row->cancelled,
            batch_state_name(state),
            counted,
            counts[EVENTS_REVERTED],
            counts[EVENTS_CANCELLED]);
}

static void
check_backfills(const struct workload *workload)
{
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct backfill_row *rows;
    size_t count = 0;
    if (!workload->is_real)
        return;
    succeed(workload, backfill_list(workload->dir, &arena, &rows, &count, &error), &error);
    if (count != workload->model.backfills_count)
        fail(workload, "%zu backfills, the model says %u", count, workload->model.backfills_count);
    for (size_t i = 0; i < count; i++)
        check_backfill(workload, &rows[i]);
}

void
check_lists(struct workload *workload)
{
    check_events(workload);
    if (list_draw(workload, 3) == 0)
        check_backfills(workload);
}
