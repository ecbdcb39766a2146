#include "base/assert.h"
#include "ledger/usage_events.h"
#include "tests/ledger/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct model_row *
find_row(
    const struct model_row *rows, size_t count, const struct usage_row *wanted, uint32_t groups)
{
    for (size_t i = 0; i < count; i++) {
        const struct model_row *row = &rows[i];
        bool is_same = row->from_ns == wanted->from_ns && row->to_ns == wanted->to_ns &&
                       bytes_equal(bytes_text(row->subject), wanted->subject);
        for (uint32_t j = 0; j < groups && is_same; j++)
            is_same = bytes_equal(row->dimensions[j], wanted->dimensions[j]);
        if (is_same)
            return row;
    }
    return NULL;
}

static void
question_print(const struct workload_question *question, const struct meter *meter, char out[1024])
{
    const struct usage_query *query = &question->query;
    int size = snprintf(
        out,
        1024,
        "meter %s (%s of %s %s), subject %.*s, from %" PRId64 " to %" PRId64
        ", window %d of %s, at cut %u, by",
        query->meter,
        aggregation_name(meter->aggregation),
        meter->event_type,
        meter->value_property == NULL ? "value" : meter->value_property,
        (int)query->subject.size,
        query->subject.data == NULL ? "" : (const char *)query->subject.data,
        query->from_ns,
        query->to_ns,
        (int)query->window,
        query->zone == NULL ? "UTC" : query->zone,
        query->at_cut);
    for (uint32_t i = 0; i < query->group_by_count; i++)
        size += snprintf(out + size, 1024 - (size_t)size, " %s", query->group_by[i]);
    for (uint32_t i = 0; query->filter != NULL && i < query->filter->parts_count; i++) {
        const struct usage_filter *part = &query->filter->parts[i];
        size += snprintf(
            out + size,
            1024 - (size_t)size,
            " where %s is one of %u: %.*s",
            part->dimension,
            part->values_count,
            (int)part->values[0].size,
            (const char *)part->values[0].data);
    }
}

static void
row_compare(
    const struct workload *workload,
    const char *asked,
    const struct usage_row *row,
    const struct model_row *expected)
{
    char value[WIDE_TEXT_MAX];
    char wanted[WIDE_TEXT_MAX] = "no row";
    struct wide numerator = row->numerator;
    if (row->denominator == 1)
        numerator = wide_from_int128(row->value.units);
    (void)wide_divide_print(row->numerator, 1, DECIMAL_PLACES, value);
    if (expected != NULL)
        model_number_print(&expected->numerator, wanted);
    if (expected == NULL || strcmp(value, wanted) != 0 || row->count != expected->count ||
        row->denominator != expected->denominator || wide_compare(&numerator, &row->numerator) != 0)
        fail(
            workload,
            "%s\n  subject %.*s from %" PRId64 ": %s / %" PRIu64 " of %" PRIu64
            " events,\n  the model says %s / %" PRIu64 " of %" PRIu64,
            asked,
            (int)row->subject.size,
            (const char *)row->subject.data,
            row->from_ns,
            value,
            row->denominator,
            row->count,
            wanted,
            expected == NULL ? 0 : expected->denominator,
            expected == NULL ? 0 : expected->count);
}

// By subject, window, dimensions.
static int
row_order(const struct usage_row *a, const struct usage_row *b, uint32_t groups)
{
    int order = bytes_compare(a->subject, b->subject);
    if (order == 0)
        order = (a->from_ns > b->from_ns) - (a->from_ns < b->from_ns);
    for (uint32_t i = 0; i < groups && order == 0; i++)
        order = bytes_compare(a->dimensions[i], b->dimensions[i]);
    return order;
}

struct totals {
    struct workload *workload;
    const char *asked;
    const struct model_row *rows;
    size_t rows_count, count;
    struct usage_query query;
};

static bool
on_total(void *context, struct bytes subject, const struct usage_row *total)
{
    struct totals *totals = context;
    must(bytes_equal(subject, total->subject));
    row_compare(
        totals->workload,
        totals->asked,
        total,
        find_row(totals->rows, totals->rows_count, total, 0));
    totals->count++;
    return true;
}

// Where old events are deleted, what only they could answer is refused; what the cells of whole
// windows have is not.
static bool
may_be_gone(const struct workload *workload, const struct usage_query *query)
{
    bool is_whole = query->from_ns == INT64_MIN && query->to_ns == INT64_MAX &&
                    query->window != USAGE_WINDOW_MINUTE && query->zone == NULL &&
                    query->group_by_count == 0 && query->filter == NULL && query->at_cut == 0;
    return workload->keep_log_ns > 0 && !is_whole;
}

struct told_events {
    uint64_t count;
    struct decimal sum;
    bool is_too_large;
};

static bool
on_event(void *context, const struct usage_event *event)
{
    struct told_events *told = context;
    told->count++;
    told->is_too_large = told->is_too_large || !decimal_add(&told->sum, event->value);
    return true;
}

