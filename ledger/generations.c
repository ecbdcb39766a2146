#include "ledger/generations.h"

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/cell.h"
#include "ledger/generations_parts.h"
#include "ledger/shard_view.h"

#include <inttypes.h>

// --- records ---

enum {
    RECORD_HEADER_SIZE = 48,
    RECORD_RUN_SIZE = 32,
    RECORD_SIZE_MAX = RECORD_HEADER_SIZE + GENERATION_RUNS_MAX * RECORD_RUN_SIZE,
    CAPACITY_TABLES_MIN = 4,
    CAPACITY_TABLES_FIRST = 16,
    GROWING_BITS = 16,   // of the filter of a generation that takes runs
    CAPACITY_SHARE = 4,  // with its filter made for so many, all take 2 bytes an identity, about
    APPEND_PAGES = 512,  // a transaction of 2 MiB: syncs of the log wait for it
};

uint64_t
generation_count(const struct generation *generation)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < generation->runs_count; i++)
        count += generation->runs[i].count;
    return count;
}

static uint64_t
record_checksum(struct bytes key, struct bytes value)
{
    struct bytes rest = bytes_of(value.data + sizeof(uint64_t), value.size - sizeof(uint64_t));
    return hash64_wide(rest, hash64(key, 0));
}

static struct run
record_run(struct cursor *in)
{
    struct run run = {.number = cursor_u32le(in), .pages = cursor_u32le(in)};
    run.count = cursor_u64le(in);
    run.last.low = cursor_u64le(in);
    run.last.high = cursor_u32le(in);
    (void)cursor_u32le(in);
    return run;
}

bool
generation_read(struct bytes key, struct bytes value, struct generation *out)
{
    struct cursor keys = cursor_over(key);
    struct cursor in = cursor_over(value);
    struct generation generation = {.number = cursor_u32be(&keys)};
    uint64_t checksum = cursor_u64le(&in);
    generation.capacity = cursor_u64le(&in);
    generation.to = cursor_u64le(&in);
    generation.newest_arrival_ns = (int64_t)cursor_u64le(&in);
    generation.filter_blocks = cursor_u64le(&in);
    generation.runs_count = cursor_u32le(&in);
    (void)cursor_u32le(&in);
    if (cursor_failed(&keys) || cursor_left(&keys) != 0 || cursor_failed(&in) ||
        checksum != record_checksum(key, value) || generation.runs_count > GENERATION_RUNS_MAX)
        return false;
    for (uint32_t i = 0; i < generation.runs_count; i++)
        generation.runs[i] = record_run(&in);
    if (cursor_failed(&in) || cursor_left(&in) != 0)
        return false;
    *out = generation;
    return true;
}

void
generation_put(struct tx *tx, const struct generation *generation)
{
    uint32_t number = __builtin_bswap32(generation->number);
    struct bytes key = bytes_of(&number, sizeof number);
    struct buffer value = {0};
    buffer_u64le(&value, 0);
    buffer_u64le(&value, generation->capacity);
    buffer_u64le(&value, generation->to);
    buffer_u64le(&value, (uint64_t)generation->newest_arrival_ns);
    buffer_u64le(&value, generation->filter_blocks);
    buffer_u32le(&value, generation->runs_count);
    buffer_u32le(&value, 0);
    for (uint32_t i = 0; i < generation->runs_count; i++) {
        const struct run *run = &generation->runs[i];
        buffer_u32le(&value, run->number);
        buffer_u32le(&value, run->pages);
        buffer_u64le(&value, run->count);
        buffer_u64le(&value, run->last.low);
        buffer_u32le(&value, run->last.high);
        buffer_u32le(&value, 0);
    }
    must(!buffer_failed(&value) && value.size <= RECORD_SIZE_MAX);
    uint64_t checksum = record_checksum(key, buffer_view(&value));
    memcpy(value.data, &checksum, sizeof checksum);
    tx_put(tx, STATE_DB_GENERATIONS, key, buffer_view(&value));
    buffer_done(&value);
}

void
generation_delete(struct tx *tx, uint32_t number)
{
    uint32_t key = __builtin_bswap32(number);
    bool was_there = tx_delete(tx, STATE_DB_GENERATIONS, bytes_of(&key, sizeof key));
    must(was_there || tx->status != STATUS_OK);
}

// --- views, and what the older ones still need ---

// Where the pages of new runs are.
static enum status
runs_learn(struct generations *generations, struct error *error)
{
    enum status status = STATUS_OK;
    scoped(tx_done) struct tx tx = tx_read(generations->options.state);
    for (uint32_t i = 0; i < generations->count; i++) {
        struct generation *generation = &generations->list[i];
        for (uint32_t j = 0; j < generation->runs_count && !status; j++) {
            if (generation->runs[j].index == NULL)
                status = run_learn(&tx, &generation->runs[j], error);
        }
    }
    return status;
}

