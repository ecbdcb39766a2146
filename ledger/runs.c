#include "ledger/runs.h"

#include "base/assert.h"
#include "ledger/cell.h"

#include <inttypes.h>

enum {
    PAGE_HEADER_SIZE = 24,
    PAGE_SIZE_MAX = PAGE_HEADER_SIZE + RUN_PAGE_IDS * 16,
    PART_KEY_SIZE = 8,
    PART_HEADER_SIZE = 8,
};

_Static_assert(PAGE_SIZE_MAX + 16 <= 4096, "a page of LMDB");
_Static_assert(
    PART_HEADER_SIZE + FILTER_PART_BLOCKS * FILTER_BLOCK_SIZE + 16 <= 1 << 20, "256 of them");

struct page {
    uint32_t count;
    struct fingerprint before;
    struct fingerprint last;  // of the key
    const uint8_t *entries;
};

static void
run_key(uint32_t number, struct fingerprint last, uint8_t out[RUN_KEY_SIZE])
{
    uint32_t run = __builtin_bswap32(number);
    uint64_t low = __builtin_bswap64(last.low);
    uint32_t high = __builtin_bswap32(last.high);
    memcpy(out, &run, sizeof run);
    memcpy(out + 4, &low, sizeof low);
    memcpy(out + 12, &high, sizeof high);
}

static bool
run_key_read(struct bytes key, uint32_t *out_number, struct fingerprint *out_last)
{
    struct cursor in = cursor_over(key);
    uint32_t number = cursor_u32be(&in);
    struct fingerprint last = {.low = cursor_u64be(&in)};
    last.high = cursor_u32be(&in);
    if (cursor_failed(&in) || cursor_left(&in) != 0)
        return false;
    *out_number = number;
    *out_last = last;
    return true;
}

static uint64_t
value_checksum(struct bytes key, struct bytes value)
{
    struct bytes rest = bytes_of(value.data + sizeof(uint64_t), value.size - sizeof(uint64_t));
    return hash64_wide(rest, hash64(key, 0));
}

static bool
value_is_sound(struct bytes key, struct bytes value)
{
    uint64_t checksum;
    if (value.size < sizeof checksum)
        return false;
    memcpy(&checksum, value.data, sizeof checksum);
    return checksum == value_checksum(key, value);
}

static struct fingerprint
entry_at(const uint8_t *entries, uint32_t index)
{
    struct fingerprint entry;
    memcpy(&entry, entries + (size_t)index * sizeof entry, sizeof entry);
    return entry;
}

static bool
page_read(struct bytes key, struct bytes value, struct page *out)
{
    uint32_t number;
    struct page page;
    if (!run_key_read(key, &number, &page.last) || value.size < PAGE_HEADER_SIZE ||
        value.size > PAGE_SIZE_MAX || !value_is_sound(key, value))
        return false;
    memcpy(&page.before.low, value.data + 8, sizeof page.before.low);
    memcpy(&page.before.high, value.data + 16, sizeof page.before.high);
    memcpy(&page.count, value.data + 20, sizeof page.count);
    page.before.payload = 0;
    page.entries = value.data + PAGE_HEADER_SIZE;
    if (page.count == 0 || value.size != PAGE_HEADER_SIZE + (size_t)page.count * 16)
        return false;
    *out = page;
    return true;
}

static enum status
run_damaged(const struct run *run, struct fingerprint at, struct error *error)
{
    return error_set(
        error,
        STATUS_CORRUPT,
        "identities: the page of run %" PRIu32 " for %016" PRIx64
        " is damaged or missing: restore the ledger from a backup",
        run->number,
        at.low);
}

// --- writing ---

struct run_writer
run_writer_begin(uint32_t number)
{
    must(number > 0);
    return (struct run_writer){.run = {.number = number}};
}

// Made where it is stored: it is copied once, and not zeroed before.
static void
run_page_put(struct run_writer *writer, struct tx *tx)
{
    uint8_t key_bytes[RUN_KEY_SIZE];
    uint32_t count = writer->page_count;
    size_t size = PAGE_HEADER_SIZE + (size_t)count * sizeof writer->page[0];
    run_key(writer->run.number, writer->page[count - 1], key_bytes);
    struct bytes key = bytes_of(key_bytes, sizeof key_bytes);
    uint8_t *value = tx_reserve(tx, STATE_DB_RUNS, key, size);
    if (value != NULL) {
        memcpy(value + 8, &writer->before.low, sizeof writer->before.low);
        memcpy(value + 16, &writer->before.high, sizeof writer->before.high);
        memcpy(value + 20, &count, sizeof count);
        memcpy(value + PAGE_HEADER_SIZE, writer->page, count * sizeof writer->page[0]);
        uint64_t checksum = value_checksum(key, bytes_of(value, size));
        memcpy(value, &checksum, sizeof checksum);
    }
    writer->before = writer->page[count - 1];
    writer->run.last = writer->before;
    writer->run.pages++;
    writer->run.count += count;
    writer->page_count = 0;
}

