#include "tests/torture/disk.h"

#include "base/assert.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 1024, SECTOR = 512, GROWTH = 64 };

void
recording_load(struct recording *out, const char *file)
{
    struct stat stat;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    must(fd >= 0 && fstat(fd, &stat) == 0 && stat.st_size > 0);
    void *bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    must(bytes != MAP_FAILED);
    (void)close(fd);
    *out = (struct recording){.bytes = bytes, .size = (size_t)stat.st_size};
}

void
recording_done(struct recording *recording)
{
    (void)munmap((void *)(uintptr_t)recording->bytes, recording->size);
    *recording = (struct recording){0};
}

bool
recording_next(struct recording *recording, struct step *out)
{
    if (recording->at == recording->size)
        return false;
    must(recording->size - recording->at >= sizeof out->record);
    memcpy(&out->record, recording->bytes + recording->at, sizeof out->record);
    recording->at += sizeof out->record;
    must(out->record.magic == RECORD_MAGIC);
    must(recording->size - recording->at >= out->record.size);
    out->bytes = recording->bytes + recording->at;
    recording->at += out->record.size;
    return true;
}

uint64_t
recording_changes(struct recording recording)
{
    uint64_t count = 0;
    struct step step;
    while (recording_next(&recording, &step)) {
        enum record_kind kind = (enum record_kind)step.record.kind;
        count += kind != RECORD_MARK && kind != RECORD_BEGIN;
    }
    return count;
}

// Room for one more of a list.
static void *
grow(void *list, uint32_t count, size_t size)
{
    if (count % GROWTH != 0)
        return list;
    list = realloc(list, (count + GROWTH) * size);
    must(list != NULL);
    return list;
}

// --- inodes and names ---

static uint32_t
inode_add(struct disk *disk, bool is_dir)
{
    disk->inodes = grow(disk->inodes, disk->inodes_count, sizeof *disk->inodes);
    disk->inodes[disk->inodes_count] = (struct disk_inode){.is_dir = is_dir};
    return disk->inodes_count++;
}

void
disk_init(struct disk *disk)
{
    disk->order = 1;
    (void)inode_add(disk, true);
}

void
disk_done(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->inodes_count; i++) {
        free(disk->inodes[i].bytes);
        free(disk->inodes[i].entries);
        free(disk->inodes[i].seen);
    }
    free(disk->inodes);
    free(disk->changes);
    free(disk->handles);
    free(disk->syncs);
    *disk = (struct disk){0};
}

static void
entries_set(struct disk_entry **list, uint32_t *count, const struct disk_entry *entry)
{
    uint32_t i = 0;
    while (i < *count && strcmp((*list)[i].name, entry->name) != 0)
        i++;
    if (entry->inode == DISK_NONE) {
        if (i < *count)
            (*list)[i] = (*list)[--*count];
        return;
    }
    if (i == *count)
        *list = grow(*list, (*count)++, sizeof **list);
    (*list)[i] = *entry;
}

static uint32_t
seen_find(const struct disk *disk, uint32_t dir, const char *name)
{
    const struct disk_inode *inode = &disk->inodes[dir];
    for (uint32_t i = 0; i < inode->seen_count; i++) {
        if (strcmp(inode->seen[i].name, name) == 0)
            return inode->seen[i].inode;
    }
    return DISK_NONE;
}

static void
image_size(struct disk_inode *inode, uint64_t size)
{
    if (size > inode->capacity) {
        inode->capacity = size * 2;
        inode->bytes = realloc(inode->bytes, inode->capacity);
        must(inode->bytes != NULL);
    }
    if (size > inode->size)
        memset(inode->bytes + inode->size, 0, size - inode->size);
    inode->size = size;
}

static void
image_write(struct disk_inode *inode, uint64_t offset, const uint8_t *bytes, uint64_t size)
{
    if (size == 0)
        return;
    if (offset + size > inode->size)
        image_size(inode, offset + size);
    memcpy(inode->bytes + offset, bytes, size);
}

