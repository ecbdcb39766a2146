#include "ledger/usage_scan.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/cell_place.h"
#include "ledger/cell_walk.h"
#include "ledger/correction.h"
#include "ledger/cover.h"
#include "ledger/log_kept.h"
#include "ledger/log_walk.h"
#include "ledger/uniques.h"

// A look at the clock costs more than a cell, so it comes every so many steps.
enum { CELLS_PER_LOOK = 1024, HOUR_S = 3600 };

static const int64_t SNAPSHOT_MAX_NS = 500 * 1000000LL;

static enum status
scan_fail(const struct usage_scan *scan, struct error *error)
{
    return error_prefix(error, "shard %u", scan->view->shard);
}

static enum status
refuse_cell(struct bytes key, struct error *error)
{
    char text[CELL_TEXT_MAX];
    cell_key_print(key, text, sizeof text);
    return error_set(
        error,
        STATUS_CORRUPT,
        "the cell of %s is damaged: rebuild the state with `tally ledger rebuild`",
        text);
}

// Where to look next, after a key of a subject that is not wanted: in the same window when a wanted
// one is still to come there, else in the next.
static size_t
jump_write(
    const struct usage_plan *plan,
    const struct window_kind *kind,
    const struct cell_key *at,
    uint8_t out[CELL_KEY_MAX])
{
    struct cell_key wanted = *at;
    if (!usage_plan_subject_from(plan, at->subject, &wanted.subject)) {
        wanted.subject = plan->subjects[0];
        wanted.start_s = window_end(kind, at->start_s);
    }
    return cell_prefix_subject(&wanted, out);
}

struct cell_walk {
    const struct usage_scan *scan;
    struct tx *state;
    struct walk walk;
    struct horizons horizons;         // of the snapshot
    const struct cover_piece *piece;  // whose windows are walked
    struct cell_place place;
    int64_t deadline_ns;
    uint32_t steps;
};

// Whether no cells were deleted between the two: retention does not move the position.
static bool
keeps_same(const struct horizons *a, const struct horizons *b)
{
    bool is_same = a->count == b->count;
    for (uint32_t i = 0; i < a->count && is_same; i++)
        is_same = a->list[i].kept_s == b->list[i].kept_s;
    return is_same;
}

// Starts again on the newest state, at the same key. Only while the position and the meter's first
// block stand still are its cells those of the same blocks.
static enum status
cell_walk_renew(struct cell_walk *cells, bool *out_more, struct error *error)
{
    uint8_t key[CELL_KEY_MAX];
    size_t key_size = cells->walk.key.size;
    must(key_size <= sizeof key);
    memcpy(key, cells->walk.key.data, key_size);
    walk_done(&cells->walk);
    tx_renew(cells->state);
    const struct usage_scan *scan = cells->scan;
    uint64_t position = 0;
    uint64_t live_from = 0;
    struct horizons horizons;
    enum status status = state_position(cells->state, &position, error);
    if (!status)
        status = state_live_from(cells->state, scan->plan->meter->id, &live_from, error);
    if (!status)
        status = horizons_read(cells->state, &horizons, error);
    if (status)
        return status;
    if (position != scan->position || live_from != scan->live_from ||
        !keeps_same(&horizons, &cells->horizons))
        return error_set(error, STATUS_BUSY, "the cells were flushed while they were read");
    cells->walk = walk_open(cells->state, STATE_DB_CELLS);
    cells->deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
    return cells_seek(&cells->walk, bytes_of(key, key_size), out_more)
               ? refuse_cell(cells->walk.key, error)
               : STATUS_OK;
}

