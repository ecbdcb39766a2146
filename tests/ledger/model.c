#include "tests/ledger/model.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

static bool
same_identity(const struct model_event *a, const struct model_event *b)
{
    if (strcmp(a->subject, b->subject) != 0 || strcmp(a->source, b->source) != 0 ||
        strcmp(a->id, b->id) != 0)
        return false;
    if (a->id[0] != '\0')
        return true;
    return a->chunk[0] != '\0' && strcmp(a->chunk, b->chunk) == 0 &&
           a->chunk_position == b->chunk_position;
}

static bool
same_value(const struct model_value *a, const struct model_value *b)
{
    if (a->kind == MODEL_INTEGER && b->kind == MODEL_INTEGER)
        return a->number == b->number;
    return a->kind == b->kind && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

// In how many properties the event has this one.
static uint32_t
property_count(const struct model_event *event, const struct model_property *property)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < event->properties_count; i++) {
        const struct model_property *other = &event->properties[i];
        count += other->is_deep == property->is_deep && strcmp(other->key, property->key) == 0 &&
                 same_value(&other->value, &property->value);
    }
    return count;
}

bool
model_same_payload(const struct model_event *a, const struct model_event *b)
{
    if (a->value != b->value || strcmp(a->type, b->type) != 0 ||
        a->properties_count != b->properties_count)
        return false;
    for (uint32_t i = 0; i < a->properties_count; i++) {
        if (property_count(a, &a->properties[i]) != property_count(b, &a->properties[i]))
            return false;
    }
    return true;
}

void
model_done(struct model *model)
{
    free(model->events);
}

// In the model an event whose identity is free is one that nobody can name.
static bool
holds_identity(const struct model_event *held, const struct model_event *event)
{
    return !held->is_free && same_identity(held, event);
}

static struct model_event *
model_add(struct model *model, const struct model_event *event)
{
    if (model->count == model->capacity) {
        model->capacity = model->capacity == 0 ? 256 : model->capacity * 2;
        model->events = realloc(model->events, model->capacity * sizeof *model->events);
        must(model->events != NULL);
    }
    model->events[model->count] = *event;
    return &model->events[model->count++];
}

static struct model_backfill *
backfill_of(struct model *model, const char *id)
{
    for (uint32_t i = 0; i < model->backfills_count; i++) {
        if (strcmp(model->backfills[i].id, id) == 0)
            return &model->backfills[i];
    }
    return NULL;
}

enum fate
model_put(struct model *model, const struct model_event *event, int64_t now_ns)
{
    for (uint32_t i = 0; i < model->count; i++) {
        if (holds_identity(&model->events[i], event))
            return model_same_payload(&model->events[i], event) ? FATE_DUPLICATE : FATE_CONFLICT;
    }
    if (event->batch[0] != '\0') {
        const struct model_backfill *backfill = backfill_of(model, event->batch);
        if (backfill == NULL || !backfill->is_open)
            return FATE_BATCH_NOT_OPEN;
    } else if (event->time_ns != 0) {
        if (event->time_ns < now_ns - model->past_max_ns)
            return FATE_TOO_OLD;
        if (event->time_ns > now_ns + model->future_max_ns)
            return FATE_TOO_FAR_AHEAD;
    }
    struct model_event *stored = model_add(model, event);
    if (event->time_ns == 0)
        stored->time_ns = now_ns;
    stored->from = ++model->place;
    return FATE_STORED;
}

struct model_event *
model_current(const struct model *model, const struct model_event *named, const int64_t *time_ns)
{
    struct model_event *current = NULL;
    if (named->id[0] == '\0')
        return NULL;
    for (uint32_t i = 0; i < model->count; i++) {
        struct model_event *event = &model->events[i];
        if (same_identity(event, named) && (time_ns == NULL || event->time_ns == *time_ns))
            current = event;
    }
    return current;
}

enum status
model_correct(
    struct model *model,
    const struct model_event *named,
    const int128 *value,
    const struct model_event *properties)
{
    struct model_event *current = model_current(model, named, NULL);
    if (current == NULL)
        return STATUS_NOT_FOUND;
    if (current->until > 0)
        return STATUS_EXISTS;
    current->until = ++model->place;
    if (value == NULL && properties == NULL)
        return STATUS_OK;
    struct model_event amended = *current;
    amended.from = model->place;
    amended.until = 0;
    amended.is_amend = true;
    if (value != NULL)
        amended.value = *value;
    if (properties != NULL) {
        amended.properties_count = properties->properties_count;
        memcpy(amended.properties, properties->properties, sizeof amended.properties);
    }
    (void)model_add(model, &amended);
    return STATUS_OK;
}

uint32_t
model_cut(struct model *model, int64_t time_ns)
{
    must(model->cuts_count < MODEL_CUTS_MAX);
    model->cuts[model->cuts_count] =
        (struct model_cut){.time_ns = time_ns, .place = ++model->place};
    return ++model->cuts_count;
}

// The event counts no more, and what it was before its amends is as free as it is.
static void
event_revert(struct model *model, struct model_event *event)
{
    event->until = model->place;
    event->is_free = true;
    for (uint32_t i = 0; i < model->count; i++) {
        if (same_identity(&model->events[i], event))
            model->events[i].is_free = true;
    }
}

static uint64_t
backfill_revert(struct model *model, const char *id)
{
    uint64_t count = 0;
    model->place++;
    for (uint32_t i = 0; i < model->count; i++) {
        struct model_event *event = &model->events[i];
        if (strcmp(event->batch, id) != 0 || event->until > 0)
            continue;
        event_revert(model, event);
        count++;
    }
    return count;
}

enum status
model_backfill(struct model *model, enum backfill_act act, const char *id, uint64_t *out_count)
{
    struct model_backfill *backfill = backfill_of(model, id);
    *out_count = 0;
    if (act == BACKFILL_OPEN && backfill == NULL) {
        must(model->backfills_count < MODEL_BACKFILLS);
        model->backfills[model->backfills_count++] =
            (struct model_backfill){.id = id, .is_open = true};
        return STATUS_OK;
    }
    if (backfill == NULL)
        return STATUS_NOT_FOUND;
    bool is_done = act == BACKFILL_REVERT ? backfill->is_reverted : !backfill->is_open;
    if (act == BACKFILL_OPEN || is_done)
        return STATUS_EXISTS;
    backfill->is_open = false;
    backfill->is_reverted = act == BACKFILL_REVERT;
    if (backfill->is_reverted)
        *out_count = backfill_revert(model, id);
    return STATUS_OK;
}