static void
load_file(struct disk *disk, uint32_t inode, const char *path)
{
    uint8_t bytes[65536];
    ssize_t size;
    uint64_t offset = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    must(fd >= 0);
    while ((size = read(fd, bytes, sizeof bytes)) > 0) {
        image_write(&disk->inodes[inode], offset, bytes, (uint64_t)size);
        offset += (uint64_t)size;
    }
    must(size == 0);
    (void)close(fd);
}

static void
load_dir(struct disk *disk, uint32_t dir, const char *path)
{
    DIR *list = opendir(path);
    must(list != NULL);
    for (struct dirent *one; (one = readdir(list)) != NULL;) {
        char below[4096];
        if (strcmp(one->d_name, ".") == 0 || strcmp(one->d_name, "..") == 0 ||
            one->d_type == DT_SOCK)
            continue;
        must(one->d_type == DT_DIR || one->d_type == DT_REG);
        (void)snprintf(below, sizeof below, "%s/%s", path, one->d_name);
        struct disk_entry entry = {.inode = inode_add(disk, one->d_type == DT_DIR)};
        (void)snprintf(entry.name, sizeof entry.name, "%s", one->d_name);
        struct disk_inode *inode = &disk->inodes[dir];
        entries_set(&inode->entries, &inode->entries_count, &entry);
        entries_set(&inode->seen, &inode->seen_count, &entry);
        if (one->d_type == DT_DIR)
            load_dir(disk, entry.inode, below);
        else
            load_file(disk, entry.inode, below);
    }
    (void)closedir(list);
}

void
disk_load(struct disk *disk, const char *dir)
{
    load_dir(disk, DISK_ROOT, dir);
}

struct place {
    uint32_t dir;
    char name[DISK_NAME_MAX];
};

// The directory that holds the path and its last name; of the root itself name is empty.
static struct place
place_of(const struct disk *disk, const char *path)
{
    struct place place = {.dir = DISK_ROOT};
    for (;;) {
        size_t size = strcspn(path, "/");
        must(size < sizeof place.name);
        memcpy(place.name, path, size);
        place.name[size] = '\0';
        path += size;
        while (*path == '/')
            path++;
        if (*path == '\0')
            return place;
        place.dir = seen_find(disk, place.dir, place.name);
        must(place.dir != DISK_NONE);
    }
}

static struct disk_change *
change_add(struct disk *disk, enum disk_change_kind kind, uint32_t inode)
{
    disk->changes = grow(disk->changes, disk->changes_count, sizeof *disk->changes);
    struct disk_change *change = &disk->changes[disk->changes_count++];
    *change = (struct disk_change){.kind = kind, .inode = inode, .order = disk->order++};
    return change;
}

