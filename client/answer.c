#include "client/answer.h"

#include "base/unpack.h"

enum { ANSWER_DEPTH_MAX = 8 };

static bool
natural_read(struct cursor *in, uint64_t *out)
{
    struct unpack_item item;
    if (!unpack_next(in, &item) || item.type != UNPACK_UINT)
        return false;
    *out = item.natural;
    return true;
}

static bool
text_read(struct cursor *in, struct bytes *out)
{
    struct unpack_item item;
    if (!unpack_next(in, &item) || (item.type != UNPACK_STR && item.type != UNPACK_BIN))
        return false;
    *out = item.text;
    return true;
}

static bool
rejected_read(struct cursor *in, uint64_t *out_index, struct bytes *out_reason)
{
    struct unpack_item item;
    if (!unpack_next(in, &item) || item.type != UNPACK_ARRAY || item.count != 2)
        return false;
    return natural_read(in, out_index) && text_read(in, out_reason);
}

// Remembers where the items of an array begin and walks over them, so that a malformed one is
// refused now.
static bool
rejected_list_read(struct cursor *in, struct answer *answer)
{
    struct unpack_item item;
    if (!unpack_next(in, &item) || item.type != UNPACK_ARRAY)
        return false;
    answer->rejected = *in;
    answer->rejected_left = item.count;
    for (uint32_t i = 0; i < item.count; i++) {
        uint64_t index;
        struct bytes reason;
        if (!rejected_read(in, &index, &reason))
            return false;
    }
    return true;
}

static bool
conflicts_list_read(struct cursor *in, struct answer *answer)
{
    struct unpack_item item;
    if (!unpack_next(in, &item) || item.type != UNPACK_ARRAY)
        return false;
    answer->conflicts = *in;
    answer->conflicts_left = item.count;
    for (uint32_t i = 0; i < item.count; i++) {
        uint64_t index;
        if (!natural_read(in, &index))
            return false;
    }
    return true;
}

static bool
pair_read(struct cursor *in, struct answer *answer)
{
    struct bytes key;
    if (!text_read(in, &key))
        return false;
    if (bytes_equal(key, bytes_text("ack")))
        return text_read(in, &answer->chunk);
    if (bytes_equal(key, bytes_text("duplicates")))
        return natural_read(in, &answer->duplicates);
    if (bytes_equal(key, bytes_text("rejected")))
        return rejected_list_read(in, answer);
    if (bytes_equal(key, bytes_text("conflicts")))
        return conflicts_list_read(in, answer);
    if (bytes_equal(key, bytes_text("rejected_count")))
        return natural_read(in, &answer->rejected_count);
    if (bytes_equal(key, bytes_text("conflicts_count")))
        return natural_read(in, &answer->conflicts_count);
    return unpack_skip(in, ANSWER_DEPTH_MAX);
}

bool
answer_read(struct bytes message, struct answer *out)
{
    struct answer answer = {0};
    struct cursor in = cursor_over(message);
    struct unpack_item item;
    if (!unpack_next(&in, &item) || item.type != UNPACK_MAP)
        return false;
    for (uint32_t i = 0; i < item.count; i++)
        if (!pair_read(&in, &answer))
            return false;
    if (answer.chunk.size == 0 || cursor_left(&in) > 0)
        return false;
    *out = answer;
    return true;
}

bool
answer_next_rejected(struct answer *answer, uint64_t *out_index, struct bytes *out_reason)
{
    if (answer->rejected_left == 0)
        return false;
    answer->rejected_left--;
    return rejected_read(&answer->rejected, out_index, out_reason);
}

bool
answer_next_conflict(struct answer *answer, uint64_t *out_index)
{
    if (answer->conflicts_left == 0)
        return false;
    answer->conflicts_left--;
    return natural_read(&answer->conflicts, out_index);
}
