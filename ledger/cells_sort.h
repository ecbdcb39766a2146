#pragma once
// Cells in the order of their keys on disk, for a flush.
//
//     subjects_sort(subjects, subjects_count, &scratch);
//     const struct cell **sorted = cells_sort(subjects, subjects_count, cells_count, &scratch);
//
// A comparison that looks at two cells and their subjects waits for memory four times, and a
// million subjects of three meters take 60 million of them. So texts are compared by eight bytes
// that lie beside the pointer, and cells are counted: those of one meter and window follow each
// other in the order of their subjects.
//
// Owner: the caller; results live in the arena. Thread: any, while nobody adds.

#include "base/arena.h"
#include "ledger/cells_parts.h"

// By the order of subjects in keys: shorter ones first, then by bytes.
void subjects_sort(const struct cells_subject **subjects, size_t count, struct arena *scratch);

// All cells of these sorted subjects; cells_count: how many they are.
const struct cell **cells_sort(
    const struct cells_subject *const *subjects,
    size_t subjects_count,
    size_t cells_count,
    struct arena *scratch);
