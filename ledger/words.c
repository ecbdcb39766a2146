#include "ledger/words.h"

#include "base/assert.h"
#include "base/prefetch.h"
#include "ledger/pages.h"

// The writer finds a word by open addressing, at most half full. Slots carry the stamp of their
// chapter, so that a new chapter empties the table without touching it.

enum {
    SLOTS_BITS = 17,
    SLOTS = 1 << SLOTS_BITS,
    SEEN_BITS = 16,
    SEEN = 1 << SEEN_BITS,
};

_Static_assert((int)SLOTS >= 2 * (int)WORDS_MAX, "a probe ends");
_Static_assert(WORDS_MAX - 1 <= UINT16_MAX, "a slot holds a word's number");

struct row {
    uint32_t offset;
    uint32_t size;
    uint32_t count;
};

// All that a lookup needs but the bytes, so that it costs two cache misses and no third.
struct slot_of_word {
    uint32_t tag;
    uint32_t offset;
    uint16_t size;
    uint16_t count;
    uint16_t stamp;
    uint16_t number;
};

_Static_assert(sizeof(struct slot_of_word) == 16, "four to a cache line");
_Static_assert(
    (int)WORD_SIZE_MAX <= UINT16_MAX, "sizes fit, and so do counts: a pair takes two bytes");

struct words {
    struct word_list list;
    uint16_t stamp;  // of this chapter, never 0
    struct slot_of_word slots[SLOTS];
    uint32_t seen[SEEN];  // a tag where its string was last; older chapters' stay, and are as good
};

void
word_list_done(struct word_list *list)
{
    buffer_done(&list->bytes);
    buffer_done(&list->rows);
    *list = (struct word_list){0};
}

void
word_list_reset(struct word_list *list)
{
    buffer_reset(&list->bytes);
    buffer_reset(&list->rows);
    list->count = 0;
}

bool
word_list_add(struct word_list *list, struct bytes bytes, uint32_t count)
{
    if (list->count == WORDS_MAX || bytes.size < WORD_SIZE_MIN || bytes.size > WORD_SIZE_MAX ||
        bytes.size > WORDS_SIZE_MAX - list->bytes.size)
        return false;
    const struct row row = {(uint32_t)list->bytes.size, (uint32_t)bytes.size, count};
    buffer_bytes(&list->bytes, bytes);
    buffer_put(&list->rows, &row, sizeof row);
    if (buffer_failed(&list->bytes) || buffer_failed(&list->rows))
        return false;
    list->count++;
    return true;
}

struct word
word_list_get(const struct word_list *list, uint32_t number)
{
    must(number < list->count);
    struct row row;
    memcpy(&row, list->rows.data + (size_t)number * sizeof row, sizeof row);
    return (struct word){bytes_of(list->bytes.data + row.offset, row.size), row.count};
}

struct words *
words_open(void)
{
    struct words *words = pages_take_scattered(sizeof *words);
    if (words != NULL)
        words->stamp = 1;
    return words;
}

void
words_close(struct words *words)
{
    if (words == NULL)
        return;
    word_list_done(&words->list);
    pages_give(words, sizeof *words);
}

void
words_reset(struct words *words)
{
    word_list_reset(&words->list);
    words->stamp++;
    if (words->stamp == 0) {
        // Every stamp has been used: a slot of a chapter long ago could pass for one of this.
        memset(words->slots, 0, sizeof words->slots);
        words->stamp = 1;
    }
}

const struct word_list *
words_list(const struct words *words)
{
    return &words->list;
}

void
words_prefetch(const struct words *words, uint64_t hash)
{
    prefetch(&words->slots[hash % SLOTS]);
}

void
words_prefetch_bytes(const struct words *words, uint64_t hash)
{
    const struct slot_of_word *slot = &words->slots[hash % SLOTS];
    if (slot->stamp == words->stamp)
        prefetch(words->list.bytes.data + slot->offset);
}

// Whether it was there before; it is from now on.
static bool
words_seen(struct words *words, uint64_t hash, uint32_t tag)
{
    uint32_t *seen = &words->seen[(hash >> SLOTS_BITS) % SEEN];
    bool is_seen = *seen == tag;
    *seen = tag;
    return is_seen;
}

static bool
slot_is_of(
    const struct words *words, const struct slot_of_word *slot, struct bytes bytes, uint32_t count)
{
    return slot->size == bytes.size && slot->count == count &&
           bytes_same(words->list.bytes.data + slot->offset, bytes.data, bytes.size);
}

uint32_t
words_number(struct words *words, struct bytes bytes, uint32_t count, uint64_t hash)
{
    if (bytes.size < WORD_SIZE_MIN || bytes.size > WORD_SIZE_MAX || count > UINT16_MAX)
        return WORD_NONE;
    const uint32_t tag = (uint32_t)(hash >> 32);
    struct slot_of_word *slot = &words->slots[hash % SLOTS];
    while (slot->stamp == words->stamp) {
        if (slot->tag == tag && slot_is_of(words, slot, bytes, count))
            return slot->number;
        slot = slot + 1 == words->slots + SLOTS ? words->slots : slot + 1;
    }
    // In a full chapter nothing is remembered: with very many strings that is a miss for each.
    const uint32_t offset = (uint32_t)words->list.bytes.size;
    if (words->list.count == WORDS_MAX)
        return WORD_NONE;
    if (!words_seen(words, hash, tag) || !word_list_add(&words->list, bytes, count))
        return WORD_NONE;
    const uint16_t number = (uint16_t)(words->list.count - 1);
    *slot = (struct slot_of_word){
        .tag = tag,
        .offset = offset,
        .size = (uint16_t)bytes.size,
        .count = (uint16_t)count,
        .stamp = words->stamp,
        .number = number,
    };
    return number;
}
