// Rules are found by the event's type: a small open-addressed table of chains. Paths are looked up
// by walking the properties as they lie; the first of equal keys wins.

#include "ledger/fold.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/unpack.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

struct type_chain {
    struct bytes type;
    struct meter_rule *first;  // NULL: a free place
    struct meter_rule *last;
};

struct meter_set {
    uint32_t count;
    uint32_t mask;  // of chains
    struct meter_rule *rules;
    struct type_chain *chains;
};

// "$.a.b" into its steps. The registry stores canonical paths only.
static struct meter_path
path_split(const char *path)
{
    must(path[0] == '$' && path[1] == '.');
    struct meter_path split = {0};
    const char *at = path + 2;
    for (;;) {
        must(split.depth < METER_PATH_DEPTH_MAX);
        const char *dot = strchrnul(at, '.');
        split.steps[split.depth++] = bytes_of(at, (size_t)(dot - at));
        if (*dot == '\0')
            return split;
        at = dot + 1;
    }
}

static struct type_chain *
chain_of(const struct meter_set *set, struct bytes type)
{
    uint32_t at = (uint32_t)hash64(type, 0) & set->mask;
    while (set->chains[at].first != NULL && !bytes_equal(set->chains[at].type, type))
        at = (at + 1) & set->mask;
    return &set->chains[at];
}

static const struct meter_pass *
passes_make(const struct meter *meter, struct arena *arena)
{
    struct meter_pass *passes = arena_array(arena, meter->filters_count, struct meter_pass);
    for (uint32_t i = 0; i < meter->filters_count; i++) {
        const struct meter_filter *filter = &meter->filters[i];
        struct bytes *values = arena_array(arena, filter->values_count, struct bytes);
        for (uint32_t k = 0; k < filter->values_count; k++)
            values[k] = bytes_text(filter->values[k]);
        passes[i] = (struct meter_pass){path_split(filter->path), filter->values_count, values};
    }
    return passes;
}

static void
meter_set_add(
    struct meter_set *set, struct meter_rule *rule, const struct meter *meter, struct arena *arena)
{
    rule->meter = meter;
    rule->has_value_path = meter->value_property != NULL;
    if (rule->has_value_path)
        rule->value_path = path_split(meter->value_property);
    for (uint32_t i = 0; i < meter->dimensions_count; i++)
        rule->dimension_paths[i] = path_split(meter->dimensions[i].path);
    rule->passes = passes_make(meter, arena);
    rule->is_plain = meter->filters_count == 0 && meter->dimensions_count == 0 &&
                     meter->events_from_ns == 0 && meter->aggregation != AGGREGATION_UNIQUE_COUNT;
    rule->meter_id = meter->id;
    rule->is_sum = cell_is_sum(meter->aggregation);
    rule->is_quick = rule->is_plain && (rule->is_sum || meter->aggregation == AGGREGATION_COUNT);
    struct type_chain *chain = chain_of(set, bytes_text(meter->event_type));
    if (chain->first == NULL) {
        chain->type = bytes_text(meter->event_type);
        chain->first = rule;
    } else {
        rule->place = chain->last->place + 1;
        chain->last->next_of_type = rule;
    }
    chain->last = rule;
}

struct meter_set *
meter_set_make(const struct meter *meters, uint32_t count, struct arena *arena)
{
    must(count <= METERS_MAX);
    struct meter_set *set = arena_new(arena, struct meter_set);
    uint32_t places = 16;
    while (places < count * 2)
        places *= 2;
    set->count = count;
    set->mask = places - 1;
    set->rules = arena_array(arena, count, struct meter_rule);
    set->chains = arena_array(arena, places, struct type_chain);
    for (uint32_t i = 0; i < count; i++)
        meter_set_add(set, &set->rules[i], &meters[i], arena);
    return set;
}

const struct meter_rule *
meter_set_first(const struct meter_set *set, struct bytes type)
{
    return set->count == 0 ? NULL : chain_of(set, type)->first;
}

const struct meter_rule *
meter_set_find(const struct meter_set *set, uint32_t meter_id)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->rules[i].meter->id == meter_id)
            return &set->rules[i];
    }
    return NULL;
}

uint32_t
meter_set_count(const struct meter_set *set)
{
    return set->count;
}

