#include "ledger/cell_walk.h"

#include "ledger/cell_state.h"

bool
cell_is_whole(const struct walk *walk)
{
    return cell_value_is_whole(walk->key, walk->value);
}

enum status
cells_seek(struct walk *walk, struct bytes key, bool *out_more)
{
    bool more = walk_seek(walk, key);
    if (walk->tx->status != STATUS_OK) {
        walk->key = key;
        return STATUS_CORRUPT;
    }
    if (more && (bytes_compare(walk->key, key) < 0 || !cell_is_whole(walk)))
        return STATUS_CORRUPT;
    bool has_before = more ? walk_previous(walk) : walk_last(walk);
    if (has_before && (bytes_compare(walk->key, key) >= 0 || !cell_is_whole(walk)))
        return STATUS_CORRUPT;
    if (more)
        more = has_before ? walk_next(walk) : walk_first(walk);
    if (walk->tx->status != STATUS_OK) {
        walk->key = key;
        return STATUS_CORRUPT;
    }
    *out_more = more;
    return STATUS_OK;
}
