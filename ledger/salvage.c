#include "ledger/salvage.h"

#include "base/assert.h"
#include "ledger/block.h"
#include "ledger/files.h"
#include "ledger/lmdb_env.h"
#include "ledger/shard_view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { WINDOW = 1 << 20, OVERLAP = BLOCK_HEADER_SIZE, BATCH_BYTES = 64 << 20 };

struct salvage_block {
    uint64_t sequence, offset, previous, checksum;
    int64_t arrival_ns;
    uint32_t size, count;
    bool is_whole;  // else only its header is
};

static uint64_t
blocks_count(const struct buffer *blocks)
{
    return blocks->size / sizeof(struct salvage_block);
}

static struct salvage_block *
block_at(const struct buffer *blocks, uint64_t index)
{
    must(index < blocks_count(blocks));
    return (struct salvage_block *)(void *)blocks->data + index;
}

const struct salvage_lost *
salvage_lost_at(const struct salvage *salvage, uint32_t index)
{
    must(index < salvage->lost_count);
    return (const struct salvage_lost *)(const void *)salvage->lost.data + index;
}

void
salvage_done(struct salvage *salvage)
{
    if (salvage->fd > 0)
        (void)close(salvage->fd);
    buffer_done(&salvage->found);
    buffer_done(&salvage->chain);
    buffer_done(&salvage->lost);
    *salvage = (struct salvage){0};
}

// --- what is in the file ---

// Fewer than asked for: the file ends there, or cannot be read further.
static size_t
read_at(int fd, uint64_t offset, uint8_t *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t count = pread(fd, out + done, size - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break;
        done += (size_t)count;
    }
    return done;
}

