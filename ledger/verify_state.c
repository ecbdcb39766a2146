#include "base/assert.h"
#include "base/clock.h"
#include "ledger/cut_record.h"
#include "ledger/dirty.h"
#include "ledger/fold.h"
#include "ledger/uniques.h"
#include "ledger/verify_parts.h"

#include <inttypes.h>
#include <stdio.h>

// The cells on disk and those folded from the log, both in key order, side by side. Beside a
// running tallyd a flush may move the position at any renewal of the snapshot: then the fold goes
// on to the new position and the comparison begins again; after some of these the snapshot is kept
// to its end.

enum { CELLS_PER_LOOK = 1024, COMPARISONS_BEFORE_HOLD = 3 };

static const int64_t SNAPSHOT_MAX_NS = 500 * 1000000LL;

struct comparison {
    struct verify_shard *shard;
    struct tx tx;
    uint64_t revision;  // of the snapshot's environment
    struct horizons horizons;
    struct verify_clean *clean;  // NULL: nothing is compared
    struct zone *zones[BILLING_ZONES_MAX];
    struct walk walk;
    bool has_cell;   // walk stands on one
    bool has_moved;  // a flush came in between
    bool is_held;    // no more renewals
    bool compares;   // against the fold; else checksums only
    uint64_t seen;
    int64_t deadline_ns;
    struct buffer expected;
    struct arena scratch;  // of one cell
};

// Their checksums; what they say is held against the log later.
static void
meta_list(struct verify_shard *shard, struct bytes key, struct bytes value)
{
    struct cut cut;
    struct batch batch;
    char text[VERIFY_KEY_MAX];
    char name[CELL_TEXT_MAX];
    bytes_print(key, name, sizeof name);
    (void)snprintf(text, sizeof text, "state %s", name);
    if (cut_key_is(key) ? cut_read(key, value, &cut) : batch_read(key, value, &batch))
        report_finding(shard->report, text, "its checksum does not match");
}

static uint64_t
meta_record(struct verify_shard *shard, struct bytes key, struct bytes value, bool *out_is_sound)
{
    char text[VERIFY_KEY_MAX];
    char name[CELL_TEXT_MAX];
    uint64_t number = 0;
    uint32_t meter_id = 0;
    bool is_meter = state_meter_key_read(key, &meter_id);
    bool is_position = bytes_equal(key, bytes_text("position")) ||
                       bytes_equal(key, bytes_text("dedup")) ||
                       bytes_equal(key, bytes_text("dedup_expired"));
    bool is_horizon = horizon_key_is(key);
    bytes_print(key, name, sizeof name);
    if (is_meter)
        (void)snprintf(text, sizeof text, "state live_from of meter %u", meter_id);
    else
        (void)snprintf(text, sizeof text, "state %s", name);
    *out_is_sound = state_meta_read(key, value, &number) == STATUS_OK;
    if (!*out_is_sound)
        report_finding(shard->report, text, "its checksum does not match");
    else if (!is_meter && !is_position && !is_horizon)
        report_finding(shard->report, text, "no record of that name belongs here");
    else if (is_meter && number == 0)
        report_finding(shard->report, text, "it is 0, and blocks begin at 1");
    return number;
}

static const struct meter *
registered_meter(const struct verify_shard *shard, uint32_t meter_id)
{
    for (uint32_t i = 0; i < shard->registered_count; i++)
        if (shard->registered[i].id == meter_id)
            return &shard->registered[i];
    return NULL;
}

struct meta {
    struct meter *meters;
    uint64_t *live_from;
    uint32_t count;
    uint64_t position;
    bool is_position_sound;
};

static void
meta_use(struct verify_shard *shard, struct bytes key, struct bytes value, struct meta *meta)
{
    bool is_sound = false;
    uint32_t meter_id = 0;
    if (cut_key_is(key) || batch_key_is(key)) {
        meta_list(shard, key, value);
        return;
    }
    uint64_t number = meta_record(shard, key, value, &is_sound);
    if (bytes_equal(key, bytes_text("position"))) {
        meta->position = number;
        meta->is_position_sound = is_sound;
    } else if (bytes_equal(key, bytes_text("dedup_expired"))) {
        shard->expired = number;
    } else if (is_sound && state_meter_key_read(key, &meter_id)) {
        const struct meter *meter = registered_meter(shard, meter_id);
        if (meter == NULL || number == 0)
            return;
        must(meta->count < shard->registered_count);
        meta->meters[meta->count] = *meter;
        meta->live_from[meta->count++] = number;
    }
}

