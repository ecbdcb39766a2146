#include "tools/nearest.h"

#include "base/assert.h"

#include <stdint.h>
#include <string.h>

enum { WORD_MAX = 31 };

static uint32_t
least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// Optimal string alignment distance: insert, delete, replace, swap of two neighbours.
static uint32_t
distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    must(a_size <= WORD_MAX);
    must(b_size <= WORD_MAX);
    uint32_t cost[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= a_size; i++)
        cost[i][0] = (uint32_t)i;
    for (size_t j = 0; j <= b_size; j++)
        cost[0][j] = (uint32_t)j;
    for (size_t i = 1; i <= a_size; i++) {
        for (size_t j = 1; j <= b_size; j++) {
            uint32_t replace = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            cost[i][j] = least(replace, least(cost[i - 1][j], cost[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[a_size][b_size];
}

const char *
nearest_name(const char *word, const char *const *names, size_t count)
{
    size_t word_size = strlen(word);
    if (word_size > WORD_MAX)
        return NULL;
    uint32_t allowed = word_size < 3 ? 1 : word_size < 9 ? 2 : (uint32_t)(word_size / 3);
    const char *nearest = NULL;
    uint32_t nearest_cost = allowed + 1;
    for (size_t i = 0; i < count; i++) {
        size_t name_size = strlen(names[i]);
        if (name_size > WORD_MAX)
            continue;
        uint32_t cost = distance(word, word_size, names[i], name_size);
        if (cost < nearest_cost) {
            nearest = names[i];
            nearest_cost = cost;
        }
    }
    return nearest;
}
