#include "ledger/usage_scan.h"

#include "base/assert.h"
#include "base/clock.h"

// A look at the clock costs more than a cell, so it comes every so many steps.
enum { CELLS_PER_LOOK = 1024, BLOCKS_PER_LOOK = 16 };

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
    return error_set(error, STATUS_CORRUPT, "the cell of %s is damaged", text);
}

// Whether the key belongs to the plan's meter (and subject).
static bool
key_has_prefix(struct bytes key, struct bytes prefix)
{
    return key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

// The first key of a subject at or after a window.
static size_t
window_key_write(
    const struct usage_plan *plan, struct bytes subject, int64_t window, uint8_t out[CELL_KEY_MAX])
{
    size_t size = cell_prefix_write(CELL_QUARTER_HOUR, plan->meter->id, &subject, out);
    uint64_t swapped = __builtin_bswap64((uint64_t)window);
    memcpy(out + size, &swapped, sizeof swapped);
    return size + sizeof swapped;
}

struct cell_walk {
    const struct usage_scan *scan;
    struct tx *state;
    struct walk walk;
    struct bytes prefix;
    int64_t deadline_ns;
    uint32_t steps;
};

// Starts again on the newest state, at the same key. Only while the position stands still are its
// cells those of the same prefix of the log.
static enum status
cell_walk_renew(struct cell_walk *cells, bool *out_more, struct error *error)
{
    uint8_t key[CELL_KEY_MAX];
    size_t key_size = cells->walk.key.size;
    must(key_size <= sizeof key);
    memcpy(key, cells->walk.key.data, key_size);
    walk_done(&cells->walk);
    tx_renew(cells->state);
    uint64_t position = 0;
    enum status status = state_position(cells->state, &position, error);
    if (status)
        return status;
    if (position != cells->scan->position)
        return error_set(error, STATUS_BUSY, "the cells were flushed while they were read");
    cells->walk = walk_open(cells->state, STATE_DB_CELLS);
    *out_more = walk_seek(&cells->walk, bytes_of(key, key_size));
    cells->deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
    return STATUS_OK;
}

// Uses the current cell, or jumps over those outside the range; *out_more says whether there is a
// next one.
static enum status
cell_walk_step(struct cell_walk *cells, bool *out_more, struct error *error)
{
    const struct usage_plan *plan = cells->scan->plan;
    struct cell_key key;
    if (cells->walk.key.size > CELL_KEY_MAX || !cell_key_read(cells->walk.key, &key))
        return refuse_cell(cells->walk.key, error);
    uint8_t jump[CELL_KEY_MAX];
    size_t jump_size = 0;
    if (key.window < plan->from_window)
        jump_size = window_key_write(plan, key.subject, plan->from_window, jump);
    else if (key.window >= plan->to_window)
        jump_size = window_key_write(plan, key.subject, -1, jump);  // after the last window
    if (jump_size > 0) {
        // Damaged pages may be out of order: a jump goes forward or not at all.
        if (bytes_compare(bytes_of(jump, jump_size), cells->walk.key) <= 0)
            return refuse_cell(cells->walk.key, error);
        *out_more = walk_seek(&cells->walk, bytes_of(jump, jump_size));
        return STATUS_OK;
    }
    struct cell_group group;
    struct cell_state state;
    if (cell_value_read(cells->walk.key, cells->walk.value, &state, &group) != STATUS_OK ||
        group.count != plan->meter->dimensions_count || key.window > INT64_MAX / QUARTER_HOUR_NS)
        return refuse_cell(cells->walk.key, error);
    usage_rows_add(cells->scan->rows, key.subject, key.window * QUARTER_HOUR_NS, &group, &state);
    *out_more = walk_next(&cells->walk);
    return STATUS_OK;
}

static enum status
cell_walk_run(struct cell_walk *cells, struct bytes first_key, struct error *error)
{
    enum status status = STATUS_OK;
    bool more = walk_seek(&cells->walk, first_key);
    while (!status && more && key_has_prefix(cells->walk.key, cells->prefix)) {
        bool is_late = ++cells->steps % CELLS_PER_LOOK == 0 && !cells->scan->holds_snapshot &&
                       clock_monotonic_ns() > cells->deadline_ns;
        if (is_late)
            status = cell_walk_renew(cells, &more, error);
        else
            status = cell_walk_step(cells, &more, error);
    }
    return status ? status : tx_check(cells->state, error);
}

enum status
usage_scan_cells(const struct usage_scan *scan, struct tx *state, struct error *error)
{
    const struct usage_plan *plan = scan->plan;
    const struct bytes *subject = plan->subject.size > 0 ? &plan->subject : NULL;
    must(plan->is_aligned);
    uint8_t prefix[CELL_KEY_MAX];
    uint8_t first[CELL_KEY_MAX];
    size_t prefix_size = cell_prefix_write(CELL_QUARTER_HOUR, plan->meter->id, subject, prefix);
    size_t first_size = prefix_size;
    memcpy(first, prefix, prefix_size);
    if (subject != NULL)
        first_size = window_key_write(plan, *subject, plan->from_window, first);
    struct cell_walk cells = {
        .scan = scan,
        .state = state,
        .walk = walk_open(state, STATE_DB_CELLS),
        .prefix = bytes_of(prefix, prefix_size),
        .deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS,
    };
    enum status status = cell_walk_run(&cells, bytes_of(first, first_size), error);
    walk_done(&cells.walk);
    return status && status != STATUS_BUSY ? scan_fail(scan, error) : status;
}

static void
scan_entry(const struct usage_scan *scan, const struct entry *entry, struct fold_scratch *scratch)
{
    const struct usage_plan *plan = scan->plan;
    if (entry->kind != ENTRY_EVENT || entry->time_ns < plan->from_ns ||
        (entry->time_ns >= plan->to_ns && plan->to_ns != INT64_MAX))
        return;
    if (plan->subject.size > 0 && !bytes_equal(plan->subject, entry->subject))
        return;
    const struct meter_rule *rule = meter_set_first(plan->set, entry->type);
    struct fold_step step;
    if (rule != NULL && meter_rule_apply(rule, entry, scratch, &step))
        usage_rows_add(scan->rows, entry->subject, entry->time_ns, &step.group, &step.state);
}

// The header's time bounds are believed only after block_open has checked the checksum over them.
static enum status
scan_block(const struct usage_scan *scan, struct tx *log, uint64_t sequence, struct error *error)
{
    const struct usage_plan *plan = scan->plan;
    struct block_reader block;
    enum status status = log_block(log, sequence, &block, error);
    if (status)
        return status;
    if (block.header.time_max_ns < plan->from_ns ||
        (block.header.time_min_ns >= plan->to_ns && plan->to_ns != INT64_MAX))
        return STATUS_OK;
    struct fold_scratch scratch;
    struct entry entry;
    while (block_next(&block, &entry))
        scan_entry(scan, &entry, &scratch);
    if (block.is_broken)
        return error_set(
            error,
            STATUS_CORRUPT,
            "block %llu: entry %u is damaged",
            (unsigned long long)sequence,
            block.index);
    return STATUS_OK;
}

enum status
usage_scan_log(const struct usage_scan *scan, uint64_t first, uint64_t last, struct error *error)
{
    if (first > last)
        return STATUS_OK;
    must(scan->view->log != NULL && first > 0);
    scoped(tx_done) struct tx log = tx_read(scan->view->log);
    int64_t deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
    enum status status = STATUS_OK;
    for (uint64_t sequence = first; !status && sequence <= last; sequence++) {
        if (sequence % BLOCKS_PER_LOOK == 0 && clock_monotonic_ns() > deadline_ns) {
            tx_renew(&log);
            deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
        }
        status = scan_block(scan, &log, sequence, error);
        scan->rows->blocks_read++;
    }
    return status ? scan_fail(scan, error) : STATUS_OK;
}
