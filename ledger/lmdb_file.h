#pragma once
// LMDB's file by itself, read with pread: what no checksum of ours covers (meta pages, branches,
// page headers, the list of free pages) has to fit together. A damaged file makes findings here, it
// crashes nobody.
//
//     status = env_file_metas_check(fd, "DIR/log", &error);        // cheap: at each open
//
//     struct tx tx = tx_read(env);                                  // keeps the snapshot's pages
//     env_file_check(fd, tx_revision(&tx), &(struct env_file_check){.on_finding = print});
//
// Checked, of the snapshot: both meta pages; of each tree all pages' numbers, kinds and bounds,
// keys in order and within the bounds of the branches above, values' sizes, the tree's counts; that
// each page is used by one tree, or free, once. A page that is an older copy of another is free, so
// a pointer that leads to one is seen, and a free page that is in use as well.
//
// Layout: LMDB 0.9, 64 bits (docs/ledger-format.md, "A damaged file"). Thread: any.

#include "base/status.h"

#include <stdint.h>

struct env_file_check {
    // page: where it was seen. tree: "cells", "free pages", "names", or "" of the file as a whole.
    void (*on_finding)(void *context, uint64_t page, const char *tree, const char *what);
    void (*on_page)(void *context);  // one more was read; or NULL
    void *context;
};

// revision: of a read transaction that is open until this returns; 0: nobody writes the file, the
// newest. Memory: a bit for each page of the file.
void env_file_check(int fd, uint64_t revision, const struct env_file_check *check);

// Whether the newest commit is the newest one: LMDB takes the meta page with the greater number,
// and would answer from the commit before it if that number is damaged. And whether the list of
// databases can be read, so that opening it crashes nobody. Beside a writer, too.
// STATUS_CORRUPT: says which page. path is for the text. STATUS_IO.
enum status env_file_metas_check(int fd, const char *path, struct error *error) CHECKED;
