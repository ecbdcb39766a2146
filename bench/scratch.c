#include "bench/scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

enum status
scratch_make(const char *parent, char path[PATH_MAX], struct error *error)
{
    int length = snprintf(path, PATH_MAX, "%s/tally-bench-XXXXXX", parent);
    // Room for the longest name below it.
    if (length < 0 || length >= PATH_MAX - 64) {
        path[0] = '\0';
        return error_set(error, STATUS_INVALID, "the path %s is too long", parent);
    }
    if (mkdtemp(path) == NULL) {
        path[0] = '\0';
        return error_set_errno(error, "cannot make a directory in %s", parent);
    }
    return STATUS_OK;
}

static int
entry_remove(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    // What cannot be removed stays; the directories above it stay then too, and that is seen.
    (void)remove(path);
    return 0;
}

void
scratch_remove(char path[PATH_MAX])
{
    if (path[0] != '\0')
        // NOLINTNEXTLINE(concurrency-mt-unsafe): main, and nothing else walks
        (void)nftw(path, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
    path[0] = '\0';
}

// The walk has no context to give to its function: main's, as is said in the header.
static uint64_t walked_bytes;

static int
entry_add(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)path;
    (void)place;
    if (type == FTW_F)
        walked_bytes += (uint64_t)info->st_blocks * 512;
    return 0;
}

uint64_t
scratch_bytes(const char *path)
{
    walked_bytes = 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): main, and nothing else walks
    (void)nftw(path, entry_add, 16, FTW_PHYS);
    return walked_bytes;
}