static void
name_add(struct disk *disk, struct disk_change *change, const char *name, uint32_t inode)
{
    struct disk_entry *entry = &change->entries[change->entries_count++];
    struct disk_inode *dir = &disk->inodes[change->inode];
    *entry = (struct disk_entry){.inode = inode};
    (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    entries_set(&dir->seen, &dir->seen_count, entry);
}

static void
name_set(struct disk *disk, const struct place *place, uint32_t inode)
{
    name_add(disk, change_add(disk, DISK_NAMES, place->dir), place->name, inode);
}

// --- what becomes durable ---

static void
change_settle(struct disk *disk, const struct disk_change *change)
{
    struct disk_inode *inode = &disk->inodes[change->inode];
    switch (change->kind) {
    case DISK_BYTES: image_write(inode, change->offset, change->bytes, change->size); return;
    case DISK_SIZE: image_size(inode, change->size); return;
    case DISK_NAMES:
        for (uint32_t i = 0; i < change->entries_count; i++)
            entries_set(&inode->entries, &inode->entries_count, &change->entries[i]);
        return;
    }
}

// Of changes that are durable all stay in their order: one that has others of its file before it
// that are not durable waits among them.
static void
changes_settle(struct disk *disk, const struct disk_sync *sync)
{
    uint32_t kept = 0;
    bool has_earlier = false;
    for (uint32_t i = 0; i < disk->changes_count; i++) {
        struct disk_change *change = &disk->changes[i];
        if (change->inode == sync->inode) {
            change->is_durable |= change->order >= sync->from && change->order < sync->to;
            if (change->is_durable && !has_earlier) {
                change_settle(disk, change);
                continue;
            }
            has_earlier = true;
        }
        disk->changes[kept++] = *change;
    }
    disk->changes_count = kept;
}

static bool
is_left_out(struct disk *disk, const struct disk_inode *inode, uint8_t flags)
{
    const char *kind = inode->is_dir                        ? "dir "
                       : (flags & RECORD_IS_DSYNC) != 0     ? "dsync "
                       : (flags & RECORD_IS_FDATASYNC) != 0 ? "fdatasync "
                                                            : "fsync ";
    if (disk->without == NULL || strncmp(disk->without, kind, strlen(kind)) != 0 ||
        fnmatch(disk->without + strlen(kind), inode->path, FNM_PATHNAME) != 0)
        return false;
    disk->left_out++;
    return true;
}

static void
sync_begin(struct disk *disk, uint32_t inode, const struct record *record)
{
    bool is_dsync = (record->flags & RECORD_IS_DSYNC) != 0;
    if (is_left_out(disk, &disk->inodes[inode], record->flags))
        return;
    disk->syncs = grow(disk->syncs, disk->syncs_count, sizeof *disk->syncs);
    disk->syncs[disk->syncs_count++] = (struct disk_sync){
        .token = record->at,
        .inode = inode,
        .from = is_dsync ? disk->order - 1 : 0,
        .to = disk->order,
    };
}

static bool
sync_end(struct disk *disk, const struct record *record)
{
    for (uint32_t i = 0; i < disk->syncs_count; i++) {
        if (disk->syncs[i].token != record->at)
            continue;
        changes_settle(disk, &disk->syncs[i]);
        disk->inodes[disk->syncs[i].inode].synced_ns = record->time_ns;
        disk->syncs[i] = disk->syncs[--disk->syncs_count];
        disk->syncs_done++;
        return true;
    }
    must(disk->without != NULL);
    return false;
}

// --- records ---

static uint32_t
handle_inode(const struct disk *disk, uint64_t name)
{
    for (uint32_t i = disk->handles_count; i > 0; i--) {
        if (disk->handles[i - 1].name == name)
            return disk->handles[i - 1].inode;
    }
    must(false);
    return DISK_NONE;
}

static bool
apply_open(struct disk *disk, const struct record *record, const char *path)
{
    struct place place = place_of(disk, path);
    uint32_t inode = place.name[0] == '\0' ? DISK_ROOT : seen_find(disk, place.dir, place.name);
    bool is_new = (record->flags & RECORD_IS_NEW) != 0;
    bool is_change = is_new || (record->flags & RECORD_IS_TRUNCATED) != 0;
    must(is_new == (inode == DISK_NONE));
    if (is_new) {
        inode = inode_add(disk, false);
        name_set(disk, &place, inode);
    } else if (is_change)
        (void)change_add(disk, DISK_SIZE, inode);
    (void)snprintf(disk->inodes[inode].path, DISK_NAME_MAX, "%s", path);
    disk->handles = grow(disk->handles, disk->handles_count, sizeof *disk->handles);
    disk->handles[disk->handles_count++] = (struct disk_handle){record->name, inode};
    return is_change;
}

static bool
apply_names(struct disk *disk, enum record_kind kind, const char *path, const char *second)
{
    struct place place = place_of(disk, path);
    uint32_t inode = seen_find(disk, place.dir, place.name);
    if (kind == RECORD_MKDIR) {
        name_set(disk, &place, inode_add(disk, true));
        return true;
    }
    // A socket's name was never recorded.
    if (inode == DISK_NONE)
        return false;
    if (kind == RECORD_UNLINK || kind == RECORD_RMDIR) {
        name_set(disk, &place, DISK_NONE);
        return true;
    }
    struct place to = place_of(disk, second);
    struct disk_change *change = change_add(disk, DISK_NAMES, to.dir);
    name_add(disk, change, to.name, inode);
    if (kind == RECORD_RENAME && to.dir == place.dir)
        name_add(disk, change, place.name, DISK_NONE);
    else if (kind == RECORD_RENAME)
        name_set(disk, &place, DISK_NONE);
    return true;
}

bool
disk_apply(struct disk *disk, const struct step *step)
{
    char path[2 * PATH_SIZE];
    const struct record *record = &step->record;
    enum record_kind kind = (enum record_kind)record->kind;
    struct disk_change *change;
    if (kind != RECORD_WRITE) {
        must(record->size < sizeof path);
        memcpy(path, step->bytes, record->size);
        path[record->size] = '\0';
    }
    switch (kind) {
    case RECORD_OPEN: return apply_open(disk, record, path);
    case RECORD_WRITE:
        change = change_add(disk, DISK_BYTES, handle_inode(disk, record->name));
        change->offset = record->at;
        change->bytes = step->bytes;
        change->size = record->size;
        change->time_ns = record->time_ns;
        change->handle = record->name;
        disk->writes++;
        return true;
    case RECORD_SIZE:
        change_add(disk, DISK_SIZE, handle_inode(disk, record->name))->size = record->at;
        return true;
    case RECORD_BEGIN: sync_begin(disk, handle_inode(disk, record->name), record); return false;
    case RECORD_END: return sync_end(disk, record);
    case RECORD_UNLINK:
    case RECORD_RMDIR:
    case RECORD_MKDIR:
    case RECORD_RENAME:
    case RECORD_LINK: return apply_names(disk, kind, path, path + strlen(path) + 1);
    case RECORD_MARK: return false;
    case RECORD_FAULT: break;
    }
    (void)fprintf(stderr, "the recording has a fault: %s\n", path);
    exit(1);
}

// --- one disk ---

// What becomes of the changes that are not durable.
enum fortune {
    FORTUNE_NONE,     // all are lost
    FORTUNE_ALL,      // none is
    FORTUNE_HALF,     // each is or is not
    FORTUNE_MOST,     // most are not
    FORTUNE_SECTORS,  // each sector is or is not
    FORTUNE_PAGES,    // each page
    FORTUNE_BUT_ONE,  // one is lost
    FORTUNE_ONE,      // all but one are
    FORTUNE_BEFORE,   // those from some moment on are
    FORTUNES,
};

struct builder {
    const struct disk *disk;
    uint64_t random;
    enum fortune bytes, names;
    uint64_t bytes_one, names_one;  // an order
};

static uint64_t
random_next(struct builder *builder, uint64_t below)
{
    uint64_t z = builder->random += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) % below;
}

