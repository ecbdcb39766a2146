#include "ledger/log_kept.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ledger/cell.h"

#include <stdio.h>
#include <string.h>

struct record {
    uint64_t first;
    int64_t until_ns;
    uint64_t previous;
    uint64_t checksum;
};

static const size_t SUMMED_SIZE = offsetof(struct record, checksum);

static const char prefix[] = "kept:";

enum { PREFIX_SIZE = sizeof prefix - 1, OLD_KEY_SIZE = PREFIX_SIZE + 8 };

// The key of a record that was replaced.
static struct bytes
old_key(uint64_t first, uint8_t out[OLD_KEY_SIZE])
{
    memcpy(out, prefix, PREFIX_SIZE);
    memcpy(out + PREFIX_SIZE, &first, sizeof first);
    return bytes_of(out, OLD_KEY_SIZE);
}

// *out stays when there is no such record.
static enum status
record_read(struct tx *log, struct bytes key, struct log_kept *out, struct error *error)
{
    struct bytes value;
    struct record record;
    if (!tx_get(log, LOG_DB_META, key, &value))
        return tx_check(log, error);
    bool is_whole = value.size == sizeof record;
    if (is_whole)
        memcpy(&record, value.data, sizeof record);
    if (!is_whole || record.first == 0 ||
        record.checksum != hash64(bytes_of(&record, SUMMED_SIZE), 0))
        return error_set(
            error,
            STATUS_CORRUPT,
            "log: the record of where it begins is damaged: restore the ledger from a backup");
    *out = (struct log_kept){record.first, record.until_ns, record.previous};
    return STATUS_OK;
}

static void
record_write(struct tx *log, struct bytes key, const struct log_kept *kept)
{
    must(kept->first > 1);
    struct record record = {kept->first, kept->until_ns, kept->previous, 0};
    record.checksum = hash64(bytes_of(&record, SUMMED_SIZE), 0);
    tx_put(log, LOG_DB_META, key, bytes_of(&record, sizeof record));
}

enum status
log_kept_read(struct tx *log, struct log_kept *out, struct error *error)
{
    struct log_kept kept = {.first = 1};
    enum status status = record_read(log, bytes_text("kept"), &kept, error);
    if (!status)
        *out = kept;
    return status;
}

void
log_kept_write(struct tx *log, const struct log_kept *kept)
{
    record_write(log, bytes_text("kept"), kept);
}

void
log_kept_remember(struct tx *log, const struct log_kept *kept)
{
    uint8_t key[OLD_KEY_SIZE];
    record_write(log, old_key(kept->first, key), kept);
}

enum status
log_kept_list(struct tx *log, struct buffer *out, struct error *error)
{
    const struct bytes before = bytes_of(prefix, PREFIX_SIZE);
    scoped(walk_done) struct walk walk = walk_open(log, LOG_DB_META);
    enum status status = STATUS_OK;
    for (bool more = walk_seek(&walk, before); more && !status; more = walk_next(&walk)) {
        struct log_kept kept;
        if (walk.key.size != OLD_KEY_SIZE || memcmp(walk.key.data, prefix, PREFIX_SIZE) != 0)
            break;
        status = record_read(log, walk.key, &kept, error);
        if (!status)
            buffer_put(out, &kept, sizeof kept);
    }
    if (!status && buffer_failed(out))
        status = error_set(error, STATUS_NO_MEMORY, "no memory for where the log began");
    return status ? status : tx_check(log, error);
}

void
log_kept_print(const struct log_kept *kept, char *out, size_t out_size)
{
    char text[CLOCK_TEXT_MAX];
    int64_t from_s = kept->until_ns / SECOND_NS + 1;
    (void)clock_print(from_s * SECOND_NS, text);
    (void)snprintf(out, out_size, "%s", text);
}

enum status
log_kept_answers(
    struct tx *log, int64_t from_ns, uint64_t last, uint64_t *first, struct error *error)
{
    struct log_kept kept;
    char text[CLOCK_TEXT_MAX];
    uint8_t key[OLD_KEY_SIZE];
    enum status status = log_kept_read(log, &kept, error);
    if (status || *first >= kept.first)
        return status;
    struct log_kept lacks = kept;
    if (last + 1 < kept.first)
        status = record_read(log, old_key(last + 1, key), &lacks, error);
    if (status)
        return status;
    if (from_ns > lacks.until_ns) {
        *first = kept.first;
        return STATUS_OK;
    }
    log_kept_print(&lacks, text, sizeof text);
    return error_set(
        error,
        STATUS_NOT_FOUND,
        "the log is kept from %s on, and no sum that is kept answers this from before: ask from "
        "then on, or for whole days or months without filters",
        text);
}
