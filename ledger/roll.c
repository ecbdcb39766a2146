// A window is a k-way merge: one walk for each of its parts, all in the order of subject and group.
// What stands at the least (subject, group) of all walks is gathered, merged by epoch, written. The
// walks read a committed state while a transaction of the window is written, so that no write moves
// what they stand on.

#include "ledger/roll.h"

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/cell_walk.h"
#include "ledger/crowd.h"
#include "ledger/dirty.h"
#include "ledger/shard_view.h"
#include "ledger/uniques.h"

enum {
    PARTS_MAX = 128,  // a day in quarter hours has at most 104, a month in days 31
    DELETES_PER_STEP = 50000,
    SLICE_PUTS = 65536,  // about a tenth of a second
};

// The part of a key that says which subject and group: behind the window, before the epoch.
enum { KEY_AFTER_WINDOW = 1 + 2 + 4 + 8, KEY_EPOCH_SIZE = 4 };

struct part {
    struct cell_key window;  // width, zone, meter and start
    struct walk walk;
    struct cell_key key;
    bool has_cell;
    uint8_t resumed[CELL_KEY_MAX];  // the key where it goes on
};

struct roll {
    const struct roll_options *options;
    struct horizons horizons;
    struct tx from;          // the parts
    struct tx to;            // the window
    struct sources sources;  // of one subject and group, by part, then epoch
    struct crowd crowd;
    struct part parts[PARTS_MAX];
    uint32_t parts_count;
    struct cell_group group;
    uint64_t slice_from;  // sources.puts when the transaction began
    struct roll_result result;
    struct error *error;
};

// A window of one meter that is being made.
struct making {
    const struct meter *meter;
    struct cell_key key;
    int64_t end_s;
    uint8_t place[CELL_KEY_MAX];  // subject and group, which the key points to
    uint32_t groups;              // of the subject, since they were settled
    bool is_capped;               // one of the subject's parts is
};

static enum status
refuse_cell(const struct roll *roll, struct bytes key)
{
    char name[CELL_TEXT_MAX];
    cell_key_print(key, name, sizeof name);
    return error_set(
        roll->error,
        STATUS_CORRUPT,
        "the cell of %.500s is damaged: "
        "rebuild the state with `tally ledger rebuild`",
        name);
}

// --- the parts ---

// Whether the walk stands on a cell of the part's window.
static enum status
part_look(struct roll *roll, struct part *part, bool more)
{
    const struct cell_key *window = &part->window;
    part->has_cell = false;
    // A walk that failed has not ended.
    if (!more)
        return tx_check(&roll->from, roll->error);
    if (!cell_key_read(part->walk.key, &part->key))
        return refuse_cell(roll, part->walk.key);
    part->has_cell = part->key.width == window->width && part->key.zone == window->zone &&
                     part->key.meter_id == window->meter_id && part->key.start_s == window->start_s;
    // One that is the part's is checked when it is read.
    if (!part->has_cell && !cell_is_whole(&part->walk))
        return refuse_cell(roll, part->walk.key);
    return STATUS_OK;
}

static struct bytes
part_place(const struct part *part)
{
    struct bytes key = part->walk.key;
    return bytes_of(key.data + KEY_AFTER_WINDOW, key.size - KEY_AFTER_WINDOW - KEY_EPOCH_SIZE);
}

static const struct part *
parts_least(const struct roll *roll)
{
    const struct part *least = NULL;
    for (uint32_t i = 0; i < roll->parts_count; i++) {
        const struct part *part = &roll->parts[i];
        if (part->has_cell &&
            (least == NULL || bytes_compare(part_place(part), part_place(least)) < 0))
            least = part;
    }
    return least;
}