// One by one they are as many and as much as the rows, which are right, say together.
static void
ask_events(
    struct workload *workload,
    const char *asked,
    const struct usage_query *query,
    const struct usage_result *result)
{
    struct told_events told = {0};
    struct decimal sum = DECIMAL_ZERO;
    struct error error = {0};
    uint64_t count = 0;
    const struct usage_events_query events = {
        .meter = query->meter,
        .subjects = query->subject.size > 0 ? &query->subject : query->subjects,
        .subjects_count = query->subject.size > 0 ? 1 : query->subjects_count,
        .from_ns = query->from_ns,
        .to_ns = query->to_ns,
    };
    enum status status = usage_events(workload->reader, &events, on_event, &told, &error);
    if ((workload->is_damaged && status == STATUS_CORRUPT) ||
        (workload->keep_log_ns > 0 && status == STATUS_NOT_FOUND))
        return;
    if (status)
        fail(workload, "%s\n  its events: %s", asked, error.text);
    for (size_t i = 0; i < result->count; i++) {
        count += result->rows[i].count;
        told.is_too_large = told.is_too_large || !decimal_add(&sum, result->rows[i].value);
    }
    if (count != told.count || (!told.is_too_large && sum.units != told.sum.units))
        fail(
            workload,
            "%s\n  %" PRIu64 " events one by one, %" PRIu64 " in the rows",
            asked,
            told.count,
            count);
}

// Whether single events can be asked for, and every one of them is in a row.
static bool
has_events(const struct meter *meter, const struct usage_query *query)
{
    bool is_additive =
        meter->aggregation == AGGREGATION_COUNT || meter->aggregation == AGGREGATION_SUM;
    return is_additive && query->window == USAGE_WINDOW_NONE && query->filter == NULL &&
           query->at_cut == 0;
}

// The same question to the model and to the ledger's query code.
static void
ask(struct workload *workload, const struct workload_question *question, const struct meter *meter)
{
    scoped(arena_done) struct arena arena = {0};
    const struct usage_query *query = &question->query;
    struct usage_result result;
    struct model_row *rows;
    size_t count;
    char asked[1024];
    struct error error = {0};
    question_print(question, meter, asked);
    enum status expected = model_answer(&workload->model, meter, query, &arena, &rows, &count);
    enum status status = usage_query(workload->reader, query, &arena, &result, &error);
    if ((workload->is_damaged && status == STATUS_CORRUPT) ||
        (may_be_gone(workload, query) && status == STATUS_NOT_FOUND))
        return;
    if (status != expected)
        fail(
            workload,
            "%s\n  status %d (%s), the model says %d",
            asked,
            status,
            status ? error.text : "",
            expected);
    if (status)
        return;
    for (size_t i = 0; i < result.count; i++) {
        const struct usage_row *row = &result.rows[i];
        row_compare(workload, asked, row, find_row(rows, count, row, query->group_by_count));
        if (i > 0 && row_order(row - 1, row, query->group_by_count) >= 0)
            fail(workload, "%s\n  row %zu is out of order", asked, i);
    }
    if (result.count != count)
        fail(workload, "%s\n  %zu rows, the model says %zu", asked, result.count, count);
    if (has_events(meter, query))
        ask_events(workload, asked, query, &result);
    workload->shared->questions++;
    workload->shared->rows += count;
}

// The model's rows at a cut and now.
struct late {
    struct workload *workload;
    const char *asked;
    uint32_t groups;
    struct model_row *before, *now;
    size_t before_count, now_count;
};

static bool
late_is_same(const struct model_row *before, const struct model_row *now)
{
    char left[WIDE_TEXT_MAX];
    char right[WIDE_TEXT_MAX];
    model_number_print(&before->numerator, left);
    model_number_print(&now->numerator, right);
    return before->count == now->count && before->denominator == now->denominator &&
           strcmp(left, right) == 0;
}

static const struct model_row *
late_twin(const struct late *late, const struct model_row *row)
{
    const struct usage_row key = {
        .subject = bytes_text(row->subject),
        .from_ns = row->from_ns,
        .to_ns = row->to_ns,
        .dimensions = row->dimensions,
    };
    return find_row(late->now, late->now_count, &key, late->groups);
}

// How many rows differ: what is new, what is gone, what changed.
static size_t
late_count(const struct late *late)
{
    size_t count = late->now_count;
    for (size_t i = 0; i < late->before_count; i++) {
        const struct model_row *now = late_twin(late, &late->before[i]);
        if (now == NULL)
            count++;
        else if (late_is_same(&late->before[i], now))
            count--;
    }
    return count;
}

// The difference of two sums, where it is a number.
static void
late_compare_sum(
    const struct late *late,
    const struct usage_late_row *row,
    const struct model_row *before,
    const struct model_row *now)
{
    char value[WIDE_TEXT_MAX];
    char wanted[WIDE_TEXT_MAX];
    struct model_number since = {0};
    for (int i = 0; i < MODEL_LIMBS; i++)
        since.limbs[i] = (now == NULL ? 0 : now->numerator.limbs[i]) -
                         (before == NULL ? 0 : before->numerator.limbs[i]);
    (void)wide_divide_print(row->numerator, 1, DECIMAL_PLACES, value);
    model_number_print(&since, wanted);
    if (strcmp(value, wanted) != 0)
        fail(late->workload, "%s\n  since then %s, the model says %s", late->asked, value, wanted);
}

