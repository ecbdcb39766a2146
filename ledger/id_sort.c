// A counting sort by as many bits as make about a bin for each entry, and an insertion sort over
// its result, which finds little left to do. Entries that are not spread, as tests have them, go by
// a merge sort: nobody can choose a hash whose key is secret, but a sort must end.

#include "ledger/id_sort.h"

#include "base/assert.h"

#include <string.h>

enum { BIN_MAX = 32 };

struct range {
    uint64_t low;  // of the least
    uint32_t bins;
    uint32_t shift;
};

static struct range
range_of(const struct fingerprint *entries, uint32_t count)
{
    uint64_t least = entries[0].low;
    uint64_t most = least;
    for (uint32_t i = 1; i < count; i++) {
        least = entries[i].low < least ? entries[i].low : least;
        most = entries[i].low > most ? entries[i].low : most;
    }
    const uint32_t bits = count < ID_SORT_BINS ? 32 - (uint32_t)__builtin_clz(count) : 13;
    const uint32_t width = most > least ? 64 - (uint32_t)__builtin_clzll(most - least) : 0;
    return (struct range){least, 1U << bits, width > bits ? width - bits : 0};
}

_Static_assert(ID_SORT_BINS == 1 << 13, "the most bits");

static uint32_t
bin_of(const struct range *range, struct fingerprint entry)
{
    return (uint32_t)((entry.low - range->low) >> range->shift);
}

// Where each bin begins. Returns how many entries the largest has.
static uint32_t
bins_begin(
    struct id_sort *sort,
    const struct range *range,
    const struct fingerprint *entries,
    uint32_t count)
{
    uint32_t sum = 0;
    uint32_t most = 0;
    memset(sort->bins, 0, range->bins * sizeof sort->bins[0]);
    for (uint32_t i = 0; i < count; i++)
        sort->bins[bin_of(range, entries[i])]++;
    for (uint32_t bin = 0; bin < range->bins; bin++) {
        uint32_t size = sort->bins[bin];
        sort->bins[bin] = sum;
        sum += size;
        most = size > most ? size : most;
    }
    must(sum == count);
    return most;
}

static void
sort_by_insertion(struct fingerprint *entries, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct fingerprint moved = entries[i];
        uint32_t at = i;
        for (; at > 0 && fingerprint_compare(moved, entries[at - 1]) < 0; at--)
            entries[at] = entries[at - 1];
        entries[at] = moved;
    }
}

// The parts [0, half) and [half, count), each in its order, into out.
static void
merge_halves(
    const struct fingerprint *parts, uint32_t half, uint32_t count, struct fingerprint *out)
{
    uint32_t first = 0;
    uint32_t second = half;
    for (uint32_t i = 0; i < count; i++) {
        bool takes_second = first == half || (second < count &&
                                              fingerprint_compare(parts[second], parts[first]) < 0);
        out[i] = takes_second ? parts[second++] : parts[first++];
    }
}

static void
sort_by_merging(struct fingerprint *entries, struct fingerprint *sorted, uint32_t count)
{
    for (uint32_t half = 1; half < count; half *= 2) {
        for (uint32_t from = 0; from < count; from += 2 * half) {
            uint32_t left = count - from;
            merge_halves(
                entries + from,
                left < half ? left : half,
                left < 2 * half ? left : 2 * half,
                sorted + from);
        }
        memcpy(entries, sorted, count * sizeof *entries);
    }
    memcpy(sorted, entries, count * sizeof *entries);
}

void
id_sort(
    struct id_sort *sort, struct fingerprint *entries, struct fingerprint *sorted, uint32_t count)
{
    must(count < UINT32_MAX / 4);
    if (count == 0)
        return;
    const struct range range = range_of(entries, count);
    const uint32_t even = count / ID_SORT_BINS + 1;
    if (bins_begin(sort, &range, entries, count) > even * BIN_MAX) {
        sort_by_merging(entries, sorted, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        sorted[sort->bins[bin_of(&range, entries[i])]++] = entries[i];
    sort_by_insertion(sorted, count);
}
