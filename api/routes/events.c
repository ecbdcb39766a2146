// POST /api/v1/events and /api/v3/openmeter/events: CloudEvents in, answered when they are durable.

#include "api/api.h"
#include "api/call.h"
#include "api/event_read.h"
#include "api/events_take.h"
#include "api/ingest.h"
#include "api/routes.h"
#include "base/assert.h"

#include <string.h>
#include <strings.h>

enum { FAULTS_SHOWN_MAX = 100 };

#define CONFLICT "this id was used before with other data"

// One event's outcome; NULL: it counts, now or since before.
struct outcome {
    const char *place;
    const char *reason;
    bool is_tallyds;  // what tallyd says, which is no end of a sentence
    bool is_conflict;
};

struct intake {
    struct event_list list;
    struct outcome *outcomes;  // of each event
    uint32_t rejected;
    uint32_t conflicts;
    bool is_strict, is_by_item, is_lenient;
    struct ingest_job job;  // of those that have no fault
    uint32_t *indexes;      // of its events, in the list
    enum status begun;      // of a quick call: whether it was taken, and why not
    struct error error;
};

// As OpenMeter has it: version 1 takes the type to the letter, version 3 without its parameters and
// in any case.
static bool
form_of(const char *type, bool is_strict, enum event_form *out)
{
    static const struct {
        const char *type;
        enum event_form form;
    } forms[] = {
        {"application/json",                   EVENT_FORM_ANY  },
        {"application/cloudevents+json",       EVENT_FORM_ONE  },
        {"application/cloudevents-batch+json", EVENT_FORM_MANY },
        {"application/x-ndjson",               EVENT_FORM_LINES},
    };
    size_t size = type != NULL ? strcspn(type, "; ") : 0;
    for (size_t i = 0; type != NULL && i < sizeof forms / sizeof forms[0]; i++) {
        bool is_same =
            is_strict ? size == strlen(forms[i].type) && strncasecmp(type, forms[i].type, size) == 0
                      : strcmp(type, forms[i].type) == 0;
        if (is_same) {
            *out = forms[i].form;
            return true;
        }
    }
    return false;
}

// RFC 7240.
static bool
is_preferred(const struct call *call, const char *preference)
{
    const char *prefer = http_field(call->request, "Prefer");
    return prefer != NULL && strstr(prefer, preference) != NULL;
}

static void
outcome_set(struct intake *intake, uint32_t index, struct outcome outcome)
{
    intake->outcomes[index] = outcome;
    intake->conflicts += outcome.is_conflict;
    intake->rejected += !outcome.is_conflict;
}

// What breaks the envelope. Nothing of it is sent.
static void
faults_take(struct intake *intake)
{
    for (uint32_t i = 0; i < intake->list.count; i++) {
        const struct event_item *item = &intake->list.items[i];
        if (item->fault != NULL)
            outcome_set(intake, i, (struct outcome){.place = item->place, .reason = item->fault});
    }
}

static void
event_fill(const struct event_item *item, struct arena *arena, struct tally_event *out)
{
    *out = (struct tally_event){
        .subject = item->subject,
        .type = item->type,
        .id = item->id,
        .source = item->source,
        .time_ns = item->time_ns,
    };
    if (item->data.size == 0)
        return;
    struct tally_property *data = arena_new(arena, struct tally_property);
    data->kind = TALLY_PROPERTIES;
    data->msgpack = (struct tally_msgpack){item->data.data, item->data.size};
    out->properties = data;
    out->properties_count = 1;
}

// "[3]" of a list, "line 4" of lines, nothing of an event alone.
static const char *
event_place(const struct event_list *list, uint32_t index, struct arena *arena)
{
    uint32_t line = list->items[index].line;
    if (line > 0)
        return arena_format(arena, "line %u", line);
    return list->is_one ? "" : arena_format(arena, "[%u]", index);
}

// What tallyd said of those that were sent.
static void
refusals_take(struct intake *intake)
{
    const struct ingest_job *job = &intake->job;
    for (uint32_t i = 0; i < job->refusals_count; i++) {
        const struct ingest_refusal *refusal = &job->refusals[i];
        uint32_t index = intake->indexes[refusal->index];
        struct outcome outcome = {
            .place = event_place(&intake->list, index, job->arena),
            .reason = refusal->is_conflict ? CONFLICT : refusal->reason,
            .is_tallyds = true,
            .is_conflict = refusal->is_conflict,
        };
        outcome_set(intake, index, outcome);
    }
}

// What has no fault, to be sent.
static void
job_make(struct intake *intake, struct arena *arena)
{
    uint32_t count = intake->list.count, sent = 0;
    struct tally_event *events = arena_array(arena, (size_t)count + 1, struct tally_event);
    intake->indexes = arena_array(arena, (size_t)count + 1, uint32_t);
    for (uint32_t i = 0; i < count; i++) {
        if (intake->list.items[i].fault != NULL)
            continue;
        event_fill(&intake->list.items[i], arena, &events[sent]);
        intake->indexes[sent++] = i;
    }
    intake->job = (struct ingest_job){.events = events, .count = sent, .arena = arena};
}

// What to do about what tallyd refuses.
static const char *
reason_advice(const char *reason)
{
    if (strcmp(reason, "time too old") == 0)
        return " (older events go into a backfill: /api/v1/backfills)";
    if (strcmp(reason, "time too far ahead") == 0)
        return " (see the clock of who sent it)";
    if (strcmp(reason, CONFLICT) == 0)
        return " (send it with an id of its own, or with Prefer: handling=lenient)";
    return "";
}

