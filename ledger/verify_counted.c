// What the log counts: each identity once, until something takes it out, and nothing twice.

#include "base/assert.h"
#include "base/clock.h"
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

// What has no time of its own counts again when it comes back after the window (DESIGN section 4).
// Both blocks are looked at: that is seldom.
static bool
may_come_again(
    const struct verify_shard *shard,
    const struct verify_identity *first,
    const struct verify_identity *again)
{
    scoped(tx_done) struct tx log = tx_read(shard->view.log);
    scoped(log_reader_done) struct log_reader reader = {0};
    struct error error;
    if (first->place >> VERIFY_INDEX_BITS <= shard->expired)
        return true;
    // What was deleted meanwhile is older than that.
    if (log_look(&reader, &log, first->place >> VERIFY_INDEX_BITS, &error))
        return true;
    const int64_t arrival_ns = reader.header.arrival_ns;
    return log_look(&reader, &log, again->place >> VERIFY_INDEX_BITS, &error) != STATUS_OK ||
           reader.header.arrival_ns - arrival_ns > shard->conf->terms.dedup_window_s * SECOND_NS;
}

static void
check_identity(
    const struct verify_shard *shard,
    const struct verify_identity *before,
    const struct verify_identity *identity)
{
    const uint64_t index_mask = (1U << VERIFY_INDEX_BITS) - 1;
    bool is_same = before != NULL && identity->hash.high == before->hash.high &&
                   identity->hash.low == before->hash.low;
    // What it takes out may have been deleted: that is verify_corrections' to judge.
    bool is_known = is_same ? !before->is_freed : shard->kept.first > 1;
    char key[64];
    (void)snprintf(key, sizeof key, "log block %" PRIu64, identity->place >> VERIFY_INDEX_BITS);
    if (identity->is_freed && !is_known)
        report_finding(
            shard->report,
            key,
            "entry %" PRIu64 " frees an identity that is free",
            identity->place & index_mask);
    if (!is_same || identity->is_freed || before->is_freed ||
        may_come_again(shard, before, identity))
        return;
    report_finding(
        shard->report,
        key,
        "entry %" PRIu64 " has the identity of block %" PRIu64 " entry %" PRIu64,
        identity->place & index_mask,
        before->place >> VERIFY_INDEX_BITS,
        before->place & index_mask);
}

void
verify_identities(struct verify_shard *shard)
{
    report_stage(shard->report, VERIFY_STAGE_IDENTITIES);
    size_t count = shard->identities.size / sizeof(struct verify_identity);
    struct verify_identity *all = (void *)shard->identities.data;
    if (count > 1)
        qsort(all, count, sizeof *all, identity_compare);
    for (size_t i = 0; i < count; i++)
        check_identity(shard, i > 0 ? &all[i - 1] : NULL, &all[i]);
}

static int
place_order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int
corrected_compare(const void *a, const void *b)
{
    const struct corrected *left = a;
    const struct corrected *right = b;
    return place_order(left->place, right->place);
}

static int
target_compare(const void *a, const void *b)
{
    const struct corrected *left = a;
    const struct corrected *right = b;
    int order = place_order(left->target, right->target);
    return order != 0 ? order : place_order(left->place, right->place);
}

// Whether an event with this identity lies there. The list is sorted.
static bool
has_event(const struct verify_shard *shard, struct hash128 hash, uint64_t place)
{
    const struct verify_identity *all = (const void *)shard->identities.data;
    size_t low = 0;
    size_t high = shard->identities.size / sizeof(struct verify_identity);
    const struct verify_identity wanted = {.hash = hash, .place = place};
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (identity_compare(&all[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < shard->identities.size / sizeof(struct verify_identity) &&
           all[low].hash.high == hash.high && all[low].hash.low == hash.low &&
           all[low].place == place && !all[low].is_freed;
}

// all: by place.
static bool
has_amend(const struct corrected *all, size_t count, struct hash128 hash, uint64_t place)
{
    const struct corrected wanted = {.place = place};
    const struct corrected *found = bsearch(&wanted, all, count, sizeof *all, corrected_compare);
    return found != NULL && !found->is_cancel && found->hash.high == hash.high &&
           found->hash.low == hash.low;
}

static void
tell_correction(struct verify_shard *shard, const struct corrected *corrected)
{
    char key[64];
    (void)snprintf(key, sizeof key, "log block %" PRIu64, corrected->place >> VERIFY_INDEX_BITS);
    report_finding(shard->report, key, "it corrects what does not count");
    shard->is_log_sound = false;
}

// Each correction takes out an event of its identity, or what an amend made of it, that came
// before; and nothing is taken out twice.
void
verify_corrections(struct verify_shard *shard)
{
    size_t count = shard->corrections.size / sizeof(struct corrected);
    struct corrected *all = (void *)shard->corrections.data;
    if (count > 1)
        qsort(all, count, sizeof *all, corrected_compare);
    for (size_t i = 0; i < count; i++) {
        const struct corrected *one = &all[i];
        // What was deleted is believed to have been what is said.
        bool is_there = one->target >> VERIFY_INDEX_BITS < shard->kept.first ||
                        (!one->has_identity && one->is_revert) ||
                        has_event(shard, one->hash, one->target) ||
                        has_amend(all, count, one->hash, one->target);
        if (!is_there || one->target >= one->place)
            tell_correction(shard, one);
    }
    if (count > 1)
        qsort(all, count, sizeof *all, target_compare);
    for (size_t i = 1; i < count; i++)
        if (all[i].target == all[i - 1].target)
            tell_correction(shard, &all[i]);
}
