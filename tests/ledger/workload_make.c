#include "base/assert.h"
#include "base/clock.h"
#include "tests/ledger/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Everything is drawn from a few values, so that equal ones meet often; among them are those that
// differ in one respect only (text and number, float and double, nil and missing).

static const char *const subjects[] = {
    "a",
    "aa",
    "ab",
    "b",
    "azure-conv",
    "s\xff\x01",
    "a subject of 255 bytes -------------------------------------------------------------------"
    "------------------------------------------------------------------------------------------"
    "---------------------------------------------------------------------------",
};
enum { SUBJECTS = sizeof subjects / sizeof subjects[0] };

const char *const workload_zones[WORKLOAD_ZONES] = {
    "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "Europe/Berlin"};

static const char *const types[] = {"llm", "llm", "job", "rare"};
static const char *const dimension_names[] = {"model", "region", "tier"};
static const char *const dimension_paths[] = {"$.model", "$.region", "$.deep.tier"};
static const char *const meter_keys[] = {"m0", "m1", "m2", "m3", "m4", "m5"};

static const char *const event_values[] = {
    "1",
    "1",
    "1",
    "0",
    "-3",
    "0.1",
    "0.000000000000000001",
    "12345.678",
    "9999999999999999999.999999999999999999",
    "-9999999999999999999.999999999999999999",
};

// As msgpack, and what it is: its text, and whether that is a number to a meter.
struct sample {
    const char *bytes;
    uint8_t size;
    enum model_kind kind;
    bool is_number;
    const char *text;
};

// Octal, for a hexadecimal escape would swallow the text behind it.
#define WIRE(text) text, sizeof(text) - 1

static const struct sample samples[] = {
    {WIRE("\007"),                                 MODEL_INTEGER, true,  "7"                   },
    {WIRE("\377"),                                 MODEL_INTEGER, true,  "-1"                  },
    {WIRE("\313\077\271\231\231\231\231\231\232"), MODEL_TEXT,    true,  "0.1"                 },
    {WIRE("\312\075\314\314\315"),                 MODEL_TEXT,    true,  "0.1"                 },
    {WIRE("\2430.1"),                              MODEL_TEXT,    true,  "0.1"                 },
    {WIRE("\2441e-3"),                             MODEL_TEXT,    true,  "1e-3"                },
    {WIRE("\244-2.5"),                             MODEL_TEXT,    true,  "-2.5"                },
    {WIRE("\2411"),                                MODEL_TEXT,    true,  "1"                   },
    {WIRE("\001"),                                 MODEL_INTEGER, true,  "1"                   },
    {WIRE("\2431.0"),                              MODEL_TEXT,    true,  "1.0"                 },
    {WIRE("\313\077\360\0\0\0\0\0\0"),             MODEL_TEXT,    true,  "1"                   },
    {WIRE("\304\0011"),                            MODEL_TEXT,    false, "1"                   },
    {WIRE("\243NaN"),                              MODEL_TEXT,    false, "NaN"                 },
    {WIRE("\240"),                                 MODEL_TEXT,    false, ""                    },
    {WIRE("\242\377\376"),                         MODEL_TEXT,    false, "\377\376"            },
    {WIRE("\300"),                                 MODEL_NIL,     false, ""                    },
    {WIRE("\303"),                                 MODEL_TEXT,    false, "true"                },
    {WIRE("\302"),                                 MODEL_TEXT,    false, "false"               },
    {WIRE("\222\001\002"),                         MODEL_RAW,     false, ""                    },
    {WIRE("\222\001\003"),                         MODEL_RAW,     false, ""                    },
    {WIRE("\201\241a\001"),                        MODEL_RAW,     false, ""                    },
    {WIRE("\324\005\001"),                         MODEL_RAW,     false, ""                    },
    {WIRE("\313\177\370\0\0\0\0\0\0"),             MODEL_TEXT,    false, ""                    },
    {WIRE("\317\377\377\377\377\377\377\377\377"), MODEL_INTEGER, false, "18446744073709551615"},
    {WIRE("\2639999999999999999999"),              MODEL_TEXT,    true,  "9999999999999999999" },
    {WIRE("\264-9999999999999999999"),             MODEL_TEXT,    true,  "-9999999999999999999"},
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

// SplitMix64.
uint64_t
draw(struct workload *workload, uint64_t below)
{
    uint64_t z = workload->random += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) % below;
}

uint64_t
draw_apart(struct workload *workload, uint64_t *stream, uint64_t below)
{
    const uint64_t kept = workload->random;
    workload->random = *stream;
    uint64_t drawn = draw(workload, below);
    *stream = workload->random;
    workload->random = kept;
    return drawn;
}

uint64_t
list_draw(struct workload *workload, uint64_t below)
{
    return draw_apart(workload, &workload->list_random, below);
}

bool
chance(struct workload *workload, uint32_t percent)
{
    return draw(workload, 100) < percent;
}

static struct model_value
value_of_sample(const struct sample *sample)
{
    struct model_value value = {
        .kind = sample->kind,
        .is_number = sample->is_number,
        .size = sample->size,
        .text_size = (uint8_t)strlen(sample->text),
    };
    memcpy(value.bytes, sample->bytes, sample->size);
    memcpy(value.text, sample->text, value.text_size);
    // Also of an integer that is too large for a quantity: that tells it from others.
    if (sample->is_number || sample->kind == MODEL_INTEGER)
        value.number = model_units(sample->text);
    return value;
}

static struct model_value
value_of_int(int64_t number, bool is_wide)
{
    struct model_value value = {
        .kind = MODEL_INTEGER, .is_number = true, .number = (int128)number * DECIMAL_ONE.units};
    value.text_size = (uint8_t)snprintf(value.text, sizeof value.text, "%lld", (long long)number);
    if (!is_wide && number >= 0 && number < 128) {
        value.bytes[0] = (uint8_t)number;
        value.size = 1;
        return value;
    }
    uint64_t big = __builtin_bswap64((uint64_t)number);
    value.bytes[0] = 0xd3;
    memcpy(value.bytes + 1, &big, sizeof big);
    value.size = 9;
    return value;
}

static struct model_value
value_of_text(const char *text)
{
    struct model_value value = {.kind = MODEL_TEXT};
    value.text_size = (uint8_t)snprintf(value.text, sizeof value.text, "%s", text);
    must(value.text_size < 32);
    value.bytes[0] = (uint8_t)(0xa0 | value.text_size);
    memcpy(value.bytes + 1, value.text, value.text_size);
    value.size = (uint8_t)(1 + value.text_size);
    return value;
}

static struct model_value
make_number(struct workload *workload)
{
    uint64_t kind = draw(workload, 100);
    if (kind < 45)
        return value_of_int((int64_t)draw(workload, 20), chance(workload, 20));
    if (kind < 55)
        return value_of_int((int64_t)draw(workload, 2000000) - 1000000, true);
    return value_of_sample(&samples[draw(workload, SAMPLES)]);
}

static struct model_value
make_dimension(struct workload *workload)
{
    static const char *const texts[] = {"eu", "us", "", "eu-west"};
    char many[16];
    uint64_t kind = draw(workload, 100);
    if (kind < 70)
        return value_of_text(texts[draw(workload, 4)]);
    if (kind < 85)
        return value_of_sample(&samples[draw(workload, SAMPLES)]);
    (void)snprintf(many, sizeof many, "g%u", (unsigned)draw(workload, 50));
    return value_of_text(many);
}

static void
add_property(
    struct model_event *event, const char *key, bool is_deep, const struct model_value *value)
{
    must(event->properties_count < MODEL_PROPERTIES_MAX);
    event->properties[event->properties_count++] = (struct model_property){key, is_deep, *value};
}

static void
make_properties(struct workload *workload, struct model_event *event)
{
    static const struct {
        const char *key;
        bool is_deep, is_number;
        uint32_t percent;
    } wanted[] = {
        {"region", false, false, 80},
        {"n",      false, true,  85},
        {"model",  false, false, 60},
        {"n",      true,  true,  50},
        {"tier",   true,  false, 50},
        {"junk",   false, false, 20},
        {"n",      false, true,  4 }, // the key a second time
    };
    event->properties_count = 0;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (!chance(workload, wanted[i].percent))
            continue;
        struct model_value value =
            wanted[i].is_number ? make_number(workload) : make_dimension(workload);
        add_property(event, wanted[i].key, wanted[i].is_deep, &value);
    }
}

