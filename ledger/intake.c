#include "ledger/intake.h"

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/entry.h"

static enum status
intake_init(struct intake *intake, struct ledger *ledger, struct error *error)
{
    intake->ledger = ledger;
    intake->lanes = pool_take(ledger->conf.shards, sizeof *intake->lanes);
    if (intake->lanes == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for an intake");
    enum status status = waker_init(&intake->waker, error);
    for (uint32_t i = 0; status == STATUS_OK && i < ledger->conf.shards; i++) {
        struct lane *lane = &intake->lanes[i];
        lane->front = &intake->waker;
        lane->writer = &ledger->writers[i].waker;
        status = lane_init(
            lane,
            (uint32_t)ledger->options.group_size_bytes,
            ledger->options.group_events_max,
            error);
    }
    return status;
}

void
intake_free(struct intake *intake)
{
    must(!intake->is_open);
    for (uint32_t i = 0; intake->lanes != NULL && i < intake->ledger->conf.shards; i++)
        lane_done(&intake->lanes[i]);
    pool_give(intake->lanes);
    waker_done(&intake->waker);
    pool_give(intake);
}

static enum status
intake_add(struct ledger *ledger, struct intake **out, struct error *error)
{
    if (ledger->intakes_count == INTAKES_MAX) {
        return error_set(error, STATUS_FULL, "at most %d intakes may be open at once", INTAKES_MAX);
    }
    struct intake *intake = pool_take(1, sizeof *intake);
    if (intake == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for an intake");
    enum status status = intake_init(intake, ledger, error);
    if (status) {
        intake_free(intake);
        return status;
    }
    uint32_t index = ledger->intakes_count++;
    ledger->intakes[index] = intake;
    for (uint32_t i = 0; i < ledger->conf.shards; i++) {
        ledger->writers[i].lanes[index] = &intake->lanes[i];
        published_set(&ledger->writers[i].lanes_count, index + 1);
    }
    *out = intake;
    return STATUS_OK;
}

// One that was closed, or a new one.
static enum status
intake_claim(struct ledger *ledger, struct intake **out, struct error *error)
{
    for (uint32_t i = 0; i < ledger->intakes_count; i++) {
        if (!ledger->intakes[i]->is_open) {
            *out = ledger->intakes[i];
            return STATUS_OK;
        }
    }
    return intake_add(ledger, out, error);
}

enum status
intake_open(
    struct ledger *ledger,
    fates_fn on_fates,
    void *context,
    struct intake **out,
    struct error *error)
{
    must(on_fates != NULL);
    struct intake *intake = NULL;
    must(pthread_mutex_lock(&ledger->lock) == 0);
    enum status status = intake_claim(ledger, &intake, error);
    if (intake != NULL) {
        intake->is_open = true;
        intake->owner = ++ledger->owners;
        intake->on_fates = on_fates;
        intake->context = context;
        intake->pending = 0;
        intake->has_arrival = false;
        *out = intake;
    }
    must(pthread_mutex_unlock(&ledger->lock) == 0);
    return status;
}

void
intake_close(struct intake *intake)
{
    if (intake == NULL)
        return;
    struct ledger *ledger = intake->ledger;
    must(intake->is_open);
    for (uint32_t i = 0; i < ledger->conf.shards; i++)
        (void)lane_drop_open(&intake->lanes[i]);
    must(pthread_mutex_lock(&ledger->lock) == 0);
    intake->is_open = false;
    must(pthread_mutex_unlock(&ledger->lock) == 0);
}

// hash % shards; where they are a power of two, which is usual, without a division.
static inline uint32_t
shard_of(uint64_t hash, uint32_t shards)
{
    bool is_power = (shards & (shards - 1)) == 0;
    return (uint32_t)(is_power ? hash & (shards - 1) : hash % shards);
}

bool
intake_put(struct intake *intake, const struct event *event, struct receipt receipt)
{
    const struct ledger *ledger = intake->ledger;
    if (!intake->has_arrival) {
        intake->arrival_ns = ledger->options.now_ns();
        intake->has_arrival = true;
    }
    uint64_t hash = hash64(event->subject, 0);
    struct lane *lane = &intake->lanes[shard_of(hash, ledger->conf.shards)];
    struct group *group = lane_group(lane, intake->owner);
    if (group == NULL ||
        !group_put(group, event, hash, intake->arrival_ns, receipt, &ledger->conf.secret))
        return false;
    intake->pending++;
    return true;
}

void
intake_offer(struct intake *intake)
{
    for (uint32_t i = 0; i < intake->ledger->conf.shards; i++)
        lane_offer(&intake->lanes[i]);
    intake->has_arrival = false;
}

static void
intake_deliver(struct intake *intake, struct group *group)
{
    // Another opening's fates are nobody's; those of a lost group are never delivered.
    if (group->owner == intake->owner && !group->is_lost) {
        must(intake->pending >= group->count);
        intake->pending -= group->count;
        intake->delivering = group;
        intake->on_fates(intake->context, group->receipts, group->fates, group->count);
        intake->delivering = NULL;
    }
    lane_give_back(group);
}

void
intake_recall(const struct intake *intake, size_t position, struct event_name *out)
{
    const struct group *group = intake->delivering;
    must(group != NULL && position < group->count);
    const struct group_item *item = &group->items[position];
    struct cursor in = cursor_over(bytes_of(group->bytes + item->offset, item->size));
    struct entry entry;
    bool is_sound = entry_read(&in, &entry);
    must(is_sound);
    bool has_id = (entry.flags & ENTRY_ID_IS_CHUNK) == 0;
    *out = (struct event_name){
        .subject = entry.subject,
        .type = entry.type,
        .id = has_id ? entry.id : bytes_of(NULL, 0),
    };
}

void
intake_collect(struct intake *intake)
{
    if (intake->is_armed) {
        waker_cancel(&intake->waker);
        waker_drain(&intake->waker);
        intake->is_armed = false;
    }
    for (uint32_t i = 0; i < intake->ledger->conf.shards; i++) {
        struct group *group;
        while ((group = lane_collect(&intake->lanes[i])) != NULL)
            intake_deliver(intake, group);
    }
}

int
intake_fd(const struct intake *intake)
{
    return intake->waker.fd;
}

bool
intake_prepare_sleep(struct intake *intake)
{
    intake->is_armed = true;
    waker_prepare(&intake->waker);
    for (uint32_t i = 0; i < intake->ledger->conf.shards; i++) {
        if (!ring_is_empty(&intake->lanes[i].done))
            return false;
    }
    return true;
}

uint64_t
intake_pending(const struct intake *intake)
{
    return intake->pending;
}