const struct meter *
meter_set_at(const struct meter_set *set, uint32_t index)
{
    must(index < set->count);
    return set->rules[index].meter;
}

// Reads one key and says whether it is the step. False and failed when the bytes end.
static bool
key_is(struct cursor *in, struct bytes step)
{
    struct cursor before = *in;
    struct unpack_item key;
    if (!unpack_next(in, &key))
        return false;
    if (key.type == UNPACK_STR)
        return bytes_equal(key.text, step);
    // A key that is no text cannot be named by a path; if it is a container, its items go with it.
    *in = before;
    (void)unpack_skip(in, UNPACK_DEPTH_MAX);
    return false;
}

// Leaves the cursor at the value of step among count pairs.
static __attribute__((noinline)) bool
find_step_any(struct cursor *in, uint32_t count, struct bytes step)
{
    for (uint32_t i = 0; i < count; i++) {
        if (key_is(in, step))
            return true;
        if (cursor_failed(in) || !unpack_skip(in, UNPACK_DEPTH_MAX))
            return false;
    }
    return false;
}

// The same. A short text for a key, and a short text or number for its value, are what most pairs
// are: their first byte tells their size. What is behind another pair is looked for there.
static inline bool
find_step(struct cursor *in, uint32_t count, struct bytes step)
{
    const uint8_t *at = in->at, *const end = in->at + cursor_left(in);
    for (uint32_t i = 0; i < count; i++) {
        const size_t key = unpack_size_short(at, (size_t)(end - at));
        if (key == 0 || !unpack_is_short_text(at)) {
            in->at = at;
            return find_step_any(in, count - i, step);
        }
        if (key == step.size + 1 && bytes_same(at + 1, step.data, step.size)) {
            in->at = at + key;
            return true;
        }
        const size_t value = unpack_size_short(at + key, (size_t)(end - at) - key);
        if (value == 0) {
            in->at = at;
            return find_step_any(in, count - i, step);
        }
        at += key + value;
    }
    return false;
}

// Leaves the cursor before the value.
static bool
seek_path(const struct entry *entry, const struct meter_path *path, struct cursor *out)
{
    struct cursor in = cursor_over(entry->properties);
    struct unpack_item item;
    uint32_t count = entry->properties_count;
    for (uint32_t i = 0; i < path->depth; i++) {
        if (!find_step(&in, count, path->steps[i]))
            return false;
        if (i + 1 == path->depth)
            break;
        if (!unpack_next(&in, &item) || item.type != UNPACK_MAP)
            return false;
        count = item.count;
    }
    *out = in;
    return true;
}

static bool
find_path(const struct entry *entry, const struct meter_path *path, struct unpack_item *out)
{
    struct cursor in;
    return seek_path(entry, path, &in) && unpack_next(&in, out);
}

// As find_path, with all bytes of the value.
static bool
find_path_whole(
    const struct entry *entry,
    const struct meter_path *path,
    struct unpack_item *out,
    struct bytes *out_whole)
{
    struct cursor in;
    if (!seek_path(entry, path, &in))
        return false;
    struct cursor after = in;
    if (!unpack_skip(&after, UNPACK_DEPTH_MAX))
        return false;
    *out_whole = bytes_of(in.at, (size_t)(after.at - in.at));
    return unpack_next(&in, out);
}

static bool
item_number(const struct unpack_item *item, struct decimal *out)
{
    bool is_rounded = false;
    switch (item->type) {
    case UNPACK_INT: *out = decimal_from_int(item->integer); return true;
    case UNPACK_UINT: return decimal_from_uint(item->natural, out) == STATUS_OK;
    case UNPACK_FLOAT: return decimal_from_float(item->real32, out, &is_rounded) == STATUS_OK;
    case UNPACK_DOUBLE: return decimal_from_double(item->real64, out, &is_rounded) == STATUS_OK;
    case UNPACK_STR: return decimal_parse(item->text, out, &is_rounded) == STATUS_OK;
    case UNPACK_NIL:
    case UNPACK_BOOL:
    case UNPACK_BIN:
    case UNPACK_EXT:
    case UNPACK_ARRAY:
    case UNPACK_MAP: return false;
    }
    return false;
}