static int64_t
quarter_hour_floor(int64_t time_ns)
{
    return time_ns - time_ns % (15 * MINUTE_NS);
}

static int64_t
draw_ns(struct workload *workload, int64_t below_ns)
{
    return (int64_t)draw(workload, (uint64_t)below_ns);
}

static int64_t
make_time(struct workload *workload)
{
    const int64_t now_ns = workload_now_ns;
    const int64_t past_ns = workload->model.past_max_ns;
    const int64_t future_ns = workload->model.future_max_ns;
    uint64_t kind = draw(workload, 100);
    if (kind < 40)
        return now_ns - draw_ns(workload, 6 * HOUR_NS);
    if (kind < 50)
        return now_ns - draw_ns(workload, 5 * DAY_NS);
    if (kind < 62)
        return quarter_hour_floor(now_ns - draw_ns(workload, DAY_NS)) + draw_ns(workload, 3) - 1;
    if (kind < 72)
        return 0;
    if (kind < 80 && workload->history_count > 0)
        return workload->history[draw(workload, workload->history_count)].time_ns;
    if (kind < 84)
        return now_ns + draw_ns(workload, future_ns);
    if (kind < 87)
        return now_ns + future_ns + draw_ns(workload, 3) - 1;
    if (kind < 90)
        return now_ns - past_ns + draw_ns(workload, 3) - 1;
    if (kind < 92)
        return now_ns - past_ns - draw_ns(workload, 9 * DAY_NS);
    return now_ns;
}