bool
verify_meta(struct verify_shard *shard, struct tx *state, uint64_t *out_position)
{
    struct meta meta = {.is_position_sound = true};
    struct error error;
    meta.meters = arena_array(&shard->arena, shard->registered_count, struct meter);
    meta.live_from = arena_array(&shard->arena, shard->registered_count, uint64_t);
    struct walk walk = walk_open(state, STATE_DB_META);
    uint64_t left = tx_count(state, STATE_DB_META);
    shard->cells_on_disk = tx_count(state, STATE_DB_CELLS);
    for (bool more = walk_first(&walk); more && left > 0; more = walk_next(&walk), left--)
        meta_use(shard, walk.key, walk.value, &meta);
    walk_done(&walk);
    if (tx_check(state, &error)) {
        report_finding(shard->report, "state", "%s", error.text);
        meta.is_position_sound = false;
    }
    for (uint32_t i = 0; i < meta.count && meta.is_position_sound; i++)
        if (meta.live_from[i] > meta.position + 1)
            report_finding(
                shard->report,
                "state",
                "meter %s is live from block %" PRIu64 ", beyond the position %" PRIu64,
                meta.meters[i].key,
                meta.live_from[i],
                meta.position);
    shard->meters = (struct verify_meters){
        .set = meter_set_make(meta.meters, meta.count, &shard->arena),
        .live_from = meta.live_from,
    };
    published_set(&shard->report->shared->meters, meta.count);
    *out_position = meta.position;
    return meta.is_position_sound;
}

static void
cell_finding(struct comparison *comparison, struct bytes key, const char *what)
{
    char text[VERIFY_KEY_MAX];
    (void)snprintf(text, sizeof text, "cell ");
    cell_key_print(key, text + 5, sizeof text - 5);
    report_finding(comparison->shard->report, text, "%s", what);
}

// Starts the snapshot anew when it is old. False: the position moved, or the walk failed.
static bool
comparison_renew(struct comparison *comparison)
{
    uint8_t key[ENV_KEY_MAX];
    size_t key_size = comparison->walk.key.size;
    uint64_t position = 0;
    must(key_size <= sizeof key);
    memcpy(key, comparison->walk.key.data, key_size);
    walk_done(&comparison->walk);
    tx_renew(&comparison->tx);
    comparison->deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
    comparison->has_cell = false;
    if (state_position(&comparison->tx, &position, NULL) || position != comparison->shard->folded ||
        tx_revision(&comparison->tx) != comparison->revision) {
        comparison->has_moved = true;
        return false;
    }
    comparison->walk = walk_open(&comparison->tx, STATE_DB_CELLS);
    comparison->has_cell = walk_seek(&comparison->walk, bytes_of(key, key_size));
    return comparison->has_cell;
}

// To the next cell on disk. Out of order means damaged pages, which could go round in circles.
static void
comparison_next(struct comparison *comparison)
{
    uint8_t before[ENV_KEY_MAX];
    size_t before_size = comparison->walk.key.size;
    if (before_size > sizeof before) {
        report_finding(comparison->shard->report, "state", "a cell's key is too long");
        comparison->has_cell = false;
        comparison->compares = false;
        return;
    }
    memcpy(before, comparison->walk.key.data, before_size);
    comparison->has_cell = walk_next(&comparison->walk);
    report_place(comparison->shard->report, ++comparison->seen);
    if (comparison->has_cell &&
        bytes_compare(bytes_of(before, before_size), comparison->walk.key) >= 0) {
        cell_finding(comparison, comparison->walk.key, "it is out of order");
        comparison->has_cell = false;
        comparison->compares = false;
        return;
    }
    if (comparison->has_cell && !comparison->is_held && comparison->seen % CELLS_PER_LOOK == 0 &&
        clock_monotonic_ns() > comparison->deadline_ns)
        (void)comparison_renew(comparison);
}

static bool
is_compared(const struct comparison *comparison, uint32_t meter_id)
{
    const struct verify_meters *meters = &comparison->shard->meters;
    for (uint32_t i = 0; i < meter_set_count(meters->set) && comparison->compares; i++) {
        if (meter_set_at(meters->set, i)->id == meter_id)
            return meters->live_from[i] > 0;
    }
    return false;
}

// A cell on disk that the fold does not have.
static void
check_alone(struct comparison *comparison)
{
    struct bytes bytes = comparison->walk.key;
    struct cell_key key;
    struct cell_state state;
    struct cell_group group;
    enum aggregation aggregation;
    if (!cell_key_read(bytes, &key))
        cell_finding(comparison, bytes, "its key is none of a cell");
    else if (
        !cell_value_aggregation(comparison->walk.value, &aggregation) ||
        cell_value_read(bytes, comparison->walk.value, aggregation, &state, &group))
        cell_finding(comparison, bytes, "its checksum does not match");
    else if (
        is_compared(comparison, key.meter_id) &&
        verify_is_answerable(comparison->shard, &comparison->horizons, &key))
        cell_finding(comparison, bytes, "the log has no event for it");
}

