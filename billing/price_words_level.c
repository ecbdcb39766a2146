// The words for tiers keyed by a property, recurring levels, and the quantities that feed models.

#include "base/assert.h"
#include "base/clock.h"
#include "billing/price_events.h"
#include "billing/price_quantity.h"
#include "billing/price_words.h"

#include <string.h>

static const int64_t places_range[2] = {-PRICE_ROUND_MAX, PRICE_ROUND_MAX};

// ---- custom

static struct bytes
scalar_text(struct price_call *call, const struct json *node)
{
    if (node->type == JSON_STRING || node->type == JSON_NUMBER)
        return node->text;
    document_refuse(call->reader.in, node, "expected a string");
    return bytes_text("");
}

static const struct price_custom_event *
custom_events_read(struct price_call *call, uint32_t *out_count)
{
    struct price_reader *in = &call->reader;
    const struct json *events = document_array(in->in, call->params, "events", PRICE_LIST_MAX);
    if (events == NULL)
        return NULL;
    struct price_custom_event *items =
        arena_array(in->abacus->arena, events->count, struct price_custom_event);
    for (const struct json *node = events->first; node != NULL; node = node->next) {
        if (node->type != JSON_ARRAY || node->count != 2) {
            document_refuse(in->in, node, "expected [units, key]");
            return NULL;
        }
        struct price_custom_event *event = &items[(*out_count)++];
        event->units = price_read_node(in, node->first, PRICE_NOT_NEGATIVE);
        event->key = scalar_text(call, node->first->next);
    }
    return items;
}

static void
custom_fold_word(struct price_call *call)
{
    uint32_t tiers_count = 0, events_count = 0, missing = 0;
    const struct price_custom_tier *tiers =
        price_read_custom_tiers(&call->reader, call->params, &tiers_count);
    const struct price_custom_event *events = custom_events_read(call, &events_count);
    if (call->reader.in->status)
        return;
    const struct rational *amount =
        price_custom_fold(call->reader.abacus, events, events_count, tiers, tiers_count, &missing);
    if (amount != NULL) {
        call_major(call, amount);
        return;
    }
    const struct json *node = json_member(call->params, "events")->first;
    for (uint32_t i = 0; i < missing; i++)
        node = node->next;
    document_refuse(
        call->reader.in,
        node,
        "a tier that it reaches has neither a price for its key nor a default");
}

static void
custom_word(struct price_call *call)
{
    const struct rational *amount =
        price_read_number(&call->reader, call->params, "returned_amount", PRICE_ANY);
    abacus_step(call->reader.abacus, "the amount that was returned");
    if (!call->reader.in->status)
        call_major(call, rational_max(amount, &RATIONAL_ZERO));
}

// ---- recurring levels

static enum rounding
rounding_read(struct price_call *call, const char *key)
{
    static const struct {
        const char *name;
        enum rounding rounding;
    } names[] = {
        {"half-up",   ROUND_HALF_UP  },
        {"half_up",   ROUND_HALF_UP  },
        {"round",     ROUND_HALF_UP  },
        {"half-even", ROUND_HALF_EVEN},
        {"half_even", ROUND_HALF_EVEN},
        {"half-down", ROUND_HALF_DOWN},
        {"half_down", ROUND_HALF_DOWN},
        {"up",        ROUND_UP       },
        {"down",      ROUND_DOWN     },
        {"ceil",      ROUND_CEIL     },
        {"ceiling",   ROUND_CEIL     },
        {"floor",     ROUND_FLOOR    },
    };
    const char *name = document_text_optional(call->reader.in, call->params, key, 16);
    for (size_t i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].rounding;
    if (name != NULL && !call->reader.in->status)
        document_refuse(
            call->reader.in,
            json_member(call->params, key),
            "expected half-up, half-even, half-down, up, down, ceil or floor");
    return ROUND_HALF_UP;
}