static enum status
parts_open(struct roll *roll, const struct making *making, const struct window_kind *kind)
{
    const struct window_kind source = window_source(kind, making->key.start_s);
    enum status status = STATUS_OK;
    roll->parts_count = 0;
    for (int64_t at_s = making->key.start_s; at_s < making->end_s && !status;
         at_s = window_end(&source, at_s)) {
        uint8_t first[CELL_KEY_MAX];
        must(roll->parts_count < PARTS_MAX);
        struct part *part = &roll->parts[roll->parts_count++];
        part->window = (struct cell_key){
            .width = source.width,
            .zone = source.zone_number,
            .meter_id = making->meter->id,
            .start_s = at_s,
        };
        part->walk = walk_open(&roll->from, STATE_DB_CELLS);
        size_t size =
            cell_seek_window(source.width, source.zone_number, making->meter->id, at_s, first);
        bool more = false;
        status = cells_seek(&part->walk, bytes_of(first, size), &more);
        status = status ? refuse_cell(roll, part->walk.key) : part_look(roll, part, more);
    }
    return status;
}

static void
parts_close(struct roll *roll)
{
    for (uint32_t i = 0; i < roll->parts_count; i++)
        walk_done(&roll->parts[i].walk);
    roll->parts_count = 0;
}

// --- transactions ---

// Others have the state in between.
static enum status
roll_between(struct roll *roll)
{
    const struct roll_options *options = roll->options;
    return options->between == NULL ? STATUS_OK : options->between(options->context, roll->error);
}

// The parts go on in the newest state, whose cells nobody else has changed: what others free in
// between would not be used again under an older one.
static enum status
parts_renew(struct roll *roll)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < roll->parts_count; i++) {
        struct part *part = &roll->parts[i];
        if (part->has_cell)
            (void)cell_key_write(&part->key, part->resumed);
        walk_done(&part->walk);
    }
    tx_renew(&roll->from);
    for (uint32_t i = 0; i < roll->parts_count && !status; i++) {
        struct part *part = &roll->parts[i];
        if (!part->has_cell)
            continue;
        const struct bytes key = bytes_of(part->resumed, part->walk.key.size);
        bool more = false;
        part->walk = walk_open(&roll->from, STATE_DB_CELLS);
        if (cells_seek(&part->walk, key, &more))
            status = refuse_cell(roll, part->walk.key);
        else if (!more || !bytes_equal(part->walk.key, key))
            status = refuse_cell(roll, key);
        else
            status = part_look(roll, part, more);
    }
    return status;
}

// The window's next transaction, when this one has written enough.
static enum status
roll_slice(struct roll *roll)
{
    const uint32_t most = roll->options->slice_puts;
    if (roll->sources.puts - roll->slice_from < (most > 0 ? most : (uint32_t)SLICE_PUTS))
        return STATUS_OK;
    enum status status = tx_commit(&roll->to, roll->error);
    if (!status)
        status = roll_between(roll);
    if (!status)
        status = parts_renew(roll);
    if (status)
        return status;
    roll->slice_from = roll->sources.puts;
    roll->to = tx_write(roll->options->state);
    return STATUS_OK;
}

// --- the parts of a subject and group ---

// All epochs that the part has of the subject and group.
static enum status
part_gather(struct roll *roll, struct part *part, struct bytes place, const struct making *making)
{
    enum aggregation aggregation = making->meter->aggregation;
    enum status status = STATUS_OK;
    while (!status && part->has_cell && bytes_equal(part_place(part), place)) {
        struct source *source = sources_add(&roll->sources);
        struct cell_state *state = &source->state;
        struct bytes key = part->walk.key;
        source->place = (uint32_t)(part - roll->parts);
        source->shift_s = part->window.start_s - making->key.start_s;
        source->target = cuts_epoch(roll->options->cuts, making->end_s, part->key.epoch);
        if (cell_value_read(key, part->walk.value, aggregation, state, &roll->group))
            return refuse_cell(roll, key);
        if ((state->flags & CELL_SPILLED) &&
            uniques_read(
                &roll->from, key, state->unique.spilled, &state->unique.set, &roll->sources.arena))
            return refuse_cell(roll, key);
        status = part_look(roll, part, walk_next(&part->walk));
    }
    return status;
}