static enum status
cell_walk_add(struct cell_walk *cells, const struct place_cell *cell, struct error *error)
{
    const struct usage_plan *plan = cells->scan->plan;
    struct usage_rows *rows = cells->scan->rows;
    int64_t end_s = window_end(&cells->piece->kind, cell->key.start_s);
    // Its hours may have them.
    if ((cell->state.flags & CELL_CAPPED) && plan->needs_groups && cell->key.width > CELL_HOUR &&
        !cells->scan->is_narrow)
        cells->scan->rows->lacks_groups = true;
    if (cells->scan->rows->lacks_groups)
        return error_set(error, STATUS_BUSY, "a window lacks the groups that are asked for");
    if (cell->group.count != plan->meter->dimensions_count && !(cell->state.flags & CELL_CAPPED))
        return refuse_cell(cell->key_bytes, error);
    struct usage_sum *sum = usage_rows_cell(rows, &cell->key, end_s, &cell->group, &cell->state);
    if (sum == NULL || !(cell->state.flags & CELL_SPILLED))
        return STATUS_OK;
    struct cell_set *set = &sum->state.unique.set;
    if (uniques_read(cells->state, cell->key_bytes, cell->state.unique.spilled, set, rows->arena))
        return refuse_cell(cell->key_bytes, error);
    return STATUS_OK;
}

// The cells of the place that the walk stands on, then the next place.
static enum status
cell_walk_use(
    struct cell_walk *cells, const struct cell_key *key, bool *out_more, struct error *error)
{
    const struct usage_plan *plan = cells->scan->plan;
    struct cell_place *place = &cells->place;
    uint32_t below = usage_plan_below(plan);
    if (cell_place_read(place, &cells->walk, key, plan->meter->aggregation, below, out_more))
        return refuse_cell(cells->walk.key, error);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < cell_place_count(place) && !status; i++)
        status = cell_walk_add(cells, cell_place_at(place, i), error);
    return status;
}

// Uses the current cell, or jumps over those of other subjects; *out_more says whether there is a
// next one.
static enum status
cell_walk_step(struct cell_walk *cells, bool *out_more, struct error *error)
{
    const struct usage_plan *plan = cells->scan->plan;
    struct cell_key key;
    if (cells->walk.key.size > CELL_KEY_MAX || !cell_key_read(cells->walk.key, &key))
        return refuse_cell(cells->walk.key, error);
    const struct window_kind *kind = &cells->piece->kind;
    if (key.width != kind->width || key.zone != kind->zone_number ||
        key.meter_id != plan->meter->id || key.start_s >= cells->piece->to_s ||
        cells->scan->rows->needs_log) {
        *out_more = false;
        return cell_is_whole(&cells->walk) ? STATUS_OK : refuse_cell(cells->walk.key, error);
    }
    if (!usage_plan_wants(plan, key.subject)) {
        uint8_t jump[CELL_KEY_MAX];
        size_t jump_size = jump_write(plan, kind, &key, jump);
        // Damaged pages may be out of order: a jump goes forward or not at all.
        if (bytes_compare(bytes_of(jump, jump_size), cells->walk.key) <= 0 ||
            !cell_is_whole(&cells->walk) ||
            cells_seek(&cells->walk, bytes_of(jump, jump_size), out_more))
            return refuse_cell(cells->walk.key, error);
        return STATUS_OK;
    }
    return cell_walk_use(cells, &key, out_more, error);
}

static enum status
cell_walk_run(struct cell_walk *cells, struct error *error)
{
    const struct usage_plan *plan = cells->scan->plan;
    const struct cover_piece *piece = cells->piece;
    uint8_t first[CELL_KEY_MAX];
    size_t first_size = cell_seek_window(
        piece->kind.width, piece->kind.zone_number, plan->meter->id, piece->from_s, first);
    enum status status = STATUS_OK;
    bool more = false;
    if (cells_seek(&cells->walk, bytes_of(first, first_size), &more))
        return refuse_cell(cells->walk.key, error);
    while (!status && more) {
        bool is_late = ++cells->steps % CELLS_PER_LOOK == 0 && !cells->scan->holds_snapshot &&
                       clock_monotonic_ns() > cells->deadline_ns;
        if (is_late)
            status = cell_walk_renew(cells, &more, error);
        else
            status = cell_walk_step(cells, &more, error);
    }
    return status ? status : tx_check(cells->state, error);
}