// The exact amount, or rounded to `round` places when the case says so.
static void
rounded_answer(struct price_call *call, const struct rational *amount)
{
    enum rounding rounding = rounding_read(call, "round_mode");
    int64_t places =
        price_read_int(&call->reader, call->params, "round", places_range, call->decimals);
    if (price_member(call->params, "round") != NULL)
        amount = abacus_round(call->reader.abacus, amount, (int32_t)places, rounding);
    call_places(call, amount, places > 0 ? (int32_t)places : 0);
}

static void
prorated_graduated_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    uint32_t tiers_count = 0, full_count = 0, prorated_count = 0;
    const struct price_tier *tiers = price_read_tiers(in, call->params, "unit", &tiers_count);
    const struct rational **full =
        price_read_list(in, call->params, "full", PRICE_ANY, &full_count);
    const struct rational **prorated =
        price_read_list(in, call->params, "prorated", PRICE_ANY, &prorated_count);
    if (!in->in->status && full_count != prorated_count)
        document_refuse(
            in->in, json_member(call->params, "prorated"), "expected as many as in \"full\"");
    if (in->in->status)
        return;
    struct price_level_event *events =
        arena_array(in->abacus->arena, full_count, struct price_level_event);
    for (uint32_t i = 0; i < full_count; i++)
        events[i] = (struct price_level_event){full[i], prorated[i]};
    rounded_answer(
        call, price_prorated_graduated(in->abacus, events, full_count, tiers, tiers_count));
}

// ---- quantities

// Times without a zone are UTC here.
static bool
time_parse(struct price_call *call, const struct json *node, int64_t *out_ns)
{
    if (node->type != JSON_STRING || node->text.size > 40)
        return false;
    if (clock_parse(node->text, out_ns) == STATUS_OK)
        return true;
    const char *text = arena_text_of(call->reader.abacus->arena, node->text);
    const char *in_utc = arena_format(call->reader.abacus->arena, "%sZ", text);
    return clock_parse(bytes_text(in_utc), out_ns) == STATUS_OK;
}

static int64_t
time_read(struct price_call *call, const char *key)
{
    int64_t time_ns = 0;
    const struct json *node = document_member(call->reader.in, call->params, key);
    if (node != NULL && !time_parse(call, node, &time_ns))
        document_refuse(call->reader.in, node, "expected a time such as \"2023-11-01T00:00:00Z\"");
    return time_ns;
}

static struct price_change *
changes_read(struct price_call *call, const struct price_weighted *weighted, uint32_t *out_count)
{
    struct price_reader *in = &call->reader;
    const struct json *list = document_array(in->in, call->params, "events", PRICE_LIST_MAX);
    if (list == NULL)
        return NULL;
    struct price_change *changes = arena_array(in->abacus->arena, list->count, struct price_change);
    for (const struct json *node = list->first; node != NULL && !in->in->status;
         node = node->next) {
        struct price_change *change = &changes[(*out_count)++];
        if (node->type != JSON_ARRAY || node->count != 2 ||
            !time_parse(call, node->first, &change->time_ns)) {
            document_refuse(in->in, node, "expected [time, delta]");
            return NULL;
        }
        change->delta = price_read_node(in, node->first->next, PRICE_ANY);
        if (change->time_ns < weighted->from_ns || change->time_ns > weighted->to_ns)
            document_refuse(in->in, node->first, "is not between from and to");
    }
    return changes;
}