static enum status
roll_place(struct roll *roll, struct making *making, const struct part *least)
{
    struct bytes place = part_place(least);
    enum status status = STATUS_OK;
    memcpy(making->place, place.data, place.size);
    place.data = making->place;
    making->key.subject = bytes_of(making->place + 1, making->place[0]);
    making->key.group = least->key.group;
    sources_reset(&roll->sources);
    for (uint32_t i = 0; i < roll->parts_count && !status; i++)
        status = part_gather(roll, &roll->parts[i], place, making);
    if (status)
        return status;
    return sources_write(
        &roll->sources,
        &roll->to,
        making->meter->aggregation,
        &making->key,
        &roll->group,
        roll->error);
}

// When the subject's last group is written, or so many that no more are to lie there at once.
static enum status
roll_settle(struct roll *roll, struct making *making, const struct part *next)
{
    uint32_t groups_max = roll->options->retention.groups_max;
    making->groups++;
    making->is_capped = making->is_capped || crowd_is_total(making->key.group);
    bool is_last = next == NULL || !bytes_equal(next->key.subject, making->key.subject);
    bool is_crowded = groups_max > 0 && making->groups > groups_max;
    enum status status = STATUS_OK;
    if (is_crowded || (is_last && making->is_capped && making->groups > 1)) {
        status = crowd_settle(&roll->crowd, making->meter->aggregation, &making->key);
        making->groups = 1;
        making->is_capped = true;
    }
    if (is_last) {
        making->groups = 0;
        making->is_capped = false;
    }
    return status;
}

// Deletes up to a bounded number of cells of one meter that start in [from_s, before_s).
// True: all gone.
static bool
delete_some(
    struct roll *roll,
    const struct window_kind *kind,
    uint32_t meter_id,
    int64_t from_s,
    int64_t before_s)
{
    uint8_t first[CELL_KEY_MAX];
    size_t size = cell_seek_window(kind->width, kind->zone_number, meter_id, from_s, first);
    for (uint32_t i = 0; i < DELETES_PER_STEP; i++) {
        uint8_t bytes[CELL_KEY_MAX];
        struct cell_key key;
        struct walk walk = walk_open(&roll->to, STATE_DB_CELLS);
        bool is_there = walk_seek(&walk, bytes_of(first, size)) && walk.key.size <= sizeof bytes &&
                        cell_key_read(walk.key, &key) && key.width == kind->width &&
                        key.zone == kind->zone_number && key.meter_id == meter_id &&
                        key.start_s < before_s;
        struct bytes found = bytes_of(bytes, is_there ? walk.key.size : 0);
        enum aggregation aggregation = AGGREGATION_COUNT;
        if (is_there) {
            memcpy(bytes, walk.key.data, walk.key.size);
            (void)cell_value_aggregation(walk.value, &aggregation);
        }
        walk_done(&walk);
        if (!is_there)
            return true;
        if (aggregation == AGGREGATION_UNIQUE_COUNT)
            uniques_delete(&roll->to, found);
        (void)tx_delete(&roll->to, STATE_DB_CELLS, found);
        dirty_delete(&roll->to, found);
        roll->result.deleted++;
    }
    return false;
}

static enum status
roll_meter(
    struct roll *roll, const struct meter *meter, const struct window_kind *kind, int64_t start_s)
{
    struct making making = {
        .meter = meter,
        .key =
            {
                  .width = kind->width,
                  .zone = kind->zone_number,
                  .meter_id = meter->id,
                  .start_s = start_s,
                  },
        .end_s = window_end(kind, start_s),
    };
    enum status status = parts_open(roll, &making, kind);
    const struct part *least = parts_least(roll);
    while (!status && least != NULL) {
        status = roll_place(roll, &making, least);
        least = parts_least(roll);
        if (!status && meter->dimensions_count > 0)
            status = roll_settle(roll, &making, least);
        if (!status)
            status = roll_slice(roll);
    }
    parts_close(roll);
    return status;
}

