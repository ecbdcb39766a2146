// Which cells answer a range: the widest that are made and kept, finer ones at its edges.

#include "ledger/cover.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>

// 2026-03-27T00:00:00Z, so that Berlin's clock changes on the way.
static const int64_t BEGIN_S = 1774569600;

struct cover_row {
    int64_t from_s, to_s;    // from BEGIN_S
    enum cell_width within;  // 0: none
    const char *pieces;
};

// Hours, days and months by their letters, quarter hours q, the log l, a zone's days z.
static void
cover_text(const struct cover *cover, char *out, size_t size)
{
    static const char letters[] = "?qhdmzZ";
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < cover->count; i++) {
        const struct cover_piece *piece = &cover->pieces[i];
        char letter = piece->is_log ? 'l' : letters[piece->kind.width];
        used += (size_t)snprintf(
            out + used,
            size - used,
            "%s%c%" PRId64,
            i > 0 ? " " : "",
            letter,
            (piece->to_s - piece->from_s) / QUARTER_HOUR_S);
    }
}

Test(cover, takes_the_widest_cells_and_finer_ones_at_the_edges)
{
    enum { H = 3600, D = 86400, Q = 900 };
    static const struct cover_row rows[] = {
        {0,       0,               0,                 ""                },
        {0,       Q,               0,                 "q1"              },
        {0,       H,               0,                 "h4"              },
        {0,       D,               0,                 "d96"             },
        {Q,       2 * D + H + Q,   0,                 "q3 h92 d96 h4 q1"},
        {0,       2 * D,           CELL_HOUR,         "h192"            },
        {0,       2 * D,           CELL_QUARTER_HOUR, "q192"            },
        {-26 * D, 5 * D,           0,                 "m2976"           },
        {-26 * D, 5 * D,           CELL_DAY,          "d2976"           },
        {5 * D,   9 * D,           0,                 "d288 h48 q48"    },
        {-40 * D, -39 * D,         0,                 "l96"             },
        {-40 * D, -35 * D + 2 * H, 0,                 "l192 d288 h8"    },
    };
    struct horizons horizons = {.count = 4};
    scoped(arena_done) struct arena arena = {0};
    horizons.list[0] = (struct horizon){.kind = {.width = CELL_QUARTER_HOUR}};
    horizons.list[1] =
        (struct horizon){.kind = {.width = CELL_HOUR}, .made_s = BEGIN_S + 8 * D + D / 2};
    horizons.list[2] = (struct horizon){.kind = {.width = CELL_DAY}, .made_s = BEGIN_S + 8 * D};
    horizons.list[3] = (struct horizon){.kind = {.width = CELL_MONTH}, .made_s = BEGIN_S + 5 * D};
    horizons.list[0].kept_s = BEGIN_S - 35 * D;
    horizons.list[1].kept_s = BEGIN_S - 38 * D;
    horizons.list[2].kept_s = BEGIN_S - 38 * D;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct window_kind within = {.width = rows[i].within};
        const struct cover_question question = {
            .from_s = BEGIN_S + rows[i].from_s,
            .to_s = BEGIN_S + rows[i].to_s,
            .within = rows[i].within != 0 ? &within : NULL,
        };
        struct cover cover = cover_make(&horizons, &question, &arena);
        char text[200];
        cover_text(&cover, text, sizeof text);
        cr_assert_str_eq(text, rows[i].pieces, "row %zu: %s", i, text);
    }
}