static int64_t
make_backfill_time(struct workload *workload)
{
    switch (draw(workload, 8)) {
    case 0: return 1 + draw_ns(workload, 2 * DAY_NS);
    case 1: return 1577836800 * SECOND_NS + draw_ns(workload, 400 * DAY_NS);
    case 2: return 7226582400 * SECOND_NS + draw_ns(workload, 400 * DAY_NS);
    case 3: return workload_now_ns - draw_ns(workload, 100 * DAY_NS);
    default: return make_time(workload);
    }
}

static void
make_identity(struct workload *workload, struct model_event *event)
{
    uint64_t kind = draw(workload, 100);
    event->source = chance(workload, 10) ? "source" : "";
    event->id[0] = '\0';
    event->chunk[0] = '\0';
    workload->serial++;
    if (kind < 85)
        (void)snprintf(event->id, sizeof event->id, "e%u", workload->serial);
    else if (kind < 95)
        (void)snprintf(event->chunk, sizeof event->chunk, "c%u", workload->serial / 8);
    event->chunk_position = workload->serial % 8;
}

static const char *const backfill_ids[MODEL_BACKFILLS] = {
    "backfill-1",
    "b",
    "march",
    "april",
    "may",
    "june",
    "a longer name of a backfill",
    "\xff",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "jan",
    "feb"};

const char *
make_backfill(struct workload *workload)
{
    uint64_t known = workload->model.backfills_count;
    return backfill_ids[draw(workload, known < MODEL_BACKFILLS ? known + 1 : known)];
}

const char *
make_new_backfill(struct workload *workload)
{
    uint32_t known = workload->model.backfills_count;
    return known < MODEL_BACKFILLS ? backfill_ids[known] : make_backfill(workload);
}

const char *
make_live_backfill(struct workload *workload, bool is_to_be_open)
{
    const struct model *model = &workload->model;
    if (model->backfills_count == 0 || chance(workload, 10))
        return make_backfill(workload);
    uint32_t first = (uint32_t)draw(workload, model->backfills_count);
    for (uint32_t i = 0; i < model->backfills_count; i++) {
        const struct model_backfill *backfill =
            &model->backfills[(first + i) % model->backfills_count];
        if (is_to_be_open ? backfill->is_open : !backfill->is_reverted)
            return backfill->id;
    }
    return model->backfills[first].id;
}

static void
make_new_event(struct workload *workload, struct model_event *event)
{
    // Half of all events are of one subject, so that its cells fill.
    bool is_first = chance(workload, 50);
    *event = (struct model_event){
        .subject = subjects[is_first ? 0 : draw(workload, SUBJECTS)],
        .type = types[draw(workload, 4)],
        .batch =
            chance(workload, workload->backfill_percent) ? make_live_backfill(workload, true) : "",
        .value = model_units(event_values[draw(workload, 10)]),
    };
    // Some workloads know large values only, so that sums leave their range.
    if (workload->seed % 8 == 0)
        event->value = model_units("9999999999999999999");
    event->time_ns = event->batch[0] ? make_backfill_time(workload) : make_time(workload);
    make_identity(workload, event);
    make_properties(workload, event);
}

void
make_payload(struct workload *workload, struct model_event *out)
{
    *out = (struct model_event){
        .subject = "",
        .type = "",
        .source = "",
        .batch = "",
        .value = model_units(event_values[draw(workload, 10)]),
    };
    if (workload->seed % 8 == 0)
        out->value = model_units("9999999999999999999");
    make_properties(workload, out);
}

static bool
has_key_twice(const struct model_event *event)
{
    for (uint32_t i = 0; i < event->properties_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (event->properties[i].is_deep == event->properties[j].is_deep &&
                strcmp(event->properties[i].key, event->properties[j].key) == 0)
                return true;
        }
    }
    return false;
}

