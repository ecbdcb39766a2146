#include "ledger/group.h"

#include "base/assert.h"
#include "ledger/cells.h"
#include "ledger/entry.h"
#include "ledger/pages.h"
#include "ledger/uuid.h"

enum { DONE_CAPACITY = 8 };

_Static_assert(
    sizeof(struct group_item) == 40 && sizeof(struct block_hint) == 32,
    "the sum in group.h counts with them");
_Static_assert(sizeof(struct group) % RING_CACHE_LINE == 0, "no line is of two groups");
_Static_assert(
    DONE_CAPACITY >= (int)LANE_GROUPS, "every group of a lane has room among the answered");

// One stretch of memory for all four arrays, the most demanding type first.
static size_t
group_memory(const struct group *group)
{
    return (size_t)group->count_max * (sizeof *group->items + sizeof *group->hints +
                                       sizeof *group->receipts + sizeof *group->fates) +
           group->size_max;
}

static bool
group_init(struct group *group, uint32_t size_max, uint32_t count_max)
{
    group->size_max = size_max;
    group->count_max = count_max;
    uint8_t *memory = pages_take(group_memory(group));
    if (memory == NULL)
        return false;
    group->items = (void *)memory;
    memory += (size_t)count_max * sizeof *group->items;
    group->hints = (void *)memory;
    memory += (size_t)count_max * sizeof *group->hints;
    group->receipts = (void *)memory;
    memory += (size_t)count_max * sizeof *group->receipts;
    group->fates = memory;
    group->bytes = memory + count_max;
    flag_set(&group->is_free, 1);
    return true;
}

enum status
lane_init(struct lane *lane, uint32_t size_max, uint32_t count_max, struct error *error)
{
    must(size_max >= EVENT_SIZE_MAX + ENTRY_HEADER_SIZE + EVENT_CHUNK_MAX);
    must(count_max > 0);
    enum status status = ring_init(&lane->done, DONE_CAPACITY);
    lane->memo = payload_memo_open();
    lane->maps = block_maps_open();
    if (lane->memo == NULL || lane->maps == NULL)
        status = STATUS_NO_MEMORY;
    for (size_t i = 0; status == STATUS_OK && i < LANE_GROUPS; i++) {
        if (!group_init(&lane->groups[i], size_max, count_max))
            status = STATUS_NO_MEMORY;
        lane->groups[i].memo = lane->memo;
        lane->groups[i].maps = lane->maps;
    }
    if (status)
        return error_set(error, status, "no memory for an intake's groups");
    return STATUS_OK;
}

void
lane_done(struct lane *lane)
{
    for (size_t i = 0; i < LANE_GROUPS; i++) {
        struct group *group = &lane->groups[i];
        pages_give(group->items, group_memory(group));
        group->items = NULL;
    }
    payload_memo_close(lane->memo);
    block_maps_close(lane->maps);
    lane->memo = NULL;
    lane->maps = NULL;
    ring_done(&lane->done);
}

static struct group *
lane_free_group(struct lane *lane, uint64_t owner)
{
    for (size_t i = 0; i < LANE_GROUPS; i++) {
        struct group *group = &lane->groups[i];
        if (group->is_away || !flag_get(&group->is_free))
            continue;
        group->size = 0;
        group->count = 0;
        group->identity_size = 0;
        group->owner = owner;
        group->is_lost = false;
        return group;
    }
    return NULL;
}

// What was offered is taken back if the writer has not begun with it; else there is a new one.
struct group *
lane_group(struct lane *lane, uint64_t owner)
{
    if (lane->is_offered) {
        struct group *group = slot_take_back(&lane->offered);
        if (group != NULL && group->owner != owner) {
            // Left by an intake that was closed: the writer will have it, nobody adds to it.
            // It may just have looked, and found nothing.
            slot_offer(&lane->offered, group);
            waker_wake(lane->writer);
            return NULL;
        }
        lane->is_offered = false;
        lane->open = group;
        if (group != NULL) {
            group->is_away = false;
            flag_set(&group->is_free, 1);
        }
    }
    if (lane->open == NULL)
        lane->open = lane_free_group(lane, owner);
    return lane->open;
}

static bool
entry_reads_as(
    struct bytes raw,
    const struct event *event,
    const struct entry_written *written,
    const struct entry_payload *payload)
{
    struct cursor in = cursor_over(raw);
    struct entry read;
    bool is_chunk = (written->flags & ENTRY_ID_IS_CHUNK) != 0;
    return entry_read(&in, &read) && cursor_left(&in) == 0 && read.flags == written->flags &&
           read.chunk_position == (is_chunk ? event->chunk_position : 0) &&
           read.time_ns == written->time_ns && read.value.units == payload->value.units &&
           read.properties_count == payload->properties_count &&
           bytes_equal(read.subject, event->subject) && bytes_equal(read.type, payload->type) &&
           bytes_equal(read.id, is_chunk ? event->chunk : event->id) &&
           bytes_equal(read.source, event->source) && bytes_equal(read.batch, event->batch) &&
           bytes_equal(read.properties, payload->properties);
}

