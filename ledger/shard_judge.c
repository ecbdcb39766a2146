// Who of a group is new: what each event's identity, the clock and its batch say of it.
#include "base/assert.h"
#include "base/prefetch.h"
#include "ledger/shard.h"

enum {
    JUDGE_AHEAD = 16,        // identities prefetched before they are looked up
    JUDGE_ITEMS_AHEAD = 64,  // items: they were written on another core
};

// Reading the identity to prefetch must not be what waits.
static void
judge_prefetch(const struct shard *shard, const struct group *group, uint32_t at)
{
    if (at + JUDGE_ITEMS_AHEAD < group->count)
        prefetch(&group->items[at + JUDGE_ITEMS_AHEAD]);
    if (at + JUDGE_AHEAD < group->count)
        dedup_prefetch(shard->dedup, group->items[at + JUDGE_AHEAD].identity);
}

static enum fate
judge_time(const struct group_item *item, const struct clock_policy *policy, int64_t now_ns)
{
    if ((item->flags & ENTRY_TIME_IS_ARRIVAL) != 0)
        return FATE_STORED;
    if (item->time_ns < now_ns - policy->past_max_ns)
        return FATE_TOO_OLD;
    if (item->time_ns > now_ns + policy->future_max_ns)
        return FATE_TOO_FAR_AHEAD;
    return FATE_STORED;
}

// A batch that is not open takes nothing; the clock does not matter to one that is.
static enum fate
judge_batch(struct shard *shard, const struct group *group, const struct group_item *item)
{
    struct cursor in = cursor_over(bytes_of(group->bytes + item->offset, item->size));
    struct entry entry;
    bool is_sound = entry_read(&in, &entry);
    must(is_sound);
    const struct batch *batch = batches_find(&shard->batches, entry.batch);
    return batch != NULL && batch->state == BATCH_OPEN ? FATE_STORED : FATE_BATCH_NOT_OPEN;
}

// Clock and batch say what becomes of an event that is new; a known identity is a duplicate, never
// a reject. A rejected one is not remembered. False: the lookup failed.
static bool
judge_item(
    struct shard *shard,
    const struct group *group,
    const struct group_item *item,
    const struct clock_policy *policy,
    int64_t now_ns,
    enum fate *out_fate)
{
    bool is_backfill = (item->flags & ENTRY_IS_BACKFILL) != 0;
    *out_fate = is_backfill ? judge_batch(shard, group, item) : judge_time(item, policy, now_ns);
    if (!item->has_identity)
        return true;
    bool is_welcome = *out_fate == FATE_STORED;
    enum dedup_result known = dedup_take(shard->dedup, item->identity, item->payload, is_welcome);
    if (known != DEDUP_NEW)
        *out_fate = known == DEDUP_SAME ? FATE_DUPLICATE : FATE_CONFLICT;
    return known != DEDUP_FAILED;
}

static void
judge_count(struct shard *shard, const int64_t counts[FATE_COUNT])
{
    metric_add(&shard->metrics[SHARD_DUPLICATE], counts[FATE_DUPLICATE]);
    metric_add(&shard->metrics[SHARD_CONFLICT], counts[FATE_CONFLICT]);
    metric_add(&shard->metrics[SHARD_TOO_OLD], counts[FATE_TOO_OLD]);
    metric_add(&shard->metrics[SHARD_TOO_FAR_AHEAD], counts[FATE_TOO_FAR_AHEAD]);
    metric_add(&shard->metrics[SHARD_BATCH_NOT_OPEN], counts[FATE_BATCH_NOT_OPEN]);
    metric_add(&shard->metrics[SHARD_GROUPS], 1);
}

// Backfilled events that dedup does not know, when it has forgotten some: the log knows. Marks
// their fates; the others are FATE_STORED so far.
static enum status
judge_old(struct shard *shard, struct group *group, struct error *error)
{
    buffer_reset(&shard->old);
    memset(group->fates, FATE_STORED, group->count);
    for (uint32_t i = 0; i < group->count; i++) {
        const struct group_item *item = &group->items[i];
        if ((item->flags & ENTRY_IS_BACKFILL) == 0 || !item->has_identity ||
            dedup_find(shard->dedup, item->identity, item->payload) != DEDUP_NEW)
            continue;
        // Nobody knows any more whether it was there.
        if (shard->kept.first > 1 && item->time_ns <= shard->kept.until_ns) {
            group->fates[i] = FATE_TOO_OLD;
            continue;
        }
        const struct past_event event = {
            .identity = item->identity,
            .time_ns = item->time_ns,
            .payload = item->payload,
            .index = i,
        };
        buffer_put(&shard->old, &event, sizeof event);
    }
    if (buffer_failed(&shard->old))
        return error_set(error, STATUS_NO_MEMORY, "no memory to judge backfilled events");
    struct past_question question = {
        .log = shard->log,
        .first = shard->kept.first,
        .head = shard->head,
        .expired = dedup_expired(shard->dedup),
        .secret = shard->secret,
        .events = (void *)shard->old.data,
        .count = shard->old.size / sizeof(struct past_event),
    };
    if (question.count == 0)
        return STATUS_OK;
    enum status status = past_check(&shard->past, &question, error);
    for (size_t i = 0; i < question.count && !status; i++) {
        const struct past_event *event = &question.events[i];
        if (event->is_known)
            group->fates[event->index] = event->is_same ? FATE_DUPLICATE : FATE_CONFLICT;
    }
    return status;
}

enum status
shard_judge(
    struct shard *shard,
    struct group *group,
    const struct clock_policy *policy,
    int64_t now_ns,
    struct survivors *out,
    struct error *error)
{
    int64_t counts[FATE_COUNT] = {0};
    struct survivors survivors = {0};
    bool has_old = dedup_expired(shard->dedup) > 0;
    enum status status = has_old ? judge_old(shard, group, error) : STATUS_OK;
    bool is_sound = true;
    for (uint32_t i = 0; i < group->count && !status && is_sound; i++) {
        const struct group_item *item = &group->items[i];
        enum fate fate = has_old ? group->fates[i] : FATE_STORED;
        judge_prefetch(shard, group, i);
        if (fate == FATE_STORED)
            is_sound = judge_item(shard, group, item, policy, now_ns, &fate);
        group->fates[i] = (uint8_t)fate;
        counts[fate]++;
        survivors.count += fate == FATE_STORED;
    }
    dedup_rest(shard->dedup);
    judge_count(shard, counts);
    if (!status && !is_sound) {
        const struct error *cause = dedup_error(shard->dedup);
        status = error_set(error, cause->status, "%s", cause->text);
    }
    *out = survivors;
    return status;
}
