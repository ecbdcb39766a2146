#include "ledger/cut_record.h"

#include "base/assert.h"
#include "base/hash.h"
#include "ledger/cell.h"
#include "ledger/state_meta.h"

enum { CUT_NAME_SIZE = 3, CUT_NUMBERS_SIZE = 16, CUT_VALUE_SIZE = CUT_NUMBERS_SIZE + 8 };

static const uint8_t cut_name[CUT_NAME_SIZE] = {'c', 'u', 't'};

struct bytes
cut_key(uint32_t number, uint8_t bytes[CUT_KEY_SIZE])
{
    uint32_t swapped = __builtin_bswap32(number);
    memcpy(bytes, cut_name, CUT_NAME_SIZE);
    memcpy(bytes + CUT_NAME_SIZE, &swapped, sizeof swapped);
    return bytes_of(bytes, CUT_KEY_SIZE);
}

bool
cut_key_is(struct bytes key)
{
    return key.size == CUT_KEY_SIZE && memcmp(key.data, cut_name, CUT_NAME_SIZE) == 0;
}

static uint64_t
cut_checksum(struct bytes key, const uint8_t *numbers)
{
    return hash64(bytes_of(numbers, CUT_NUMBERS_SIZE), hash64(key, 0));
}

enum status
cut_read(struct bytes key, struct bytes value, struct cut *out)
{
    struct cursor in = cursor_over(value);
    struct cursor name = cursor_over(key);
    (void)cursor_take(&name, CUT_NAME_SIZE);
    struct cut cut = {.number = cursor_u32be(&name)};
    uint64_t time_s = cursor_u64le(&in);
    cut.block = cursor_u64le(&in);
    uint64_t checksum = cursor_u64le(&in);
    if (!cut_key_is(key) || value.size != CUT_VALUE_SIZE ||
        checksum != cut_checksum(key, value.data) || cut.number == 0 || cut.block == 0 ||
        time_s > INT64_MAX)
        return STATUS_CORRUPT;
    cut.time_s = (int64_t)time_s;
    *out = cut;
    return STATUS_OK;
}

enum status
cuts_read(struct tx *state, struct cuts *cuts, struct arena *arena, struct error *error)
{
    must(cuts->count == 0);
    enum status status = state_meta_check(state, error);
    if (status)
        return status;
    struct walk walk = walk_open(state, STATE_DB_META);
    bool more = walk_seek(&walk, bytes_of(cut_name, sizeof cut_name));
    for (; more && !status && cut_key_is(walk.key); more = walk_next(&walk)) {
        struct cut cut;
        if (cut_read(walk.key, walk.value, &cut) || cuts->count == CUTS_MAX)
            status = error_set(error, STATUS_CORRUPT, "state: the record of a cut is damaged");
        else
            cuts_add(cuts, &cut, arena);
    }
    walk_done(&walk);
    return status ? status : tx_check(state, error);
}

static void
cut_write(struct tx *state, const struct cut *cut)
{
    uint8_t bytes[CUT_KEY_SIZE];
    uint8_t value[CUT_VALUE_SIZE];
    struct bytes key = cut_key(cut->number, bytes);
    memcpy(value, &cut->time_s, sizeof cut->time_s);
    memcpy(value + sizeof cut->time_s, &cut->block, sizeof cut->block);
    uint64_t checksum = cut_checksum(key, value);
    memcpy(value + CUT_NUMBERS_SIZE, &checksum, sizeof checksum);
    tx_put(state, STATE_DB_META, key, bytes_of(value, sizeof value));
}

void
cuts_write(struct tx *state, const struct cuts *cuts, uint64_t after)
{
    for (uint32_t i = cuts->count; i-- > 0 && cuts->list[i].block > after;)
        cut_write(state, &cuts->list[i]);
}
