// The layout of LMDB's file, as its version 0.9 writes it on 64 bits:
//
//   page      u64 number  u16 -  u16 flags  u16 lower  u16 upper (overflow: u32 pages)
//             then, from byte 16 to lower, u16 offsets of nodes, which lie in [upper, page size)
//   node      u16 low  u16 high  u16 flags  u16 key size  key
//             branch: low, high and flags are the child's number. leaf: low and high are the
//             value's size, which follows; flag 1: the first of its overflow pages follows; flag 2:
//             a tree's record
//   tree      u32 -  u16 flags  u16 depth  u64 branch, leaf and overflow pages  u64 entries
//             u64 root
//   meta      u32 magic  u32 version  u64 -  u64 map size  tree of free pages  tree of names
//             u64 last page  u64 commit; page 0 has even commits, page 1 odd ones
//   free      key: the commit that freed; value: u64 count, numbers in falling order

#include "ledger/lmdb_file.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/pool.h"
#include "ledger/lmdb_page.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_SIZE_MIN = 256,
    META_SIZE = PAGE_HEADER + 24 + 96 + 16,
    DEPTH_MAX = 32,
    KEY_MAX = 511,
    NAME_MAX = 32,
    METAS_TRIES = 1000,
};
enum { TREE_INTEGER_KEYS = 8 };

static const uint32_t META_MAGIC = 0xbeefc0de;
static const uint64_t MAP_SIZE_MAX = 1ULL << 47;

