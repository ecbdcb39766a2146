#include "ledger/cover.h"

#include "base/assert.h"

enum { PIECES_MIN = 16, HOUR_S = 3600 };

struct covering {
    const struct horizons *horizons;
    const struct cover_question *question;
    struct arena *arena;
    struct cover cover;
    uint32_t capacity;
    int64_t limit_s;  // where the answer's window ends, or the range
};

// Goes on with the last piece when it is of the same kind.
static void
cover_add(struct covering *covering, const struct cover_piece *piece)
{
    struct cover *cover = &covering->cover;
    struct cover_piece *last = cover->count > 0 ? &cover->pieces[cover->count - 1] : NULL;
    if (last != NULL && last->is_log == piece->is_log &&
        (piece->is_log || (last->kind.width == piece->kind.width &&
                           last->kind.zone_number == piece->kind.zone_number))) {
        last->to_s = piece->to_s;
        return;
    }
    if (cover->count == covering->capacity) {
        uint32_t capacity = covering->capacity > 0 ? covering->capacity * 2 : PIECES_MIN;
        struct cover_piece *pieces = arena_array(covering->arena, capacity, struct cover_piece);
        if (cover->count > 0)
            memcpy(pieces, cover->pieces, cover->count * sizeof *pieces);
        cover->pieces = pieces;
        covering->capacity = capacity;
    }
    cover->pieces[cover->count++] = *piece;
}

// Where the answer's window that holds the moment ends, or the range does.
static int64_t
limit_at(const struct cover_question *question, int64_t at_s)
{
    if (question->within == NULL)
        return question->to_s;
    int64_t end_s = window_end(question->within, window_start(question->within, at_s));
    return end_s < question->to_s ? end_s : question->to_s;
}

// Whether hours, or quarter hours where these do not fit, are kept for all of the window.
static bool
has_finer(const struct horizons *horizons, int64_t start_s, int64_t end_s)
{
    bool is_on_hours = start_s % HOUR_S == 0 && end_s % HOUR_S == 0;
    return horizons->list[is_on_hours ? 1 : 0].kept_s <= start_s;
}

// Whether the kind has a window that starts here, ends by the limit, and serves.
static bool
serves(
    const struct covering *covering, const struct horizon *horizon, int64_t at_s, int64_t limit_s)
{
    const struct window_kind *kind = &horizon->kind;
    if (kind->zone_number != 0 &&
        (kind->zone_number != covering->question->zone_number || kind->zone == NULL))
        return false;
    if (at_s < horizon->kept_s || !window_is_start(kind, at_s))
        return false;
    int64_t end_s = window_end(kind, at_s);
    if (covering->question->is_narrow && kind->width > CELL_HOUR &&
        has_finer(covering->horizons, at_s, end_s))
        return false;
    bool is_made = kind->width == CELL_QUARTER_HOUR || end_s <= horizon->made_s;
    return is_made && end_s <= limit_s;
}

// The one that reaches furthest. Quarter hours come last in a tie of nothing: they always reach.
static const struct horizon *
best_at(const struct covering *covering, int64_t at_s, int64_t limit_s)
{
    const struct horizon *best = NULL;
    int64_t best_end_s = at_s;
    for (uint32_t i = 0; i < covering->horizons->count; i++) {
        const struct horizon *horizon = &covering->horizons->list[i];
        if (!serves(covering, horizon, at_s, limit_s))
            continue;
        int64_t end_s = window_end(&horizon->kind, at_s);
        if (end_s > best_end_s) {
            best = horizon;
            best_end_s = end_s;
        }
    }
    return best;
}

// From when on there are quarter hours and nothing else.
static int64_t
made_until(const struct horizons *horizons)
{
    int64_t until_s = horizons->list[0].kept_s;
    for (uint32_t i = 1; i < horizons->count; i++) {
        if (horizons->list[i].made_s > until_s)
            until_s = horizons->list[i].made_s;
    }
    return until_s;
}

static struct cover_piece
piece_at(const struct covering *covering, int64_t at_s, int64_t until_s)
{
    struct cover_piece piece = {.from_s = at_s, .kind = {.width = CELL_QUARTER_HOUR}};
    const struct horizon *best = at_s < until_s ? best_at(covering, at_s, covering->limit_s) : NULL;
    piece.is_log = at_s < until_s && best == NULL;
    piece.to_s = at_s < until_s ? at_s + QUARTER_HOUR_S : covering->question->to_s;
    if (best != NULL) {
        piece.kind = best->kind;
        piece.to_s = window_end(&best->kind, at_s);
    }
    return piece;
}

struct cover
cover_make(
    const struct horizons *horizons, const struct cover_question *question, struct arena *arena)
{
    struct covering covering = {.horizons = horizons, .question = question, .arena = arena};
    int64_t until_s = made_until(horizons);
    int64_t at_s = question->from_s;
    must(at_s >= 0 && at_s % QUARTER_HOUR_S == 0);
    must(at_s <= question->to_s && question->to_s % QUARTER_HOUR_S == 0);
    while (at_s < question->to_s) {
        // Finding it takes longer in a zone than all the rest.
        if (at_s >= covering.limit_s)
            covering.limit_s = limit_at(question, at_s);
        struct cover_piece piece = piece_at(&covering, at_s, until_s);
        cover_add(&covering, &piece);
        at_s = piece.to_s;
    }
    return covering.cover;
}
