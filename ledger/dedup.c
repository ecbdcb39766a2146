#include "ledger/dedup.h"

#include "base/assert.h"
#include "base/pool.h"

// In this order, each once: tables are filled again when they were written.
enum touch_stage {
    TOUCH_BUCKETS,  // at the start: a few hundred identities lie in all of them
    TOUCH_ENTRIES,  // of the hot table, when it is more than a few
    TOUCH_SPARE,    // when the hot table is half full
    TOUCH_STAGES,
};

enum { TOUCH_ENTRIES_AT = 64, TOUCH_SPARE_AT = 2 };  // parts of the hot table

struct dedup {
    struct dedup_options options;
    struct id_table *hot;
    struct seal seal;   // table NULL: none
    struct slot spare;  // keeper -> writer: a table that was sealed, written and cleared, or is new
    enum touch_stage touch_stage;
    struct touch touches[TOUCH_STAGES];
    const struct generations_view *view;
    const struct filter *filters[GENERATIONS_MAX];  // of the view, side by side
    uint32_t filters_count;
    bool has_unfiltered;  // there is a generation without one
    struct tx read;       // of the lookups on disk, while a group is judged
    bool is_reading;
    uint64_t probes;
    struct error error;
};

// The keeper may be behind by half a table before anybody waits for it.
static uint32_t
hot_slack(const struct dedup_options *options)
{
    return options->hot_max / 2;
}

static struct id_table *
hot_open(const struct dedup_options *options)
{
    return id_table_open(options->hot_max + hot_slack(options) + options->group_max);
}

struct dedup *
dedup_open(const struct dedup_options *options)
{
    must(options->hot_max > 0 && options->hot_max < UINT32_MAX / 8);
    must(options->group_max > 0 && options->group_max < UINT32_MAX / 8);
    struct dedup *dedup = pool_take(1, sizeof *dedup);
    if (dedup == NULL)
        return NULL;
    dedup->options = *options;
    dedup->hot = hot_open(options);
    if (dedup->hot == NULL) {
        pool_give(dedup);
        return NULL;
    }
    return dedup;
}

void
dedup_close(struct dedup *dedup)
{
    if (dedup == NULL)
        return;
    dedup_rest(dedup);
    id_table_close(slot_take(&dedup->spare));
    // One that was not handed over.
    if (dedup->touch_stage == TOUCH_SPARE)
        id_table_close(dedup->touches[TOUCH_SPARE].table);
    id_table_close(dedup->hot);
    pool_give(dedup);
}

void
dedup_prefetch(const struct dedup *dedup, struct hash128 identity)
{
    const struct fingerprint fingerprint = fingerprint_of(identity, 1);
    id_table_prefetch(dedup->hot, fingerprint);
    if (dedup->seal.table != NULL)
        id_table_prefetch(dedup->seal.table, fingerprint);
    for (uint32_t i = 0; i < dedup->filters_count; i++)
        filter_prefetch(dedup->filters[i], fingerprint);
}

static bool
find_in_generation(
    struct dedup *dedup,
    const struct generation *generation,
    struct fingerprint fingerprint,
    uint32_t *out_payload)
{
    if (!dedup->is_reading) {
        dedup->read = tx_read(dedup->options.state);
        dedup->is_reading = true;
    }
    for (uint32_t i = generation->runs_count; i > 0; i--) {
        const struct run *run = &generation->runs[i - 1];
        enum status status = run_find(&dedup->read, run, fingerprint, out_payload, &dedup->error);
        dedup->probes++;
        if (status == STATUS_OK)
            return true;
        if (status != STATUS_NOT_FOUND) {
            dedup->error.status = status;
            return false;
        }
    }
    return false;
}

// Whether any filter affirms it, without a look at which: nearly always none does, and that is
// foretold, while each filter by itself costs a guess.
static bool
filters_affirm(const struct dedup *dedup, struct fingerprint fingerprint)
{
    uint32_t hits = dedup->has_unfiltered;
    for (uint32_t i = 0; i < dedup->filters_count; i++)
        hits += filter_has(dedup->filters[i], fingerprint);
    return hits > 0;
}