// Where the range's first cells can be: ranges without a beginning begin in 1970, and trying each
// day from there on takes longer than reading what there is. What was deleted is in wider cells.
static enum status
first_start(const struct cell_walk *cells, int64_t *out, struct error *error)
{
    const struct usage_plan *plan = cells->scan->plan;
    int64_t first_s = plan->to_s;
    scoped(walk_done) struct walk walk = walk_open(cells->state, STATE_DB_CELLS);
    for (int width = CELL_QUARTER_HOUR; width <= CELL_MONTH; width++) {
        uint8_t place[CELL_KEY_MAX];
        struct cell_key key;
        size_t size = cell_seek_window((enum cell_width)width, 0, plan->meter->id, 0, place);
        bool more = false;
        if (cells_seek(&walk, bytes_of(place, size), &more))
            return refuse_cell(walk.key, error);
        bool is_found = more && cell_key_read(walk.key, &key) && (int)key.width == width &&
                        key.meter_id == plan->meter->id;
        if (is_found && key.start_s < first_s)
            first_s = key.start_s;
    }
    *out = first_s > plan->from_s ? first_s : plan->from_s;
    // A search that failed found nothing, which is not the same as nothing there.
    return tx_check(cells->state, error);
}

// Whether the zone's hours are those of UTC all the time: then its days begin on such hours.
static bool
hours_are_whole(const struct zone *zone, int64_t from_s, int64_t to_s)
{
    bool is_whole = true;
    for (int64_t at_s = from_s; zone != NULL && is_whole && at_s < to_s;) {
        at_s = zone_day_next(zone, at_s);
        is_whole = at_s % HOUR_S == 0;
    }
    return is_whole;
}

// Hours are read as quarter hours while these are kept, and as hours before; what is no whole hour
// there is in the log.
static struct cover
hours_cover(
    const struct horizons *horizons,
    const struct cover_question *range,
    const struct zone *zone,
    struct arena *arena)
{
    const struct horizon *quarters = &horizons->list[0];
    const struct horizon *hours = &horizons->list[1];
    int64_t split_s = range->to_s - range->to_s % HOUR_S;
    if (split_s > hours->made_s)
        split_s = hours->made_s;
    bool is_log = range->from_s < hours->kept_s || range->from_s % HOUR_S != 0 ||
                  (range->to_s > split_s && split_s < quarters->kept_s) ||
                  !hours_are_whole(zone, range->from_s, split_s);
    struct cover_piece *pieces = arena_array(arena, 2, struct cover_piece);
    pieces[0] = (struct cover_piece){
        .is_log = is_log, .kind = {.width = CELL_HOUR}, .from_s = range->from_s, .to_s = split_s};
    pieces[1] = (struct cover_piece){
        .kind = {.width = CELL_QUARTER_HOUR}, .from_s = split_s, .to_s = range->to_s};
    return (struct cover){.pieces = pieces, .count = 2};
}

// Whole ranges, days and months are covered by the widest cells that fit, those of the query's zone
// when it is a billing zone; finer windows by quarter hours, so that nobody tries each hour of a
// range without end.
static struct cover
cells_cover(struct cell_walk *cells, int64_t from_s, struct arena *arena)
{
    const struct usage_plan *plan = cells->scan->plan;
    struct horizons *horizons = &cells->horizons;
    int64_t to_s = (plan->to_s + QUARTER_HOUR_S - 1) / QUARTER_HOUR_S * QUARTER_HOUR_S;
    bool has_zone = plan->zone != NULL;
    const struct window_kind month = {
        .width = has_zone ? CELL_ZONE_MONTH : CELL_MONTH, .zone = plan->zone};
    const struct window_kind day = {
        .width = has_zone ? CELL_ZONE_DAY : CELL_DAY, .zone = plan->zone};
    struct cover_question question = {
        .from_s = from_s - from_s % QUARTER_HOUR_S,
        .to_s = to_s,
        .zone_number = has_zone ? horizons_use(horizons, plan->zone) : 0,
        .is_narrow = cells->scan->is_narrow,
    };
    if (plan->window == USAGE_WINDOW_MONTH)
        question.within = &month;
    if (plan->window == USAGE_WINDOW_DAY)
        question.within = &day;
    bool is_wide = question.within != NULL || plan->window == USAGE_WINDOW_NONE;
    // A month of a zone may begin before the first cell of UTC does.
    if (is_wide && question.zone_number > 0 && from_s < plan->to_s) {
        from_s = window_start(&month, from_s);
        from_s = from_s > plan->from_s ? from_s : plan->from_s;
        question.from_s = from_s - from_s % QUARTER_HOUR_S;
    }
    if (is_wide)
        return cover_make(horizons, &question, arena);
    bool has_quarters = question.from_s >= horizons->list[0].kept_s;
    if (plan->window == USAGE_WINDOW_HOUR && !has_quarters && question.from_s < to_s)
        return hours_cover(horizons, &question, plan->zone, arena);
    struct cover_piece *piece = arena_new(arena, struct cover_piece);
    *piece = (struct cover_piece){
        .is_log = !has_quarters,
        .kind = {.width = CELL_QUARTER_HOUR},
        .from_s = question.from_s,
        .to_s = to_s,
    };
    return (struct cover){.pieces = piece, .count = 1};
}

