// The manifest as text, a line for each thing:
//
//   tally backup 1
//   number 3
//   began 1794268800000000000
//   meters SIZE CHECKSUM
//   shard 0 HEAD CHECKSUM
//   kept 0 FIRST UNTIL PREVIOUS SIZE CHECKSUM      where it does not begin with block 1
//   lack 0 FIRST UNTIL PREVIOUS                    where it began before, and cells of a meter do
//   chunk 0 FIRST LAST SIZE CHECKSUM
//   checksum CHECKSUM              XXH3_64 of all lines before, seed 0
//
// Checksums are 16 hexadecimal digits, everything else is decimal. Reading is strict: whatever is
// not what would be written is refused.

#include "ledger/manifest.h"

#include "base/assert.h"
#include "base/hash.h"
#include "ledger/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MANIFEST_CHECKSUM_LINE = sizeof "checksum 0123456789abcdef\n" - 1 };

// Some 50 bytes a chunk, of at most 64 MiB: more than a petabyte.
static const size_t MANIFEST_SIZE_MAX = 1 << 30;

void
manifest_done(struct manifest *manifest)
{
    buffer_done(&manifest->lacks);
    buffer_done(&manifest->chunks);
    *manifest = (struct manifest){0};
}

uint32_t
manifest_count(const struct manifest *manifest)
{
    return (uint32_t)(manifest->chunks.size / sizeof(struct manifest_chunk));
}

struct manifest_chunk
manifest_at(const struct manifest *manifest, uint32_t index)
{
    must(index < manifest_count(manifest));
    struct manifest_chunk chunk;
    memcpy(&chunk, manifest->chunks.data + index * sizeof chunk, sizeof chunk);
    return chunk;
}

uint32_t
manifest_lacks_count(const struct manifest *manifest)
{
    return (uint32_t)(manifest->lacks.size / sizeof(struct manifest_lack));
}

struct manifest_lack
manifest_lack_at(const struct manifest *manifest, uint32_t index)
{
    must(index < manifest_lacks_count(manifest));
    struct manifest_lack lack;
    memcpy(&lack, manifest->lacks.data + index * sizeof lack, sizeof lack);
    return lack;
}

enum status
manifest_lack_add(struct manifest *manifest, const struct manifest_lack *lack, struct error *error)
{
    must(lack->shard < manifest->shards_count && lack->kept.first > 1);
    buffer_put(&manifest->lacks, lack, sizeof *lack);
    if (buffer_failed(&manifest->lacks))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the backup's manifest");
    return STATUS_OK;
}

enum status
manifest_add(struct manifest *manifest, const struct manifest_chunk *chunk, struct error *error)
{
    must(chunk->shard < manifest->shards_count);
    must(chunk->first > 0 && chunk->first <= chunk->last);
    buffer_put(&manifest->chunks, chunk, sizeof *chunk);
    if (buffer_failed(&manifest->chunks))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the backup's manifest");
    return STATUS_OK;
}

static void
manifest_print(const struct manifest *manifest, struct buffer *out)
{
    buffer_format(out, "tally backup 1\nnumber %" PRIu32 "\n", manifest->number);
    buffer_format(out, "began %" PRId64 "\n", manifest->began_ns);
    buffer_format(
        out,
        "meters %" PRIu64 " %016" PRIx64 "\n",
        manifest->registry_size,
        manifest->registry_checksum);
    for (uint32_t i = 0; i < manifest->shards_count; i++) {
        const struct manifest_shard *shard = &manifest->shards[i];
        buffer_format(
            out,
            "shard %" PRIu32 " %" PRIu64 " %016" PRIx64 "\n",
            i,
            shard->head,
            shard->head_checksum);
        if (shard->kept.first > 1)
            buffer_format(
                out,
                "kept %" PRIu32 " %" PRIu64 " %" PRId64 " %016" PRIx64 " %" PRIu64 " %016" PRIx64
                "\n",
                i,
                shard->kept.first,
                shard->kept.until_ns,
                shard->kept.previous,
                shard->state_size,
                shard->state_checksum);
    }
    for (uint32_t i = 0; i < manifest_lacks_count(manifest); i++) {
        struct manifest_lack lack = manifest_lack_at(manifest, i);
        buffer_format(
            out,
            "lack %" PRIu32 " %" PRIu64 " %" PRId64 " %016" PRIx64 "\n",
            lack.shard,
            lack.kept.first,
            lack.kept.until_ns,
            lack.kept.previous);
    }
    for (uint32_t i = 0; i < manifest_count(manifest); i++) {
        struct manifest_chunk chunk = manifest_at(manifest, i);
        buffer_format(
            out,
            "chunk %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %016" PRIx64 "\n",
            chunk.shard,
            chunk.first,
            chunk.last,
            chunk.size_bytes,
            chunk.checksum);
    }
    buffer_format(out, "checksum %016" PRIx64 "\n", hash64(buffer_view(out), 0));
}