// Makes the hash of the last item's identity. Its fields are put together from small pieces and
// hashed in large ones, which waits until all pieces have left the processor; when the next event
// comes they have.
static void
identity_finish(struct group *group)
{
    if (group->identity_size == 0)
        return;
    must(group->count > 0);
    struct group_item *item = &group->items[group->count - 1];
    const uint8_t *fields = group->bytes + item->offset + ENTRY_IDENTITY_OFFSET;
    struct hash128 identity = identity_hash(bytes_of(fields, group->identity_size), group->secret);
    // Both words stay in registers: left alone gcc stores them one by one and loads them as a pair,
    // which waits for both stores.
    __asm__("" : "+r"(identity.low), "+r"(identity.high));
    item->identity = identity;
    group->identity_size = 0;
}

static struct memo_slot *
map_place(const struct group *group, struct bytes properties, const struct event *event)
{
    return payload_memo_place(group->memo, properties, event->properties_count);
}

static struct memo_map
map_know(
    const struct group *group,
    struct memo_slot *place,
    const struct entry_payload *payload,
    bool needs_hash,
    const struct hash_secret *secret)
{
    const struct bytes properties = payload->properties;
    const uint32_t count = payload->properties_count;
    struct memo_map map = {0};
    if (place != NULL && payload_memo_find(group->memo, place, properties, count, &map))
        return map;
    if (place == NULL && !needs_hash)
        return map;
    map.hash = properties_hash(properties, count, secret);
    if (place != NULL)
        map.number = payload_memo_keep(group->memo, place, properties, count, map.hash);
    return map;
}

// Written and never read: the group's memory was the writer's last, and is in no near cache. (The
// load that it takes to set a bit of it was a third of all of group_put.)
static inline void
hint_write(struct block_hint *hint, struct bytes id, uint64_t subject_hash, uint64_t map)
{
    const bool is_uuid = uuid_parse(id, hint->uuid);
    hint->subject_hash = subject_hash;
    hint->map = map << 1 | is_uuid;
}

bool
group_put(
    struct group *group,
    const struct event *event,
    uint64_t subject_hash,
    int64_t arrival_ns,
    struct receipt receipt,
    const struct hash_secret *secret)
{
    size_t size = entry_size(event);
    if (group->count == group->count_max || size > group->size_max - group->size)
        return false;
    // The place is asked for ahead of its use, unless the properties are still in pieces.
    const bool is_one = event->properties_runs == 1;
    struct memo_slot *place = is_one ? map_place(group, event->properties[0], event) : NULL;
    identity_finish(group);
    uint8_t *at = group->bytes + group->size;
    // What is hashed is what a recovery will read from the log.
    struct entry_payload payload;
    const struct entry_written written = entry_write_event(event, arrival_ns, size, at, &payload);
    assert_slow(entry_reads_as(bytes_of(at, size), event, &written, &payload));
    (void)entry_reads_as;
    struct group_item *item = &group->items[group->count];
    item->has_identity = written.identity_size > 0;
    if (!is_one)
        place = map_place(group, payload.properties, event);
    const struct memo_map map = map_know(group, place, &payload, item->has_identity, secret);
    hint_write(&group->hints[group->count], event->id, cells_hash_of(subject_hash), map.number);
    item->payload = item->has_identity ? payload_hash(&payload, map.hash, secret) : 0;
    item->time_ns = written.time_ns;
    item->offset = group->size;
    item->size = (uint32_t)size;
    item->flags = written.flags;
    item->is_folded = false;
    group->receipts[group->count] = receipt;
    group->identity_size = written.identity_size;
    group->secret = secret;
    group->count++;
    group->size += (uint32_t)size;
    return true;
}

void
lane_offer(struct lane *lane)
{
    if (lane->is_offered || lane->open == NULL || lane->open->count == 0)
        return;
    identity_finish(lane->open);
    lane->open->is_away = true;
    lane->is_offered = true;
    // The flag goes over with the group: it is the writer's until group_release.
    flag_set(&lane->open->is_free, 0);
    slot_offer(&lane->offered, lane->open);
    waker_wake(lane->writer);
}

struct group *
lane_collect(struct lane *lane)
{
    struct group *group = ring_pop(&lane->done);
    if (group != NULL && group == lane->open) {
        must(lane->is_offered);
        lane->open = NULL;
        lane->is_offered = false;
    }
    return group;
}

void
lane_give_back(struct group *group)
{
    must(group->is_away);
    group->is_away = false;
}

uint32_t
lane_drop_open(struct lane *lane)
{
    if (lane->is_offered || lane->open == NULL)
        return 0;
    uint32_t count = lane->open->count;
    lane->open = NULL;
    return count;
}

struct group *
lane_take(struct lane *lane)
{
    return slot_take(&lane->offered);
}

bool
lane_is_offered(const struct lane *lane)
{
    return slot_is_offered(&lane->offered);
}

void
lane_answer(struct lane *lane, struct group *group)
{
    bool has_room = ring_push(&lane->done, group);
    must(has_room);
    waker_wake(lane->front);
}

void
group_release(struct group *group)
{
    flag_set(&group->is_free, 1);
}
