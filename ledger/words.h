#pragma once
// Words: strings that are stored once a chapter and then named by a number. A chapter is a run of
// blocks that share them; its words are numbered from 0 in the order in which they were defined.
//
//     struct words *words = words_open();              // the writer's side
//     words_reset(words);                              // a chapter begins
//     hash = words_hash(text, 0); words_prefetch(words, hash); ...     // some ahead
//     uint32_t number = words_number(words, text, 0, hash);  // WORD_NONE: write it out
//     words_list(words)->count                         // words from here on are new
//
//     struct word_list list = {0};                     // the reader's side: the same words again
//     word_list_add(&list, bytes, count); word_list_get(&list, number);
//
// A string becomes a word when it is seen a second time; what was seen is remembered in a small
// table that forgets, so that strings which never come back cost a hash and no memory. A full
// chapter defines no more. Words carry a count beside their bytes (pairs of a map; 0 for texts).
// Owner: whoever opened it. Thread: one.

#include "base/buffer.h"
#include "base/hash.h"

enum {
    WORDS_MAX = 65536,         // a chapter
    WORDS_SIZE_MAX = 4 << 20,  // bytes of all words of a chapter
    WORD_SIZE_MIN = 2,
    WORD_SIZE_MAX = 4096,
};

static const uint32_t WORD_NONE = UINT32_MAX;

struct word {
    struct bytes bytes;
    uint32_t count;
};

// Words in order. Views of them end with the next addition.
struct word_list {
    struct buffer bytes;
    struct buffer rows;
    uint32_t count;
};

void word_list_done(struct word_list *list);
// Empties it and keeps the memory.
void word_list_reset(struct word_list *list);
// False: a bound of a chapter is reached, the size is none of a word's, or there is no memory.
bool word_list_add(struct word_list *list, struct bytes bytes, uint32_t count) CHECKED;
// number < list->count.
struct word word_list_get(const struct word_list *list, uint32_t number);

struct words;  // opaque

// About 2.3 MiB, touched as far as it is used. NULL: no memory.
struct words *words_open(void);
void words_close(struct words *words);
void words_reset(struct words *words);
static inline uint64_t
words_hash(struct bytes bytes, uint32_t count)
{
    return hash64_short(bytes, count);
}
// The slot first; when it is there, what it points to.
void words_prefetch(const struct words *words, uint64_t hash);
void words_prefetch_bytes(const struct words *words, uint64_t hash);
// The word's number, defined just now perhaps; WORD_NONE: it is no word. hash: words_hash of it.
uint32_t words_number(struct words *words, struct bytes bytes, uint32_t count, uint64_t hash);
const struct word_list *words_list(const struct words *words);