enum status
manifest_write(const char *dir, const struct manifest *manifest, struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    manifest_print(manifest, &text);
    if (buffer_failed(&text))
        return error_set(error, STATUS_NO_MEMORY, "no memory for the backup's manifest");
    return files_replace(dir, "manifest", buffer_view(&text), 0600, error);
}

static int
digit_value(char digit, unsigned base)
{
    int value = -1;
    if (digit >= '0' && digit <= '9')
        value = digit - '0';
    else if (digit >= 'a' && digit <= 'f')
        value = digit - 'a' + 10;
    return value < (int)base ? value : -1;
}

// Takes " number" off the line's front.
static bool
take_number(const char **line, unsigned base, uint64_t *out)
{
    const char *at = *line;
    uint64_t number = 0;
    if (*at++ != ' ' || digit_value(*at, base) < 0)
        return false;
    for (; digit_value(*at, base) >= 0; at++) {
        if (__builtin_mul_overflow(number, base, &number) ||
            __builtin_add_overflow(number, (uint64_t)digit_value(*at, base), &number))
            return false;
    }
    *line = at;
    *out = number;
    return true;
}

static bool
take_word(const char **line, const char *word)
{
    size_t size = strlen(word);
    if (strncmp(*line, word, size) != 0)
        return false;
    *line += size;
    return true;
}

static bool
read_shard(const char *line, struct manifest *manifest)
{
    uint64_t number;
    struct manifest_shard shard = {.kept = {.first = 1}};
    if (!take_number(&line, 10, &number) || !take_number(&line, 10, &shard.head) ||
        !take_number(&line, 16, &shard.head_checksum))
        return false;
    if (number != manifest->shards_count || number >= MANIFEST_SHARDS_MAX)
        return false;
    manifest->shards[manifest->shards_count++] = shard;
    return *line == '\n';
}

// Of the shard whose line was the last.
static bool
read_kept(const char *line, struct manifest *manifest)
{
    uint64_t number;
    uint64_t until = 0;
    struct manifest_shard *shard = &manifest->shards[manifest->shards_count - 1];
    if (!take_number(&line, 10, &number) || !take_number(&line, 10, &shard->kept.first) ||
        !take_number(&line, 10, &until) || !take_number(&line, 16, &shard->kept.previous) ||
        !take_number(&line, 10, &shard->state_size) ||
        !take_number(&line, 16, &shard->state_checksum))
        return false;
    shard->kept.until_ns = (int64_t)until;
    return *line == '\n' && number + 1 == manifest->shards_count && until <= INT64_MAX &&
           shard->kept.first > 1 && shard->state_size > 0;
}

static bool
read_lack(const char *line, struct manifest *manifest)
{
    uint64_t number;
    uint64_t until = 0;
    struct manifest_lack lack = {.shard = 0};
    struct error error;
    if (!take_number(&line, 10, &number) || !take_number(&line, 10, &lack.kept.first) ||
        !take_number(&line, 10, &until) || !take_number(&line, 16, &lack.kept.previous))
        return false;
    if (number >= manifest->shards_count || until > INT64_MAX || lack.kept.first <= 1 ||
        lack.kept.first >= manifest->shards[number].kept.first)
        return false;
    lack.shard = (uint32_t)number;
    lack.kept.until_ns = (int64_t)until;
    return *line == '\n' && manifest_lack_add(manifest, &lack, &error) == STATUS_OK;
}

