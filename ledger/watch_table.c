// Which totals of thresholds there are, by hash, and the lists of those that wait for cells.
#include "base/assert.h"
#include "base/clock.h"
#include "ledger/watch_parts.h"

enum {
    WATCH_CAPACITY_FIRST = 1 << 10,
    WATCH_ARENA_MAX = 256 << 20,
};

void
watch_done(struct watch *watch)
{
    arena_done(&watch->arena);
    arena_done(&watch->batches[0].arena);
    arena_done(&watch->batches[1].arena);
}

static struct hash128
entry_hash(const struct watched *watched, struct bytes subject, int64_t from_s)
{
    uint64_t seed = (uint64_t)from_s * 0x9e3779b97f4a7c15U ^ watched->threshold->id;
    return hash128(subject, seed);
}

static bool
entry_is(const struct watch_entry *entry, const struct watch_entry *key)
{
    return entry->hash.low == key->hash.low && entry->hash.high == key->hash.high &&
           entry->watched == key->watched && entry->from_s == key->from_s &&
           bytes_equal(entry->subject, key->subject);
}

static uint32_t
place_of(const struct watch *watch, const struct watch_entry *key)
{
    uint32_t at = (uint32_t)key->hash.low & (watch->capacity - 1);
    while (watch->places[at] != NULL && !entry_is(watch->places[at], key))
        at = (at + 1) & (watch->capacity - 1);
    return at;
}

static void
places_make(struct watch *watch, uint32_t capacity)
{
    watch->capacity = capacity;
    watch->places = arena_array(&watch->arena, capacity, struct watch_entry *);
}

static void
watch_grow(struct watch *watch)
{
    struct watch_entry **old = watch->places;
    uint32_t old_capacity = watch->capacity;
    places_make(watch, old_capacity == 0 ? WATCH_CAPACITY_FIRST : old_capacity * 2);
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i] != NULL)
            watch->places[place_of(watch, old[i])] = old[i];
    }
}

void
watch_queue(struct watch *watch, struct watch_entry *entry)
{
    entry->is_based = false;
    if (entry->is_queued)
        return;
    entry->is_queued = true;
    entry->next_unbased = NULL;
    if (watch->unbased_last != NULL)
        watch->unbased_last->next_unbased = entry;
    else
        watch->unbased_first = entry;
    watch->unbased_last = entry;
    watch->unbased_count++;
}

struct watch_entry *
watch_unqueue(struct watch *watch)
{
    struct watch_entry *entry = watch->unbased_first;
    must(entry != NULL);
    entry->is_queued = false;
    watch->unbased_count--;
    watch->unbased_first = entry->next_unbased;
    if (watch->unbased_first == NULL)
        watch->unbased_last = NULL;
    return entry;
}

static void
queue_clear(struct watch *watch)
{
    watch->unbased_first = NULL;
    watch->unbased_last = NULL;
    watch->unbased_count = 0;
}

// The entries that are in the places, into the queue in their order.
static void
queue_keep(struct watch *watch, struct watch_entry *first)
{
    queue_clear(watch);
    for (struct watch_entry *entry = first; entry != NULL;) {
        struct watch_entry *next = entry->next_unbased;
        entry->is_queued = false;
        if (entry->watched != NULL)
            watch_queue(watch, entry);
        entry = next;
    }
}

void
watch_list_partial(struct watch *watch, struct watch_entry *entry)
{
    if (entry->is_listed)
        return;
    entry->is_listed = true;
    entry->next_partial = watch->partial_first;
    watch->partial_first = entry;
}

// None is listed any more. Returns the first of those that were.
static struct watch_entry *
partials_take(struct watch *watch)
{
    struct watch_entry *first = watch->partial_first;
    for (struct watch_entry *entry = first; entry != NULL; entry = entry->next_partial)
        entry->is_listed = false;
    watch->partial_first = NULL;
    return first;
}

// Those that are in the places.
static void
partials_keep(struct watch *watch)
{
    for (struct watch_entry *entry = partials_take(watch); entry != NULL;) {
        struct watch_entry *next = entry->next_partial;
        if (entry->watched != NULL)
            watch_list_partial(watch, entry);
        entry = next;
    }
}

