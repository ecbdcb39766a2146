#include "base/assert.h"
#include "ledger/generations.h"
#include "ledger/verify_parts.h"

#include <inttypes.h>
#include <stdio.h>

// The runs, oldest first, mark the identities of the log that they know; afterwards each one that
// has not expired must be marked. One snapshot is held from the first page to the last: the runs of
// another one are others.

enum { MISSING_MAX = 20, PAGES_PER_PLACE = 4096 };

struct check {
    struct verify_shard *shard;
    struct tx tx;
    uint64_t position, expired;
    uint64_t entries;
    struct verify_identity *all;
    size_t all_count;
    struct generation list[GENERATIONS_MAX];
    uint32_t count;
};

struct run_check {
    struct check *check;
    const struct run *run;
    const struct filter *filter;  // NULL: none is stored
    char key[64];
    uint64_t foreign, again, other, unfiltered;
};

// The first one with these 96 bits; NULL: the log has none.
static struct verify_identity *
identity_find(const struct check *check, struct fingerprint fingerprint)
{
    size_t from = 0;
    size_t to = check->all_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (fingerprint_compare(fingerprint_of(check->all[middle].hash, 1), fingerprint) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    if (from == check->all_count ||
        fingerprint_compare(fingerprint_of(check->all[from].hash, 1), fingerprint) != 0)
        return NULL;
    return &check->all[from];
}

static bool
is_of(const struct check *check, const struct verify_identity *one, struct fingerprint fingerprint)
{
    return one < check->all + check->all_count &&
           fingerprint_compare(fingerprint_of(one->hash, 1), fingerprint) == 0;
}

// Between two runs it was, and came again.
static bool
is_ever_freed(const struct check *check, const struct verify_identity *first)
{
    const struct fingerprint fingerprint = fingerprint_of(first->hash, 1);
    for (const struct verify_identity *one = first; is_of(check, one, fingerprint); one++) {
        if (one->is_freed)
            return true;
    }
    return false;
}

// Whether the log has an event of that payload under this identity, or frees it. What has expired
// since may have been freed by a revert that was in time.
static bool
has_payload(
    const struct check *check, const struct verify_identity *first, struct fingerprint entry)
{
    bool is_freed = entry.payload == PAYLOAD_FREED;
    for (const struct verify_identity *one = first; is_of(check, one, entry); one++) {
        if (is_freed && one->place >> VERIFY_INDEX_BITS <= check->shard->expired)
            return true;
        if (one->is_freed == is_freed &&
            (is_freed || fingerprint_of(one->hash, one->payload).payload == entry.payload))
            return true;
    }
    return false;
}

static void
check_entry(struct run_check *run, struct fingerprint entry)
{
    struct check *check = run->check;
    struct verify_identity *identity = identity_find(check, entry);
    if (run->filter != NULL && !filter_has(run->filter, entry))
        run->unfiltered++;
    // Beside a running tallyd the runs may be ahead of the log that was read before.
    if (identity == NULL) {
        // It may be of a block that was deleted.
        run->foreign += check->position <= check->shard->head && check->shard->kept.first == 1;
        return;
    }
    bool is_freed = entry.payload == PAYLOAD_FREED;
    if (identity->is_known && !is_freed && !is_ever_freed(check, identity))
        run->again++;
    identity->is_other = !has_payload(check, identity, entry);
    // It may be of a block that was deleted, and what a later run says holds.
    run->other += identity->is_other && check->shard->kept.first == 1;
    identity->is_known = !is_freed;
}

static void
run_count_finding(const struct run_check *run, uint64_t count, const char *what)
{
    if (count > 0)
        report_finding(run->check->shard->report, run->key, "%" PRIu64 " %s", count, what);
}

static void
check_run(struct check *check, const struct run *run, const struct filter *filter)
{
    struct run_check state = {.check = check, .run = run, .filter = filter};
    struct run_reader reader;
    struct fingerprint entry;
    struct error error;
    uint64_t count = 0;
    (void)snprintf(state.key, sizeof state.key, "identities run %" PRIu32, run->number);
    run_reader_open(&reader, &check->tx, run, NULL, &error);
    while (run_next(&reader, &entry, &error)) {
        check_entry(&state, entry);
        if (++count % PAGES_PER_PLACE == 0)
            report_place(check->shard->report, check->entries + count);
    }
    run_reader_done(&reader);
    check->entries += count;
    if (reader.status)
        report_finding(check->shard->report, state.key, "%s", error.text);
    else if (count != run->count)
        report_finding(
            check->shard->report,
            state.key,
            "it holds %" PRIu64 ", its record says %" PRIu64,
            count,
            run->count);
    run_count_finding(&state, state.foreign, "identities are not in the log");
    run_count_finding(&state, state.again, "identities are in an older run too");
    run_count_finding(&state, state.other, "payloads are not those of the log");
    run_count_finding(&state, state.unfiltered, "identities are unknown to its filter");
}

static void
check_generation(struct check *check, const struct generation *generation)
{
    struct filter *filter = NULL;
    struct error error;
    if (generation->filter_blocks > 0 &&
        (generation->runs_count != 1 ||
         filter_read(
             &check->tx, generation->runs[0].number, generation->filter_blocks, &filter, &error)))
        report_finding(
            check->shard->report,
            "identities",
            "the filter of generation %" PRIu32 ": %s",
            generation->number,
            generation->runs_count != 1 ? "it has more than one run" : error.text);
    for (uint32_t i = 0; i < generation->runs_count; i++)
        check_run(check, &generation->runs[i], filter);
    filter_close(filter);
}

static bool
check_read(struct check *check)
{
    struct verify_report *report = check->shard->report;
    struct error error;
    bool is_sound = true;
    if (state_dedup_look(&check->tx, &check->position, &check->expired, &error)) {
        report_finding(report, "identities", "%s", error.text);
        return false;
    }
    struct walk walk = walk_open(&check->tx, STATE_DB_GENERATIONS);
    for (bool more = walk_first(&walk); more && is_sound; more = walk_next(&walk)) {
        is_sound = check->count < GENERATIONS_MAX &&
                   generation_read(walk.key, walk.value, &check->list[check->count]);
        check->count++;
    }
    walk_done(&walk);
    if (!is_sound)
        report_finding(
            report, "identities", "the record of generation %" PRIu32 " is damaged", check->count);
    return is_sound;
}

// The entries of one identity, side by side; those behind the position do not matter.
struct identity_group {
    const struct verify_identity *first, *last;  // last NULL: all lie behind it
    size_t next;                                 // where the next group begins
};

static struct identity_group
group_at(const struct check *check, size_t at)
{
    const struct verify_identity *first = &check->all[at];
    struct identity_group group = {.first = first, .next = at};
    while (group.next < check->all_count && check->all[group.next].hash.low == first->hash.low &&
           check->all[group.next].hash.high == first->hash.high) {
        const struct verify_identity *one = &check->all[group.next++];
        if (one->place >> VERIFY_INDEX_BITS <= check->position)
            group.last = one;
    }
    return group;
}

static void
tell_missing(const struct check *check, const struct verify_identity *identity)
{
    char key[64];
    (void)snprintf(key, sizeof key, "log block %" PRIu64, identity->place >> VERIFY_INDEX_BITS);
    report_finding(
        check->shard->report,
        key,
        "the identity of entry %" PRIu64 " is in no run",
        identity->place & ((1U << VERIFY_INDEX_BITS) - 1));
}

static void
tell_count(const struct check *check, uint64_t count, const char *what)
{
    if (count > 0)
        report_finding(check->shard->report, "identities", "%" PRIu64 " %s", count, what);
}

// What the log says last of each identity holds.
static void
check_missing(const struct check *check)
{
    bool has_deleted = check->shard->kept.first > 1;
    uint64_t missing = 0;
    uint64_t unfreed = 0;
    uint64_t other = 0;
    for (size_t i = 0; i < check->all_count;) {
        const struct identity_group group = group_at(check, i);
        i = group.next;
        if (group.last == NULL)
            continue;
        bool is_expired = group.last->place >> VERIFY_INDEX_BITS <= check->expired;
        unfreed += group.last->is_freed && group.first->is_known;
        other += has_deleted && group.first->is_other;
        if (group.last->is_freed || group.first->is_known || is_expired)
            continue;
        if (++missing <= MISSING_MAX)
            tell_missing(check, group.last);
    }
    tell_count(
        check, missing > MISSING_MAX ? missing - MISSING_MAX : 0, "more of the log are in no run");
    tell_count(check, unfreed, "that the log has freed are known");
    tell_count(check, other, "payloads are not those of the log");
}

// The log may have grown since it was read.
static bool
is_beyond_log(const struct check *check)
{
    uint64_t head = 0;
    if (check->position <= check->shard->head || check->shard->view.log == NULL)
        return check->position > check->shard->head;
    scoped(tx_done) struct tx log = tx_read(check->shard->view.log);
    return log_head(&log, &head, NULL) == STATUS_OK && check->position > head;
}

void
verify_dedup(struct verify_shard *shard)
{
    struct check check = {
        .shard = shard,
        .tx = tx_read(shard->view.state),
        .all = (void *)shard->identities.data,
        .all_count = shard->identities.size / sizeof(struct verify_identity),
    };
    struct error error;
    report_stage(shard->report, VERIFY_STAGE_DEDUP);
    if (check_read(&check)) {
        if (is_beyond_log(&check))
            report_finding(shard->report, "identities", "their position is beyond the log");
        for (uint32_t i = 0; i < check.count; i++)
            check_generation(&check, &check.list[i]);
        if (shard->is_log_sound)
            check_missing(&check);
    }
    if (tx_check(&check.tx, &error))
        report_finding(shard->report, "identities", "%s", error.text);
    tx_done(&check.tx);
}
