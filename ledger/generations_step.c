// What the generations do between two runs: first what frees space, then merging. Each step is one
// short transaction.

#include "base/assert.h"
#include "ledger/cell.h"
#include "ledger/generations_parts.h"
#include "ledger/shard_view.h"

enum {
    MERGE_PAGES = 512,    // a transaction of 2 MiB: syncs of the log wait for it
    DELETE_PAGES = 4096,  // freed: only branches and leaves are written
    RUNS_MERGED = 16,     // runs of about one size that become one in the youngest generation
    FULL_MAX = 3,         // full generations
};

// --- deleting ---

static enum status
step_delete(struct generations *generations, bool *out_has_worked, struct error *error)
{
    struct retired *list = (void *)generations->retired.data;
    size_t count = generations->retired.size / sizeof *list;
    for (size_t i = 0; i < count; i++) {
        if (list[i].run == 0 || list[i].view > generations->adopted)
            continue;
        scoped(tx_done) struct tx tx = tx_write(generations->options.state);
        bool is_gone = run_delete(&tx, list[i].run, DELETE_PAGES);
        enum status status = tx_commit(&tx, error);
        *out_has_worked = true;
        if (status || !is_gone)
            return status;
        list[i] = list[count - 1];
        generations->retired.size -= sizeof *list;
        return STATUS_OK;
    }
    return STATUS_OK;
}

static void
retire_runs(
    struct generations *generations,
    const struct generation *generation,
    uint32_t from,
    uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        generations_retire(
            generations,
            (struct retired){
                .run = generation->runs[i].number, .index = generation->runs[i].index});
}

// --- expiring ---

static void
list_remove(struct generations *generations, uint32_t index)
{
    must(index < generations->count);
    generations->count--;
    memmove(
        &generations->list[index],
        &generations->list[index + 1],
        (generations->count - index) * sizeof generations->list[0]);
}

// Only the oldest: what it knew may be hidden by a younger one.
static enum status
step_expire(
    struct generations *generations, int64_t now_ns, bool *out_has_worked, struct error *error)
{
    const struct generation *oldest = &generations->list[0];
    if (generations->count == 0 ||
        oldest->newest_arrival_ns >= now_ns - generations->options.window_ns ||
        (generations->merge != NULL && oldest->number >= generations->merge_first))
        return STATUS_OK;
    scoped(tx_done) struct tx tx = tx_write(generations->options.state);
    generation_delete(&tx, oldest->number);
    state_number_put(&tx, bytes_text("dedup_expired"), oldest->to);
    enum status status = tx_commit(&tx, error);
    if (status)
        return status;
    generations->expired = oldest->to;
    retire_runs(generations, oldest, 0, oldest->runs_count);
    generations_retire(generations, (struct retired){.filter = oldest->filter});
    list_remove(generations, 0);
    *out_has_worked = true;
    status = generations_fit_filters(generations, error);
    return status ? status : generations_publish(generations, error);
}

// --- merging ---

// Generations [first, last] of the list become one; of a single one: its runs from `from` on.
struct choice {
    uint32_t first, last;
    uint32_t from;
};

static enum status
merge_start(struct generations *generations, const struct choice *choice, struct error *error)
{
    struct run inputs[MERGE_INPUTS_MAX];
    uint32_t count = 0;
    uint64_t ids = 0;
    const struct generation *youngest = &generations->list[choice->last];
    for (uint32_t i = choice->first; i <= choice->last; i++) {
        const struct generation *generation = &generations->list[i];
        for (uint32_t j = choice->from; j < generation->runs_count; j++) {
            must(count < MERGE_INPUTS_MAX);
            inputs[count++] = generation->runs[j];
            ids += generation->runs[j].count;
        }
    }
    generations->merge_first = generations->list[choice->first].number;
    generations->merge_last = youngest->number;
    generations->merge_from = choice->from;
    generations->merge_to = youngest->runs_count;
    generations->merge_blocks = generation_is_full(youngest) ? filter_blocks(ids) : 0;
    generations->merge = merge_open(&(struct merge_options){
        .inputs = inputs,
        .inputs_count = count,
        .number = generations->run_next++,
        .filter_blocks = generations->merge_blocks,
        .drops_freed = choice->first == 0 && choice->from == 0,
    });
    return generations->merge != NULL
               ? STATUS_OK
               : error_set(error, STATUS_NO_MEMORY, "no memory to merge identities");
}

static uint64_t
pair_count(const struct generations *generations, uint32_t first)
{
    return generation_count(&generations->list[first]) +
           generation_count(&generations->list[first + 1]);
}