static bool
read_chunk(const char *line, struct manifest *manifest)
{
    uint64_t number;
    struct manifest_chunk chunk = {0};
    struct error error;
    if (!take_number(&line, 10, &number) || !take_number(&line, 10, &chunk.first) ||
        !take_number(&line, 10, &chunk.last) || !take_number(&line, 10, &chunk.size_bytes) ||
        !take_number(&line, 16, &chunk.checksum))
        return false;
    if (number >= manifest->shards_count || chunk.first == 0 || chunk.first > chunk.last ||
        chunk.last > manifest->shards[number].head)
        return false;
    chunk.shard = (uint32_t)number;
    return *line == '\n' && manifest_add(manifest, &chunk, &error) == STATUS_OK;
}

static bool
read_line(const char *line, struct manifest *manifest)
{
    uint64_t number = 0;
    if (take_word(&line, "shard"))
        return read_shard(line, manifest);
    if (take_word(&line, "kept"))
        return manifest->shards_count > 0 && read_kept(line, manifest);
    if (take_word(&line, "lack"))
        return read_lack(line, manifest);
    if (take_word(&line, "chunk"))
        return read_chunk(line, manifest);
    if (take_word(&line, "number")) {
        if (!take_number(&line, 10, &number) || number == 0 || number >= UINT32_MAX)
            return false;
        manifest->number = (uint32_t)number;
    } else if (take_word(&line, "began")) {
        if (!take_number(&line, 10, &number) || number > INT64_MAX)
            return false;
        manifest->began_ns = (int64_t)number;
    } else if (take_word(&line, "meters")) {
        if (!take_number(&line, 10, &manifest->registry_size) ||
            !take_number(&line, 16, &manifest->registry_checksum))
            return false;
    } else {
        return false;
    }
    return *line == '\n';
}

// The chunks of each shard follow each other up to its head.
static bool
is_dense(const struct manifest *manifest)
{
    uint64_t ends[MANIFEST_SHARDS_MAX] = {0};
    for (uint32_t i = 0; i < manifest_count(manifest); i++) {
        struct manifest_chunk chunk = manifest_at(manifest, i);
        bool is_first = ends[chunk.shard] == 0;
        uint64_t wanted =
            is_first ? manifest->shards[chunk.shard].kept.first : ends[chunk.shard] + 1;
        if (chunk.first != wanted)
            return false;
        ends[chunk.shard] = chunk.last;
    }
    for (uint32_t i = 0; i < manifest->shards_count; i++) {
        if (ends[i] != manifest->shards[i].head)
            return false;
    }
    return manifest->number > 0 && manifest->shards_count > 0;
}

static enum status
manifest_parse(const char *path, const char *text, struct manifest *out, struct error *error)
{
    const char *line = text;
    uint64_t row = 1;
    if (!take_word(&line, "tally backup 1\n"))
        return error_set(error, STATUS_INVALID, "%s is no backup that this version can read", path);
    while (!take_word(&line, "checksum")) {
        row++;
        if (!read_line(line, out))
            return error_set(
                error, STATUS_CORRUPT, "%s, line %" PRIu64 " makes no sense", path, row);
        line = strchr(line, '\n') + 1;
    }
    if (!is_dense(out))
        return error_set(error, STATUS_CORRUPT, "%s: its files are not all that it needs", path);
    return STATUS_OK;
}

static bool
is_sealed(struct bytes text)
{
    char expected[MANIFEST_CHECKSUM_LINE + 1];
    if (text.size < MANIFEST_CHECKSUM_LINE)
        return false;
    struct bytes before = bytes_of(text.data, text.size - MANIFEST_CHECKSUM_LINE);
    (void)snprintf(expected, sizeof expected, "checksum %016" PRIx64 "\n", hash64(before, 0));
    return memcmp(text.data + before.size, expected, MANIFEST_CHECKSUM_LINE) == 0;
}

enum status
manifest_read(const char *dir, struct manifest *out, struct error *error)
{
    struct path path;
    scoped(buffer_done) struct buffer text = {.limit = MANIFEST_SIZE_MAX};
    struct manifest manifest = {0};
    enum status status = path_make(&path, dir, "manifest", error);
    if (status == STATUS_OK)
        status = files_load(path.text, &text, error);
    if (status)
        return status;
    if (!is_sealed(buffer_view(&text)))
        return error_set(error, STATUS_CORRUPT, "%s: its checksum does not fit", path.text);
    buffer_u8(&text, 0);
    if (buffer_failed(&text))
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it", path.text);
    status = manifest_parse(path.text, (const char *)text.data, &manifest, error);
    if (status)
        manifest_done(&manifest);
    else
        *out = manifest;
    return status;
}