// The order of one of the changes, of names or of all others.
static uint64_t
order_draw(struct builder *builder, bool is_names)
{
    const struct disk *disk = builder->disk;
    uint32_t count = 0;
    for (uint32_t i = 0; i < disk->changes_count; i++)
        count += (disk->changes[i].kind == DISK_NAMES) == is_names;
    uint64_t left = count > 0 ? random_next(builder, count) : 0;
    for (uint32_t i = 0; i < disk->changes_count; i++) {
        if ((disk->changes[i].kind == DISK_NAMES) == is_names && left-- == 0)
            return disk->changes[i].order;
    }
    return 0;
}

static bool
is_kept(struct builder *builder, const struct disk_change *change)
{
    bool is_names = change->kind == DISK_NAMES;
    enum fortune fortune = is_names ? builder->names : builder->bytes;
    uint64_t one = is_names ? builder->names_one : builder->bytes_one;
    if (change->is_durable)
        return true;
    switch (fortune) {
    case FORTUNE_NONE: return false;
    case FORTUNE_ALL: return true;
    case FORTUNE_MOST: return random_next(builder, 8) > 0;
    case FORTUNE_BUT_ONE: return change->order != one;
    case FORTUNE_ONE: return change->order == one;
    case FORTUNE_BEFORE: return change->order < one;
    case FORTUNE_HALF:
    case FORTUNE_SECTORS:
    case FORTUNE_PAGES:
    case FORTUNES: break;
    }
    return random_next(builder, 2) == 0;
}