static void
weighted_sum_word(struct price_call *call)
{
    static const int64_t days_range[2] = {1, 100000};
    struct price_reader *in = &call->reader;
    struct price_weighted weighted = {
        .from_ns = time_read(call, "from"),
        .to_ns = time_read(call, "to"),
        .initial = price_read_optional(in, call->params, "initial", PRICE_ANY, &RATIONAL_ZERO),
    };
    (void)document_member(in->in, call->params, "period_days");
    weighted.period_days = price_read_int(in, call->params, "period_days", days_range, 1);
    if (!in->in->status && weighted.from_ns >= weighted.to_ns)
        document_refuse(in->in, json_member(call->params, "to"), "must be after from");
    weighted.changes = changes_read(call, &weighted, &weighted.changes_count);
    if (in->in->status)
        return;
    const struct rational *sum = price_weighted_sum(in->abacus, &weighted);
    int64_t places = price_read_int(in, call->params, "round", places_range, 0);
    if (price_member(call->params, "round") != NULL)
        sum = abacus_round(in->abacus, sum, (int32_t)places, ROUND_HALF_UP);
    call_quantity(call, sum);
}

static void
prorated_sum_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const struct rational *full =
        price_read_optional(in, call->params, "full_period_units", PRICE_ANY, &RATIONAL_ZERO);
    const struct rational *days =
        price_read_number(in, call->params, "period_days", PRICE_POSITIVE);
    const struct json *list = document_array(in->in, call->params, "added", PRICE_LIST_MAX);
    if (list == NULL)
        return;
    struct price_added *added = arena_array(in->abacus->arena, list->count, struct price_added);
    uint32_t count = 0;
    for (const struct json *node = list->first; node != NULL; node = node->next) {
        const struct rational *pair[2] = {&RATIONAL_ZERO, &RATIONAL_ZERO};
        if (!price_read_tuple(in, node, PRICE_ANY, pair, 2))
            return;
        added[count++] = (struct price_added){pair[0], pair[1]};
    }
    if (!in->in->status)
        call_quantity(call, price_prorated_sum(in->abacus, full, added, count, days));
}

static void
prorated_unique_count_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const struct rational *days =
        price_read_number(in, call->params, "period_days", PRICE_POSITIVE);
    const struct json *active = document_member(in->in, call->params, "active_days");
    if (active == NULL)
        return;
    uint32_t count = 1;
    const struct rational *single = NULL, **list = &single;
    if (active->type == JSON_ARRAY)
        list = price_read_list(in, call->params, "active_days", PRICE_NOT_NEGATIVE, &count);
    else
        single = price_read_node(in, active, PRICE_NOT_NEGATIVE);
    if (in->in->status)
        return;
    struct price_added *added = arena_array(in->abacus->arena, count, struct price_added);
    for (uint32_t i = 0; i < count; i++)
        added[i] = (struct price_added){abacus_int(in->abacus, 1), list[i]};
    call_quantity(call, price_prorated_sum(in->abacus, &RATIONAL_ZERO, added, count, days));
}

static void
quantity_rounding_word(struct price_call *call)
{
    enum rounding rounding = rounding_read(call, "fn");
    int64_t places = price_read_int(&call->reader, call->params, "precision", places_range, 0);
    const struct rational *units = call_units(call);
    (void)document_member(call->reader.in, call->params, "fn");
    if (!call->reader.in->status)
        call_quantity(call, abacus_round(call->reader.abacus, units, (int32_t)places, rounding));
}

// ---- the table

static const char keys_prorated_graduated[] = "full prorated tiers round round_mode";
static const char keys_weighted_sum[] = "from to events initial period_days round";
static const char keys_prorated_sum[] = "full_period_units added period_days";

static const struct price_word words[] = {
    {"custom_fold",           "events tiers",            custom_fold_word          },
    {"custom",                "returned_amount",         custom_word               },
    {"prorated_graduated",    keys_prorated_graduated,   prorated_graduated_word   },
    {"weighted_sum",          keys_weighted_sum,         weighted_sum_word         },
    {"prorated_sum",          keys_prorated_sum,         prorated_sum_word         },
    {"prorated_unique_count", "active_days period_days", prorated_unique_count_word},
    {"quantity_rounding",     "fn precision",            quantity_rounding_word    },
};

struct price_words
price_words_level(void)
{
    return (struct price_words){words, sizeof words / sizeof words[0]};
}
