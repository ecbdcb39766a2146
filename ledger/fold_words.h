#pragma once
// What the words of a chapter mean to the fold: where a subject is in the cells, and what a map is
// worth to the meters of a type. So an event whose subject and map are words is folded without a
// look at its bytes.
//
//     fold_words_begin(words, &state);                 // forgets all that is not of this state
//     known = fold_words_subject(words, number);       // NULL: fold_words_keep(words, ...)
//     map = fold_words_map(words, number, first);      // NULL: fold_words_learn(words, ...)
//     if (fold_map_has(map, rule)) value = fold_map_value(map, rule, &own);
//
// Numbers are those of struct block_trace, and TRACE_NONE is nobody's. Both are tables by number:
// 6 MiB a shard, touched as far as words are used.
// Owner: the shard. Thread: its writer.

#include "base/prefetch.h"
#include "ledger/block_writer.h"
#include "ledger/cells.h"

enum { FOLD_MAP_VALUES = 3 };

// A cache line. What the first rules of a type see in a map, as meter_rule_value says it.
struct fold_map {
    struct decimal values[FOLD_MAP_VALUES];  // by rule->place
    const struct meter_rule *first;          // of the type; NULL: nothing is known
    uint8_t usable;                          // a bit for each
    uint8_t own;                             // likewise: the event's own value, not the map's
};

// Half a cache line. The cells too that were added to last, so that most events are added without a
// look at their subject's node, which is two lines more.
struct fold_subject {
    struct cells_subject *node;  // NULL: nothing is known
    // By rule->place, of any type's rule and any window: cells know theirs. NULL: nothing is known.
    struct cell *newest[FOLD_MAP_VALUES];
};

// What all of it is true for.
struct fold_state {
    uint64_t chapter;
    const struct cells *cells;
    uint64_t cells_age;
    uint64_t meters;  // their generation
};

struct fold_words {
    struct fold_subject *subjects;
    struct fold_map *maps;
    uint32_t used;               // no number from here on is known
    struct fold_subject nobody;  // what was kept for TRACE_NONE
    struct fold_state state;
};

// STATUS_NO_MEMORY.
enum status fold_words_open(struct fold_words *words, struct error *error) CHECKED;
void fold_words_done(struct fold_words *words);
void fold_words_begin(struct fold_words *words, const struct fold_state *state);

static inline struct fold_subject *
fold_words_subject(const struct fold_words *words, uint32_t number)
{
    const bool is_known = number < words->used && words->subjects[number].node != NULL;
    return is_known ? &words->subjects[number] : NULL;
}

static inline void
fold_words_prefetch_map(const struct fold_words *words, uint32_t number)
{
    if (number < words->used)
        prefetch(&words->maps[number]);
}

static inline const struct fold_map *
fold_words_map(const struct fold_words *words, uint32_t number, const struct meter_rule *first)
{
    const bool is_known = number < words->used && words->maps[number].first == first;
    return is_known ? &words->maps[number] : NULL;
}

// What is kept; of TRACE_NONE, until the next call.
struct fold_subject *
fold_words_keep(struct fold_words *words, uint32_t number, struct cells_subject *node);
// entry: one with that map. number is not TRACE_NONE.
const struct fold_map *fold_words_learn(
    struct fold_words *words,
    uint32_t number,
    const struct meter_rule *first,
    const struct entry *entry);

static inline bool
fold_map_has(const struct fold_map *map, const struct meter_rule *rule)
{
    return map != NULL && rule->place < FOLD_MAP_VALUES;
}

// What meter_rule_value says of an event with this map and with this value of its own. NULL: false.
static inline const struct decimal *
fold_map_value(const struct fold_map *map, const struct meter_rule *rule, const struct decimal *own)
{
    if ((map->usable >> rule->place & 1) == 0)
        return NULL;
    return (map->own >> rule->place & 1) != 0 ? own : &map->values[rule->place];
}
