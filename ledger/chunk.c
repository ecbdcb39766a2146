#include "ledger/chunk.h"

#include "base/assert.h"
#include "base/hash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { CHUNK_VERSION = 1, CHUNK_HEADER_SIZE = 24 };

static const uint64_t CHUNK_MAGIC = 0x534b4c4259414c54ULL;  // "TLAYBLKS"

static enum status
chunk_path(struct path *out, const char *dir, uint32_t shard, uint64_t first, struct error *error)
{
    char name[64];
    (void)snprintf(name, sizeof name, "shards/%04" PRIu32 "/%020" PRIu64 ".blocks", shard, first);
    return path_make(out, dir, name, error);
}

static void
header_print(const struct manifest_chunk *row, struct buffer *out)
{
    buffer_u64le(out, CHUNK_MAGIC);
    buffer_u32le(out, CHUNK_VERSION);
    buffer_u32le(out, row->shard);
    buffer_u64le(out, row->first);
}

enum status
chunk_begin(
    struct chunk_writer *writer,
    const char *dir,
    uint32_t shard,
    uint64_t first,
    struct error *error)
{
    must(writer->fd == 0 && first > 0);
    enum status status = chunk_path(&writer->path, dir, shard, first, error);
    if (status)
        return status;
    // What an unfinished backup left under this name is in no manifest.
    writer->fd = open(writer->path.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (writer->fd < 0) {
        writer->fd = 0;
        return error_set_errno(error, "cannot make %s", writer->path.text);
    }
    writer->row = (struct manifest_chunk){.shard = shard, .first = first, .last = first - 1};
    buffer_reset(&writer->pending);
    header_print(&writer->row, &writer->pending);
    writer->row.checksum = hash64(buffer_view(&writer->pending), 0);
    return STATUS_OK;
}

void
chunk_add(struct chunk_writer *writer, struct bytes value)
{
    must(writer->fd > 0);
    buffer_u64le(&writer->pending, value.size);
    buffer_bytes(&writer->pending, value);
    writer->row.checksum = hash64(value, writer->row.checksum);
    writer->row.last++;
}

enum status
chunk_flush(struct chunk_writer *writer, struct error *error)
{
    struct buffer *pending = &writer->pending;
    if (buffer_failed(pending))
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory", writer->path.text);
    if (fd_write(writer->fd, buffer_view(pending)))
        return error_set_errno(error, "cannot write %s", writer->path.text);
    writer->row.size_bytes += pending->size;
    buffer_reset(pending);
    return STATUS_OK;
}

enum status
chunk_end(struct chunk_writer *writer, struct manifest_chunk *out, struct error *error)
{
    must(writer->row.last >= writer->row.first);
    enum status status = chunk_flush(writer, error);
    if (!status && fsync(writer->fd) != 0)
        status = error_set_errno(error, "cannot fsync %s", writer->path.text);
    if (!status)
        *out = writer->row;
    chunk_abort(writer);
    return status;
}

void
chunk_abort(struct chunk_writer *writer)
{
    if (writer->fd > 0)
        (void)close(writer->fd);
    writer->fd = 0;
    buffer_done(&writer->pending);
}

static bool
header_fits(struct cursor *in, const struct manifest_chunk *row)
{
    uint64_t magic = cursor_u64le(in);
    uint32_t version = cursor_u32le(in);
    uint32_t shard = cursor_u32le(in);
    uint64_t first = cursor_u64le(in);
    return !cursor_failed(in) && magic == CHUNK_MAGIC && version == CHUNK_VERSION &&
           shard == row->shard && first == row->first;
}

static bool
chunk_is_whole(const struct chunk_reader *reader)
{
    struct cursor in = cursor_over(buffer_view(&reader->bytes));
    const struct manifest_chunk *row = &reader->row;
    if (reader->bytes.size != row->size_bytes || !header_fits(&in, row))
        return false;
    uint64_t checksum = hash64(bytes_of(reader->bytes.data, CHUNK_HEADER_SIZE), 0);
    for (uint64_t sequence = row->first; sequence <= row->last; sequence++) {
        uint64_t size = cursor_u64le(&in);
        struct bytes value = cursor_take(&in, size);
        if (cursor_failed(&in))
            return false;
        checksum = hash64(value, checksum);
    }
    return cursor_left(&in) == 0 && checksum == row->checksum;
}

enum status
chunk_open(
    struct chunk_reader *reader,
    const char *dir,
    const struct manifest_chunk *row,
    struct error *error)
{
    struct path path;
    buffer_reset(&reader->bytes);
    reader->row = *row;
    enum status status = chunk_path(&path, dir, row->shard, row->first, error);
    if (!status)
        status = files_load(path.text, &reader->bytes, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_CORRUPT, "the backup's file %s is missing", path.text);
    if (status)
        return status;
    if (!chunk_is_whole(reader)) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "%s is not what its backup's manifest says: take another backup",
            path.text);
    }
    reader->in = cursor_over(buffer_view(&reader->bytes));
    (void)cursor_take(&reader->in, CHUNK_HEADER_SIZE);
    reader->next = row->first;
    return STATUS_OK;
}

bool
chunk_next(struct chunk_reader *reader, uint64_t *out_sequence, struct bytes *out_value)
{
    if (reader->next > reader->row.last)
        return false;
    uint64_t size = cursor_u64le(&reader->in);
    *out_value = cursor_take(&reader->in, size);
    must(!cursor_failed(&reader->in));
    *out_sequence = reader->next++;
    return true;
}

void
chunk_done(struct chunk_reader *reader)
{
    buffer_done(&reader->bytes);
    *reader = (struct chunk_reader){0};
}
