// Asking the ledger what a question asks, as OpenMeter would answer it (reference: its rules for
// windows, groups and empty ranges).
//
// 1. With customers, one query for each: filter and group, so a row never holds two of them.
// 2. Rows that a filter by subject or customer makes are groups: nothing used is no row. Only the
//    ungrouped total of COUNT and UNIQUE_COUNT is a row of 0.
// 3. A total without windows reaches from the first event's minute to the end of the last one's (of
//    all the groups of a query; of each customer), where from or to do not say otherwise.

#include "api/meter_find.h"
#include "api/question.h"
#include "base/clock.h"
#include "billing/store.h"

#include <stdlib.h>
#include <string.h>

struct asking {
    const struct question_sources *sources;
    const struct question *question;
    struct arena *arena;
    struct answer *answer;
};

static enum status
rows_add(
    struct asking *asking,
    const struct usage_query *query,
    const char *customer,
    struct error *error)
{
    struct usage_result result;
    struct answer *answer = asking->answer;
    enum status status = usage_query(asking->sources->reader, query, asking->arena, &result, error);
    if (status)
        return status;
    struct answer_row *rows =
        arena_array(asking->arena, answer->count + result.count + 1, struct answer_row);
    if (answer->count > 0)
        memcpy(rows, answer->rows, answer->count * sizeof *rows);
    answer->rows = rows;
    for (size_t i = 0; i < result.count; i++) {
        const struct usage_row *row = &result.rows[i];
        if (row->count == 0 && customer != NULL)
            continue;
        rows[answer->count] = (struct answer_row){
            .usage = row,
            .customer = customer,
            .from_ns = row->from_ns,
            .to_ns = row->to_ns,
            .order = answer->count,
        };
        answer->count++;
    }
    return STATUS_OK;
}

// --- the range of a total ---

// Narrows the query's range to the first or the last minute in which something was used, from
// months down. False: nothing was.
static bool
edge_find(struct asking *asking, struct usage_query *query, bool is_last)
{
    static const enum usage_window widths[] = {
        USAGE_WINDOW_MONTH, USAGE_WINDOW_DAY, USAGE_WINDOW_HOUR, USAGE_WINDOW_MINUTE};
    query->is_merged = true;
    query->group_by_count = 0;
    query->zone = NULL;
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        struct usage_result result;
        struct error ignored;
        query->window = widths[i];
        if (usage_query(asking->sources->reader, query, asking->arena, &result, &ignored) ||
            result.count == 0)
            return false;
        const struct usage_row *row = &result.rows[is_last ? result.count - 1 : 0];
        query->from_ns = row->from_ns > query->from_ns ? row->from_ns : query->from_ns;
        query->to_ns = row->to_ns < query->to_ns ? row->to_ns : query->to_ns;
    }
    return true;
}

// Where nothing was used it is the minute that is, but what was asked goes before: no window ends
// before it begins.
static void
range_find(
    struct asking *asking, const struct usage_query *query, int64_t *out_from, int64_t *out_to)
{
    const struct question *question = asking->question;
    struct usage_query first = *query, last = *query;
    int64_t minute_ns = asking->sources->now_ns / MINUTE_NS * MINUTE_NS;
    bool is_found = edge_find(asking, &first, false) && edge_find(asking, &last, true);
    bool ends_before = question->has_to && question->to_ns < minute_ns;
    bool begins_behind = question->has_from && question->from_ns > minute_ns;
    int64_t from_ns = ends_before ? question->to_ns : minute_ns;
    int64_t to_ns = begins_behind ? question->from_ns : minute_ns;
    *out_from = is_found ? first.from_ns : from_ns;
    *out_to = is_found ? last.to_ns : to_ns;
}

// Of the rows from `first` on, which this query gave.
static void
totals_bound(struct asking *asking, const struct usage_query *query, size_t first)
{
    const struct question *question = asking->question;
    int64_t from_ns = 0, to_ns = 0;
    if (question->window != USAGE_WINDOW_NONE || first == asking->answer->count)
        return;
    if (!question->has_from || !question->has_to)
        range_find(asking, query, &from_ns, &to_ns);
    for (size_t i = first; i < asking->answer->count; i++) {
        asking->answer->rows[i].from_ns = question->has_from ? question->from_ns : from_ns;
        asking->answer->rows[i].to_ns = question->has_to ? question->to_ns : to_ns;
    }
}

