#include "client/flights.h"

#include "base/assert.h"
#include "client/answer.h"

#include <stdio.h>

enum { REASON_TEXT_MAX = 127 };

void
flights_add(struct flights *flights, struct batch *batch, int64_t now_ns)
{
    must(flights->count < SETTINGS_FLIGHTS_MAX);
    flights->items[flights->count++] = (struct flight){batch, now_ns};
}

static int
flight_find(const struct flights *flights, struct bytes chunk)
{
    for (uint32_t i = 0; i < flights->count; i++) {
        const struct batch *batch = flights->items[i].batch;
        if (bytes_equal(chunk, bytes_of(batch->chunk, sizeof batch->chunk)))
            return (int)i;
    }
    return -1;
}

static void
flight_remove(struct flights *flights, uint32_t index)
{
    must(index < flights->count);
    flights->count--;
    memmove(
        &flights->items[index],
        &flights->items[index + 1],
        (flights->count - index) * sizeof flights->items[0]);
}

// False for an index that the batch does not have.
static bool
refusal_report(
    const struct tally *tally, const struct batch *batch, uint64_t index, const char *reason)
{
    if (index >= batch->events_count)
        return false;
    struct tally_refusal refusal = {
        .tag = backlog_tag(batch, (uint32_t)index),
        .is_leftover = batch->is_leftover,
        .is_conflict = reason == NULL,
        .reason = reason != NULL ? reason : "conflict",
    };
    if (tally->settings.on_refusal != NULL)
        tally->settings.on_refusal(tally->settings.context, &refusal);
    return true;
}

// How many of a batch the server says there were, listed or not; never more than the batch has.
static uint64_t
count_of(const struct batch *batch, uint64_t listed, uint64_t said)
{
    uint64_t count = said > listed ? said : listed;
    return count < batch->events_count ? count : batch->events_count;
}

// Tells the caller of every listed event that was not counted, and counts them all.
static void
refusals_report(
    const struct tally *tally,
    const struct batch *batch,
    struct answer *answer,
    struct tally_stats *counts)
{
    uint64_t index;
    struct bytes text;
    while (answer_next_rejected(answer, &index, &text)) {
        char reason[REASON_TEXT_MAX + 1];
        size_t size = text.size < REASON_TEXT_MAX ? text.size : REASON_TEXT_MAX;
        (void)snprintf(reason, sizeof reason, "%.*s", (int)size, (const char *)text.data);
        counts->events_rejected += refusal_report(tally, batch, index, reason);
    }
    while (answer_next_conflict(answer, &index))
        counts->events_conflict += refusal_report(tally, batch, index, NULL);
    counts->events_rejected = count_of(batch, counts->events_rejected, answer->rejected_count);
    counts->events_conflict = count_of(batch, counts->events_conflict, answer->conflicts_count);
    counts->events_duplicate = count_of(batch, 0, answer->duplicates);
}

static void
batch_settle(struct flights *flights, struct tally *tally, uint32_t index, struct answer *answer)
{
    struct batch *batch = flights->items[index].batch;
    struct tally_stats counts = {0};
    struct error error;
    enum status removed = STATUS_OK;
    refusals_report(tally, batch, answer, &counts);
    if (batch->is_spooled)
        removed = spool_remove(&tally->spool, batch->chunk, &error);
    flight_remove(flights, index);
    pthread_mutex_lock(&tally->mutex);
    tally->stats.events_acked += batch->events_count;
    tally->stats.events_duplicate += counts.events_duplicate;
    tally->stats.events_rejected += counts.events_rejected;
    tally->stats.events_conflict += counts.events_conflict;
    if (removed != STATUS_OK)
        handle_spool_error(tally, &error);
    handle_release(tally, batch, batch->is_spooled && removed == STATUS_OK);
    pthread_cond_broadcast(&tally->changed);
    pthread_mutex_unlock(&tally->mutex);
}

enum status
flights_settle(
    struct flights *flights, struct tally *tally, struct bytes message, struct error *error)
{
    struct answer answer;
    if (!answer_read(message, &answer))
        return error_set(
            error, STATUS_INVALID, "the server answered with something that is no ack");
    int index = flight_find(flights, answer.chunk);
    if (index < 0)
        return error_set(error, STATUS_INVALID, "the server acked a chunk that was not sent");
    batch_settle(flights, tally, (uint32_t)index, &answer);
    return STATUS_OK;
}