// Piece by piece, each there or not.
static void
write_torn(struct builder *builder, struct disk_inode *file, const struct disk_change *change)
{
    uint64_t unit = builder->bytes == FORTUNE_PAGES ? 8 * SECTOR : SECTOR;
    uint64_t end = change->offset + change->size;
    for (uint64_t at = change->offset; at < end;) {
        uint64_t next = at / unit * unit + unit;
        next = next < end ? next : end;
        if (change->is_durable || random_next(builder, 2) == 0)
            image_write(file, at, change->bytes + (at - change->offset), next - at);
        at = next;
    }
}

static void
build_bytes(struct builder *builder, struct disk_inode *file, const struct disk_change *change)
{
    bool is_torn = builder->bytes == FORTUNE_SECTORS || builder->bytes == FORTUNE_PAGES;
    if (is_torn) {
        write_torn(builder, file, change);
        return;
    }
    if (is_kept(builder, change)) {
        image_write(file, change->offset, change->bytes, change->size);
        return;
    }
    // The file has grown, but what it was to hold is not there.
    if (random_next(builder, 4) == 0 && change->offset + change->size > file->size &&
        builder->bytes != FORTUNE_NONE)
        image_size(file, change->offset + change->size);
}

// A copy of what is durable, and what is kept of the rest; its bytes are the caller's to free.
static struct disk_inode
build_image(struct builder *builder, uint32_t inode)
{
    struct disk_inode file = {0};
    const struct disk_inode *durable = &builder->disk->inodes[inode];
    image_write(&file, 0, durable->bytes, durable->size);
    for (uint32_t i = 0; i < builder->disk->changes_count; i++) {
        const struct disk_change *change = &builder->disk->changes[i];
        if (change->inode != inode)
            continue;
        if (change->kind == DISK_BYTES)
            build_bytes(builder, &file, change);
        else if (change->kind == DISK_SIZE && is_kept(builder, change))
            image_size(&file, change->size);
    }
    return file;
}

static void
build_file(struct builder *builder, uint32_t inode, const char *path)
{
    struct disk_inode file = build_image(builder, inode);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    must(fd >= 0);
    must(file.size == 0 || write(fd, file.bytes, file.size) == (ssize_t)file.size);
    (void)close(fd);
    free(file.bytes);
}

static void
build_dir(struct builder *builder, uint32_t inode, const char *path)
{
    const struct disk *disk = builder->disk;
    struct disk_inode dir = {0};
    for (uint32_t i = 0; i < disk->inodes[inode].entries_count; i++)
        entries_set(&dir.entries, &dir.entries_count, &disk->inodes[inode].entries[i]);
    for (uint32_t i = 0; i < disk->changes_count; i++) {
        const struct disk_change *change = &disk->changes[i];
        if (change->inode != inode || change->kind != DISK_NAMES || !is_kept(builder, change))
            continue;
        for (uint32_t j = 0; j < change->entries_count; j++)
            entries_set(&dir.entries, &dir.entries_count, &change->entries[j]);
    }
    must(mkdir(path, 0770) == 0);
    for (uint32_t i = 0; i < dir.entries_count; i++) {
        char below[PATH_SIZE];
        int size = snprintf(below, sizeof below, "%s/%s", path, dir.entries[i].name);
        must(size > 0 && (size_t)size < sizeof below);
        if (disk->inodes[dir.entries[i].inode].is_dir)
            build_dir(builder, dir.entries[i].inode, below);
        else
            build_file(builder, dir.entries[i].inode, below);
    }
    free(dir.entries);
}