static void
print_state(enum aggregation aggregation, const struct cell_state *state, char *out, size_t size)
{
    char number[WIDE_TEXT_MAX] = "";
    struct wide value = {0};
    switch (aggregation) {
    case AGGREGATION_COUNT: break;
    case AGGREGATION_SUM:
    case AGGREGATION_AVG:
    case AGGREGATION_WEIGHTED_SUM: value = state->sum.sum; break;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX: value = wide_from_int128(state->extreme.units); break;
    case AGGREGATION_LATEST: value = wide_from_int128(state->latest.value.units); break;
    case AGGREGATION_UNIQUE_COUNT: {
        uint64_t count = state->unique.spilled + state->unique.listed.size / 16;
        value = wide_multiply(DECIMAL_ONE.units, (int64_t)count);
        break;
    }
    }
    (void)wide_divide_print(value, 1, DECIMAL_PLACES, number);
    (void)snprintf(
        out,
        size,
        "count %" PRId64 " %s %s flags %u",
        state->count,
        aggregation_name(aggregation),
        number,
        state->flags);
}

// What a flush makes of distinct values, and whether the spilled ones are those of the log.
static bool
expect_unique(
    struct comparison *comparison,
    struct bytes key,
    const struct cell_state *stored,
    struct cell_state *expected)
{
    struct cell_unique *unique = &expected->unique;
    if (unique->set.count <= CELL_SET_INLINE_MAX) {
        cell_unique_list(unique, &comparison->scratch);
        return true;
    }
    struct cell_set read = {0};
    bool is_sound =
        !uniques_read(&comparison->tx, key, stored->unique.spilled, &read, &comparison->scratch) &&
        bytes_equal(
            cell_set_sorted(&read, &comparison->scratch),
            cell_set_sorted(&unique->set, &comparison->scratch));
    unique->spilled = unique->set.count;
    unique->set = (struct cell_set){0};
    expected->flags |= CELL_SPILLED;
    return is_sound;
}

// Whether the cell is still to be made anew: then nobody reads it, and what it holds is not
// compared.
static bool
is_waiting(struct comparison *comparison, struct bytes key, const struct cell_state *stored)
{
    if (!(stored->flags & CELL_DIRTY))
        return false;
    if (!dirty_is_there(&comparison->tx, key))
        cell_finding(comparison, key, "it is dirty, and not in the list of what is made anew");
    return true;
}

// Bit for bit.
static void
check_pair(struct comparison *comparison, struct bytes key, const struct cell_view *folded)
{
    struct bytes value = comparison->walk.value;
    enum aggregation aggregation = folded->aggregation;
    struct cell_state state;
    struct cell_group group;
    if (cell_value_read(key, value, aggregation, &state, &group)) {
        cell_finding(comparison, key, "its checksum does not match");
        return;
    }
    struct cell_state expected = *folded->state;
    bool is_sound = true;
    if (folded->state->flags & CELL_DIRTY) {
        if (is_waiting(comparison, key, &state))
            return;
        const struct cell_state *clean = verify_clean_find(comparison->clean, &folded->key);
        must(clean != NULL);
        expected = *clean;
        expected.flags |= CELL_REPLACES | (folded->state->flags & CELL_CAPPED);
    }
    arena_reset(&comparison->scratch);
    if (aggregation == AGGREGATION_UNIQUE_COUNT)
        is_sound = expect_unique(comparison, key, &state, &expected);
    buffer_reset(&comparison->expected);
    cell_value_write(key, aggregation, &expected, folded->group, &comparison->expected);
    must(!buffer_failed(&comparison->expected));
    if (!is_sound)
        cell_finding(comparison, key, "its distinct values are not those of the log");
    if (bytes_equal(value, buffer_view(&comparison->expected)))
        return;
    char what[512];
    char texts[2][200];
    print_state(aggregation, &state, texts[0], sizeof texts[0]);
    print_state(aggregation, &expected, texts[1], sizeof texts[1]);
    (void)snprintf(what, sizeof what, "it says %s, the log gives %s", texts[0], texts[1]);
    cell_finding(comparison, key, what);
}

