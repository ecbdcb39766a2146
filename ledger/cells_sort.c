#include "ledger/cells_sort.h"

#include "base/assert.h"
#include "base/prefetch.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum {
    COLUMNS_PLACES_MIN = 64,
    SUBJECTS_AHEAD = 16,  // subjects between the prefetch of a node and its use
    CELLS_AHEAD = 8,      // and of its cells
};

// --- subjects ---

struct ranked {
    uint32_t size;
    uint64_t head;  // eight bytes behind what all texts begin with, the first one highest
    const struct cells_subject *subject;
};

static size_t
common_size(const struct cells_subject *const *subjects, size_t count)
{
    const struct bytes first = count > 0 ? cells_subject_text(subjects[0]) : bytes_of(NULL, 0);
    size_t common = first.size;
    for (size_t i = 1; i < count; i++) {
        const struct bytes text = cells_subject_text(subjects[i]);
        if (text.size < common)
            common = text.size;
        while (memcmp(text.data, first.data, common) != 0)
            common--;
    }
    return common;
}

static uint64_t
head_of(struct bytes text, size_t from)
{
    const size_t left = text.size - from;
    uint64_t head = 0;
    memcpy(&head, text.data + from, left < sizeof head ? left : sizeof head);
    return be64toh(head);
}

static int
order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int
ranked_compare(const void *a, const void *b)
{
    const struct ranked *left = a;
    const struct ranked *right = b;
    if (left->size != right->size)
        return order(left->size, right->size);
    if (left->head != right->head)
        return order(left->head, right->head);
    return bytes_compare(cells_subject_text(left->subject), cells_subject_text(right->subject));
}

void
subjects_sort(const struct cells_subject **subjects, size_t count, struct arena *scratch)
{
    struct ranked *ranked = arena_array(scratch, count, struct ranked);
    const size_t common = common_size(subjects, count);
    for (size_t i = 0; i < count; i++) {
        const struct bytes text = cells_subject_text(subjects[i]);
        ranked[i] = (struct ranked){subjects[i]->text_size, head_of(text, common), subjects[i]};
    }
    qsort(ranked, count, sizeof *ranked, ranked_compare);
    for (size_t i = 0; i < count; i++)
        subjects[i] = ranked[i].subject;
}

// --- cells ---

// The cells of a meter's window: few windows are in memory, of many subjects each.
struct column {
    uint32_t meter_id;
    uint32_t quarter;
    size_t count;  // then the place of its next cell
};

struct columns {
    struct arena *arena;
    struct column **places;  // NULL: free
    size_t mask;
    size_t count;
};

static struct columns
columns_open(struct arena *arena, size_t places)
{
    return (struct columns){arena, arena_array(arena, places, struct column *), places - 1, 0};
}

static struct column **
columns_place(const struct columns *columns, uint32_t meter_id, uint32_t quarter)
{
    uint64_t hash = ((uint64_t)meter_id << 32 | quarter) * 0x9e3779b97f4a7c15ULL;
    for (size_t at = hash >> 32;; at++) {
        struct column **place = &columns->places[at & columns->mask];
        const struct column *column = *place;
        if (column == NULL || (column->meter_id == meter_id && column->quarter == quarter))
            return place;
    }
}

static void
columns_grow(struct columns *columns)
{
    struct columns larger = columns_open(columns->arena, (columns->mask + 1) * 2);
    for (size_t i = 0; i <= columns->mask; i++) {
        struct column *column = columns->places[i];
        if (column != NULL)
            *columns_place(&larger, column->meter_id, column->quarter) = column;
    }
    larger.count = columns->count;
    *columns = larger;
}

static struct column *
column_of(struct columns *columns, uint32_t meter_id, uint32_t quarter)
{
    struct column **place = columns_place(columns, meter_id, quarter);
    if (*place != NULL)
        return *place;
    if (columns->count >= columns->mask / 2) {
        columns_grow(columns);
        place = columns_place(columns, meter_id, quarter);
    }
    columns->count++;
    *place = arena_new(columns->arena, struct column);
    **place = (struct column){.meter_id = meter_id, .quarter = quarter};
    return *place;
}

