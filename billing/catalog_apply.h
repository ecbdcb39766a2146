#pragma once
// Bringing the registry and the database to what a catalogue says, and telling what that changes.
//
//     catalog_apply(&target, &catalog, &options, &arena, &changes, &error);
//     for each of changes: "plan growth: changed"
//
// The new rows are prepared in one transaction, then the meters are written to the registry, then
// the transaction commits: a refusal changes nothing, and a crash in between leaves meters that a
// second call finds unchanged. What the catalogue does not name is left alone and said so. Nothing
// to change makes no new version. Thread: the connection's.

#include "billing/store.h"

enum catalog_change_kind {
    CATALOG_UNCHANGED,
    CATALOG_CREATED,
    CATALOG_CHANGED,
    CATALOG_REMOVED,  // a charge of a plan that the file has without it
    CATALOG_KEPT,     // a stored plan that the file does not name
};

struct catalog_change {
    enum catalog_change_kind kind;
    const char *what;  // "meter", "plan", "charge"
    const char *name;  // "growth/api_calls" for a charge
    const char *note;  // or NULL
};

struct catalog_changes {
    struct catalog_change *items;
    size_t count;
    int64_t version;      // the newest one afterwards
    bool is_new_version;  // made by this call (or, dry, would be)
};

// Where to apply it.
struct catalog_target {
    struct sql *sql;
    struct registry *registry;
};

struct catalog_apply_options {
    int64_t now_ns;
    bool is_dry_run;
};

const char *catalog_change_name(enum catalog_change_kind kind);

enum status catalog_apply(
    const struct catalog_target *target,
    const struct catalog *catalog,
    const struct catalog_apply_options *options,
    struct arena *arena,
    struct catalog_changes *out,
    struct error *error) CHECKED;