// What may be a block's header begins here.
static enum status
block_try(struct salvage *salvage, uint64_t offset, struct buffer *value, struct error *error)
{
    struct block_header header;
    uint8_t bytes[BLOCK_HEADER_SIZE];
    if (read_at(salvage->fd, offset, bytes, sizeof bytes) < sizeof bytes ||
        !block_header_is_whole(bytes, &header))
        return STATUS_OK;
    const size_t size = (size_t)BLOCK_HEADER_SIZE + header.words_size + header.entries_size;
    struct salvage_block found = {
        .sequence = header.sequence,
        .offset = offset,
        .previous = header.previous,
        .checksum = header.checksum,
        .arrival_ns = header.arrival_ns,
        .size = (uint32_t)size,
        .count = header.count,
    };
    buffer_reset(value);
    uint8_t *place = buffer_reserve(value, size);
    if (place == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a block of %zu bytes", size);
    found.is_whole = read_at(salvage->fd, offset, place, size) == size &&
                     block_is_whole(&header, bytes_of(place, size));
    buffer_put(&salvage->found, &found, sizeof found);
    return STATUS_OK;
}

static int
by_sequence(const void *a, const void *b)
{
    const struct salvage_block *left = a;
    const struct salvage_block *right = b;
    if (left->sequence != right->sequence)
        return left->sequence < right->sequence ? -1 : 1;
    return (int)right->is_whole - (int)left->is_whole;
}

// Values lie at even places.
static enum status
blocks_find(struct salvage *salvage, struct error *error)
{
    static const uint32_t magic = BLOCK_MAGIC;
    scoped(buffer_done) struct buffer window = {0};
    scoped(buffer_done) struct buffer value = {0};
    uint8_t *bytes = buffer_reserve(&window, WINDOW + OVERLAP);
    enum status status = STATUS_OK;
    if (bytes == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to read a log");
    size_t size = WINDOW;
    for (uint64_t offset = 0; !status && size >= WINDOW; offset += WINDOW) {
        size = read_at(salvage->fd, offset, bytes, WINDOW + OVERLAP);
        for (size_t at = 0; !status && at < WINDOW && at + BLOCK_HEADER_SIZE <= size; at += 2)
            if (memcmp(bytes + at, &magic, sizeof magic) == 0)
                status = block_try(salvage, offset + at, &value, error);
    }
    if (!status && buffer_failed(&salvage->found))
        status = error_set(error, STATUS_NO_MEMORY, "no memory for a list of blocks");
    uint64_t count = blocks_count(&salvage->found);
    if (!status && count > 0)
        qsort(salvage->found.data, count, sizeof(struct salvage_block), by_sequence);
    return status;
}

// --- which of them are the log ---

// The first one of this sequence, or where it would be.
static uint64_t
block_seek(const struct salvage *salvage, uint64_t sequence)
{
    uint64_t low = 0;
    uint64_t high = blocks_count(&salvage->found);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (block_at(&salvage->found, middle)->sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The one with this checksum, a whole one first; without a wanted one any whole one. NULL: none.
static const struct salvage_block *
block_choose(const struct salvage *salvage, uint64_t sequence, const uint64_t *wanted)
{
    uint64_t at = block_seek(salvage, sequence);
    for (; at < blocks_count(&salvage->found); at++) {
        const struct salvage_block *block = block_at(&salvage->found, at);
        if (block->sequence != sequence)
            break;
        if (wanted != NULL ? block->checksum == *wanted : block->is_whole)
            return block;
    }
    return NULL;
}

// Of those that follow the block with this checksum the youngest: an older one is of a commit that
// a crash cut off, and was made again after it.
static const struct salvage_block *
block_after(const struct salvage *salvage, uint64_t sequence, uint64_t checksum)
{
    const struct salvage_block *youngest = NULL;
    uint64_t at = block_seek(salvage, sequence + 1);
    for (; at < blocks_count(&salvage->found); at++) {
        const struct salvage_block *block = block_at(&salvage->found, at);
        if (block->sequence != sequence + 1)
            break;
        if (block->is_whole && block->previous == checksum &&
            (youngest == NULL || block->arrival_ns > youngest->arrival_ns))
            youngest = block;
    }
    return youngest;
}

// Where the log ends: a head may be behind it.
static struct head_place
log_end(const struct salvage *salvage, const struct head_place *head)
{
    struct head_place end = *head;
    const struct salvage_block *next;
    while ((next = block_after(salvage, end.sequence, end.checksum)) != NULL) {
        end.sequence = next->sequence;
        end.checksum = next->checksum;
    }
    return end;
}

static void
lose(struct salvage *salvage, uint64_t sequence, const struct salvage_block *header)
{
    struct salvage_lost *last = NULL;
    if (salvage->lost_count > 0)
        last = (struct salvage_lost *)(void *)salvage->lost.data + salvage->lost_count - 1;
    if (last == NULL || last->first != sequence + 1) {
        const struct salvage_lost lost = {.first = sequence, .last = sequence};
        buffer_put(&salvage->lost, &lost, sizeof lost);
        if (buffer_failed(&salvage->lost))
            return;
        salvage->lost_count++;
        last = (struct salvage_lost *)(void *)salvage->lost.data + salvage->lost_count - 1;
    }
    last->first = sequence;
    last->events += header != NULL ? header->count : 0;
    last->unknown += header == NULL;
}

// From the last one back: each says by its checksum which one is before it.
static enum status
chain_make(struct salvage *salvage, const struct head_place *head, struct error *error)
{
    uint64_t count = blocks_count(&salvage->found);
    bool is_known = head != NULL && head->state == HEAD_WRITTEN;
    const struct head_place end = is_known ? log_end(salvage, head) : (struct head_place){0};
    uint64_t checksum = end.checksum;
    uint64_t lowest = count > 0 ? block_at(&salvage->found, 0)->sequence : 0;
    salvage->last = count > 0 ? block_at(&salvage->found, count - 1)->sequence : 0;
    if (is_known)
        salvage->last = end.sequence;
    salvage->first = salvage->last + 1;
    // Down to the first that is there; what is missing before it is only what its number says.
    for (uint64_t sequence = salvage->last; sequence >= 1 && sequence >= lowest; sequence--) {
        const struct salvage_block *block =
            block_choose(salvage, sequence, is_known ? &checksum : NULL);
        bool is_whole = block != NULL && block->is_whole;
        if (is_whole)
            buffer_put(&salvage->chain, block, sizeof *block);
        else
            lose(salvage, sequence, block);
        salvage->blocks += is_whole;
        salvage->first = sequence;
        is_known = block != NULL;
        checksum = is_known ? block->previous : 0;
    }
    if (buffer_failed(&salvage->chain) || buffer_failed(&salvage->lost))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a list of blocks");
    return STATUS_OK;
}

enum status
salvage_read(
    const char *file, const struct head_place *head, struct salvage *out, struct error *error)
{
    *out = (struct salvage){.fd = open(file, O_RDONLY | O_CLOEXEC)};
    if (out->fd < 0) {
        out->fd = 0;
        return errno == ENOENT ? error_set(error, STATUS_NOT_FOUND, "%s is missing", file)
                               : error_set_errno(error, "cannot open %s", file);
    }
    enum status status = blocks_find(out, error);
    return status ? status : chain_make(out, head, error);
}

// --- a log of them ---

static enum status
block_append(
    const struct salvage *salvage,
    struct tx *tx,
    const struct salvage_block *block,
    struct error *error)
{
    uint8_t *place = tx_append_reserve(
        tx, LOG_DB_BLOCKS, bytes_of(&block->sequence, sizeof block->sequence), block->size);
    if (place == NULL)
        return tx_check(tx, error);
    if (read_at(salvage->fd, block->offset, place, block->size) < block->size)
        return error_set(error, STATUS_IO, "a block that was read cannot be read again");
    return STATUS_OK;
}

enum status
salvage_write(
    const struct salvage *salvage, const char *dir, uint64_t map_size, struct error *error)
{
    const struct env_options options = {
        .map_size = map_size, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    struct env *env = NULL;
    enum status status = dir_make(dir, error);
    if (!status)
        status = env_open(dir, &options, &env, error);
    uint64_t left = blocks_count(&salvage->chain);
    while (!status && left > 0) {
        struct tx tx = tx_write(env);
        for (uint64_t bytes = 0; !status && left > 0 && bytes < BATCH_BYTES; left--) {
            const struct salvage_block *block = block_at(&salvage->chain, left - 1);
            status = block_append(salvage, &tx, block, error);
            bytes += block->size;
        }
        if (!status)
            status = tx_commit(&tx, error);
        tx_done(&tx);
    }
    env_close(env);
    return status;
}