// --- which windows ---

// When the meter's first cell of the kind at or after from_s starts; INT64_MAX: there is none.
static enum status
next_cell(
    struct roll *roll,
    const struct window_kind *kind,
    uint32_t meter_id,
    int64_t from_s,
    int64_t *out_start_s)
{
    uint8_t bytes[CELL_KEY_MAX];
    struct cell_key key;
    bool more = false;
    enum status status = STATUS_OK;
    size_t size = cell_seek_window(kind->width, kind->zone_number, meter_id, from_s, bytes);
    struct walk walk = walk_open(&roll->from, STATE_DB_CELLS);
    *out_start_s = INT64_MAX;
    if (cells_seek(&walk, bytes_of(bytes, size), &more))
        status = refuse_cell(roll, walk.key);
    else if (
        more && cell_key_read(walk.key, &key) && key.width == kind->width &&
        key.zone == kind->zone_number && key.meter_id == meter_id)
        *out_start_s = key.start_s;
    walk_done(&walk);
    return status;
}

// The first window at or after from_s that has a source for some meter; INT64_MAX: there is none.
static enum status
next_window(struct roll *roll, const struct window_kind *kind, int64_t from_s, int64_t *out_start_s)
{
    const struct meter_set *set = roll->options->meters;
    const struct window_kind source = window_source(kind, from_s);
    int64_t first_s = INT64_MAX;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < meter_set_count(set) && !status; i++) {
        int64_t start_s;
        status = next_cell(roll, &source, meter_set_at(set, i)->id, from_s, &start_s);
        if (start_s < first_s)
            first_s = start_s;
    }
    *out_start_s = first_s == INT64_MAX ? INT64_MAX : window_start(kind, first_s);
    return status;
}

// The cells of a meter that start in [from_s, before_s), in slices.
static enum status
delete_all(
    struct roll *roll,
    const struct window_kind *kind,
    uint32_t meter_id,
    int64_t from_s,
    int64_t before_s)
{
    enum status status = STATUS_OK;
    for (bool is_done = false; !is_done && !status;) {
        roll->to = tx_write(roll->options->state);
        is_done = delete_some(roll, kind, meter_id, from_s, before_s);
        status = tx_commit(&roll->to, roll->error);
        if (!status && !is_done)
            status = roll_between(roll);
    }
    return status;
}

// What a crash left of a window that was being made: the groups of a subject that has too many
// would be added to the total that is there already.
static enum status
delete_leftovers(struct roll *roll, const struct window_kind *kind, int64_t start_s)
{
    const struct meter_set *set = roll->options->meters;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < meter_set_count(set) && !status; i++) {
        const uint32_t meter_id = meter_set_at(set, i)->id;
        int64_t left_s;
        status = next_cell(roll, kind, meter_id, start_s, &left_s);
        if (!status && left_s == start_s)
            status = delete_all(roll, kind, meter_id, start_s, start_s + 1);
    }
    return status;
}

static enum status
roll_window(struct roll *roll, struct horizon *horizon, int64_t start_s)
{
    const struct meter_set *set = roll->options->meters;
    enum status status = delete_leftovers(roll, &horizon->kind, start_s);
    if (status)
        return status;
    roll->to = tx_write(roll->options->state);
    roll->slice_from = roll->sources.puts;
    for (uint32_t i = 0; i < meter_set_count(set) && !status; i++)
        status = roll_meter(roll, meter_set_at(set, i), &horizon->kind, start_s);
    if (!status) {
        horizon->made_s = window_end(&horizon->kind, start_s);
        horizon_write(&roll->to, &roll->horizons, horizon);
        status = tx_commit(&roll->to, roll->error);
        roll->result.windows += !status;
    }
    tx_done(&roll->to);
    tx_renew(&roll->from);
    return status ? status : roll_between(roll);
}