void
run_put(struct run_writer *writer, struct tx *tx, struct fingerprint fingerprint)
{
    if (writer->page_count == RUN_PAGE_IDS)
        run_page_put(writer, tx);
    must(
        writer->page_count == 0 ||
        fingerprint_compare(writer->page[writer->page_count - 1], fingerprint) < 0);
    writer->page[writer->page_count++] = fingerprint;
}

void
run_end(struct run_writer *writer, struct tx *tx, struct run *out)
{
    if (writer->page_count > 0)
        run_page_put(writer, tx);
    *out = writer->run;
}

// --- looking up ---

static bool
page_covers(const struct page *page, struct fingerprint fingerprint)
{
    bool is_first = page->before.low == 0 && page->before.high == 0;
    return (is_first || fingerprint_compare(page->before, fingerprint) < 0) &&
           fingerprint_compare(fingerprint, page->last) <= 0;
}

static bool
page_find(const struct page *page, struct fingerprint fingerprint, uint32_t *out_payload)
{
    uint32_t from = 0;
    uint32_t to = page->count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        struct fingerprint entry = entry_at(page->entries, middle);
        int order = fingerprint_compare(entry, fingerprint);
        if (order == 0) {
            *out_payload = entry.payload;
            return true;
        }
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

// A full page at the place that the index knows. False: it is not there, the tree has to say.
static bool
page_read_at(struct tx *tx, const struct run *run, struct fingerprint fingerprint, struct page *out)
{
    uint8_t key[RUN_KEY_SIZE];
    const uint8_t *at = run->index != NULL ? run_index_find(run->index, fingerprint.low) : NULL;
    if (at == NULL || tx->status != STATUS_OK)
        return false;
    const struct bytes value = tx_view(tx, at, PAGE_SIZE_MAX);
    run_key(run->number, entry_at(at + PAGE_HEADER_SIZE, RUN_PAGE_IDS - 1), key);
    return page_read(bytes_of(key, sizeof key), value, out) && page_covers(out, fingerprint);
}

static enum status
page_seek(
    struct tx *tx,
    const struct run *run,
    struct fingerprint fingerprint,
    struct page *out,
    struct error *error)
{
    uint8_t key[RUN_KEY_SIZE];
    uint32_t number = 0;
    struct fingerprint last;
    run_key(run->number, fingerprint, key);
    scoped(walk_done) struct walk walk = walk_open(tx, STATE_DB_RUNS);
    bool has_page = walk_seek(&walk, bytes_of(key, sizeof key));
    enum status status = tx_check(tx, error);
    if (status)
        return status;
    if (!has_page || !run_key_read(walk.key, &number, &last) || number != run->number ||
        !page_read(walk.key, walk.value, out) || !page_covers(out, fingerprint))
        return run_damaged(run, fingerprint, error);
    return STATUS_OK;
}

enum status
run_find(
    struct tx *tx,
    const struct run *run,
    struct fingerprint fingerprint,
    uint32_t *out_payload,
    struct error *error)
{
    struct page page;
    if (run->count == 0 || fingerprint_compare(fingerprint, run->last) > 0)
        return STATUS_NOT_FOUND;
    if (!page_read_at(tx, run, fingerprint, &page)) {
        enum status status = page_seek(tx, run, fingerprint, &page, error);
        if (status)
            return status;
    }
    return page_find(&page, fingerprint, out_payload) ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status
run_learn(struct tx *tx, struct run *run, struct error *error)
{
    uint8_t key[RUN_KEY_SIZE];
    uint32_t number = 0;
    struct fingerprint last = {0};
    run->index = run_index_open(run->pages);
    if (run->index == NULL)
        return STATUS_OK;
    run_key(run->number, last, key);
    scoped(walk_done) struct walk walk = walk_open(tx, STATE_DB_RUNS);
    bool more = walk_seek(&walk, bytes_of(key, sizeof key));
    for (uint32_t i = 0; i < run->pages && more; i++, more = walk_next(&walk)) {
        // What is missing or out of order is seen when it is looked for.
        uint64_t before = last.low;
        if (!run_key_read(walk.key, &number, &last) || number != run->number || last.low < before)
            break;
        bool is_full = walk.value.size == PAGE_SIZE_MAX && walk_is_settled(&walk);
        run_index_add(run->index, last.low, is_full ? walk.value.data : NULL);
    }
    return tx_check(tx, error);
}

// --- reading in order ---

// Takes the page that the walk stands on; it must follow the last identity.
static void
reader_page(struct run_reader *reader, bool has_page, struct error *error)
{
    uint32_t number = 0;
    struct fingerprint last;
    struct page page;
    reader->has_page = false;
    if (reader->status)
        return;
    if (!has_page || !run_key_read(reader->walk.key, &number, &last) ||
        number != reader->run.number || !page_read(reader->walk.key, reader->walk.value, &page) ||
        (reader->seen > 0 && !page_covers(&page, reader->last) &&
         fingerprint_compare(page.before, reader->last) != 0)) {
        reader->status = run_damaged(&reader->run, reader->last, error);
        return;
    }
    reader->page = page.entries;
    reader->page_count = page.count;
    reader->page_index = 0;
    reader->has_page = true;
}

void
run_reader_open(
    struct run_reader *reader,
    struct tx *tx,
    const struct run *run,
    const struct fingerprint *after,
    struct error *error)
{
    uint8_t key[RUN_KEY_SIZE];
    *reader = (struct run_reader){.run = *run, .walk = walk_open(tx, STATE_DB_RUNS)};
    reader->is_open = true;
    if (after != NULL) {
        reader->last = *after;
        if (run->count == 0 || fingerprint_compare(*after, run->last) >= 0)
            return;  // the end
        reader->seen = 1;
    }
    if (run->count == 0)
        return;
    run_key(run->number, reader->last, key);
    bool has_page = walk_seek(&reader->walk, bytes_of(key, sizeof key));
    reader->status = tx_check(tx, error);
    reader_page(reader, has_page, error);
    if (after == NULL)
        return;
    while (reader->has_page && reader->page_index < reader->page_count &&
           fingerprint_compare(entry_at(reader->page, reader->page_index), *after) <= 0)
        reader->page_index++;
}

void
run_reader_done(struct run_reader *reader)
{
    if (reader->is_open)
        walk_done(&reader->walk);
    reader->is_open = false;
}

// False: the end, or damage.
static bool
reader_has_entry(struct run_reader *reader, struct error *error)
{
    if (reader->status || !reader->has_page)
        return false;
    if (reader->page_index < reader->page_count)
        return true;
    if (fingerprint_compare(reader->last, reader->run.last) == 0)
        return false;
    reader_page(reader, walk_next(&reader->walk), error);
    return reader->status == STATUS_OK;
}

// False: damage.
static bool
reader_pass(struct run_reader *reader, struct fingerprint entry, struct error *error)
{
    if (reader->seen > 0 && fingerprint_compare(reader->last, entry) >= 0) {
        reader->status = run_damaged(&reader->run, entry, error);
        return false;
    }
    reader->page_index++;
    reader->last = entry;
    reader->seen++;
    return true;
}

bool
run_next(struct run_reader *reader, struct fingerprint *out, struct error *error)
{
    if (!reader_has_entry(reader, error))
        return false;
    struct fingerprint entry = entry_at(reader->page, reader->page_index);
    if (!reader_pass(reader, entry, error))
        return false;
    *out = entry;
    return true;
}

bool
run_page(struct run_reader *reader, struct fingerprint *out_last, struct error *error)
{
    if (!reader_has_entry(reader, error))
        return false;
    *out_last = entry_at(reader->page, reader->page_count - 1);
    return true;
}

uint32_t
run_take(
    struct run_reader *reader,
    struct fingerprint limit,
    struct fingerprint *out,
    struct error *error)
{
    uint32_t count = 0;
    while (reader->has_page && reader->page_index < reader->page_count) {
        struct fingerprint entry = entry_at(reader->page, reader->page_index);
        if (fingerprint_compare(entry, limit) > 0 || !reader_pass(reader, entry, error))
            break;
        out[count++] = entry;
    }
    return count;
}

// --- deleting ---

// Keys of both databases begin with the run's number. True: nothing is left.
static bool
delete_prefix(struct tx *tx, uint32_t db, uint32_t number, uint32_t count_max)
{
    uint32_t prefix = __builtin_bswap32(number);
    uint8_t key[RUN_KEY_SIZE];
    for (uint32_t i = 0; i < count_max; i++) {
        struct walk walk = walk_open(tx, db);
        bool has_more = walk_seek(&walk, bytes_of(&prefix, sizeof prefix)) &&
                        walk.key.size <= sizeof key &&
                        memcmp(walk.key.data, &prefix, sizeof prefix) == 0;
        size_t size = walk.key.size;
        if (has_more)
            memcpy(key, walk.key.data, size);
        walk_done(&walk);
        if (!has_more)
            return tx->status == STATUS_OK;
        (void)tx_delete(tx, db, bytes_of(key, size));
    }
    return false;
}

bool
run_delete(struct tx *tx, uint32_t number, uint32_t pages_max)
{
    bool has_pages_gone = delete_prefix(tx, STATE_DB_RUNS, number, pages_max);
    return has_pages_gone && delete_prefix(tx, STATE_DB_FILTERS, number, pages_max);
}

static uint32_t
seek_prefix(struct tx *tx, uint32_t db, uint32_t number)
{
    uint32_t prefix = __builtin_bswap32(number);
    uint32_t found = 0;
    scoped(walk_done) struct walk walk = walk_open(tx, db);
    if (walk_seek(&walk, bytes_of(&prefix, sizeof prefix)) && walk.key.size >= sizeof found)
        memcpy(&found, walk.key.data, sizeof found);
    return __builtin_bswap32(found);
}

uint32_t
run_seek(struct tx *tx, uint32_t number)
{
    uint32_t run = seek_prefix(tx, STATE_DB_RUNS, number);
    uint32_t filter = seek_prefix(tx, STATE_DB_FILTERS, number);
    if (run == 0 || (filter != 0 && filter < run))
        return filter;
    return run;
}

// --- filters ---

static void
part_key(uint32_t run, uint32_t part, uint8_t out[PART_KEY_SIZE])
{
    uint32_t swapped = __builtin_bswap32(run);
    memcpy(out, &swapped, sizeof swapped);
    swapped = __builtin_bswap32(part);
    memcpy(out + sizeof swapped, &swapped, sizeof swapped);
}

void
filter_part_put(
    struct tx *tx, uint32_t run, uint32_t part, const void *blocks, uint64_t blocks_count)
{
    must(blocks_count > 0 && blocks_count <= FILTER_PART_BLOCKS);
    uint8_t key_bytes[PART_KEY_SIZE];
    struct buffer value = {0};
    part_key(run, part, key_bytes);
    struct bytes key = bytes_of(key_bytes, sizeof key_bytes);
    buffer_u64le(&value, 0);
    buffer_put(&value, blocks, blocks_count * FILTER_BLOCK_SIZE);
    must(!buffer_failed(&value));
    uint64_t checksum = value_checksum(key, buffer_view(&value));
    memcpy(value.data, &checksum, sizeof checksum);
    tx_put(tx, STATE_DB_FILTERS, key, buffer_view(&value));
    buffer_done(&value);
}

static enum status
filter_read_part(
    struct tx *tx, uint32_t run, uint32_t part, struct filter *filter, struct error *error)
{
    uint8_t key_bytes[PART_KEY_SIZE];
    struct bytes value;
    uint64_t first = (uint64_t)part * FILTER_PART_BLOCKS;
    uint64_t left = filter_bytes(filter) / FILTER_BLOCK_SIZE - first;
    uint64_t count = left < FILTER_PART_BLOCKS ? left : FILTER_PART_BLOCKS;
    part_key(run, part, key_bytes);
    struct bytes key = bytes_of(key_bytes, sizeof key_bytes);
    bool is_there = tx_get(tx, STATE_DB_FILTERS, key, &value);
    enum status status = tx_check(tx, error);
    if (status)
        return status;
    if (!is_there || value.size != PART_HEADER_SIZE + count * FILTER_BLOCK_SIZE ||
        !value_is_sound(key, value))
        return error_set(
            error,
            STATUS_CORRUPT,
            "identities: part %" PRIu32 " of the filter of run %" PRIu32
            " is damaged or missing: restore the ledger from a backup",
            part,
            run);
    filter_load(filter, first, value.data + PART_HEADER_SIZE, count);
    return STATUS_OK;
}

enum status
filter_read(
    struct tx *tx, uint32_t run, uint64_t blocks_count, struct filter **out, struct error *error)
{
    struct filter *filter = filter_open(blocks_count);
    enum status status = STATUS_OK;
    if (filter == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a filter of identities");
    uint64_t parts = (blocks_count + FILTER_PART_BLOCKS - 1) / FILTER_PART_BLOCKS;
    for (uint32_t part = 0; part < parts && !status; part++)
        status = filter_read_part(tx, run, part, filter, error);
    if (status)
        filter_close(filter);
    else
        *out = filter;
    return status;
}