// The same, said otherwise: another order of the keys, another time.
static void
resend(struct workload *workload, struct model_event *event)
{
    uint32_t count = event->properties_count;
    if (count > 1 && !has_key_twice(event)) {
        uint64_t other = draw(workload, count);
        struct model_property moved = event->properties[0];
        event->properties[0] = event->properties[other];
        event->properties[other] = moved;
    }
    if (chance(workload, 30))
        event->time_ns = make_time(workload);
    if (event->batch[0] != '\0' && chance(workload, 80))
        event->batch = make_live_backfill(workload, true);
}

static void
contradict(struct workload *workload, struct model_event *event)
{
    switch (draw(workload, 5)) {
    case 0: event->value += 1; return;
    case 1: event->type = "rare"; return;
    case 2: event->subject = subjects[draw(workload, SUBJECTS)]; return;  // another identity
    case 3: event->source = "other"; return;                              // likewise
    default: make_properties(workload, event); return;
    }
}

static void
remember(struct workload *workload, const struct model_event *event)
{
    if (workload->history_count == workload->history_capacity) {
        workload->history_capacity = workload->history_capacity * 2 + 256;
        workload->history =
            realloc(workload->history, workload->history_capacity * sizeof *workload->history);
        must(workload->history != NULL);
    }
    workload->history[workload->history_count++] = *event;
}

// The next older event of a backfill; those that were reverted come again.
static uint64_t
back_to_backfill(const struct workload *workload, uint64_t back)
{
    for (uint64_t i = back; i < workload->history_count; i++) {
        if (workload->history[workload->history_count - 1 - i].batch[0] != '\0')
            return i;
    }
    return back;
}

void
make_event(struct workload *workload, struct model_event *out)
{
    uint64_t kind = draw(workload, 100);
    if (kind < 75 || workload->history_count == 0) {
        make_new_event(workload, out);
    } else {
        // The newest ones twice as often.
        uint64_t back = draw(workload, workload->history_count);
        back = chance(workload, 50) ? back % 50 : back;
        if (chance(workload, 25))
            back = back_to_backfill(workload, back);
        *out = workload->history[workload->history_count - 1 - back];
        if (kind < 92)
            resend(workload, out);
        else
            contradict(workload, out);
    }
    remember(workload, out);
}

void
make_burst(struct workload *workload)
{
    struct model_event first;
    make_new_event(workload, &first);
    uint32_t count = 100 + (uint32_t)draw(workload, 230);
    int64_t from_ns = quarter_hour_floor(workload_now_ns);
    uint32_t spread = 1 + (uint32_t)draw(workload, 600);
    first.subject = subjects[0];
    first.type = "llm";
    // A revert of so many takes many blocks, when groups are small.
    first.batch = chance(workload, 40) ? make_live_backfill(workload, true) : "";
    for (uint32_t i = 0; i < count; i++) {
        struct model_event *event = &workload->batch[i];
        struct model_value value = value_of_int((int64_t)draw(workload, spread), true);
        *event = first;
        event->properties_count = 0;
        event->time_ns = from_ns + draw_ns(workload, workload_now_ns - from_ns + 1);
        (void)snprintf(event->id, sizeof event->id, "e%u", ++workload->serial);
        add_property(event, "n", false, &value);
        if (i % 16 == 0) {
            value = make_dimension(workload);
            add_property(event, "region", false, &value);
        }
        remember(workload, event);
    }
    workload->batch_count = count;
}

void
make_meter(struct workload *workload, uint32_t index)
{
    static const char *const paths[] = {NULL, "$.n", "$.n", "$.deep.n"};
    struct meter meter = {
        .key = meter_keys[index],
        .event_type = types[draw(workload, 4)],
        .aggregation = (enum aggregation)draw(workload, AGGREGATION_KINDS),
        .value_property = paths[draw(workload, 4)],
    };
    if (chance(workload, 20)) {
        meter.event_type = "llm";
        meter.aggregation = AGGREGATION_UNIQUE_COUNT;
        meter.value_property = "$.n";
    }
    if (meter.aggregation == AGGREGATION_COUNT)
        meter.value_property = NULL;
    const struct model *model = &workload->model;
    if (chance(workload, 30))
        meter.events_from_ns = model->count > 0
                                   ? model->events[draw(workload, model->count)].time_ns
                                   : workload_now_ns - draw_ns(workload, DAY_NS);
    uint64_t dimensions = draw(workload, 8);
    for (uint32_t i = 0; i < MODEL_DIMENSIONS; i++) {
        if (dimensions & (1U << i))
            meter.dimensions[meter.dimensions_count++] =
                (struct meter_dimension){dimension_names[i], dimension_paths[i]};
    }
    workload->meters[index] = meter;
}