struct tree {
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta {
    uint16_t page_flags;
    uint32_t magic, version, page_size;
    uint64_t map_size, last_page, commit;
    struct tree free, names;
};

static struct tree
tree_read(const uint8_t *at)
{
    return (struct tree){
        .flags = (uint16_t)u16_at(at + 4),
        .depth = (uint16_t)u16_at(at + 6),
        .branch_pages = u64_at(at + 8),
        .leaf_pages = u64_at(at + 16),
        .overflow_pages = u64_at(at + 24),
        .entries = u64_at(at + 32),
        .root = u64_at(at + 40),
    };
}

// False: it is not all there.
static bool
file_read(int fd, uint64_t offset, uint8_t *out, size_t size)
{
    size_t done = 0;
    if (offset > INT64_MAX - size)
        return false;
    while (done < size) {
        ssize_t count = pread(fd, out + done, size - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        done += (size_t)count;
    }
    return true;
}

// --- meta pages ---

static bool
meta_read(int fd, uint64_t offset, struct meta *out)
{
    uint8_t bytes[META_SIZE];
    if (!file_read(fd, offset, bytes, sizeof bytes))
        return false;
    const uint8_t *meta = bytes + PAGE_HEADER;
    *out = (struct meta){
        .page_flags = (uint16_t)u16_at(bytes + PAGE_FLAGS),
        .magic = u32_at(meta),
        .version = u32_at(meta + 4),
        .map_size = u64_at(meta + 16),
        .page_size = u32_at(meta + 24),
        .free = tree_read(meta + 24),
        .names = tree_read(meta + 24 + TREE_SIZE),
        .last_page = u64_at(meta + 24 + 96),
        .commit = u64_at(meta + 24 + 96 + 8),
    };
    return true;
}

static bool
is_page_size(uint32_t size)
{
    return size >= PAGE_SIZE_MIN && size <= PAGE_SIZE_MAX && (size & (size - 1)) == 0;
}

// Both of them. Page 1 is where the page size of page 0 says; when that cannot be, where the
// system's says.
static bool
metas_read(int fd, struct meta out[2])
{
    if (!meta_read(fd, 0, &out[0]))
        return false;
    bool is_sound = is_page_size(out[0].page_size);
    uint64_t size = is_sound ? out[0].page_size : (uint64_t)sysconf(_SC_PAGESIZE);
    return meta_read(fd, size, &out[1]);
}

// What is wrong with one of them by itself; NULL: nothing.
static const char *
meta_fault(const struct meta *meta)
{
    if (meta->magic != META_MAGIC || meta->version != 1 || meta->page_flags != FLAG_META)
        return "it is no meta page";
    // Of what the address space has.
    if (meta->map_size >= MAP_SIZE_MAX)
        return "its map size cannot be";
    return is_page_size(meta->page_size) ? NULL : "its page size cannot be";
}

// Whether the numbers of the commits can be: the first two pages of a file have commit 0.
static bool
commits_fit(const struct meta metas[2])
{
    uint64_t even = metas[0].commit;
    uint64_t odd = metas[1].commit;
    if (even % 2 == 1)
        return false;
    if (odd % 2 == 0)
        return even == 0 && odd == 0;
    return odd == even + 1 || odd == even - 1;
}

static const struct meta *
meta_newest(const struct meta metas[2])
{
    return metas[1].commit > metas[0].commit ? &metas[1] : &metas[0];
}

static bool
is_same_meta(const struct meta *a, const struct meta *b)
{
    return a->commit == b->commit && a->last_page == b->last_page &&
           a->names.root == b->names.root && a->free.root == b->free.root && a->magic == b->magic &&
           a->version == b->version && a->page_size == b->page_size &&
           a->page_flags == b->page_flags;
}

// The last commit that freed pages, as the list of free pages says; 0: it is empty, or cannot be
// read (whoever reads it will say so).
static uint64_t
newest_freeing(int fd, const struct meta *meta)
{
    uint8_t page[PAGE_SIZE_MAX];
    uint64_t number = meta->free.root;
    for (uint32_t depth = 0; depth < DEPTH_MAX && number != NO_PAGE; depth++) {
        if (number > meta->last_page ||
            !file_read(fd, number * meta->page_size, page, meta->page_size))
            return 0;
        uint32_t lower = u16_at(page + PAGE_LOWER);
        if (lower <= PAGE_HEADER || lower > meta->page_size)
            return 0;
        uint32_t node = u16_at(page + lower - 2);
        if (node < lower || node + NODE_HEADER + sizeof(uint64_t) > meta->page_size)
            return 0;
        if ((u16_at(page + PAGE_FLAGS) & FLAG_LEAF) != 0)
            return u64_at(page + node + NODE_HEADER);
        number = u32_at(page + node) | (uint64_t)u16_at(page + node + 4) << 32;
    }
    return 0;
}

// Whether the page that lists the databases can be read: LMDB believes every place in it when it
// opens them. What is named there is looked at by others.
static bool
names_fit(int fd, const struct meta *meta)
{
    uint8_t page[PAGE_SIZE_MAX];
    if (meta->names.root == NO_PAGE)
        return meta->names.depth == 0;
    if (meta->names.root > meta->last_page ||
        !file_read(fd, meta->names.root * meta->page_size, page, meta->page_size))
        return false;
    // So many names that they take several pages are not ours.
    bool is_sound = u64_at(page) == meta->names.root && u16_at(page + PAGE_FLAGS) == FLAG_LEAF &&
                    page_has_bounds(page, meta->page_size);
    for (uint32_t i = 0; is_sound && i < page_count(page); i++) {
        uint32_t node = page_node_at(page, i);
        is_sound = node >= u16_at(page + PAGE_UPPER) &&
                   node + NODE_HEADER + TREE_SIZE <= meta->page_size &&
                   u32_at(page + node) == TREE_SIZE && u16_at(page + node + 4) == NODE_TREE &&
                   node + NODE_HEADER + u16_at(page + node + 6) + TREE_SIZE <= meta->page_size;
    }
    return is_sound;
}

// What is wrong; NULL: nothing. Every commit that changes anything frees the pages it replaces, so
// that the list's last commit is the meta page's.
static const char *
metas_fault(int fd, const struct meta metas[2], uint32_t *out_page)
{
    for (uint32_t i = 0; i < 2; i++) {
        const char *fault = meta_fault(&metas[i]);
        *out_page = i;
        if (fault != NULL)
            return fault;
    }
    const struct meta *newest = meta_newest(metas);
    *out_page = newest == &metas[1];
    if (metas[0].page_size != metas[1].page_size)
        return "the two meta pages have other page sizes";
    if (!commits_fit(metas))
        return "the numbers of the last two commits cannot be";
    uint64_t freeing = newest_freeing(fd, newest);
    if (freeing != 0 && freeing != newest->commit)
        return "its commit is not the last one that freed pages";
    if (!names_fit(fd, newest))
        return "the list of databases that it names is damaged";
    return NULL;
}

enum status
env_file_metas_check(int fd, const char *path, struct error *error)
{
    struct meta metas[2];
    struct meta after[2];
    const char *fault = NULL;
    uint32_t page = 0;
    // What is read while a commit comes is no one's state.
    for (uint32_t i = 0; i < METAS_TRIES; i++) {
        if (!metas_read(fd, metas))
            return error_set(error, STATUS_CORRUPT, "%s: its meta pages cannot be read", path);
        fault = metas_fault(fd, metas, &page);
        if (fault == NULL)
            return STATUS_OK;
        if (metas_read(fd, after) && is_same_meta(&metas[0], &after[0]) &&
            is_same_meta(&metas[1], &after[1]))
            break;
    }
    return error_set(error, STATUS_CORRUPT, "%s: meta page %" PRIu32 ": %s", path, page, fault);
}

// --- all pages of a snapshot ---

struct file_walk {
    const struct env_file_check *check;
    int fd;
    struct meta meta;
    uint64_t pages;       // of the file
    uint8_t *seen;        // a bit for each page
    const char *name;     // of the tree
    struct tree tree;     // as its record has it
    struct tree counted;  // as it is
    bool is_free, is_names;
    uint8_t *pages_above[DEPTH_MAX];
};

static void
tell(const struct file_walk *walk, uint64_t page, const char *what)
{
    walk->check->on_finding(walk->check->context, page, walk->name, what);
}

// False: it is out of bounds, or in use already; told.
static bool
page_use(struct file_walk *walk, uint64_t number, uint64_t from)
{
    if (number < 2 || number > walk->meta.last_page || number >= walk->pages) {
        tell(walk, from, "it names a page that the file does not have");
        return false;
    }
    uint8_t bit = (uint8_t)(1U << (number % 8));
    if ((walk->seen[number / 8] & bit) != 0) {
        tell(walk, number, "it is used twice, or free and in use");
        return false;
    }
    walk->seen[number / 8] |= bit;
    return true;
}

static int
keys_compare(const struct file_walk *walk, struct bytes a, struct bytes b)
{
    if ((walk->tree.flags & TREE_INTEGER_KEYS) != 0 && a.size == 8 && b.size == 8) {
        uint64_t left = u64_at(a.data);
        uint64_t right = u64_at(b.data);
        return left < right ? -1 : left > right;
    }
    return bytes_compare(a, b);
}

struct node {
    struct bytes key;
    const uint8_t *data;
    uint64_t number;  // of a branch: its child
    uint32_t size;    // of a leaf: its value's
    uint16_t flags;
};

// False: it does not lie within the page.
static bool
node_read(const struct file_walk *walk, const uint8_t *page, uint32_t index, struct node *out)
{
    const uint32_t page_size = walk->meta.page_size;
    bool is_leaf = (u16_at(page + PAGE_FLAGS) & FLAG_LEAF) != 0;
    uint32_t at = page_node_at(page, index);
    if (at < u16_at(page + PAGE_UPPER) || at + NODE_HEADER > page_size)
        return false;
    uint32_t key_size = u16_at(page + at + 6);
    uint32_t data = at + NODE_HEADER + key_size;
    *out = (struct node){
        .key = bytes_of(page + at + NODE_HEADER, key_size),
        .data = page + data,
        .number = u32_at(page + at) | (uint64_t)u16_at(page + at + 4) << 32,
        .size = u32_at(page + at),
        .flags = (uint16_t)u16_at(page + at + 4),
    };
    if (!is_leaf)
        return key_size <= KEY_MAX && data <= page_size;
    uint64_t held = (out->flags & NODE_BIG) != 0 ? sizeof(uint64_t) : out->size;
    return key_size <= KEY_MAX && data + held <= page_size;
}

static bool
page_load(struct file_walk *walk, uint64_t number, uint32_t depth, uint64_t from, bool is_leaf)
{
    uint8_t *page = walk->pages_above[depth];
    if (walk->check->on_page != NULL)
        walk->check->on_page(walk->check->context);
    if (!page_use(walk, number, from))
        return false;
    if (!file_read(walk->fd, number * walk->meta.page_size, page, walk->meta.page_size)) {
        tell(walk, number, "it cannot be read");
        return false;
    }
    const char *fault = NULL;
    if (u64_at(page) != number)
        fault = "it has another page's number";
    else if (u16_at(page + PAGE_FLAGS) != (is_leaf ? FLAG_LEAF : FLAG_BRANCH))
        fault = "it is of another kind than its place in the tree says";
    else if (!page_has_bounds(page, walk->meta.page_size))
        fault = "its bounds cannot be";
    else if (!page_is_packed(page, walk->meta.page_size, is_leaf))
        fault = "its entries are not as large as the room that they have";
    if (fault != NULL)
        tell(walk, number, fault);
    return fault == NULL;
}

static void
check_overflow(struct file_walk *walk, uint64_t page, const struct node *node)
{
    uint8_t header[PAGE_HEADER];
    uint64_t first = u64_at(node->data);
    uint64_t needed = (PAGE_HEADER - 1 + (uint64_t)node->size) / walk->meta.page_size + 1;
    if (!page_use(walk, first, page))
        return;
    if (!file_read(walk->fd, first * walk->meta.page_size, header, sizeof header)) {
        tell(walk, first, "it cannot be read");
        return;
    }
    uint64_t count = u32_at(header + 12);
    if (u64_at(header) != first || u16_at(header + 10) != FLAG_OVERFLOW || count < needed ||
        count > walk->meta.last_page - first + 1) {
        tell(walk, first, "it is not the beginning of the value that a leaf says");
        return;
    }
    for (uint64_t i = 1; i < count; i++)
        if (!page_use(walk, first + i, page))
            return;
    walk->counted.overflow_pages += count;
}

static void
free_use(struct file_walk *walk, uint64_t page, const uint8_t *list, uint64_t size)
{
    uint64_t count = size >= 8 ? u64_at(list) : 0;
    // A record that was made in advance and not needed is empty.
    if (size < 8 || size % 8 != 0 || (count != 0 && count != size / 8 - 1)) {
        tell(walk, page, "a list of free pages has another size than it says");
        return;
    }
    for (uint64_t i = 1; i <= count; i++) {
        if (i > 1 && u64_at(list + 8 * i) >= u64_at(list + 8 * (i - 1))) {
            tell(walk, page, "a list of free pages is out of order");
            return;
        }
        if (!page_use(walk, u64_at(list + 8 * i), page))
            return;
    }
}

// A value of the tree of free pages; it may lie in overflow pages.
static void
check_free(struct file_walk *walk, uint64_t page, const struct node *node)
{
    if (node->key.size != 8 || u64_at(node->key.data) > walk->meta.commit) {
        tell(walk, page, "pages were freed by a commit that there was not");
        return;
    }
    if ((node->flags & NODE_BIG) == 0) {
        free_use(walk, page, node->data, node->size);
        return;
    }
    scoped(buffer_done) struct buffer list = {0};
    uint64_t offset = u64_at(node->data) * walk->meta.page_size + PAGE_HEADER;
    uint8_t *place = buffer_reserve(&list, node->size);
    if (place == NULL || !file_read(walk->fd, offset, place, node->size))
        tell(walk, page, "a list of free pages cannot be read");
    else
        free_use(walk, page, place, node->size);
}

static void
check_tree(struct file_walk *walk, const char *name, const struct tree *tree, uint64_t from);

// A value of the tree of names is a tree.
static void
check_named(struct file_walk *walk, uint64_t page, const struct node *node)
{
    char name[NAME_MAX];
    struct file_walk named = *walk;
    if (node->flags != NODE_TREE || node->size != TREE_SIZE) {
        tell(walk, page, "a record of a tree has another size");
        return;
    }
    (void)bytes_to_text(node->key, name, sizeof name);
    struct tree tree = tree_read(node->data);
    named.is_names = false;
    memset(named.pages_above, 0, sizeof named.pages_above);
    check_tree(&named, name, &tree, page);
}

static void
check_leaf(struct file_walk *walk, uint64_t page, const struct node *node)
{
    walk->counted.entries++;
    if (walk->is_names) {
        check_named(walk, page, node);
        return;
    }
    if ((node->flags & ~NODE_BIG) != 0)
        tell(walk, page, "a value is of another kind than all are");
    else if ((node->flags & NODE_BIG) != 0)
        check_overflow(walk, page, node);
    if (walk->is_free)
        check_free(walk, page, node);
}

// Keys are >= from (of a leaf's later ones: > from) and < to; data NULL: without.
struct bounds {
    struct bytes from, to;
    bool is_after;
};

static bool
key_fits(const struct file_walk *walk, struct bytes key, const struct bounds *bounds)
{
    if (key.size == 0)
        return false;
    if (bounds->to.data != NULL && keys_compare(walk, key, bounds->to) >= 0)
        return false;
    if (bounds->from.data == NULL)
        return true;
    int order = keys_compare(walk, key, bounds->from);
    return bounds->is_after ? order > 0 : order >= 0;
}

// Reads a page's next entry, and moves the bounds behind it. The first key of a branch is not
// looked at by anybody: all that is less goes there. False: told.
static bool
page_entry(
    struct file_walk *walk,
    uint64_t number,
    const uint8_t *page,
    uint32_t index,
    struct bounds *bounds,
    struct node *out)
{
    bool is_leaf = (u16_at(page + PAGE_FLAGS) & FLAG_LEAF) != 0;
    if (!node_read(walk, page, index, out)) {
        tell(walk, number, "an entry lies beyond its page");
        return false;
    }
    if (!is_leaf && index == 0)
        return true;
    if (!key_fits(walk, out->key, bounds)) {
        tell(walk, number, "its keys are not in order");
        return false;
    }
    bounds->from = out->key;
    bounds->is_after = true;
    return true;
}

static void check_page(
    struct file_walk *walk, uint64_t number, uint32_t depth, uint64_t from, struct bounds bounds);

static void
check_branch(struct file_walk *walk, uint64_t number, uint32_t depth, struct bounds bounds)
{
    const uint8_t *page = walk->pages_above[depth];
    uint32_t count = page_count(page);
    struct node node = {0};
    struct node next = {0};
    bool has_next = page_entry(walk, number, page, 0, &bounds, &node);
    for (uint32_t i = 0; has_next; i++) {
        struct bounds child = {.from = bounds.from, .to = bounds.to};
        has_next = i + 1 < count && page_entry(walk, number, page, i + 1, &bounds, &next);
        if (has_next)
            child.to = next.key;
        check_page(walk, node.number, depth + 1, number, child);
        node = next;
    }
}

// Recursion is as deep as the tree, which is at most DEPTH_MAX.
static void
check_page(
    struct file_walk *walk, uint64_t number, uint32_t depth, uint64_t from, struct bounds bounds)
{
    bool is_leaf = depth + 1 == walk->tree.depth;
    if (!page_load(walk, number, depth, from, is_leaf))
        return;
    walk->counted.leaf_pages += is_leaf;
    walk->counted.branch_pages += !is_leaf;
    if (!is_leaf) {
        check_branch(walk, number, depth, bounds);
        return;
    }
    const uint8_t *page = walk->pages_above[depth];
    uint32_t count = page_count(page);
    struct node node;
    for (uint32_t i = 0; i < count && page_entry(walk, number, page, i, &bounds, &node); i++)
        check_leaf(walk, number, &node);
}

static void
check_counts(const struct file_walk *walk, uint64_t from)
{
    const struct tree *a = &walk->tree;
    const struct tree *b = &walk->counted;
    if (a->branch_pages != b->branch_pages || a->leaf_pages != b->leaf_pages ||
        a->overflow_pages != b->overflow_pages || a->entries != b->entries)
        tell(walk, from, "the tree has other numbers of pages or entries than its record says");
}

static void
check_tree(struct file_walk *walk, const char *name, const struct tree *tree, uint64_t from)
{
    walk->name = name;
    walk->tree = *tree;
    walk->counted = (struct tree){0};
    if ((tree->root == NO_PAGE) != (tree->depth == 0) || tree->depth > DEPTH_MAX) {
        tell(walk, from, "the depth of the tree cannot be");
        return;
    }
    for (uint32_t i = 0; i < tree->depth; i++) {
        walk->pages_above[i] = pool_take(1, walk->meta.page_size);
        must(walk->pages_above[i] != NULL);
    }
    if (tree->depth > 0)
        check_page(walk, tree->root, 0, from, (struct bounds){0});
    check_counts(walk, from);
    for (uint32_t i = 0; i < tree->depth; i++)
        pool_give(walk->pages_above[i]);
}

static void
check_unused(struct file_walk *walk)
{
    uint64_t lost = 0;
    uint64_t first = 0;
    walk->name = "";
    for (uint64_t page = 2; page <= walk->meta.last_page && page < walk->pages; page++) {
        if ((walk->seen[page / 8] & 1U << (page % 8)) == 0) {
            first = lost == 0 ? page : first;
            lost++;
        }
    }
    if (lost > 0) {
        char text[96];
        (void)snprintf(
            text, sizeof text, "%" PRIu64 " pages from it on are neither used nor free", lost);
        tell(walk, first, text);
    }
}

// The meta page of the snapshot. False: there is none; told.
static bool
walk_meta(struct file_walk *walk, uint64_t revision)
{
    struct meta metas[2];
    for (uint32_t i = 0; i < METAS_TRIES; i++) {
        if (!metas_read(walk->fd, metas))
            break;
        for (uint32_t j = 0; j < 2; j++) {
            walk->meta = metas[j];
            if (metas[j].commit == revision && meta_fault(&metas[j]) == NULL)
                return true;
        }
        walk->meta = *meta_newest(metas);
        if (revision == 0 && meta_fault(&walk->meta) == NULL)
            return true;
    }
    tell(walk, 0, "no meta page has the commit that is read");
    return false;
}

void
env_file_check(int fd, uint64_t revision, const struct env_file_check *check)
{
    struct file_walk walk = {.check = check, .fd = fd, .name = ""};
    struct stat stat;
    struct error error;
    if (env_file_metas_check(fd, "the file", &error))
        tell(&walk, 0, error.text);
    if (!walk_meta(&walk, revision))
        return;
    if (fstat(fd, &stat) != 0) {
        tell(&walk, 0, "its size cannot be read");
        return;
    }
    walk.pages = (uint64_t)stat.st_size / walk.meta.page_size;
    if (walk.meta.last_page < 1 || walk.meta.last_page >= walk.pages)
        tell(&walk, 0, "the file is shorter than its meta page says");
    walk.seen = pool_take(walk.pages / 8 + 1, 1);
    must(walk.seen != NULL);
    walk.is_free = true;
    check_tree(&walk, "free pages", &walk.meta.free, 0);
    walk.is_free = false;
    walk.is_names = true;
    check_tree(&walk, "names", &walk.meta.names, 0);
    check_unused(&walk);
    pool_give(walk.seen);
}