static bool
find_on_disk(struct dedup *dedup, struct fingerprint fingerprint, uint32_t *out_payload)
{
    const struct generations_view *view = dedup->view;
    for (uint32_t i = view != NULL ? view->count : 0; i > 0; i--) {
        const struct generation *generation = &view->list[i - 1];
        if (generation->filter != NULL && !filter_has(generation->filter, fingerprint))
            continue;
        if (find_in_generation(dedup, generation, fingerprint, out_payload))
            return true;
        if (dedup->error.status)
            return false;
    }
    return false;
}

// Beyond the hot table.
static bool
find_sealed(struct dedup *dedup, struct fingerprint fingerprint, uint32_t *out_payload)
{
    const struct fingerprint *known = NULL;
    if (dedup->seal.table != NULL)
        known = id_table_find(dedup->seal.table, fingerprint);
    if (known == NULL)
        return filters_affirm(dedup, fingerprint) && find_on_disk(dedup, fingerprint, out_payload);
    *out_payload = known->payload;
    return true;
}

// spot: where the hot table has it, or would.
static enum dedup_result
find_from(struct dedup *dedup, struct fingerprint fingerprint, const struct id_spot *spot)
{
    uint32_t known = PAYLOAD_FREED;
    bool is_known = true;
    if (spot->known != NULL)
        known = spot->known->payload;
    else
        is_known = find_sealed(dedup, fingerprint, &known);
    if (dedup->error.status)
        return DEDUP_FAILED;
    if (!is_known || known == PAYLOAD_FREED)
        return DEDUP_NEW;
    return known == fingerprint.payload ? DEDUP_SAME : DEDUP_DIFFERENT;
}

enum dedup_result
dedup_find(struct dedup *dedup, struct hash128 identity, uint32_t payload)
{
    const struct fingerprint fingerprint = fingerprint_of(identity, payload);
    const struct id_spot spot = id_table_seek(dedup->hot, fingerprint);
    return find_from(dedup, fingerprint, &spot);
}

const struct error *
dedup_error(const struct dedup *dedup)
{
    return &dedup->error;
}

static void
hot_put(struct dedup *dedup, struct fingerprint fingerprint, struct id_spot spot)
{
    if (spot.known == NULL) {
        id_table_put(dedup->hot, fingerprint, spot);
    } else {
        must(spot.known->payload == PAYLOAD_FREED || fingerprint.payload == PAYLOAD_FREED);
        spot.known->payload = fingerprint.payload;
    }
}

enum dedup_result
dedup_take(struct dedup *dedup, struct hash128 identity, uint32_t payload, bool is_welcome)
{
    const struct fingerprint fingerprint = fingerprint_of(identity, payload);
    const struct id_spot spot = id_table_seek(dedup->hot, fingerprint);
    enum dedup_result result = find_from(dedup, fingerprint, &spot);
    if (result == DEDUP_NEW && is_welcome)
        hot_put(dedup, fingerprint, spot);
    return result;
}

void
dedup_add(struct dedup *dedup, struct hash128 identity, uint32_t payload)
{
    const struct fingerprint fingerprint = fingerprint_of(identity, payload);
    hot_put(dedup, fingerprint, id_table_seek(dedup->hot, fingerprint));
}

void
dedup_free(struct dedup *dedup, struct hash128 identity)
{
    struct fingerprint freed = fingerprint_of(identity, 1);
    freed.payload = PAYLOAD_FREED;
    hot_put(dedup, freed, id_table_seek(dedup->hot, freed));
}

void
dedup_rest(struct dedup *dedup)
{
    if (dedup->is_reading)
        tx_done(&dedup->read);
    dedup->is_reading = false;
}

bool
dedup_has_room(const struct dedup *dedup)
{
    return id_table_count(dedup->hot) < dedup->options.hot_max + hot_slack(&dedup->options);
}

bool
dedup_is_sealed(const struct dedup *dedup)
{
    return dedup->seal.table != NULL;
}

