#include "api/progress.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

static struct progress progress;

Test(progress, counts_parts_and_begins_anew)
{
    struct progress_state state;
    progress_init(&progress);
    cr_assert(!progress_find(&progress, "one", &state));
    progress_step(&progress, "one", true, 1);
    cr_assert(!progress_find(&progress, "one", &state), "a step begins nothing");
    progress_begin(&progress, "one", 3, 10);
    progress_step(&progress, "one", true, 20);
    progress_step(&progress, "one", false, 30);
    cr_assert(progress_find(&progress, "one", &state));
    cr_assert(state.success == 1 && state.failed == 1 && state.total == 3);
    cr_assert_eq(state.updated_ns, 30);
    progress_begin(&progress, "one", 1, 40);
    cr_assert(progress_find(&progress, "one", &state));
    cr_assert(state.success == 0 && state.failed == 0 && state.total == 1);
    progress_done(&progress);
}

Test(progress, keeps_the_last_names_however_many_come)
{
    char id[PROGRESS_ID_MAX + 1];
    struct progress_state state;
    progress_init(&progress);
    for (int i = 0; i < 3 * PROGRESS_MAX; i++) {
        snprintf(id, sizeof id, "name-%030d", i);
        progress_begin(&progress, id, i, 1);
    }
    for (int i = 0; i < 3 * PROGRESS_MAX; i++) {
        snprintf(id, sizeof id, "name-%030d", i);
        bool is_kept = progress_find(&progress, id, &state);
        cr_assert_eq(is_kept, i >= 2 * PROGRESS_MAX, "%d", i);
        cr_assert(!is_kept || state.total == i);
    }
    progress_done(&progress);
}
