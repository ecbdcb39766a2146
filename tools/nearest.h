#pragma once
// The name somebody probably meant.
//
//     const char *nearest = nearest_name("improt", names, count);   // "import"
//
// Thread: any.

#include <stddef.h>

// The name with the fewest edits (swapped neighbours are one), or NULL when none is near: more than
// a third of the word would have to change, or more than two letters of a short one.
const char *nearest_name(const char *word, const char *const *names, size_t count);