// Runs of the youngest generation that are together no smaller than the one before them. They are
// many, since its filter sends nearly nobody to them for nothing before it is full: with 4 in place
// of 16 each identity was written once more. All of them when there is no room for another one.
static bool
choose_runs(const struct generation *youngest, uint32_t *out_from)
{
    uint64_t newer = 0;
    uint32_t from = youngest->runs_count;
    while (from > 0 && (youngest->runs_count - from < 2 || youngest->runs[from - 1].count <= newer))
        newer += youngest->runs[--from].count;
    bool has_room = youngest->runs_count < GENERATION_RUNS_MAX;
    *out_from = has_room ? from : 0;
    return !has_room || youngest->runs_count - from >= RUNS_MERGED;
}

// What is to be merged next. False: nothing.
static bool
merge_choose(const struct generations *generations, struct choice *out)
{
    uint32_t full = generations->count;
    if (full > 0 && !generation_is_full(&generations->list[full - 1])) {
        full--;
        *out = (struct choice){.first = full, .last = full};
        if (choose_runs(&generations->list[full], &out->from))
            return true;
    }
    if (full > FULL_MAX) {
        uint32_t least = 0;
        for (uint32_t i = 1; i + 1 < full; i++) {
            if (pair_count(generations, i) < pair_count(generations, least))
                least = i;
        }
        *out = (struct choice){.first = least, .last = least + 1};
        return true;
    }
    for (uint32_t i = 0; i < full; i++) {
        *out = (struct choice){.first = i, .last = i};
        if (generations->list[i].filter_blocks == 0)
            return true;
    }
    return false;
}

static uint32_t
list_index(const struct generations *generations, uint32_t number)
{
    uint32_t i = 0;
    while (i < generations->count && generations->list[i].number != number)
        i++;
    must(i < generations->count);
    return i;
}

// The runs that were merged give way to the one made of them; what came after them stays behind it.
static void
merged_runs(struct generation *generation, uint32_t from, uint32_t to, const struct run *run)
{
    must(from < to && to <= generation->runs_count);
    generation->runs[from] = *run;
    memmove(
        &generation->runs[from + 1],
        &generation->runs[to],
        (generation->runs_count - to) * sizeof generation->runs[0]);
    generation->runs_count -= to - from - 1;
}

static void
merge_record(struct generations *generations, struct tx *tx, const struct run *run)
{
    uint32_t first = list_index(generations, generations->merge_first);
    uint32_t last = list_index(generations, generations->merge_last);
    struct generation *youngest = &generations->list[last];
    for (uint32_t i = first; i < last; i++) {
        const struct generation *older = &generations->list[i];
        if (older->newest_arrival_ns > youngest->newest_arrival_ns)
            youngest->newest_arrival_ns = older->newest_arrival_ns;
        generation_delete(tx, older->number);
        retire_runs(generations, older, 0, older->runs_count);
        generations_retire(generations, (struct retired){.filter = older->filter});
    }
    retire_runs(generations, youngest, generations->merge_from, generations->merge_to);
    merged_runs(youngest, generations->merge_from, generations->merge_to, run);
    if (generations->merge_blocks > 0) {
        // Full for good, however few are left.
        must(youngest->runs_count == 1);
        youngest->filter_blocks = generations->merge_blocks;
        youngest->capacity = run->count;
        generations_retire(generations, (struct retired){.filter = youngest->filter});
        youngest->filter = NULL;
    }
    generation_put(tx, youngest);
    for (uint32_t i = first; i < last; i++)
        list_remove(generations, first);
}

static enum status
step_merge(struct generations *generations, bool *out_has_worked, struct error *error)
{
    bool is_done = false;
    struct run run;
    *out_has_worked = true;
    scoped(tx_done) struct tx tx = tx_write(generations->options.state);
    enum status status = merge_slice(generations->merge, &tx, MERGE_PAGES, &is_done, error);
    if (!status && is_done) {
        merge_end(generations->merge, &tx, &run);
        merge_record(generations, &tx, &run);
    }
    if (!status)
        status = tx_commit(&tx, error);
    if (status || !is_done)
        return status;
    merge_close(generations->merge);
    generations->merge = NULL;
    status = generations_fit_filters(generations, error);
    return status ? status : generations_publish(generations, error);
}

enum status
generations_step(
    struct generations *generations, int64_t now_ns, bool *out_has_worked, struct error *error)
{
    struct choice choice;
    *out_has_worked = false;
    enum status status = step_delete(generations, out_has_worked, error);
    if (!status && !*out_has_worked)
        status = step_expire(generations, now_ns, out_has_worked, error);
    if (status || *out_has_worked)
        return status;
    if (generations->merge == NULL && merge_choose(generations, &choice))
        status = merge_start(generations, &choice, error);
    if (!status && generations->merge != NULL)
        status = step_merge(generations, out_has_worked, error);
    return status;
}