// A float that is no decimal of ours (NaN, infinite, beyond 10^19) is the empty string, like what
// is missing.
static struct bytes
item_text(const struct unpack_item *item, char text[DECIMAL_TEXT_MAX])
{
    struct decimal number;
    int size;
    switch (item->type) {
    case UNPACK_STR:
    case UNPACK_BIN: return item->text;
    case UNPACK_BOOL: return bytes_text(item->boolean ? "true" : "false");
    case UNPACK_INT:
        size = snprintf(text, DECIMAL_TEXT_MAX, "%" PRId64, item->integer);
        return bytes_of(text, (size_t)size);
    case UNPACK_UINT:
        size = snprintf(text, DECIMAL_TEXT_MAX, "%" PRIu64, item->natural);
        return bytes_of(text, (size_t)size);
    case UNPACK_FLOAT:
    case UNPACK_DOUBLE:
        if (!item_number(item, &number))
            break;
        return bytes_of(text, decimal_print(number, text));
    case UNPACK_NIL:
    case UNPACK_EXT:
    case UNPACK_ARRAY:
    case UNPACK_MAP: break;
    }
    return bytes_of(NULL, 0);
}

// Values are never empty, so what has no text passes nowhere.
static bool
pass_accepts(const struct meter_pass *pass, const struct entry *entry)
{
    char text[DECIMAL_TEXT_MAX];
    struct unpack_item item;
    if (!find_path(entry, &pass->path, &item))
        return false;
    struct bytes value = item_text(&item, text);
    for (uint32_t i = 0; i < pass->count; i++) {
        if (bytes_equal(pass->values[i], value))
            return true;
    }
    return false;
}

static bool
rule_accepts(const struct meter_rule *rule, const struct entry *entry)
{
    if (entry->time_ns < rule->meter->events_from_ns)
        return false;
    for (uint32_t i = 0; i < rule->meter->filters_count; i++) {
        if (!pass_accepts(&rule->passes[i], entry))
            return false;
    }
    return true;
}

// The all-zero hash stands for a free place in a set.
static struct hash128
distinct_hash(struct bytes bytes, uint64_t kind)
{
    struct hash128 hash = hash128(bytes, kind);
    hash.low += (hash.low | hash.high) == 0;
    return hash;
}

enum { DISTINCT_TEXT = 0, DISTINCT_RAW = 1 };

// False: nil, which is no value.
static bool
rule_distinct(const struct meter_rule *rule, const struct entry *entry, struct hash128 *out)
{
    char text[DECIMAL_TEXT_MAX];
    struct unpack_item item;
    if (!rule->has_value_path) {
        *out = distinct_hash(bytes_of(text, decimal_print(entry->value, text)), DISTINCT_TEXT);
        return true;
    }
    struct bytes whole;
    if (!find_path_whole(entry, &rule->value_path, &item, &whole)) {
        *out = distinct_hash(bytes_of(NULL, 0), DISTINCT_TEXT);
        return true;
    }
    bool is_container = item.type == UNPACK_MAP || item.type == UNPACK_ARRAY;
    if (is_container || item.type == UNPACK_EXT)
        *out = distinct_hash(whole, DISTINCT_RAW);
    else
        *out = distinct_hash(item_text(&item, text), DISTINCT_TEXT);
    return item.type != UNPACK_NIL;
}

static __attribute__((noinline)) bool
path_number_any(const struct entry *entry, const struct meter_path *path, struct decimal *out)
{
    struct unpack_item item;
    return find_path(entry, path, &item) && item_number(&item, out);
}

// A natural of up to two bytes among the event's own properties, which most quantities are, here.
static bool
path_number(const struct entry *entry, const struct meter_path *path, struct decimal *out)
{
    struct cursor in = cursor_over(entry->properties);
    if (path->depth > 1 || !find_step(&in, entry->properties_count, path->steps[0]))
        return path->depth > 1 && path_number_any(entry, path, out);
    const size_t size = unpack_size_short(in.at, cursor_left(&in));
    if (size == 0 || unpack_is_short_text(in.at))
        return path_number_any(entry, path, out);
    *out = decimal_from_int(unpack_natural_short(in.at, size));
    return true;
}

bool
meter_rule_value(const struct meter_rule *rule, const struct entry *entry, struct decimal *out)
{
    if (rule->meter->aggregation == AGGREGATION_COUNT)
        *out = DECIMAL_ZERO;
    else if (rule->has_value_path)
        return path_number(entry, &rule->value_path, out);
    else
        *out = entry->value;
    return true;
}

