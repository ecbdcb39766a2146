// /api/v1/meters/{meter}/query, subjects and group-by values: how much was used.

#include "api/answer_write.h"
#include "api/api.h"
#include "api/call.h"
#include "api/param.h"
#include "api/question_calls.h"
#include "api/routes.h"
#include "base/clock.h"
#include "billing/subject.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { GROUP_VALUES_DAYS_BACK = 90, GROUP_VALUES_SPAN_DAYS = 30 };

enum status
question_call(
    struct call *call, const struct question *question, struct answer *out, struct error *error)
{
    scoped(readers_return) struct readers_loan loan = {0};
    enum status status = readers_take(call->api->readers, &loan, error);
    if (status)
        return status;
    struct question_sources sources = {
        .reader = loan.reader,
        .database = call->api->database,
        .meter = call->params[0],
        .now_ns = clock_now_ns(),
        .progress = &call->api->progress,
    };
    return question_ask(&sources, question, call->arena, out, error);
}

bool
question_wants_csv(const struct call *call)
{
    const char *accept = http_field(call->request, "Accept");
    return accept != NULL && strncasecmp(accept, "text/csv", 8) == 0;
}

void
question_csv_begin(struct call *call, const struct meter *meter)
{
    call_empty(call, 200);
    call->response->content_type = "text/csv";
    http_add(
        call->response,
        "Content-Disposition",
        arena_format(call->arena, "attachment; filename=\"%s.csv\"", meter->key));
}

static enum status
display_names_find(struct call *call, struct answer *answer, struct error *error)
{
    scoped(database_return) struct database_loan loan = {0};
    struct subject_facts *facts = NULL;
    struct bytes *subjects = arena_array(call->arena, answer->count + 1, struct bytes);
    for (size_t i = 0; i < answer->count; i++)
        subjects[i] = answer->rows[i].usage->subject;
    enum status status = database_take(call->api->database, &loan, error);
    if (status)
        return status;
    loan.status = subject_facts(loan.sql, subjects, answer->count, call->arena, &facts, error);
    for (size_t i = 0; loan.status == STATUS_OK && i < answer->count; i++) {
        answer->rows[i].display_name = facts[i].display_name;
        answer->has_display_names |= facts[i].display_name != NULL;
    }
    return loan.status;
}

static void
answer_give(struct call *call, const struct question *question, const struct answer *answer)
{
    if (!question_wants_csv(call)) {
        answer_write_json(question, answer, ANSWER_V1, call_json(call, 200));
        return;
    }
    question_csv_begin(call, &answer->meter);
    answer_write_csv(question, answer, ANSWER_V1, &call->response->body);
}

static void
query_answer(struct call *call, enum status status, struct question *question, struct error *error)
{
    struct answer answer;
    if (status == STATUS_OK)
        status = question_call(call, question, &answer, error);
    if (status == STATUS_OK && question->is_by_subject && question_wants_csv(call))
        status = display_names_find(call, &answer, error);
    if (status)
        call_failed(call, error);
    else
        answer_give(call, question, &answer);
}

// Our own: usage as it was when a cut was made. It names the end, which may not be later than the
// cut's time.
static enum status
cut_take(struct call *call, struct question *question, struct error *error)
{
    enum status status =
        param_number(&call->target, "atCut", 1, UINT32_MAX, &question->at_cut, error);
    if (status == STATUS_OK && question->at_cut != 0 && !question->has_to)
        return error_set(error, STATUS_INVALID, "atCut needs to, up to which the cut seals usage");
    return status;
}

void
meter_query_get(struct call *call)
{
    struct question question;
    struct error error = {0};
    enum status status = question_from_target(&call->target, call->arena, &question, &error);
    if (status == STATUS_OK)
        status = cut_take(call, &question, &error);
    query_answer(call, status, &question, &error);
}

void
meter_query_post(struct call *call)
{
    struct question question;
    struct error error = {0};
    enum status status = question_from_body(call->request->body, call->arena, &question, &error);
    if (status == STATUS_OK)
        status = cut_take(call, &question, &error);
    query_answer(call, status, &question, &error);
}

// --- lists ---

static int
text_compare(const void *a, const void *b)
{
    const struct bytes *left = a, *right = b;
    size_t size = left->size < right->size ? left->size : right->size;
    int order = size > 0 ? memcmp(left->data, right->data, size) : 0;
    return order != 0 ? order : left->size < right->size ? -1 : left->size > right->size;
}

// ASCII letters of either case are equal. An empty text may have no address.
static bool
text_contains(struct bytes text, const char *part)
{
    size_t size = strlen(part);
    if (size == 0)
        return true;
    for (size_t at = 0; at + size <= text.size; at++)
        if (strncasecmp((const char *)text.data + at, part, size) == 0)
            return true;
    return false;
}

// Each text once, of those that hold search.
static void
texts_answer(struct call *call, struct bytes *texts, size_t count, const char *search)
{
    if (count > 1)
        qsort(texts, count, sizeof *texts, text_compare);
    struct json_out *out = call_json(call, 200);
    json_begin(out, '[');
    for (size_t i = 0; i < count; i++)
        if ((i == 0 || !bytes_equal(texts[i], texts[i - 1])) && text_contains(texts[i], search))
            json_string(out, texts[i]);
    json_end(out, ']');
}

// dimension: the first one of the question's groups; else the subject. search: "" is all.
static void
values_answer(struct call *call, struct question *question, bool is_dimension, const char *search)
{
    struct answer answer;
    struct error error = {0};
    if (question_call(call, question, &answer, &error)) {
        call_failed(call, &error);
        return;
    }
    struct bytes *texts = arena_array(call->arena, answer.count + 1, struct bytes);
    for (size_t i = 0; i < answer.count; i++)
        texts[i] =
            is_dimension ? answer.rows[i].usage->dimensions[0] : answer.rows[i].usage->subject;
    texts_answer(call, texts, answer.count, search);
}

// Bounded, so that the ends of totals need not be looked for.
static void
question_bound(struct question *question, int64_t from_ns, int64_t to_ns)
{
    question->from_ns = question->has_from ? question->from_ns : from_ns;
    question->to_ns = question->has_to ? question->to_ns : to_ns;
    question->has_from = question->has_to = true;
}

void
meter_subjects_get(struct call *call)
{
    struct question question;
    struct error error = {0};
    if (question_from_target(&call->target, call->arena, &question, &error)) {
        call_failed(call, &error);
        return;
    }
    question_bound(&question, INT64_MIN, INT64_MAX);
    question.is_by_subject = true;
    values_answer(call, &question, false, "");
}

void
meter_group_values_get(struct call *call)
{
    struct question question;
    struct error error = {0};
    const char *search = "";
    int64_t now_ns = clock_now_ns();
    enum status status = question_from_target(&call->target, call->arena, &question, &error);
    if (status == STATUS_OK)
        status = param_once(&call->target, "search", &search, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    int64_t end_ns = question.has_to && question.to_ns < now_ns ? question.to_ns : now_ns;
    question_bound(&question, end_ns - DAY_NS, now_ns);
    if (question.from_ns < now_ns - GROUP_VALUES_DAYS_BACK * DAY_NS ||
        question.to_ns - question.from_ns > GROUP_VALUES_SPAN_DAYS * DAY_NS) {
        call_problem(
            call,
            400,
            "from must be at most %d days ago, and to at most %d days behind it.",
            GROUP_VALUES_DAYS_BACK,
            GROUP_VALUES_SPAN_DAYS);
        return;
    }
    question.group_by.items[0] = call->params[1];
    question.group_by.count = 1;
    values_answer(call, &question, true, search);
}