static uint64_t
generation_index_bytes(const struct generation *generation)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < generation->runs_count; i++) {
        const struct run_index *index = generation->runs[i].index;
        bytes += index != NULL ? run_index_bytes(index) : 0;
    }
    return bytes;
}

enum status
generations_publish(struct generations *generations, struct error *error)
{
    enum status status = runs_learn(generations, error);
    if (status)
        return status;
    struct generations_view *view = pool_take(1, sizeof *view);
    if (view == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a view of the identities");
    view->number = generations->view == NULL ? 1 : generations->view->number + 1;
    view->position = generations->position;
    view->expired = generations->expired;
    view->count = generations->count;
    memcpy(view->list, generations->list, generations->count * sizeof view->list[0]);
    for (uint32_t i = 0; i < view->count; i++) {
        const struct generation *generation = &view->list[i];
        view->ids += generation_count(generation);
        view->filter_bytes += generation->filter != NULL ? filter_bytes(generation->filter) : 0;
        view->index_bytes += generation_index_bytes(generation);
    }
    view->older = generations->view;
    generations->view = view;
    return STATUS_OK;
}

struct generations_view *
generations_view(const struct generations *generations)
{
    return generations->view;
}

// The view that is published next is the first without it.
void
generations_retire(struct generations *generations, struct retired retired)
{
    retired.view = generations->view == NULL ? 1 : generations->view->number + 1;
    buffer_put(&generations->retired, &retired, sizeof retired);
    must(!buffer_failed(&generations->retired));
}

static void
retired_free(struct retired *retired)
{
    run_index_close(retired->index);
    filter_close(retired->filter);
    retired->index = NULL;
    id_table_close(retired->table);
    retired->filter = NULL;
    retired->table = NULL;
}

// The next table can be this one: memory that was touched before is much cheaper than new memory.
static void
table_spare(struct retired *retired)
{
    if (retired->table == NULL || retired->spare == NULL)
        return;
    // One is enough; there is one already when tables are written after they were needed.
    struct id_table *spare = slot_take_back(retired->spare);
    if (spare == NULL) {
        id_table_clear(retired->table);
        spare = retired->table;
        retired->table = NULL;
    }
    slot_offer(retired->spare, spare);
}

void
generations_adopted(struct generations *generations, uint64_t number)
{
    generations->adopted = number;
    struct retired *list = (void *)generations->retired.data;
    size_t count = generations->retired.size / sizeof *list;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].view <= number) {
            table_spare(&list[i]);
            retired_free(&list[i]);
        }
        // A run is still to be deleted.
        if (list[i].view > number || list[i].run != 0)
            list[kept++] = list[i];
    }
    generations->retired.size = kept * sizeof *list;
    struct generations_view *view = generations->view;
    while (view != NULL && view->number > number)
        view = view->older;
    if (view == NULL)
        return;
    while (view->older != NULL) {
        struct generations_view *older = view->older;
        view->older = older->older;
        pool_give(older);
    }
}

// --- filters ---

// Of a generation that takes runs. What its filter affirms in vain is looked for in each of up to
// sixteen, 2.4 us a page: with the bits of a stored one that was one of 230 events and 165 ns an
// event, from when the generation was nearly full until it was merged.
static uint64_t
growing_blocks(uint64_t capacity)
{
    return filter_blocks(capacity / FILTER_BITS_PER_ID * GROWING_BITS);
}

static enum status
filter_learn_run(struct filter *filter, struct tx *tx, const struct run *run, struct error *error)
{
    struct run_reader reader;
    struct fingerprint fingerprint;
    run_reader_open(&reader, tx, run, NULL, error);
    while (run_next(&reader, &fingerprint, error))
        filter_add(filter, fingerprint);
    run_reader_done(&reader);
    return reader.status;
}