bool
dedup_wants_seal(const struct dedup *dedup)
{
    return !dedup_is_sealed(dedup) && id_table_count(dedup->hot) >= dedup->options.hot_max;
}

struct seal *
dedup_seal(struct dedup *dedup, uint64_t position, int64_t newest_arrival_ns)
{
    must(dedup->seal.table == NULL);
    struct id_table *hot = slot_take(&dedup->spare);
    if (hot == NULL)
        hot = hot_open(&dedup->options);
    if (hot == NULL)
        return NULL;
    must(id_table_count(hot) == 0);
    dedup->seal = (struct seal){dedup->hot, position, newest_arrival_ns, &dedup->spare};
    dedup->hot = hot;
    return &dedup->seal;
}

void
dedup_adopt(struct dedup *dedup, const struct generations_view *view)
{
    must(dedup->view == NULL || dedup->view->number <= view->number);
    // The snapshot may be older than the view.
    dedup_rest(dedup);
    dedup->view = view;
    dedup->filters_count = 0;
    dedup->has_unfiltered = false;
    for (uint32_t i = 0; i < view->count; i++) {
        const struct filter *filter = view->list[i].filter;
        if (filter != NULL)
            dedup->filters[dedup->filters_count++] = filter;
        dedup->has_unfiltered = dedup->has_unfiltered || filter == NULL;
    }
    if (dedup->seal.table != NULL && view->position >= dedup->seal.position)
        dedup->seal.table = NULL;
}

uint64_t
dedup_position(const struct dedup *dedup)
{
    return dedup->view != NULL ? dedup->view->position : 0;
}

uint64_t
dedup_expired(const struct dedup *dedup)
{
    return dedup->view != NULL ? dedup->view->expired : 0;
}

static bool
touch_is_due(const struct dedup *dedup)
{
    const uint32_t count = id_table_count(dedup->hot);
    const uint32_t full = dedup->options.hot_max;
    switch (dedup->touch_stage) {
    case TOUCH_BUCKETS: return true;
    case TOUCH_ENTRIES: return count >= full / TOUCH_ENTRIES_AT;
    case TOUCH_SPARE: return count >= full / TOUCH_SPARE_AT || dedup_is_sealed(dedup);
    case TOUCH_STAGES: break;
    }
    return false;
}

// The group that fills the table ends behind its bound, in another large page if that is where the
// bound is.
static uint32_t
touched_entries(const struct dedup_options *options)
{
    return options->hot_max + options->group_max;
}

struct touch *
dedup_touch(struct dedup *dedup)
{
    if (!touch_is_due(dedup))
        return NULL;
    struct touch *touch = &dedup->touches[dedup->touch_stage];
    const bool is_spare = dedup->touch_stage == TOUCH_SPARE;
    // The spare one is opened once; of the others, the one that was in use then may be gone.
    if (is_spare && touch->table != NULL)
        return touch;
    *touch = (struct touch){
        .table = is_spare ? hot_open(&dedup->options) : dedup->hot,
        .entries = dedup->touch_stage == TOUCH_BUCKETS ? 0 : touched_entries(&dedup->options),
        .has_buckets = dedup->touch_stage != TOUCH_ENTRIES,
        .spare = is_spare ? &dedup->spare : NULL,
    };
    return touch->table != NULL ? touch : NULL;
}

void
dedup_touched(struct dedup *dedup)
{
    must(dedup->touches[dedup->touch_stage].table != NULL);
    dedup->touch_stage++;
}

struct dedup_stat
dedup_stat(const struct dedup *dedup)
{
    struct dedup_stat stat = {
        .ids = id_table_count(dedup->hot),
        .bytes = id_table_bytes(dedup->hot),
        .probes = dedup->probes,
    };
    if (dedup->seal.table != NULL) {
        stat.ids += id_table_count(dedup->seal.table);
        stat.bytes += id_table_bytes(dedup->seal.table);
    }
    if (dedup->view != NULL) {
        stat.ids += dedup->view->ids;
        stat.bytes += dedup->view->filter_bytes + dedup->view->index_bytes;
        stat.generations = dedup->view->count;
    }
    return stat;
}