// Called with each folded cell in key order.
static bool
compare_folded(void *context, const struct cell_view *folded)
{
    struct comparison *comparison = context;
    uint8_t bytes[CELL_KEY_MAX];
    struct bytes key = bytes_of(bytes, cell_key_write(&folded->key, bytes));
    int order = 1;
    if (!verify_is_answerable(comparison->shard, &comparison->horizons, &folded->key) ||
        !is_compared(comparison, folded->key.meter_id))
        return true;
    while (comparison->has_cell && (order = bytes_compare(comparison->walk.key, key)) < 0) {
        check_alone(comparison);
        comparison_next(comparison);
    }
    if (comparison->has_moved || !comparison->compares)
        return false;
    if (comparison->has_cell && order == 0) {
        check_pair(comparison, key, folded);
        comparison_next(comparison);
    } else {
        cell_finding(comparison, key, "it is missing, and the log has events for it");
    }
    return !comparison->has_moved && comparison->compares;
}

static void
compare_derived(struct comparison *comparison)
{
    const struct verify_derived derived = {
        .folded = comparison->shard->cells,
        .horizons = &comparison->horizons,
        .cuts = &comparison->shard->cuts,
        .state = &comparison->tx,
    };
    verify_each_derived(&derived, compare_folded, comparison);
}

static void
comparison_run(struct comparison *comparison)
{
    struct verify_shard *shard = comparison->shard;
    struct error error;
    comparison->deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
    comparison->walk = walk_open(&comparison->tx, STATE_DB_CELLS);
    comparison->has_cell = walk_first(&comparison->walk);
    if (comparison->compares)
        cells_each_sorted(shard->cells, compare_folded, comparison);
    if (comparison->compares && !comparison->has_moved)
        compare_derived(comparison);
    while (comparison->has_cell && !comparison->has_moved) {
        check_alone(comparison);
        comparison_next(comparison);
    }
    walk_done(&comparison->walk);
    if (tx_check(&comparison->tx, &error))
        report_finding(shard->report, "state", "%s", error.text);
    else if (
        !comparison->has_moved && comparison->seen != tx_count(&comparison->tx, STATE_DB_CELLS))
        report_finding(shard->report, "state", "there are fewer cells than are counted");
    published_set(&shard->report->shared->cells, comparison->seen);
}

// The windows of a zone that the system does not know any more are not compared.
static void
comparison_horizons(struct comparison *comparison)
{
    struct verify_shard *shard = comparison->shard;
    struct horizons *horizons = &comparison->horizons;
    struct error error;
    if (horizons_look(&comparison->tx, horizons, &error)) {
        report_finding(shard->report, "state", "%s", error.text);
        comparison->compares = false;
        return;
    }
    for (uint32_t i = 0; i < horizons->zones_count; i++) {
        if (zone_open(bytes_text(horizons->zones[i]), &comparison->zones[i], &error))
            report_finding(shard->report, "state", "%s", error.text);
        else
            (void)horizons_zone(horizons, comparison->zones[i], false);
    }
}

// How many of the cuts lie in blocks that were deleted.
static uint32_t
cuts_deleted(const struct verify_shard *shard, const struct cuts *cuts)
{
    uint32_t deleted = 0;
    while (deleted < cuts->count && cuts->list[deleted].block < shard->kept.first)
        deleted++;
    return deleted;
}

// The cuts that a start believes are those of the log up to the position.
static void
comparison_cuts(struct comparison *comparison)
{
    struct verify_shard *shard = comparison->shard;
    struct cuts stored = {0};
    struct error error;
    if (!comparison->compares)
        return;
    // A damaged record has been told already.
    if (cuts_read(&comparison->tx, &stored, &comparison->scratch, &error))
        return;
    // Those of blocks that were deleted are not known from the log.
    uint32_t deleted = cuts_deleted(shard, &stored);
    uint32_t forgotten = cuts_deleted(shard, &shard->cuts);
    bool is_same = stored.count - deleted == shard->cuts.count - forgotten;
    for (uint32_t i = 0; is_same && i < stored.count - deleted; i++) {
        const struct cut *a = &stored.list[deleted + i];
        const struct cut *b = &shard->cuts.list[forgotten + i];
        is_same = a->number == b->number && a->time_s == b->time_s && a->block == b->block;
    }
    if (!is_same)
        report_finding(shard->report, "state cuts", "they are not those of the log");
    arena_reset(&comparison->scratch);
}