// What the aggregation needs of the event. False: it cannot use it.
static bool
rule_input(const struct meter_rule *rule, const struct entry *entry, struct cell_input *input)
{
    if (rule->meter->aggregation == AGGREGATION_UNIQUE_COUNT)
        return rule_distinct(rule, entry, &input->distinct);
    return meter_rule_value(rule, entry, &input->value);
}

bool
meter_rule_apply(
    const struct meter_rule *rule,
    const struct entry *entry,
    const struct fold_place *place,
    struct fold_scratch *scratch,
    struct fold_step *out)
{
    const struct meter *meter = rule->meter;
    out->meter = meter;
    out->epoch = 0;
    out->input = (struct cell_input){
        .is_cancel = place->is_cancel,
        .time_ns = entry->time_ns,
        .arrival_ns = place->arrival_ns,
        .block = place->block,
        .index = place->index,
    };
    // Windows are counted from 1970; ingest lets nothing older in.
    if (entry->time_ns < 0 || !rule_accepts(rule, entry) || !rule_input(rule, entry, &out->input))
        return false;
    out->start_s = fold_start_s(entry->time_ns);
    out->group.count = meter->dimensions_count;
    for (uint32_t i = 0; i < meter->dimensions_count; i++) {
        struct unpack_item item;
        bool is_found = find_path(entry, &rule->dimension_paths[i], &item);
        out->group.values[i] = is_found ? item_text(&item, scratch->texts[i]) : bytes_of(NULL, 0);
    }
    out->group_hash = cell_group_hash(&out->group);
    return true;
}

// --- what is wrong with an event ---

static bool
text_is(struct bytes text, const char *word)
{
    return text.size == strlen(word) && strncasecmp((const char *)text.data, word, text.size) == 0;
}

// A text that is no decimal may be one of the words for what no decimal is.
static enum fold_fault
text_fault(struct bytes text)
{
    struct decimal number;
    bool is_rounded = false;
    enum status status = decimal_parse(text, &number, &is_rounded);
    if (status != STATUS_INVALID)
        return status ? FOLD_TOO_LARGE : FOLD_USABLE;
    if (text.size > 0 && (text.data[0] == '+' || text.data[0] == '-'))
        text = bytes_of(text.data + 1, text.size - 1);
    if (text_is(text, "nan"))
        return FOLD_NAN;
    return text_is(text, "inf") || text_is(text, "infinity") ? FOLD_INFINITE : FOLD_NO_NUMBER;
}

static enum fold_fault
item_fault(const struct unpack_item *item, struct bytes *out_text)
{
    struct decimal number;
    switch (item->type) {
    case UNPACK_STR: *out_text = item->text; return text_fault(item->text);
    case UNPACK_FLOAT:
        if (isnan(item->real32))
            return FOLD_NAN;
        if (isinf(item->real32))
            return FOLD_INFINITE;
        break;
    case UNPACK_DOUBLE:
        if (isnan(item->real64))
            return FOLD_NAN;
        if (isinf(item->real64))
            return FOLD_INFINITE;
        break;
    case UNPACK_INT:
    case UNPACK_UINT: break;
    case UNPACK_NIL: return FOLD_NULL;
    case UNPACK_BOOL:
    case UNPACK_BIN:
    case UNPACK_EXT:
    case UNPACK_ARRAY:
    case UNPACK_MAP: return FOLD_NO_VALUE;
    }
    return item_number(item, &number) ? FOLD_USABLE : FOLD_TOO_LARGE;
}

enum fold_fault
meter_rule_fault(const struct meter_rule *rule, const struct entry *entry, struct bytes *out_text)
{
    struct unpack_item item;
    if (rule->meter->aggregation == AGGREGATION_COUNT || !rule->has_value_path)
        return FOLD_USABLE;
    if (entry->properties_count == 0)
        return FOLD_NO_PROPERTIES;
    if (!find_path(entry, &rule->value_path, &item))
        return FOLD_MISSING;
    if (rule->meter->aggregation == AGGREGATION_UNIQUE_COUNT)
        return item.type == UNPACK_NIL ? FOLD_NULL : FOLD_USABLE;
    return item_fault(&item, out_text);
}