// A moment that somebody may ask from or to: about an event, on a boundary, or exactly on it.
static int64_t
make_moment(struct workload *workload)
{
    static const int64_t widths[] = {1, 1, 15 * 60, 15 * 60, 3600, 86400};
    int64_t at_ns = workload_now_ns;
    if (workload->model.count > 0)
        at_ns = workload->model.events[draw(workload, workload->model.count)].time_ns;
    if (chance(workload, 80))
        at_ns += draw_ns(workload, 2 * DAY_NS) - DAY_NS;
    int64_t width_ns = widths[draw(workload, 6)] * SECOND_NS;
    int64_t floored_ns = at_ns - at_ns % width_ns;
    return width_ns == SECOND_NS ? at_ns : floored_ns;
}

static void
make_range(struct workload *workload, struct usage_query *query)
{
    int64_t a_ns = make_moment(workload);
    int64_t b_ns = make_moment(workload);
    uint64_t open = draw(workload, 10);
    query->from_ns = a_ns < b_ns ? a_ns : b_ns;
    query->to_ns = a_ns < b_ns ? b_ns : a_ns;
    if (open < 3)
        query->from_ns = open == 2 ? 0 : INT64_MIN;
    if (open < 2 || open == 4)
        query->to_ns = INT64_MAX;
    if (query->from_ns > query->to_ns)
        query->from_ns = query->to_ns;
}

static void
make_filters(
    struct workload *workload, const struct meter *meter, struct workload_question *question)
{
    static const char *const texts[] = {"eu", "us", "", "eu-west", "7", "0.1", "true", "g7"};
    uint32_t count = (uint32_t)draw(workload, WORKLOAD_FILTERS_MAX + 1);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t values = 1 + (uint32_t)draw(workload, WORKLOAD_FILTERS_MAX);
        for (uint32_t j = 0; j < values; j++)
            question->wanted[i][j] = bytes_text(texts[draw(workload, 8)]);
        question->parts[i] = (struct usage_filter){
            .kind = USAGE_IN,
            .dimension = meter->dimensions[draw(workload, meter->dimensions_count)].name,
            .values = question->wanted[i],
            .values_count = values,
        };
    }
    question->filter =
        (struct usage_filter){.kind = USAGE_AND, .parts = question->parts, .parts_count = count};
    question->query.filter = count > 0 ? &question->filter : NULL;
}

// Usage at a cut goes to its time at most.
static void
make_cut(struct workload *workload, struct usage_query *query)
{
    const struct model *model = &workload->model;
    if (model->cuts_count == 0 || chance(workload, 60))
        return;
    uint32_t number = 1 + (uint32_t)draw(workload, model->cuts_count);
    const struct model_cut *cut = &model->cuts[number - 1];
    if (query->from_ns >= cut->time_ns)
        return;
    query->at_cut = number;
    query->to_ns = query->to_ns < cut->time_ns ? query->to_ns : cut->time_ns;
}

void
make_question(struct workload *workload, struct workload_question *out)
{
    uint64_t index = draw(workload, WORKLOAD_METERS);
    const struct meter *meter = &workload->meters[index];
    *out = (struct workload_question){.query = {.meter = meter_keys[index]}};
    if (chance(workload, 50))
        out->query.subject = bytes_text(subjects[draw(workload, SUBJECTS)]);
    make_range(workload, &out->query);
    out->query.window = (enum usage_window)draw(workload, USAGE_WINDOW_MONTH + 1);
    // Hours of a zone off the hour are those of usage_window_test.
    bool may_have_zone = out->query.window != USAGE_WINDOW_HOUR;
    if (chance(workload, 40) && may_have_zone)
        out->query.zone = workload_zones[draw(workload, WORKLOAD_ZONES)];
    make_cut(workload, &out->query);
    if (meter->dimensions_count == 0)
        return;
    uint32_t count = (uint32_t)draw(workload, meter->dimensions_count + 1);
    uint64_t first = draw(workload, meter->dimensions_count);
    for (uint32_t i = 0; i < count; i++)
        out->group_by[i] = meter->dimensions[(first + i) % meter->dimensions_count].name;
    out->query.group_by = out->group_by;
    out->query.group_by_count = count;
    if (chance(workload, 40))
        make_filters(workload, meter, out);
}

void
make_time_pass(struct workload *workload)
{
    static const int64_t steps_ns[] = {1, 1000000000, 300000000000, 3600000000000, 86400000000000};
    int64_t most_ns = steps_ns[draw(workload, 5)];
    workload_now_ns += 1 + draw_ns(workload, most_ns);
}