void
disk_build(const struct disk *disk, uint64_t seed, const char *dir)
{
    struct builder builder = {.disk = disk, .random = seed};
    builder.bytes = (enum fortune)random_next(&builder, FORTUNES);
    builder.names = (enum fortune)random_next(&builder, FORTUNES);
    builder.bytes_one = order_draw(&builder, false);
    builder.names_one = order_draw(&builder, true);
    build_dir(&builder, DISK_ROOT, dir);
}

// --- the recording against the files ---

// A file that no record made. Sockets are none of ours.
static bool
find_stranger(const struct disk *disk, uint32_t inode, const char *path, char text[512])
{
    bool is_found = false;
    DIR *dir = opendir(path);
    must(dir != NULL);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        bool is_dot = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (is_dot || entry->d_type == DT_SOCK || is_found ||
            seen_find(disk, inode, entry->d_name) != DISK_NONE)
            continue;
        is_found = true;
        (void)snprintf(text, 512, "%.250s/%.200s was not recorded", path, entry->d_name);
    }
    (void)closedir(dir);
    return is_found;
}

static bool
compare_file(struct builder *builder, uint32_t inode, const char *path, char text[512])
{
    struct stat stat;
    struct disk_inode file = build_image(builder, inode);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    must(fd >= 0 && fstat(fd, &stat) == 0);
    uint8_t *bytes = malloc((size_t)stat.st_size + 1);
    must(bytes != NULL && read(fd, bytes, (size_t)stat.st_size) == stat.st_size);
    (void)close(fd);
    uint64_t at = 0;
    while (at < file.size && at < (uint64_t)stat.st_size && bytes[at] == file.bytes[at])
        at++;
    bool is_same = at == file.size && at == (uint64_t)stat.st_size;
    if (!is_same)
        (void)snprintf(
            text, 512, "%s differs from the recording at byte %llu", path, (unsigned long long)at);
    free(bytes);
    free(file.bytes);
    return is_same;
}

static bool
compare_dir(struct builder *builder, uint32_t inode, const char *path, char text[512])
{
    const struct disk_inode *dir = &builder->disk->inodes[inode];
    if (find_stranger(builder->disk, inode, path, text))
        return false;
    for (uint32_t i = 0; i < dir->seen_count; i++) {
        char below[PATH_SIZE];
        struct stat stat;
        const struct disk_entry *entry = &dir->seen[i];
        (void)snprintf(below, sizeof below, "%s/%s", path, entry->name);
        bool is_dir = builder->disk->inodes[entry->inode].is_dir;
        if (lstat(below, &stat) != 0 || S_ISDIR(stat.st_mode) != is_dir) {
            (void)snprintf(text, 512, "%.400s is not what was recorded", below);
            return false;
        }
        bool is_same = strcmp(entry->name, "lock.mdb") == 0 ||
                       (is_dir ? compare_dir(builder, entry->inode, below, text)
                               : compare_file(builder, entry->inode, below, text));
        if (!is_same)
            return false;
    }
    return true;
}

bool
disk_compare(const struct disk *disk, const char *dir, char text[512])
{
    struct builder builder = {.disk = disk, .bytes = FORTUNE_ALL, .names = FORTUNE_ALL};
    return compare_dir(&builder, DISK_ROOT, dir, text);
}

bool
disk_head_is_fresh(struct disk *disk, const struct step *step)
{
    static const int64_t SECOND = 1000000000;
    if (step->record.kind != RECORD_WRITE)
        return true;
    uint32_t inode = handle_inode(disk, step->record.name);
    const struct disk_inode *file = &disk->inodes[inode];
    if (fnmatch("*/shards/*/head", file->path, 0) != 0)
        return true;
    uint32_t late = 0;
    for (uint32_t i = 0; i < disk->changes_count; i++) {
        const struct disk_change *change = &disk->changes[i];
        late += change->inode == inode && change->handle == step->record.name &&
                change->time_ns > file->synced_ns + SECOND;
    }
    return late < 2;
}