enum status
usage_scan_cells(const struct usage_scan *scan, struct tx *state, struct error *error)
{
    must(scan->plan->is_aligned);
    scoped(arena_done) struct arena scratch = {0};
    struct cell_walk cells = {
        .scan = scan,
        .state = state,
        .deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS,
    };
    int64_t from_s = 0;
    enum status status = horizons_read(state, &cells.horizons, error);
    if (!status)
        status = first_start(&cells, &from_s, error);
    if (status)
        return scan_fail(scan, error);
    struct cover cover = cells_cover(&cells, from_s, &scratch);
    for (uint32_t i = 0; i < cover.count; i++)
        scan->rows->needs_log = scan->rows->needs_log || cover.pieces[i].is_log;
    cells.walk = walk_open(state, STATE_DB_CELLS);
    for (uint32_t i = 0; i < cover.count && !status && !scan->rows->needs_log; i++) {
        cells.piece = &cover.pieces[i];
        status = cell_walk_run(&cells, error);
    }
    walk_done(&cells.walk);
    cell_place_done(&cells.place);
    return status && status != STATUS_BUSY ? scan_fail(scan, error) : status;
}

// A run over blocks of the log.
struct log_scan {
    const struct usage_scan *scan;
    const struct usage_blocks *blocks;
    bool subtracts;                  // the aggregation can: a correction is one more step
    struct corrections corrections;  // else: what is taken out of these blocks
    struct log_reader reader;
    struct fold_scratch scratch;
};

static bool
scan_wants(const struct log_scan *log, const struct entry *entry)
{
    const struct usage_plan *plan = log->scan->plan;
    int64_t time_s = entry->time_ns / SECOND_NS;
    if (entry->time_ns < 0 || entry->time_ns < plan->from_ns ||
        (entry->time_ns >= plan->to_ns && plan->to_ns != INT64_MAX) ||
        !usage_plan_wants(plan, entry->subject))
        return false;
    bool is_touched =
        log->blocks->part != USAGE_ALL &&
        usage_is_touched(log->scan->rows->touched, entry->subject, time_s, time_s + 1);
    return log->blocks->part == USAGE_ALL || is_touched == (log->blocks->part == USAGE_TOUCHED);
}

static void
scan_event(struct log_scan *log, const struct entry *event, const struct fold_place *place)
{
    const struct meter_rule *rule = meter_set_first(log->scan->plan->set, event->type);
    struct fold_step step;
    if (corrections_have(&log->corrections, place->block, place->index))
        return;
    if (rule != NULL && meter_rule_apply(rule, event, place, &log->scratch, &step))
        usage_rows_event(log->scan->rows, event->subject, &step);
}

// What was taken out before these blocks is in something that nobody can take it out of: all of the
// quarter hour is read from the log.
static void
scan_taken(struct log_scan *log, const struct entry *event, const struct fold_place *place)
{
    const struct meter_rule *rule = meter_set_first(log->scan->plan->set, event->type);
    struct fold_step step;
    if (rule != NULL && meter_rule_apply(rule, event, place, &log->scratch, &step))
        usage_touch(
            log->scan->rows->touched, event->subject, step.start_s, step.start_s + QUARTER_HOUR_S);
}