// rest: what became of the other events.
static void
problem_answer(struct call *call, const struct intake *intake, const char *rest)
{
    uint32_t refused = intake->rejected + intake->conflicts;
    struct call_fault faults[FAULTS_SHOWN_MAX];
    const char *colon = "";
    size_t count = 0;
    for (uint32_t i = 0; i < intake->list.count && count < FAULTS_SHOWN_MAX; i++) {
        const struct outcome *outcome = &intake->outcomes[i];
        if (outcome->reason == NULL)
            continue;
        if (count == 0 && outcome->is_tallyds)
            colon = ":";
        faults[count++] = (struct call_fault){.place = outcome->place, .text = outcome->reason};
    }
    must(count > 0);
    const char *detail = arena_format(
        call->arena,
        "%s%s %s%s; %s.",
        faults[0].place[0] != '\0' ? faults[0].place : "the event",
        colon,
        faults[0].text,
        reason_advice(faults[0].text),
        intake->list.count == 1
            ? "it was not stored"
            : arena_format(
                  call->arena, "of %u events %u refused, %s", intake->list.count, refused, rest));
    call_faults(call, intake->rejected > 0 ? 400 : 409, detail, faults, count);
}

static void
items_answer(struct call *call, const struct intake *intake)
{
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "accepted");
    json_int(out, intake->list.count - intake->rejected - intake->conflicts);
    json_key(out, "rejected");
    json_int(out, intake->rejected);
    json_key(out, "conflicts");
    json_int(out, intake->conflicts);
    json_key(out, "items");
    json_begin(out, '[');
    for (uint32_t i = 0; i < intake->list.count; i++) {
        const struct outcome *outcome = &intake->outcomes[i];
        json_begin(out, '{');
        json_key(out, "id");
        json_text(out, intake->list.items[i].id);
        json_key(out, "status");
        json_text(
            out,
            outcome->reason == NULL ? "accepted"
            : outcome->is_conflict  ? "conflict"
                                    : "rejected");
        if (outcome->reason != NULL) {
            json_key(out, "reason");
            json_text(
                out,
                arena_format(
                    call->arena,
                    "%s%s%s",
                    outcome->place,
                    outcome->place[0] != '\0' ? " " : "",
                    outcome->reason));
        }
        json_end(out, '}');
    }
    json_end(out, ']');
    json_end(out, '}');
}

// All is known of every event.
static void
intake_answer(struct call *call, struct intake *intake)
{
    refusals_take(intake);
    if (intake->is_by_item)
        items_answer(call, intake);
    else if (intake->rejected > 0 || (intake->conflicts > 0 && !intake->is_lenient))
        problem_answer(call, intake, "the others are stored");
    else
        call_empty(call, intake->is_strict ? 202 : 204);
}

static void
outcome_answer(struct call *call)
{
    struct intake *intake = call->resume_state;
    enum status status = intake->begun;
    if (status == STATUS_OK)
        status = ingest_outcome(&intake->job, &intake->error);
    if (status)
        call_failed(call, &intake->error);
    else
        intake_answer(call, intake);
}

static void
job_settled(struct ingest_job *job)
{
    call_continue(job->context);
}

static void
events_begin(struct call *call, struct ingest *ingest, struct intake *intake)
{
    intake->job.settled = job_settled;
    intake->job.context = call;
    call_later(call, outcome_answer, intake);
    intake->begun = ingest_begin(ingest, &intake->job, &intake->error);
    if (intake->begun)
        call_continue(call);
}

// False: it was answered.
static bool
events_read(struct call *call, struct intake *intake)
{
    struct error error = {0};
    enum event_form form;
    const char *type = http_field(call->request, "Content-Type");
    if (!form_of(type, intake->is_strict, &form)) {
        call_problem(
            call,
            400,
            "Content-Type %s is not taken; send application/json, application/cloudevents+json, "
            "application/cloudevents-batch+json or application/x-ndjson.",
            type != NULL ? type : "(none)");
        return false;
    }
    struct bytes body = call->request->body;
    enum status status =
        intake->is_strict ? event_list_read_strict(body, form, call->arena, &intake->list, &error)
                          : event_list_read(body, form, call->arena, &intake->list, &error);
    if (status)
        call_problem(call, 400, "The body cannot be read: %s.", error.text);
    return status == STATUS_OK;
}

void
events_take(struct call *call, struct ingest *ingest, bool is_strict)
{
    struct error error = {0};
    struct intake *intake = arena_new(call->arena, struct intake);
    intake->is_strict = is_strict;
    intake->is_by_item = is_preferred(call, "return=representation");
    intake->is_lenient = is_preferred(call, "handling=lenient");
    if (!events_read(call, intake))
        return;
    intake->outcomes = arena_array(call->arena, (size_t)intake->list.count + 1, struct outcome);
    faults_take(intake);
    if (intake->rejected > 0 && !intake->is_by_item) {
        problem_answer(call, intake, "none was stored");
        return;
    }
    if (intake->list.count > INGEST_EVENTS_MAX) {
        call_problem(call, 413, "A request has at most %d events.", INGEST_EVENTS_MAX);
        return;
    }
    job_make(intake, call->arena);
    if (intake->job.count == 0)
        intake_answer(call, intake);
    else if (call->is_quick)
        events_begin(call, ingest, intake);
    else if (ingest_send(ingest, &intake->job, &error))
        call_failed(call, &error);
    else
        intake_answer(call, intake);
}

void
events_post(struct call *call)
{
    events_take(call, call->api->ingest, false);
}

void
events_v3_post(struct call *call)
{
    events_take(call, call->api->ingest, true);
}