void
watch_adopt(struct watch *watch, const struct watched_set *set)
{
    struct watch_entry **old = watch->places;
    uint32_t old_capacity = watch->capacity;
    watch->count = 0;
    if (old_capacity > 0)
        places_make(watch, old_capacity);
    for (uint32_t i = 0; i < old_capacity; i++) {
        struct watch_entry *entry = old[i];
        if (entry == NULL)
            continue;
        const struct watched *was = entry->watched;
        entry->watched = watched_by_id(set, was->threshold->id);
        if (entry->watched != NULL && entry->watched->meter->id != was->meter->id)
            entry->watched = NULL;
        if (entry->watched == NULL)
            continue;
        watch->places[place_of(watch, entry)] = entry;
        watch->count++;
    }
    queue_keep(watch, watch->unbased_first);
    partials_keep(watch);
    watch->set = set;
}

struct watch_entry *
watch_find(
    const struct watch *watch, const struct watched *watched, struct bytes subject, int64_t from_s)
{
    const struct watch_entry key = {
        .hash = entry_hash(watched, subject, from_s),
        .watched = watched,
        .subject = subject,
        .from_s = from_s,
    };
    return watch->capacity > 0 ? watch->places[place_of(watch, &key)] : NULL;
}

struct watch_entry *
watch_keep(struct watch *watch, const struct watched *watched, struct bytes subject, int64_t time_s)
{
    struct watch_entry key = {.watched = watched, .subject = subject};
    threshold_period_of(watched->threshold->period, time_s, &key.from_s, &key.to_s);
    if (key.to_s <= watched->threshold->created_ns / SECOND_NS)
        return NULL;
    key.hash = entry_hash(watched, subject, key.from_s);
    if (watch->count * 2 >= watch->capacity)
        watch_grow(watch);
    uint32_t at = place_of(watch, &key);
    if (watch->places[at] != NULL)
        return watch->places[at];
    struct watch_entry *entry = arena_new(&watch->arena, struct watch_entry);
    *entry = key;
    entry->subject = arena_bytes(&watch->arena, subject);
    watch->places[at] = entry;
    watch->count++;
    watch_queue(watch, entry);
    return entry;
}

// Whether it is durable that it fired.
static bool
entry_is_marked(const struct watch *watch, const struct watch_entry *entry)
{
    uint64_t marked = watch->batch_number - (watch->is_lent ? 1 : 0);
    return entry->has_fired && entry->fired_in < marked;
}

void
watch_trim(struct watch *watch)
{
    if (watch->arena.total_bytes < (watch->arena_max > 0 ? watch->arena_max : WATCH_ARENA_MAX))
        return;
    struct arena old_arena = watch->arena;
    struct watch_entry **old = watch->places;
    uint32_t old_capacity = watch->capacity;
    watch->arena = (struct arena){0};
    watch->count = 0;
    watch->partial_first = NULL;
    queue_clear(watch);
    places_make(watch, WATCH_CAPACITY_FIRST);
    for (uint32_t i = 0; i < old_capacity; i++) {
        const struct watch_entry *from = old[i];
        bool stays = from != NULL && (from->is_queued || from->is_partial ||
                                      (from->has_fired && !entry_is_marked(watch, from)));
        if (!stays)
            continue;
        struct watch_entry *entry = watch_keep(watch, from->watched, from->subject, from->from_s);
        must(entry != NULL);
        entry->block = from->block;
        entry->time_ns = from->time_ns;
        entry->is_reached = from->is_reached;
        entry->has_fired = from->has_fired;
        entry->fired_in = from->fired_in;
    }
    arena_done(&old_arena);
    // What has to stay may be much: it is not copied again and again.
    watch->arena_max = watch->arena.total_bytes * 2;
    if (watch->arena_max < WATCH_ARENA_MAX)
        watch->arena_max = WATCH_ARENA_MAX;
}

void
watch_renew(struct watch *watch)
{
    struct watch_entry *entry = partials_take(watch);
    for (; entry != NULL; entry = entry->next_partial) {
        if (entry->is_partial)
            watch_queue(watch, entry);
    }
}