static enum status
filter_learn(struct generation *generation, struct tx *tx, struct error *error)
{
    struct filter *filter = filter_open(growing_blocks(generation->capacity));
    enum status status = STATUS_OK;
    if (filter == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a filter of identities");
    for (uint32_t i = 0; i < generation->runs_count && !status; i++)
        status = filter_learn_run(filter, tx, &generation->runs[i], error);
    if (status)
        filter_close(filter);
    else
        generation->filter = filter;
    return status;
}

// Newest first while they fit; what does not fit any more is let go.
enum status
generations_fit_filters(struct generations *generations, struct error *error)
{
    uint64_t left = generations->options.filter_bytes_max;
    enum status status = STATUS_OK;
    scoped(tx_done) struct tx tx = tx_read(generations->options.state);
    for (uint32_t i = generations->count; i > 0 && !status; i--) {
        struct generation *generation = &generations->list[i - 1];
        uint64_t blocks = generation->filter_blocks != 0 ? generation->filter_blocks
                                                         : growing_blocks(generation->capacity);
        uint64_t bytes = blocks * FILTER_BLOCK_SIZE;
        bool fits = bytes <= left;
        left = fits ? left - bytes : 0;
        if (!fits && generation->filter != NULL) {
            generations_retire(generations, (struct retired){.filter = generation->filter});
            generation->filter = NULL;
        } else if (fits && generation->filter == NULL && generation->filter_blocks != 0) {
            uint32_t run = generation->runs[0].number;
            status = filter_read(&tx, run, blocks, &generation->filter, error);
        } else if (fits && generation->filter == NULL) {
            status = filter_learn(generation, &tx, error);
        }
    }
    return status;
}

// --- open and close ---

static bool
generation_is_whole(struct bytes key, struct bytes value)
{
    struct generation generation;
    return generation_read(key, value, &generation);
}

static enum status
open_record(struct generations *generations, const struct walk *walk, struct error *error)
{
    struct generation *generation = &generations->list[generations->count];
    if (generations->count == GENERATIONS_MAX ||
        !generation_read(walk->key, walk->value, generation))
        return error_set(
            error,
            STATUS_CORRUPT,
            "identities: the record of generation %" PRIu32
            " is damaged: restore the ledger from a backup",
            generations->count + 1);
    generations->count++;
    generations->generation_next = generation->number + 1;
    return STATUS_OK;
}

static bool
is_named(const struct generations *generations, uint32_t run)
{
    for (uint32_t i = 0; i < generations->count; i++) {
        for (uint32_t j = 0; j < generations->list[i].runs_count; j++) {
            if (generations->list[i].runs[j].number == run)
                return true;
        }
    }
    return false;
}

// What a crash left of runs that were being written or deleted.
static void
open_orphans(struct generations *generations, struct tx *tx)
{
    uint32_t run = 0;
    while (run < UINT32_MAX && (run = run_seek(tx, run + 1)) != 0) {
        if (run >= generations->run_next)
            generations->run_next = run + 1;
        if (!is_named(generations, run))
            generations_retire(generations, (struct retired){.run = run});
    }
    for (uint32_t i = 0; i < generations->count; i++) {
        for (uint32_t j = 0; j < generations->list[i].runs_count; j++) {
            uint32_t number = generations->list[i].runs[j].number;
            if (number >= generations->run_next)
                generations->run_next = number + 1;
        }
    }
}

static enum status
open_records(struct generations *generations, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(generations->options.state);
    enum status status =
        state_dedup_position(&tx, &generations->position, &generations->expired, error);
    // One that is missing would be forgotten, with all its identities.
    bool is_whole = tx_is_whole(&tx, STATE_DB_GENERATIONS, generation_is_whole);
    struct walk walk = walk_open(&tx, STATE_DB_GENERATIONS);
    for (bool more = walk_first(&walk); more && !status; more = walk_next(&walk))
        status = open_record(generations, &walk, error);
    walk_done(&walk);
    if (!status)
        status = tx_check(&tx, error);
    if (!status && !is_whole)
        status = error_set(
            error,
            STATUS_CORRUPT,
            "identities: the record of a generation is missing: restore the ledger from a backup");
    if (!status)
        open_orphans(generations, &tx);
    return status ? status : tx_check(&tx, error);
}

enum status
generations_open(
    const struct generations_options *options, struct generations **out, struct error *error)
{
    must(options->hot_max > 0 && options->window_ns > 0);
    struct generations *generations = pool_take(1, sizeof *generations);
    if (generations == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the identities");
    generations->options = *options;
    generations->run_next = 1;
    generations->generation_next = 1;
    enum status status = open_records(generations, error);
    if (!status)
        status = generations_fit_filters(generations, error);
    if (!status)
        status = generations_publish(generations, error);
    if (status)
        generations_close(generations);
    else
        *out = generations;
    return status;
}

void
generations_close(struct generations *generations)
{
    if (generations == NULL)
        return;
    struct retired *list = (void *)generations->retired.data;
    for (size_t i = 0; i < generations->retired.size / sizeof *list; i++)
        retired_free(&list[i]);
    buffer_done(&generations->retired);
    for (uint32_t i = 0; i < generations->count; i++) {
        const struct generation *generation = &generations->list[i];
        filter_close(generation->filter);
        for (uint32_t j = 0; j < generation->runs_count; j++)
            run_index_close(generation->runs[j].index);
    }
    while (generations->view != NULL) {
        struct generations_view *view = generations->view;
        generations->view = view->older;
        pool_give(view);
    }
    merge_close(generations->merge);
    pool_give(generations);
}

// --- appending ---

bool
generation_is_full(const struct generation *generation)
{
    return generation_count(generation) >= generation->capacity;
}

static uint64_t
generations_ids(const struct generations *generations)
{
    uint64_t ids = 0;
    for (uint32_t i = 0; i < generations->count; i++)
        ids += generation_count(&generations->list[i]);
    return ids;
}

// The first one is as large as its filter may be in half of the budget, so that not every few
// tables are merged at the beginning: up to 60 M identities each was written 1.8 times instead of
// 3.4.
static uint64_t
append_capacity(const struct generations *generations)
{
    const struct generations_options *options = &generations->options;
    uint64_t least = (uint64_t)options->hot_max * CAPACITY_TABLES_MIN;
    uint64_t wanted = generations_ids(generations) / CAPACITY_SHARE;
    if (generations->count == 0) {
        uint64_t fitting = options->filter_bytes_max / GROWING_BITS * (8 / 2);
        wanted = (uint64_t)options->hot_max * CAPACITY_TABLES_FIRST;
        wanted = wanted < fitting ? wanted : fitting;
    }
    return wanted > least ? wanted : least;
}

// The generation that takes the next run, made when the youngest is full. NULL: merges are behind.
static struct generation *
append_place(struct generations *generations)
{
    uint32_t count = generations->count;
    struct generation *last = count > 0 ? &generations->list[count - 1] : NULL;
    if (last != NULL && !generation_is_full(last))
        return last->runs_count < GENERATION_RUNS_MAX ? last : NULL;
    if (count == GENERATIONS_MAX)
        return NULL;
    uint64_t capacity = append_capacity(generations);
    generations->list[count] = (struct generation){
        .number = generations->generation_next++,
        .capacity = capacity,
    };
    generations->count++;
    return &generations->list[count];
}

// Entries in their order to the run and the filter. False: there are no more.
static bool
append_some(
    struct generation *generation, struct run_writer *writer, struct tx *tx, struct id_walk *walk)
{
    const struct fingerprint *sorted;
    uint32_t count;
    if (!id_walk_next(walk, &sorted, &count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        run_put(writer, tx, sorted[i]);
    for (uint32_t i = 0; generation->filter != NULL && i < count; i++)
        filter_add(generation->filter, sorted[i]);
    return true;
}

// Writes all but what the last transaction is to hold.
static enum status
append_sorted(
    struct generations *generations,
    struct generation *generation,
    struct run_writer *writer,
    const struct id_table *table,
    struct error *error)
{
    enum status status = STATUS_OK;
    scoped(id_walk_done) struct id_walk walk = id_walk_open(table);
    for (bool has_more = !id_walk_failed(&walk); has_more && !status;) {
        uint32_t pages_end = writer->run.pages + APPEND_PAGES;
        scoped(tx_done) struct tx tx = tx_write(generations->options.state);
        while (has_more && !tx.status && writer->run.pages < pages_end)
            has_more = append_some(generation, writer, &tx, &walk);
        status = tx_commit(&tx, error);
    }
    if (!status && id_walk_failed(&walk))
        status = error_set(error, STATUS_NO_MEMORY, "no memory to sort identities");
    return status;
}

static enum status
append_commit(
    struct generations *generations,
    struct generation *generation,
    struct run_writer *writer,
    const struct seal *seal,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_write(generations->options.state);
    struct run run = {0};
    if (generation != NULL) {
        run_end(writer, &tx, &run);
        generation->runs[generation->runs_count++] = run;
        generation->to = seal->position;
        if (seal->newest_arrival_ns > generation->newest_arrival_ns)
            generation->newest_arrival_ns = seal->newest_arrival_ns;
        generation_put(&tx, generation);
    }
    state_number_put(&tx, bytes_text("dedup"), seal->position);
    generations->position = seal->position;
    return tx_commit(&tx, error);
}

static enum status
append_run(struct generations *generations, const struct seal *seal, struct error *error)
{
    struct generation *generation = append_place(generations);
    if (generation == NULL)
        return STATUS_BUSY;
    enum status status = generations_fit_filters(generations, error);
    struct run_writer writer = run_writer_begin(generations->run_next++);
    if (!status)
        status = append_sorted(generations, generation, &writer, seal->table, error);
    if (!status)
        status = append_commit(generations, generation, &writer, seal, error);
    return status;
}

enum status
generations_append(struct generations *generations, const struct seal *seal, struct error *error)
{
    must(seal->position >= generations->position);
    // Without identities only the position moves: the blocks need not be read at the next start.
    enum status status = id_table_count(seal->table) > 0
                             ? append_run(generations, seal, error)
                             : append_commit(generations, NULL, NULL, seal, error);
    if (status == STATUS_BUSY)
        return status;
    generations_retire(generations, (struct retired){.table = seal->table, .spare = seal->spare});
    return status ? status : generations_publish(generations, error);
}