// --- one query, or one for each customer ---

// One part of the question is answered, or has failed.
static void
part_done(const struct asking *asking, enum status status)
{
    const char *client_id = asking->question->client_id;
    if (client_id != NULL)
        progress_step(asking->sources->progress, client_id, status == STATUS_OK, clock_now_ns());
}

static bool
list_has(const struct question_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

// The customer's subjects, of the wanted ones where some are.
static enum status
customer_read(
    struct asking *asking,
    struct sql *sql,
    const char *customer,
    struct bytes **out,
    uint32_t *out_count,
    struct error *error)
{
    const struct question_list *wanted = &asking->question->subjects;
    const char *const *subjects = NULL;
    size_t count = 0;
    enum status status = customer_subjects(sql, customer, asking->arena, &subjects, &count, error);
    if (status)
        return status;
    *out = arena_array(asking->arena, count + 1, struct bytes);
    *out_count = 0;
    for (size_t i = 0; i < count; i++)
        if (wanted->count == 0 || list_has(wanted, subjects[i]))
            (*out)[(*out_count)++] = bytes_text(subjects[i]);
    return STATUS_OK;
}

static enum status
customers_ask(struct asking *asking, struct usage_query query, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    const struct question_list *customers = &asking->question->customers;
    enum status status = database_take(asking->sources->database, &loan, error);
    for (size_t i = 0; status == STATUS_OK && i < customers->count; i++) {
        struct bytes *subjects = NULL;
        status = customer_read(
            asking, loan.sql, customers->items[i], &subjects, &query.subjects_count, error);
        loan.status = status;
        query.subjects = subjects;
        size_t first = asking->answer->count;
        if (status == STATUS_OK && query.subjects_count > 0)
            status = rows_add(asking, &query, customers->items[i], error);
        if (status == STATUS_OK)
            totals_bound(asking, &query, first);
        part_done(asking, status);
    }
    return status;
}

// --- the whole ---

static int
row_compare(const void *a, const void *b)
{
    const struct answer_row *left = a, *right = b;
    if (left->from_ns != right->from_ns)
        return left->from_ns < right->from_ns ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

struct usage_query
question_query(const struct question *question, const char *meter, struct arena *arena)
{
    struct bytes *subjects = arena_array(arena, question->subjects.count + 1, struct bytes);
    for (size_t i = 0; i < question->subjects.count; i++)
        subjects[i] = bytes_text(question->subjects.items[i]);
    return (struct usage_query){
        .meter = meter,
        .subjects = subjects,
        .subjects_count = (uint32_t)question->subjects.count,
        .is_merged = !question->is_by_subject,
        .from_ns = question->from_ns,
        .to_ns = question->to_ns,
        .at_cut = question->at_cut,
        .window = question->window,
        .zone = question->zone,
        .group_by = question->group_by.items,
        .group_by_count = (uint32_t)question->group_by.count,
        .filter = question->filter,
    };
}

enum status
question_ask(
    const struct question_sources *sources,
    const struct question *question,
    struct arena *arena,
    struct answer *out,
    struct error *error)
{
    *out = (struct answer){.rows = NULL};
    struct asking asking = {sources, question, arena, out};
    enum status status = meter_find(sources->reader, sources->meter, arena, &out->meter, error);
    if (status)
        return status;
    const struct usage_query query = question_query(question, out->meter.key, arena);
    if (question->client_id != NULL)
        progress_begin(
            sources->progress,
            question->client_id,
            question->is_by_customer ? (int64_t)question->customers.count : 1,
            sources->now_ns);
    if (question->is_by_customer) {
        status = customers_ask(&asking, query, error);
    } else {
        status = rows_add(&asking, &query, NULL, error);
        if (status == STATUS_OK)
            totals_bound(&asking, &query, 0);
        part_done(&asking, status);
    }
    if (status)
        return status;
    if (out->count > 1)
        qsort(out->rows, out->count, sizeof *out->rows, row_compare);
    return STATUS_OK;
}