// Windows of which a part is gone already are never made: the log has them.
static bool
has_all_parts(const struct roll *roll, const struct window_kind *kind, int64_t start_s)
{
    const struct window_kind source = window_source(kind, start_s);
    const struct horizon *of_source =
        horizons_find(&roll->horizons, source.width, source.zone_number);
    return of_source != NULL && of_source->kept_s <= start_s;
}

// Up to which time parts are there: quarter hours to the last closed one, others as they are made.
static int64_t
parts_until(const struct roll *roll, const struct window_kind *kind, int64_t start_s)
{
    const struct window_kind source = window_source(kind, start_s);
    if (source.width == CELL_QUARTER_HOUR)
        return roll->options->now_s;
    return horizons_find(&roll->horizons, source.width, source.zone_number)->made_s;
}

// All cells of the kind that start before the limit, in slices.
static enum status
delete_before(struct roll *roll, const struct horizon *horizon, int64_t before_s)
{
    const struct meter_set *set = roll->options->meters;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < meter_set_count(set) && !status; i++)
        status = delete_all(roll, &horizon->kind, meter_set_at(set, i)->id, 0, before_s);
    tx_renew(&roll->from);
    return status;
}

// From where on there are parts for a window that begins at the moment.
static int64_t
parts_from(const struct roll *roll, const struct window_kind *kind, int64_t start_s)
{
    const struct window_kind source = window_source(kind, start_s);
    return horizons_find(&roll->horizons, source.width, source.zone_number)->kept_s;
}

// In a transaction of its own.
static enum status
horizon_commit(struct roll *roll, const struct horizon *horizon)
{
    roll->to = tx_write(roll->options->state);
    horizon_write(&roll->to, &roll->horizons, horizon);
    enum status status = tx_commit(&roll->to, roll->error);
    tx_renew(&roll->from);
    return status;
}

// The next window to be made is one whose parts are still there, whether or not something happened
// in those before it. A zone that was listed before, or whose clock was another one, may have left
// cells, which late events did not reach, and of which a total would be added to the new. The
// horizon goes first, before any cell does: what it does not keep is never read.
static enum status
horizon_begin(struct roll *roll, struct horizon *horizon)
{
    const struct window_kind *kind = &horizon->kind;
    int64_t begin_s = horizon->made_s;
    enum status status = STATUS_OK;
    if (kind->zone_number > 0 && begin_s == 0)
        status = delete_before(roll, horizon, INT64_MAX);
    // Days of a zone are made of quarter hours at some times and of hours at others, and hours
    // reach back further.
    if (kind->width == CELL_ZONE_DAY && begin_s < roll->horizons.list[1].kept_s)
        begin_s = roll->horizons.list[1].kept_s;
    while (begin_s < parts_from(roll, kind, window_start(kind, begin_s)))
        begin_s = parts_from(roll, kind, window_start(kind, begin_s));
    if (status || begin_s == horizon->made_s)
        return status;
    if (!window_is_start(kind, begin_s))
        begin_s = window_end(kind, window_start(kind, begin_s));
    horizon->made_s = begin_s;
    horizon->kept_s = begin_s;
    status = horizon_commit(roll, horizon);
    return status ? status : delete_before(roll, horizon, begin_s);
}