static int
column_compare(const void *a, const void *b)
{
    const struct column *left = *(struct column *const *)a;
    const struct column *right = *(struct column *const *)b;
    int by = order(left->meter_id, right->meter_id);
    return by != 0 ? by : order(left->quarter, right->quarter);
}

// Counts become places. Returns how many cells there are.
static size_t
columns_order(struct columns *columns)
{
    struct column **sorted = arena_array(columns->arena, columns->count, struct column *);
    size_t count = 0, cells = 0;
    for (size_t i = 0; i <= columns->mask; i++) {
        if (columns->places[i] != NULL)
            sorted[count++] = columns->places[i];
    }
    qsort(sorted, count, sizeof(struct column *), column_compare);
    for (size_t i = 0; i < count; i++) {
        size_t of_column = sorted[i]->count;
        sorted[i]->count = cells;
        cells += of_column;
    }
    return cells;
}

// sorted: NULL: they are counted.
static void
series_walk(const struct cell *newest, struct columns *columns, const struct cell **sorted)
{
    for (const struct cell *cell = newest; cell != NULL; cell = cell->next) {
        struct column *column = column_of(columns, cell->meter_id, cell->window.quarter);
        if (sorted != NULL)
            sorted[column->count] = cell;
        column->count++;
    }
}

static void
subject_walk(
    const struct cells_subject *subject, struct columns *columns, const struct cell **sorted)
{
    for (size_t i = 0; i < SERIES_NEAR; i++)
        series_walk(subject->newest[i], columns, sorted);
    for (const struct series_run *run = subject->more; run != NULL; run = run->next) {
        for (size_t i = 0; i < SERIES_A_RUN; i++)
            series_walk(run->newest[i], columns, sorted);
    }
}

static void
subjects_walk(
    const struct cells_subject *const *subjects,
    size_t count,
    struct columns *columns,
    const struct cell **sorted)
{
    for (size_t i = 0; i < count; i++) {
        if (i + SUBJECTS_AHEAD < count)
            prefetch(subjects[i + SUBJECTS_AHEAD]);
        for (size_t k = 0; k < SERIES_NEAR && i + CELLS_AHEAD < count; k++)
            prefetch(subjects[i + CELLS_AHEAD]->newest[k]);
        subject_walk(subjects[i], columns, sorted);
    }
}

static int
cell_compare(const void *a, const void *b)
{
    const struct cell *left = *(struct cell *const *)a;
    const struct cell *right = *(struct cell *const *)b;
    int by = order(left->group->hash.high, right->group->hash.high);
    if (by == 0)
        by = order(left->group->hash.low, right->group->hash.low);
    return by != 0 ? by : order(left->window.epoch, right->window.epoch);
}

// A series' cells of one window lie together: of several groups and epochs.
static void
windows_sort(const struct cell **sorted, size_t count)
{
    for (size_t first = 0, end = 0; first < count; first = end) {
        const struct cell *cell = sorted[first];
        for (end = first + 1; end < count; end++) {
            if (sorted[end]->subject != cell->subject || sorted[end]->meter_id != cell->meter_id ||
                sorted[end]->window.quarter != cell->window.quarter)
                break;
        }
        if (end - first > 1)
            qsort(sorted + first, end - first, sizeof *sorted, cell_compare);
    }
}

const struct cell **
cells_sort(
    const struct cells_subject *const *subjects,
    size_t subjects_count,
    size_t cells_count,
    struct arena *scratch)
{
    struct columns columns = columns_open(scratch, COLUMNS_PLACES_MIN);
    const struct cell **sorted = arena_array(scratch, cells_count, const struct cell *);
    subjects_walk(subjects, subjects_count, &columns, NULL);
    size_t count = columns_order(&columns);
    must(count == cells_count);
    subjects_walk(subjects, subjects_count, &columns, sorted);
    windows_sort(sorted, cells_count);
    return sorted;
}
