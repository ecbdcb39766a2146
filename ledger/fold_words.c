#include "ledger/fold_words.h"

#include "base/assert.h"
#include "ledger/cells_parts.h"
#include "ledger/pages.h"

_Static_assert(sizeof(struct fold_map) == 64, "a cache line");
_Static_assert(sizeof(struct fold_subject) == 32, "two to a cache line");

static const size_t SUBJECTS_SIZE = (WORDS_MAX + 1) * sizeof(struct fold_subject);
static const size_t MAPS_SIZE = (WORDS_MAX + 1) * sizeof(struct fold_map);

enum status
fold_words_open(struct fold_words *words, struct error *error)
{
    *words = (struct fold_words){
        .subjects = pages_take(SUBJECTS_SIZE),
        .maps = pages_take(MAPS_SIZE),
    };
    if (words->subjects != NULL && words->maps != NULL)
        return STATUS_OK;
    fold_words_done(words);
    return error_set(error, STATUS_NO_MEMORY, "no memory for what words mean to meters");
}

void
fold_words_done(struct fold_words *words)
{
    pages_give(words->subjects, SUBJECTS_SIZE);
    pages_give(words->maps, MAPS_SIZE);
    *words = (struct fold_words){0};
}

void
fold_words_begin(struct fold_words *words, const struct fold_state *state)
{
    const struct fold_state *old = &words->state;
    if (old->chapter == state->chapter && old->cells == state->cells &&
        old->cells_age == state->cells_age && old->meters == state->meters)
        return;
    memset(words->subjects, 0, words->used * sizeof words->subjects[0]);
    for (uint32_t i = 0; i < words->used; i++)
        words->maps[i].first = NULL;
    words->used = 0;
    words->state = *state;
}

static void
words_use(struct fold_words *words, uint32_t number)
{
    must(number <= WORDS_MAX);
    if (number >= words->used)
        words->used = number + 1;
}

struct fold_subject *
fold_words_keep(struct fold_words *words, uint32_t number, struct cells_subject *node)
{
    struct fold_subject *subject = &words->nobody;
    if (number != TRACE_NONE) {
        words_use(words, number);
        subject = &words->subjects[number];
    }
    subject->node = node;
    for (uint32_t place = 0; place < FOLD_MAP_VALUES; place++)
        subject->newest[place] = cells_newest(node, place);
    return subject;
}

const struct fold_map *
fold_words_learn(
    struct fold_words *words,
    uint32_t number,
    const struct meter_rule *first,
    const struct entry *entry)
{
    words_use(words, number);
    struct fold_map *map = &words->maps[number];
    *map = (struct fold_map){.first = first};
    for (const struct meter_rule *rule = first; rule != NULL; rule = rule->next_of_type) {
        if (rule->place >= FOLD_MAP_VALUES || !rule->is_plain)
            continue;
        const uint8_t bit = (uint8_t)(1U << rule->place);
        if (rule->meter->aggregation != AGGREGATION_COUNT && !rule->has_value_path)
            map->own |= bit;
        if (meter_rule_value(rule, entry, &map->values[rule->place]))
            map->usable |= bit;
    }
    return map;
}
