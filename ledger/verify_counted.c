// What the log counts: each identity once, until something takes it out, and nothing twice.

#include "base/assert.h"
#include "ledger/id_table.h"
#include "ledger/verify_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int
identity_compare(const void *a, const void *b)
{
    const struct verify_identity *left = a;
    const struct verify_identity *right = b;
    int order = fingerprint_compare(
        fingerprint_of(left->hash, left->payload), fingerprint_of(right->hash, right->payload));
    if (order != 0)
        return order;
    if (left->hash.high != right->hash.high)
        return left->hash.high < right->hash.high ? -1 : 1;
    return (left->place > right->place) - (left->place < right->place);
}

void
verify_identities(struct verify_shard *shard)
{
    report_stage(shard->report, VERIFY_STAGE_IDENTITIES);
    size_t count = shard->identities.size / sizeof(struct verify_identity);
    struct verify_identity *all = (void *)shard->identities.data;
    const uint64_t index_mask = (1U << VERIFY_INDEX_BITS) - 1;
    if (count > 1)
        qsort(all, count, sizeof *all, identity_compare);
    for (size_t i = 0; i < count; i++) {
        char key[64];
        bool is_same = i > 0 && all[i].hash.high == all[i - 1].hash.high &&
                       all[i].hash.low == all[i - 1].hash.low;
        (void)snprintf(key, sizeof key, "log block %" PRIu64, all[i].place >> VERIFY_INDEX_BITS);
        // What it takes out may have been deleted: that is verify_corrections' to judge.
        bool is_known = is_same ? !all[i - 1].is_freed : shard->kept.first > 1;
        if (all[i].is_freed && !is_known)
            report_finding(
                shard->report,
                key,
                "entry %" PRIu64 " frees an identity that is free",
                all[i].place & index_mask);
        if (!is_same || all[i].is_freed || all[i - 1].is_freed)
            continue;
        report_finding(
            shard->report,
            key,
            "entry %" PRIu64 " has the identity of block %" PRIu64 " entry %" PRIu64,
            all[i].place & index_mask,
            all[i - 1].place >> VERIFY_INDEX_BITS,
            all[i - 1].place & index_mask);
    }
}

static int
corrected_compare(const void *a, const void *b)
{
    const struct corrected *left = a;
    const struct corrected *right = b;
    if (left->hash.high != right->hash.high)
        return left->hash.high < right->hash.high ? -1 : 1;
    if (left->hash.low != right->hash.low)
        return left->hash.low < right->hash.low ? -1 : 1;
    return (left->place > right->place) - (left->place < right->place);
}

// The place of the first event with this identity behind this place; 0: there is none. The list is
// sorted.
static uint64_t
identity_next(const struct verify_shard *shard, struct hash128 hash, uint64_t after)
{
    const struct verify_identity *all = (const void *)shard->identities.data;
    size_t low = 0;
    size_t high = shard->identities.size / sizeof(struct verify_identity);
    const struct verify_identity wanted = {.hash = hash, .place = after + 1};
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (identity_compare(&all[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    // Nothing is freed twice without an event between.
    bool is_found = low < shard->identities.size / sizeof(struct verify_identity) &&
                    all[low].hash.high == hash.high && all[low].hash.low == hash.low &&
                    !all[low].is_freed;
    return is_found ? all[low].place : 0;
}

// Each correction of an identity takes out what counted until then: the event, then the last amend;
// nothing after a cancel, but after one that freed it the next event with it.
void
verify_corrections(struct verify_shard *shard)
{
    size_t count = shard->corrections.size / sizeof(struct corrected);
    struct corrected *all = (void *)shard->corrections.data;
    uint64_t counts = 0;
    if (count > 1)
        qsort(all, count, sizeof *all, corrected_compare);
    for (size_t i = 0; i < count; i++) {
        bool is_first = i == 0 || all[i].hash.high != all[i - 1].hash.high ||
                        all[i].hash.low != all[i - 1].hash.low;
        bool is_freed = !is_first && all[i - 1].is_revert;
        if (is_first || is_freed)
            counts = identity_next(shard, all[i].hash, is_first ? 0 : all[i - 1].place);
        if (is_first && !all[i].has_identity && all[i].is_revert)
            counts = all[i].target;
        // What was deleted is believed to have been what is said.
        if (is_first && all[i].target >> VERIFY_INDEX_BITS < shard->kept.first)
            counts = all[i].target;
        if (counts == 0 || all[i].target != counts) {
            char key[64];
            (void)snprintf(
                key, sizeof key, "log block %" PRIu64, all[i].place >> VERIFY_INDEX_BITS);
            report_finding(shard->report, key, "it corrects what does not count");
            shard->is_log_sound = false;
        }
        counts = all[i].is_cancel ? 0 : all[i].place;
    }
}