static void
scan_entry(struct log_scan *log, const struct entry *entry, const struct fold_place *place)
{
    struct correction_part parts[CORRECTION_PARTS_MAX];
    uint32_t count = correction_parts(entry, parts);
    for (uint32_t i = 0; i < count; i++) {
        struct fold_place part = *place;
        part.is_cancel = parts[i].is_cancel;
        if (!part.is_cancel || log->subtracts)
            scan_event(log, &parts[i].event, &part);
        else if (entry->note.block < log->blocks->first)
            scan_taken(log, &parts[i].event, &part);
    }
}

static enum status
scan_block(struct log_scan *scan, struct tx *log, uint64_t sequence, struct error *error)
{
    const struct usage_plan *plan = scan->scan->plan;
    struct log_reader *reader = &scan->reader;
    enum status status = log_look(reader, log, sequence, error);
    if (status)
        return status;
    const struct block_header *header = &reader->header;
    if (header->time_max_ns < plan->from_ns ||
        (header->time_min_ns >= plan->to_ns && plan->to_ns != INT64_MAX) ||
        (scan->blocks->part == USAGE_TOUCHED &&
         !usage_touches(scan->scan->rows->touched, header->time_min_ns, header->time_max_ns)))
        return STATUS_OK;
    struct entry entry;
    status = log_open(reader, log, sequence, error);
    if (status)
        return status;
    scan->scan->rows->blocks_read++;
    struct fold_place place = {.block = sequence, .arrival_ns = header->arrival_ns};
    while (log_next(reader, &entry)) {
        place.index = reader->block.index - 1;
        if (scan_wants(scan, &entry))
            scan_entry(scan, &entry, &place);
    }
    return log_end(reader, error);
}

// The earliest moment that the blocks are asked about.
static int64_t
part_from(const struct usage_scan *scan, enum usage_part part)
{
    int64_t from_ns = scan->plan->from_ns;
    if (part != USAGE_TOUCHED)
        return from_ns;
    int64_t touched_ns = usage_touched_from(scan->rows->touched) * SECOND_NS;
    return touched_ns > from_ns ? touched_ns : from_ns;
}

// Whether the log can answer at all.
static enum status
scan_check(const struct log_scan *run, uint64_t *sequence, struct error *error)
{
    const struct usage_blocks *blocks = run->blocks;
    scoped(tx_done) struct tx log = tx_read(run->scan->view->log);
    return log_kept_answers(
        &log, part_from(run->scan, blocks->part), blocks->last, sequence, error);
}

// In each snapshot anew what retention has left is asked for.
static enum status
scan_blocks(struct log_scan *run, uint64_t sequence, struct error *error)
{
    const struct usage_blocks *blocks = run->blocks;
    const int64_t from_ns = part_from(run->scan, blocks->part);
    scoped(snapshot_done) struct snapshot log = snapshot_of(run->scan->view->log);
    enum status status = log_kept_answers(&log.tx, from_ns, blocks->last, &sequence, error);
    while (!status && sequence <= blocks->last) {
        status = scan_block(run, &log.tx, sequence, error);
        sequence++;
        if (!status && snapshot_renew(&log, sequence))
            status = log_kept_answers(&log.tx, from_ns, blocks->last, &sequence, error);
    }
    return status;
}

enum status
usage_scan_log(
    const struct usage_scan *scan, const struct usage_blocks *blocks, struct error *error)
{
    if (blocks->first > blocks->last)
        return STATUS_OK;
    must(scan->view->log != NULL && blocks->first > 0 && blocks->head >= blocks->last);
    const struct usage_plan *plan = scan->plan;
    struct log_scan run = {
        .scan = scan,
        .blocks = blocks,
        .subtracts = cell_has_way_back(plan->meter->aggregation),
    };
    uint64_t first = blocks->first;
    enum status status = scan_check(&run, &first, error);
    if (!status && !run.subtracts && first <= blocks->last)
        status = corrections_read(
            &run.corrections,
            scan->view->log,
            first,
            blocks->head,
            plan->from_ns,
            plan->to_ns,
            error);
    if (!status)
        status = scan_blocks(&run, first, error);
    log_reader_done(&run.reader);
    corrections_done(&run.corrections);
    return status ? scan_fail(scan, error) : STATUS_OK;
}
