// The pages on the way to a key, from the root to a leaf, looked at before what LMDB found behind
// them is believed.
//
// No checksum of ours covers how many entries a page says it has, nor where they are: with one bit
// less a leaf has lost half of its entries, or a branch half of its leaves, and all that is left is
// sound. But LMDB keeps a page packed: its entries fill it from `upper` to the end, each once. So a
// page is whole when its entries are all different and together as large as that space.
//
// Looked at is the tree as it was committed, also in a write transaction: its pages stay as they
// are until that ends, and what is written is made of them. Pages that were looked at last are not
// looked at again: a walk looks at each leaf once, and a flush, which goes in order, at each that
// it writes. Layout: ledger/lmdb_file.c.
#include "base/assert.h"
#include "ledger/lmdb_page.h"
#include "ledger/lmdb_parts.h"

#include <string.h>

enum { TREE_DEPTH = 6, TREE_ROOT = 40 };

static struct bytes
page_key(const uint8_t *page, uint32_t index)
{
    const uint8_t *node = page + page_node_at(page, index);
    return bytes_of(node + NODE_HEADER, u16_at(node + 6));
}

static bool
page_is_whole(const struct env *env, const uint8_t *page, uint64_t number, bool is_leaf)
{
    return u64_at(page) == number &&
           u16_at(page + PAGE_FLAGS) == (is_leaf ? FLAG_LEAF : FLAG_BRANCH) &&
           page_has_bounds(page, env->page_size) && page_is_packed(page, env->page_size, is_leaf);
}

// The child that a key belongs to; the bounds become those of the child's keys.
static uint64_t
branch_child(const uint8_t *page, struct bytes key, struct tx_path *path)
{
    uint32_t low = 0;
    uint32_t high = page_count(page);
    // The first key of a branch is below all others, whatever it says.
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(page_key(page, middle), key) <= 0)
            low = middle;
        else
            high = middle;
    }
    if (low > 0)
        path->from = page_key(page, low);
    if (high < page_count(page))
        path->to = page_key(page, high);
    const uint8_t *node = page + page_node_at(page, low);
    return u32_at(node) | (uint64_t)u16_at(node + 4) << 32;
}

static bool
leaf_fits(const uint8_t *page, const struct tx_path *path)
{
    return (path->from.data == NULL || bytes_compare(page_key(page, 0), path->from) >= 0) &&
           (path->to.data == NULL ||
            bytes_compare(page_key(page, page_count(page) - 1), path->to) < 0);
}

static bool
path_walk(struct tx *tx, struct bytes key)
{
    const struct env *env = tx->env;
    struct tx_path *path = &tx->path;
    uint64_t number = path->root;
    path->has_leaf = false;
    path->from = bytes_of(NULL, 0);
    path->to = bytes_of(NULL, 0);
    for (uint32_t depth = 0; depth < path->depth; depth++) {
        const bool is_leaf = depth + 1 == path->depth;
        if (number >= tx->used / env->page_size)
            return false;
        const uint8_t *page = env->map + number * env->page_size;
        if (path->pages[depth] != page && !page_is_whole(env, page, number, is_leaf))
            return false;
        path->pages[depth] = page;
        if (is_leaf)
            path->has_leaf = leaf_fits(page, path);
        else
            number = branch_child(page, key, path);
    }
    return path->has_leaf;
}

// The tree as LMDB's record of its name has it, which a write transaction leaves until it commits.
static bool
path_begin(struct tx *tx, uint32_t db)
{
    const char *name = tx->env->names[db];
    MDB_val key = {.mv_size = strlen(name)};
    MDB_val value;
    memcpy(&key.mv_data, &name, sizeof key.mv_data);
    int code = mdb_get(tx->handle, tx->env->names_db, &key, &value);
    if (code != 0 || !tx_holds(tx, value) || value.mv_size != TREE_SIZE)
        return false;
    const uint8_t *record = value.mv_data;
    tx->path = (struct tx_path){
        .db = db,
        .root = u64_at(record + TREE_ROOT),
        .depth = u16_at(record + TREE_DEPTH),
        .is_begun = true,
    };
    return (tx->path.root == NO_PAGE) == (tx->path.depth == 0) && tx->path.depth <= TX_PATH_MAX;
}

static bool
path_has(const struct tx_path *path, struct bytes key)
{
    return path->has_leaf && (path->from.data == NULL || bytes_compare(path->from, key) <= 0) &&
           (path->to.data == NULL || bytes_compare(key, path->to) < 0);
}

bool
path_is_whole(struct tx *tx, uint32_t db, struct bytes key)
{
    must(tx->env->keys[db] == DB_KEY_CHECKED);
    if ((!tx->path.is_begun || tx->path.db != db) && !path_begin(tx, db)) {
        tx->path.is_begun = false;
        return false;
    }
    return tx->path.depth == 0 || path_has(&tx->path, key) || path_walk(tx, key);
}

bool
path_is_at(const struct tx *tx, uint32_t db, const uint8_t *view)
{
    const struct tx_path *path = &tx->path;
    return !tx->is_write && path->db == db && path->has_leaf &&
           (size_t)(view - path->pages[path->depth - 1]) < tx->env->page_size;
}
