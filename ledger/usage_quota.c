#include "ledger/usage_quota.h"

#include "base/assert.h"
#include "base/hash.h"
#include "ledger/usage_answer.h"

enum { ATTEMPTS = 2 };

static enum status
client_want(struct reader *reader, struct error *error)
{
    if (reader->client != NULL)
        return STATUS_OK;
    enum status status = memory_client_open(reader->dir, &reader->client, error);
    return status == STATUS_NOT_FOUND ? STATUS_CLOSED : status;
}

// A connection that tallyd closed (it was restarted) is made anew, once.
enum status
usage_quota(
    struct reader *reader,
    const struct threshold *threshold,
    struct bytes subject,
    int64_t time_s,
    struct quota *out,
    struct error *error)
{
    must(subject.size > 0 && subject.size <= UINT8_MAX && threshold->id > 0);
    const uint32_t shard = (uint32_t)(hash64(subject, 0) % reader->shards);
    enum status status = STATUS_CLOSED;
    for (int i = 0; i < ATTEMPTS && status == STATUS_CLOSED; i++) {
        bool was_connected = reader->client != NULL;
        status = client_want(reader, error);
        if (!status)
            status =
                memory_ask_quota(reader->client, shard, threshold->id, subject, time_s, out, error);
        if (status == STATUS_CLOSED || status == STATUS_TIMEOUT) {
            memory_client_close(reader->client);
            reader->client = NULL;
        }
        if (!was_connected)
            break;
    }
    return status == STATUS_CLOSED ? error_set(error, status, "tallyd is away") : status;
}