// Reading the log takes as long as it takes: no snapshot is kept meanwhile, unless flushes came in
// between too often.
static void
comparison_clean(struct comparison *comparison)
{
    struct verify_shard *shard = comparison->shard;
    if (!comparison->is_held)
        tx_done(&comparison->tx);
    if (comparison->compares)
        comparison->clean = verify_clean_make(shard, &comparison->horizons);
    // What was deleted meanwhile may be missing in them.
    verify_kept_renew(shard);
    comparison->compares = comparison->clean != NULL;
    if (!comparison->is_held)
        comparison->tx = tx_read(shard->view.state);
    comparison->has_moved =
        !comparison->is_held && tx_revision(&comparison->tx) != comparison->revision;
    if (!comparison->has_moved)
        verify_dirty_records(shard, &comparison->tx);
}

static bool
batch_is_same(const struct batch *a, const struct batch *b)
{
    return a->state == b->state && a->opened == b->opened && a->closed == b->closed &&
           a->reverted == b->reverted && a->rest_block == b->rest_block &&
           a->rest_index == b->rest_index && a->stored == b->stored && a->taken == b->taken &&
           a->cancelled == b->cancelled;
}

// Those that the log has all of.
static uint32_t
batches_kept(const struct verify_shard *shard, const struct batches *batches)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < batches->count; i++)
        kept += batches->list[i].opened >= shard->kept.first;
    return kept;
}

// Likewise the batches, in any order.
static void
comparison_batches(struct comparison *comparison)
{
    struct verify_shard *shard = comparison->shard;
    struct batches stored = {0};
    struct error error;
    if (!comparison->compares)
        return;
    if (batches_read(&comparison->tx, &stored, &comparison->scratch, &error))
        return;
    uint32_t kept = batches_kept(shard, &stored);
    bool is_same = kept == batches_kept(shard, &shard->folded_batches);
    for (uint32_t i = 0; is_same && i < stored.count; i++) {
        const struct batch *folded = batches_find(&shard->folded_batches, stored.list[i].id);
        bool is_deleted = stored.list[i].opened < shard->kept.first;
        is_same = is_deleted || (folded != NULL && batch_is_same(&stored.list[i], folded));
    }
    if (!is_same)
        report_finding(shard->report, "state batches", "they are not those of the log");
    arena_reset(&comparison->scratch);
}

// How far back the cells of the snapshot go for each meter: tallyd may have folded older blocks
// meanwhile, or have dropped the meter. False: they cannot be reached.
static bool
comparison_fold_back(struct comparison *comparison)
{
    struct verify_shard *shard = comparison->shard;
    const struct verify_meters *meters = &shard->meters;
    for (uint32_t i = 0; i < meter_set_count(meters->set); i++) {
        uint64_t from = 0;
        uint32_t id = meter_set_at(meters->set, i)->id;
        if (state_live_from(&comparison->tx, id, &from, NULL))
            return true;  // what is damaged is told by the walk
        if (from == 0)
            meters->live_from[i] = 0;
        else if (from < meters->live_from[i] && !verify_fold_back(shard, i, from))
            return false;
    }
    return true;
}

// Takes a snapshot whose position the fold has reached.
static bool
comparison_begin(struct comparison *comparison)
{
    struct verify_shard *shard = comparison->shard;
    uint64_t position = 0;
    for (;;) {
        comparison->tx = tx_read(shard->view.state);
        comparison->revision = tx_revision(&comparison->tx);
        if (!comparison->compares)
            return true;
        if (state_position(&comparison->tx, &position, NULL) || position == shard->folded)
            return comparison_fold_back(comparison);  // what is damaged is told by the walk
        tx_done(&comparison->tx);
        if (position < shard->folded || !verify_fold_on(shard, position)) {
            report_finding(shard->report, "state", "its position went back, or cannot be reached");
            return false;
        }
    }
}

void
verify_cells(struct verify_shard *shard)
{
    report_stage(shard->report, VERIFY_STAGE_CELLS);
    bool has_moved = true;
    for (int i = 0; has_moved; i++) {
        struct comparison comparison = {
            .shard = shard,
            .compares = shard->is_log_sound,
            .is_held = i >= COMPARISONS_BEFORE_HOLD,
        };
        if (!comparison_begin(&comparison))
            return;
        comparison_horizons(&comparison);
        comparison_cuts(&comparison);
        comparison_batches(&comparison);
        comparison_clean(&comparison);
        if (!comparison.has_moved)
            comparison_run(&comparison);
        verify_clean_done(comparison.clean);
        for (uint32_t zone = 0; zone < comparison.horizons.zones_count; zone++)
            zone_close(&comparison.zones[zone]);
        has_moved = comparison.has_moved;
        tx_done(&comparison.tx);
        buffer_done(&comparison.expected);
        arena_done(&comparison.scratch);
    }
}