static void
late_compare(const struct late *late, const struct usage_late_row *row)
{
    const struct usage_row *key = row->has_now ? &row->now : &row->before;
    const struct model_row *before = find_row(late->before, late->before_count, key, late->groups);
    const struct model_row *now = find_row(late->now, late->now_count, key, late->groups);
    int64_t count =
        (now == NULL ? 0 : (int64_t)now->count) - (before == NULL ? 0 : (int64_t)before->count);
    if (row->has_before != (before != NULL) || row->has_now != (now != NULL) || row->count != count)
        fail(
            late->workload,
            "%s\n  subject %.*s from %" PRId64 ": since then %" PRId64
            " events, the model says %" PRId64,
            late->asked,
            (int)key->subject.size,
            (const char *)key->subject.data,
            key->from_ns,
            row->count,
            count);
    if (before != NULL)
        row_compare(late->workload, late->asked, &row->before, before);
    if (now != NULL)
        row_compare(late->workload, late->asked, &row->now, now);
    if (row->is_additive)
        late_compare_sum(late, row, before, now);
}

// What came since the question's cut.
static void
ask_late(
    struct workload *workload, const struct workload_question *question, const struct meter *meter)
{
    scoped(arena_done) struct arena arena = {0};
    struct late late = {.workload = workload, .groups = question->query.group_by_count};
    struct usage_query now = question->query;
    struct usage_late_result result = {0};
    char asked[1024];
    struct error error = {0};
    now.at_cut = 0;
    question_print(question, meter, asked);
    late.asked = asked;
    enum status expected = model_answer(
        &workload->model, meter, &question->query, &arena, &late.before, &late.before_count);
    enum status after =
        model_answer(&workload->model, meter, &now, &arena, &late.now, &late.now_count);
    expected = expected ? expected : after;
    enum status status = usage_late(workload->reader, &question->query, &arena, &result, &error);
    if ((workload->is_damaged && status == STATUS_CORRUPT) ||
        (may_be_gone(workload, &question->query) && status == STATUS_NOT_FOUND))
        return;
    size_t count = expected ? 0 : late_count(&late);
    if (status != expected || result.count != count)
        fail(
            workload,
            "since the cut of %s\n  %zu rows, status %d (%s), the model says %zu, status %d",
            asked,
            result.count,
            status,
            status ? error.text : "",
            count,
            expected);
    for (size_t i = 0; i < result.count; i++)
        late_compare(&late, &result.rows[i]);
}

static void
ask_totals(
    struct workload *workload, const struct workload_question *question, const struct meter *meter)
{
    scoped(arena_done) struct arena arena = {0};
    struct totals totals = {.workload = workload};
    struct model_row *rows;
    char asked[1024];
    struct error error = {0};
    struct workload_question total = {
        .query = {
                  .meter = question->query.meter,
                  .from_ns = question->query.from_ns,
                  .to_ns = question->query.to_ns,
                  .at_cut = question->query.at_cut,
                  }
    };
    question_print(&total, meter, asked);
    enum status expected =
        model_answer(&workload->model, meter, &total.query, &arena, &rows, &totals.rows_count);
    totals.asked = asked;
    totals.rows = rows;
    enum status status = usage_stream(workload->reader, &total.query, on_total, &totals, &error);
    if ((workload->is_damaged && status == STATUS_CORRUPT) ||
        (may_be_gone(workload, &total.query) && status == STATUS_NOT_FOUND))
        return;
    if (status != expected || (!status && totals.count != totals.rows_count))
        fail(
            workload,
            "totals of %s\n  %zu subjects, status %d, the model says %zu, status %d",
            asked,
            totals.count,
            status,
            totals.rows_count,
            expected);
}

void
check_answers(struct workload *workload, uint32_t questions)
{
    for (uint32_t i = 0; i < questions; i++) {
        struct workload_question question;
        make_question(workload, &question);
        bool with_totals = chance(workload, 15);
        const struct meter *meter = NULL;
        for (uint32_t j = 0; j < WORKLOAD_METERS; j++) {
            if (workload->meters[j].key != NULL &&
                strcmp(workload->meters[j].key, question.query.meter) == 0)
                meter = &workload->meters[j];
        }
        bool is_phantom =
            question.query.at_cut > 0 && question.query.at_cut == workload->phantom_cut;
        if (!workload->is_real || is_phantom)
            continue;
        if (meter != NULL) {
            ask(workload, &question, meter);
            if (with_totals)
                ask_totals(workload, &question, meter);
            if (question.query.at_cut > 0)
                ask_late(workload, &question, meter);
            continue;
        }
        scoped(arena_done) struct arena arena = {0};
        struct usage_result result;
        struct error error = {0};
        enum status status =
            usage_query(workload->reader, &question.query, &arena, &result, &error);
        if (status != STATUS_NOT_FOUND && !(workload->is_damaged && status == STATUS_CORRUPT))
            fail(workload, "meter %s is not there, but was found", question.query.meter);
    }
}