static enum status
roll_kind(struct roll *roll, struct horizon *horizon)
{
    const struct window_kind *kind = &horizon->kind;
    const int64_t before_s = horizon->made_s;
    const int64_t kept_before_s = horizon->kept_s;
    int64_t now_start_s = window_start(kind, roll->options->now_s);
    int64_t start_s = 0;
    enum status status = horizon_begin(roll, horizon);
    while (!status) {
        status = next_window(roll, kind, horizon->made_s, &start_s);
        bool is_due = !status && start_s < now_start_s && start_s >= horizon->made_s &&
                      window_end(kind, start_s) <= parts_until(roll, kind, start_s);
        if (!is_due)
            break;
        if (has_all_parts(roll, kind, start_s)) {
            status = roll_window(roll, horizon, start_s);
        } else {
            horizon->made_s = window_end(kind, start_s);
            horizon->kept_s = horizon->made_s;
        }
        if (!status)
            status = horizon_begin(roll, horizon);
    }
    // What is empty is made as well.
    int64_t until_s = parts_until(roll, kind, horizon->made_s);
    until_s = window_start(kind, until_s < now_start_s ? until_s : now_start_s);
    if (!status && until_s > horizon->made_s)
        horizon->made_s = until_s;
    bool has_changed = horizon->made_s != before_s || horizon->kept_s != kept_before_s;
    return status || !has_changed ? status : horizon_commit(roll, horizon);
}

// --- what is too old ---

// Days of a zone are made of hours or quarter hours, as its clock demands.
static bool
kind_is_made_of(const struct window_kind *kind, enum cell_width width)
{
    switch (kind->width) {
    case CELL_HOUR: return width == CELL_QUARTER_HOUR;
    case CELL_DAY: return width == CELL_HOUR;
    case CELL_ZONE_DAY: return kind->zone != NULL;
    case CELL_QUARTER_HOUR:
    case CELL_MONTH:
    case CELL_ZONE_MONTH: break;
    }
    return false;
}

// The horizon goes first, as in horizon_begin.
static enum status
retire_kind(struct roll *roll, struct horizon *horizon, int64_t kept_for_s)
{
    int64_t before_s = roll->options->now_s - kept_for_s;
    if (kept_for_s == 0 || before_s <= 0)
        return STATUS_OK;
    before_s = window_start(&horizon->kind, before_s);
    // Not before what is made of it is made.
    for (uint32_t i = 1; i < roll->horizons.count; i++) {
        const struct horizon *made = &roll->horizons.list[i];
        if (kind_is_made_of(&made->kind, horizon->kind.width) && made->made_s < before_s)
            before_s = window_start(&horizon->kind, made->made_s);
    }
    if (before_s <= horizon->kept_s)
        return STATUS_OK;
    horizon->kept_s = before_s;
    enum status status = horizon_commit(roll, horizon);
    return status ? status : delete_before(roll, horizon, before_s);
}

static enum status
roll_all(struct roll *roll)
{
    const struct roll_options *options = roll->options;
    enum status status = horizons_read(&roll->from, &roll->horizons, roll->error);
    if (status)
        return status;
    for (uint32_t i = 0; i < options->zones->count; i++) {
        if (!horizons_zone(&roll->horizons, options->zones->list[i], true))
            return error_set(roll->error, STATUS_FULL, "too many billing zones");
    }
    for (uint32_t i = 1; i < roll->horizons.count && !status; i++) {
        struct horizon *horizon = &roll->horizons.list[i];
        if (horizon->kind.zone_number == 0 || horizon->kind.zone != NULL)
            status = roll_kind(roll, horizon);
    }
    if (!status)
        status = retire_kind(roll, &roll->horizons.list[0], options->retention.quarter_hours_s);
    if (!status)
        status = retire_kind(roll, &roll->horizons.list[1], options->retention.hours_s);
    return status;
}

enum status
roll_run(const struct roll_options *options, struct roll_result *out, struct error *error)
{
    struct roll *roll = pool_take(1, sizeof *roll);
    if (roll == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to make windows");
    roll->options = options;
    roll->error = error;
    roll->crowd = (struct crowd){
        .tx = &roll->to, .groups_max = options->retention.groups_max, .error = error};
    roll->from = tx_read(options->state);
    enum status status = roll_all(roll);
    *out = roll->result;
    out->cells = roll->sources.written;
    out->capped = roll->crowd.capped;
    tx_done(&roll->from);
    tx_done(&roll->to);
    sources_done(&roll->sources);
    crowd_done(&roll->crowd);
    pool_give(roll);
    return status;
}
