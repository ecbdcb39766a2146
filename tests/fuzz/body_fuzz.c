// The bodies and filters of the HTTP API over any bytes, a reader by the first byte: no crash, and
// what is accepted holds what its reader promises and can be used.

#include "api/customer_json.h"
#include "api/event_filter.h"
#include "api/meter_json.h"
#include "api/question_v3.h"
#include "base/assert.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct meter METER = {
    .key = "m",
    .event_type = "t",
    .aggregation = AGGREGATION_COUNT,
    .dimensions = {{"model", "$.model"}, {"place", "$.place"}},
    .dimensions_count = 2,
};

// What was written is a JSON object.
static void
must_be_object(const struct buffer *text, struct arena *arena)
{
    struct json *root;
    struct error error;
    must(!buffer_failed(text));
    must(json_parse(buffer_view(text), NULL, arena, &root, &error) == STATUS_OK);
    must(root->type == JSON_OBJECT);
}

static void
meter_try(struct bytes body, const struct meter_words *words, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    struct json_out out = json_out_to(&text);
    struct error error;
    struct meter meter, changed = METER;
    if (meter_json_change(body, words, arena, &changed, &error) == STATUS_OK)
        must(changed.dimensions_count <= METER_DIMENSIONS_MAX);
    if (meter_json_read(body, words, arena, &meter, &error) != STATUS_OK)
        return;
    must(meter.key != NULL && meter.event_type != NULL);
    must((meter.aggregation == AGGREGATION_COUNT) == (meter.value_property == NULL));
    if (meter_check(&meter, &error) != STATUS_OK)
        return;
    meter_json_write(&meter, words, arena, &out);
    must_be_object(&text, arena);
}

static void
customer_try(struct bytes body, const struct customer_words *words, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    struct json_out out = json_out_to(&text);
    struct customer_profile profile;
    struct error error;
    if (customer_json_read(body, words, arena, &profile, &error) != STATUS_OK)
        return;
    must(profile.name != NULL && profile.name[0] != '\0');
    for (size_t i = 0; i < profile.subjects_count; i++)
        must(profile.subjects[i][0] != '\0' && strlen(profile.subjects[i]) <= 255);
    if (profile.id == NULL)
        profile.id = "given";
    profile.subjects_json = "[]";
    customer_json_write(&profile, words, arena, &out);
    must_be_object(&text, arena);
}

static void
subject_try(struct bytes body, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    struct json_out out = json_out_to(&text);
    struct json *root;
    struct subject subject;
    struct error error;
    unsigned members = 0;
    if (json_parse(body, NULL, arena, &root, &error) != STATUS_OK ||
        subject_json_read(root, arena, &subject, &members, &error) != STATUS_OK)
        return;
    must(subject.key != NULL && members <= (SUBJECT_NAME | SUBJECT_STRIPE | SUBJECT_METADATA));
    subject_json_write(&subject, &out);
    must_be_object(&text, arena);
}

static void
filter_try(struct bytes body, struct arena *arena)
{
    static const int64_t times[] = {INT64_MIN, 0, 1700000000000000000, INT64_MAX};
    struct event_filter filter;
    struct events_query query = EVENTS_ALL;
    struct error error;
    if (event_filter_parse(body, arena, &filter, &error) != STATUS_OK)
        return;
    must(filter.customers_count <= EVENT_FILTER_CUSTOMERS_MAX);
    event_filter_use(&filter, &query);
    must(query.accepts != NULL && query.from_ns >= filter.from_ns);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct entry entry = {
            .kind = ENTRY_EVENT,
            .time_ns = times[i],
            .id = bytes_text("id"),
            .subject = bytes_text("s"),
            .type = bytes_text("t"),
        };
        // What is before the filter's first time does not fit.
        bool is_accepted = query.accepts(query.context, &entry, times[i]);
        must(!is_accepted || times[i] >= filter.from_ns);
        must(!is_accepted || !filter.has_customers);
    }
}

static void
question_try(struct bytes body, struct arena *arena)
{
    struct question question;
    struct question_fault fault = {0};
    const struct usage_bound *bound = NULL;
    struct error error;
    if (question_from_body(body, arena, &question, &error) == STATUS_OK)
        must(question.customers.count <= QUESTION_CUSTOMERS_MAX);
    if (question_from_v3(body, &METER, arena, &question, &fault, &error) != STATUS_OK)
        return;
    must(fault.code == NULL);
    must(!question.has_from || !question.has_to || question.from_ns < question.to_ns);
    for (size_t i = 0; i < question.group_by.count; i++)
        must(meter_dimension_index(&METER, question.group_by.items[i]) >= 0);
    // Only the bound on all of a filter's parts is left to refuse.
    enum status status = usage_filter_bind(question.filter, &METER, arena, &bound, &error);
    const struct cell_group group = {
        .count = 2, .values = {bytes_text("gpt"), bytes_text("eu")}
    };
    if (status == STATUS_OK)
        (void)usage_filter_accepts(bound, bytes_text("s"), &group);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped(arena_done) struct arena arena = {0};
    if (size == 0)
        return 0;
    struct bytes body = bytes_of(data + 1, size - 1);
    switch ((data[0] + 1U) % 7) {  // the digits are the readers in turn
    case 0: meter_try(body, &METER_V1, &arena); break;
    case 1: meter_try(body, &METER_V3, &arena); break;
    case 2: customer_try(body, &CUSTOMER_V1, &arena); break;
    case 3: customer_try(body, &CUSTOMER_V3, &arena); break;
    case 4: subject_try(body, &arena); break;
    case 5: filter_try(body, &arena); break;
    default: question_try(body, &arena); break;
    }
    return 0;
}
